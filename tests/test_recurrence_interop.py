"""Recurrences in JAX and PyTorch. JAX is among the requirements of the tests; PyTorch is run by hand."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import COMPILED

from rtu_np import bptt, check_recurrence, rtrl

pytestmark = pytest.mark.skipif(not COMPILED, reason="Numba has no part in it")
PAGE = Path(__file__).parent.parent / "docs" / "check_your_own.md"


@jax.jit
def step(params, h, x):
    u = jax.nn.sigmoid(x @ params["Wu"] + h @ params["Uu"])
    h = (1 - u) * h + u * jnp.tanh(x @ params["Wg"])
    return h, h


def value(params, h, xs, dy):
    return jax.lax.scan(lambda h, x: step(params, h, x), h, xs)[1][-1] @ dy


def careless(params, h, xs, dy):
    return jax.lax.scan(lambda h, x: step(params, jax.lax.stop_gradient(h), x), h, xs)[1][-1] @ dy


@jax.jit
def carried(params, h, sensitivities, x):
    J, F = jax.jacrev(lambda h, params: step(params, h, x)[0], argnums=(0, 1))(h, params)
    h, y = step(params, h, x)
    return h, y, {name: jnp.tensordot(J, S, 1) + F[name] for name, S in sensitivities.items()}


def stream():
    rng = np.random.default_rng(0)
    params = {name: jnp.asarray(0.7 * rng.standard_normal(shape)) for name, shape in (("Wu", (2, 3)), ("Wg", (2, 3)))}
    params["Uu"] = jnp.asarray(0.7 * rng.standard_normal((3, 3)))
    return params, jnp.zeros(3), jnp.asarray(rng.standard_normal((3, 2)))


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    """JAX as it is by default, and with `jax_enable_x64`."""
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    jax.config.update("jax_enable_x64", False)


def test_gradients_in_jax(precision):
    params, h, xs = stream()
    assert params["Uu"].dtype == precision
    for gradient in (jax.jit(jax.grad(value)), carried, jax.grad(value)(params, h, xs, jnp.ones(3))):
        report = check_recurrence(step, params, h, xs, gradient, dy=jnp.ones(3))
        assert report.passed, str(report)
        if precision == "float32":
            assert report.tolerance == 1e-5
            assert report.max_error > 1e-9
            assert {row.complex_step for row in report.parameters} == {None}
            assert "no complex step: JAX runs in float32" in str(report)
        else:
            assert report.tolerance == 1e-11
            assert max(row.complex_step for row in report.parameters) < 1e-11
    assert jax.config.jax_enable_x64 == (precision == "float64")


def test_mistakes_in_jax(precision):
    report = check_recurrence(step, *stream(), jax.jit(jax.grad(careless)))
    assert not report.passed
    assert report.hints == ("Wu, Wg, Uu: it is truncated to 1 step: nothing is carried through the state",)
    small = check_recurrence(step, *stream(), lambda *a: jax.tree.map(lambda g: g * (1 + 5e-5), jax.grad(value)(*a)))
    assert not small.passed


def test_exact_gradients_of_jax_are_float64_in_numpy(precision):
    params, h, xs = stream()
    expected = jax.grad(value)(params, h, xs, jnp.ones(3))
    for way in (rtrl, bptt):
        found = way(step, params, h, xs, jnp.ones(3))
        for name, array in found.items():
            assert type(array) is np.ndarray
            assert array.dtype == np.float64
            assert np.abs(array - np.asarray(expected[name])).max() < (1e-6 if precision == "float32" else 1e-14)
    if precision == "float32":
        with pytest.raises(ValueError, match=r"params\['Wu'\] is float32 and derivatives is 'complex step'"):
            rtrl(step, params, h, xs, derivatives="complex step")


def test_numpy_arrays_in_a_jax_function(precision):
    params, _, xs = stream()
    params = {name: np.asarray(array, dtype=float) for name, array in params.items()}
    assert check_recurrence(step, params, np.zeros(3), np.asarray(xs, dtype=float), jax.grad(value)).passed


def test_the_page_s_example_in_pytorch():
    pytest.importorskip("torch")
    code, shown = re.search(
        r"```py\n(.*?)^```.*?^```text\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
    ).groups()
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == shown


def test_the_page_s_examples_are_short_and_the_cure_is_one():
    found = re.findall(r"^```(?:python|py)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lines = [len([line for line in code.splitlines() if line]) for code in found]
    homework, _, in_jax, in_torch, *_ = lines
    assert homework <= 12
    assert max(in_jax, in_torch) <= 15
    cured = (
        found[0]
        .replace('u * (x @ p["W"] - h)), (1', 'u * (1 - u) * (x @ p["W"] - h)), (1')
        .replace("print(", "report = (")
    )
    names: dict = {}
    exec(cured, names)
    assert names["report"].passed
