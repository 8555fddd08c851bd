"""Each cell: kernels against plain NumPy, RTRL against BPTT, autograd and full RTRL."""

import re

import autograd
import autograd.numpy as anp
import numpy as np
import oracles
import pytest
from cases import in_plain_python
from tolerances import AUTOGRAD, COMPLEX_STEP, FLOAT32, PLAIN, assert_close

from rtu_np import RTRL, Dense, LinearRTU, NonlinearRTU, Stack, protocol
from rtu_np.jit import compile_for
from rtu_np.numerics.buffers import leaves, rebuild, size

N, D, STEPS = 5, 3, 60


def float64(views):
    """The same nested views, of copies in float64."""
    if isinstance(views, tuple):
        return type(views)(*map(float64, views))
    return np.array(views, np.float64)


def views_of(layer):
    """(parameters, memory) of a layer, copied."""
    params = protocol.parameters(layer.spec, layer._params)[0]
    return float64(params), float64(protocol.memory(layer.spec, layer._memory)[0])


def randomise(views, rng):
    for view in leaves(views).values():
        view[:] = rng.standard_normal(view.shape)


def test_kernels_equal_plain_numpy(case, rng):
    layer = case.cell.build(D, seed=1)
    if type(layer.spec) not in protocol.plain_advance.table or re.search(r"\bGRU\(", repr(case.cell)):
        pytest.skip("its sensitivities are those of full RTRL, which the oracle checks")
    randomise(protocol.memory(layer.spec, layer._memory)[0].state, rng)
    params, memory = views_of(layer)
    for x in rng.standard_normal((STEPS, D)):
        y = layer.advance(x)
        memory = protocol.plain_advance(layer.spec, params, memory, x)
    dy = rng.standard_normal(layer.n_outputs)
    gradient, dx = protocol.plain_gradient(layer.spec, params, memory, dy)
    assert_close(y, memory.y, PLAIN, "y")
    expected = leaves(gradient)
    for name, value in layer.gradient(dy).items():
        assert_close(value, expected[name], PLAIN, name)
    assert_close(layer.input_gradient(dy), dx, PLAIN, "dx")


def _one_step_back(spec, params, work, state_tm1, x, record, dy, adjoint):
    protocol.prepare(spec, params, work)
    protocol.forward(spec, params, work, state_tm1, x, record)
    protocol.backward(spec, params, work, state_tm1, x, record, dy, adjoint)


@in_plain_python
def test_one_step_forward_and_back(case, rng):
    """Kernels against plain NumPy, forward against the oracle, reverse mode against complex steps."""
    spec = case.cell.spec(D)

    def views(layout):
        return layout(spec, np.zeros(size(layout, spec)))[0]

    params, state_tm1, dstate, work, record, out = map(
        views,
        (protocol.parameters, protocol.state, protocol.state, protocol.work, protocol.record, protocol.parameters),
    )
    case.cell.initialise(params, rng)
    randomise(state_tm1, rng)
    randomise(dstate, rng)
    dy = rng.standard_normal(spec.n_outputs)
    for _ in range(100):  # until no unit is cut off by a ReLU
        x = rng.standard_normal(D)
        state_t, y = protocol.plain_forward(spec, params, state_tm1, x)
        expected = protocol.plain_backward(spec, params, state_tm1, x, state_t, dy, dstate)
        if all(array.any() for part in expected[:2] for array in leaves(part).values()):
            break

    adjoint = protocol.Adjoint(float64(dstate), out, np.zeros(D))
    compile_for(_one_step_back, spec)(spec, params, work, state_tm1, x, record, dy, adjoint)
    for name, actual, wanted in (
        ("state", record.state, state_t),
        ("dstate", adjoint.state, expected[0]),
        ("gradient", adjoint.params, expected[1]),
    ):
        for (block, a), b in zip(leaves(actual).items(), leaves(wanted).values(), strict=True):
            assert_close(a, b, PLAIN, f"{name}: {block}")
    assert_close(record.y, y, PLAIN, "y")
    assert_close(adjoint.x, expected[2], PLAIN, "dx")

    flat_state = np.concatenate([*leaves(state_tm1).values(), []])
    after, features = case.forward(leaves(params), flat_state, x)
    assert_close(np.concatenate([*leaves(state_t).values(), []]), after, PLAIN, "state, by the oracle")
    assert_close(y, features, PLAIN, "y, by the oracle")

    def along(direction):
        h = 1e-30
        moved = rebuild(params, [p + 1j * h * d for p, d in zip(leaves(params).values(), direction, strict=True)])
        state, y = protocol.plain_forward(spec, moved, state_tm1, x)
        later = sum((a * b).sum() for a, b in zip(leaves(state).values(), leaves(dstate).values(), strict=True))
        return (y @ dy + later).imag / h

    direction = [rng.standard_normal(p.shape) for p in leaves(params).values()]
    inner = sum((g * d).sum() for g, d in zip(leaves(expected[1]).values(), direction, strict=True))
    assert_close(np.array([inner]), np.array([along(direction)]), COMPLEX_STEP)


def test_rtrl_equals_dense_rtrl_from_the_forward_pass_alone(case, rng):
    local = isinstance(case.cell, Stack) and not isinstance(case.cell.layers[-1], Dense)
    layer = case.cell.build(D, RTRL(dense=local), seed=3)
    randomise(protocol.memory(layer.spec, layer._memory)[0].state, rng)
    w = rng.standard_normal(layer.n_outputs)
    params = {**{k: v.copy() for k, v in layer.parameters.items()}, "readout.w": w, "readout.b": np.zeros(1)}
    oracle = oracles.TDOracle(case.forward, params, case.n_state, 0.9, oracles.Optimizer("SGD", step_size=1.0))
    oracle.clear()
    oracle.state = np.concatenate([*layer.state.values(), []])
    for x in rng.standard_normal((10, D)):
        y = layer.advance(x)
        _, gradient = oracle.gradient(x)
    assert_close(y, gradient["readout.w"], PLAIN, "y")
    for name, value in layer.gradient(w).items():
        assert_close(value, gradient[name], COMPLEX_STEP, name)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_equals_autograd(kind, activation, seed):
    rng = np.random.default_rng(seed)
    layer = kind(N, activation=activation).build(D, seed=seed)
    inputs, w = rng.standard_normal((STEPS, D)), rng.standard_normal(2 * N)
    f = {"tanh": anp.tanh, "relu": lambda z: anp.maximum(z, 0.0), "identity": lambda z: z}[activation]

    def value(p):
        c = anp.zeros(2 * N)
        r, theta = anp.exp(-anp.exp(p["nu_log"])), anp.exp(p["theta_log"])
        gamma = anp.sqrt(1 - r**2)
        for x in inputs:
            c1, c2 = c[:N], c[N:]
            z1 = r * anp.cos(theta) * c1 - r * anp.sin(theta) * c2 + gamma * anp.dot(x, p["W1"])
            z2 = r * anp.cos(theta) * c2 + r * anp.sin(theta) * c1 + gamma * anp.dot(x, p["W2"])
            c = anp.concatenate([z1, z2])
            c = f(c) if kind is NonlinearRTU else c
        return anp.dot(w, c if kind is NonlinearRTU else f(c))

    for x in inputs:
        layer.advance(x)
    expected = autograd.grad(value)({name: view.copy() for name, view in layer.parameters.items()})
    for name, actual in layer.gradient(w).items():
        assert_close(actual, expected[name], AUTOGRAD, name)


def test_float32_follows_float64(case, rng):
    wide, narrow = (case.cell.build(D, seed=4, dtype=dtype) for dtype in ("float64", "float32"))
    dy = rng.standard_normal(wide.n_outputs)
    for name, view in wide.parameters.items():
        view[:] = narrow.parameters[name]
    for x in rng.standard_normal((STEPS, D)):
        y = narrow.advance(x)
        expected = wide.advance(x)
    assert y.dtype == np.float32
    assert_close(y, expected, FLOAT32)
    gradient = wide.gradient(dy)
    for name, value in narrow.gradient(dy).items():
        assert value.dtype == np.float32
        assert_close(value, gradient[name], FLOAT32, name)


@in_plain_python
def test_the_direct_form_is_clipped():
    layer = LinearRTU(3, parameterization="r/theta").build(D, seed=5)
    layer.parameters["r"][:] = [-0.5, 0.5, 1.5]
    for _ in range(3):
        y = layer.advance([1.0, 2.0, 3.0])
    assert np.isfinite(y).all()
    gradient = layer.gradient(np.ones(6))["r"]
    assert gradient[0] == gradient[2] == 0
    assert gradient[1] != 0


def test_reset_leaves_nothing_behind(kind, rng):
    fresh, used = kind(N).build(D, seed=9), kind(N).build(D, seed=9)
    for x in rng.standard_normal((STEPS, D)):
        used.advance(x)
    before = {name: view.copy() for name, view in used.parameters.items()}
    used.reset()
    dy = rng.standard_normal(2 * N)
    for x in rng.standard_normal((3, D)):
        assert np.array_equal(used.advance(x), fresh.advance(x))
    for name, value in used.gradient(dy).items():
        assert np.array_equal(value, fresh.gradient(dy)[name])
        assert np.array_equal(before[name], used.parameters[name])
