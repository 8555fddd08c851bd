"""`rtrl` and `bptt` of plain functions: against closed forms, extended precision, and the cells of the package."""

import mpmath
import numpy as np
import pytest
from cases import COMPILED
from oracles import rtu
from recurrence_cases import backward, gated, homework
from tolerances import COMPLEX_STEP, DIFFERENCES, PLAIN, assert_close

from rtu_np import RTRL, LinearRTU, NonlinearRTU, bptt, check_recurrence, rtrl

both = pytest.mark.parametrize("gradient", [rtrl, bptt])
pytestmark = pytest.mark.skipif(not COMPILED, reason="it is plain NumPy, whatever Numba does")


def leaky(params, h, x):
    h = params["a"] * h + x
    return h, params["w"] * h


@both
@pytest.mark.parametrize("derivatives", [None, "complex step", "differences"])
def test_a_leaky_integrator_in_closed_form(gradient, derivatives):
    """y_T = w (a^T h_0 + sum of a^(T-t) x_t)."""
    a, w, h0, xs, dy = 0.8, -1.5, 0.3, np.array([1.0, 2.0, -1.0, 0.5, 3.0]), 2.0
    T = len(xs)
    ages = np.arange(T)[::-1]
    by_a = w * (T * a ** (T - 1) * h0 + np.sum(ages * a ** np.maximum(ages - 1, 0) * xs))
    by_w = a**T * h0 + np.sum(a**ages * xs)
    found = gradient(leaky, {"a": a, "w": w}, h0, xs, dy, derivatives=derivatives)
    tolerance = DIFFERENCES if derivatives == "differences" else PLAIN
    assert_close([found["a"], found["w"]], [dy * by_a, dy * by_w], tolerance)


@both
def test_resets_begin_again(gradient):
    params, h, xs = homework()
    h, dy = np.array([0.1, -0.2, 0.3, 0.4]), np.array([1.0, -2.0, 0.5, 3.0])
    found = gradient(gated, params, h, xs, dy, resets=[3, 7])
    later = gradient(gated, params, h, xs[7:], dy)
    for name, array in backward(params, h, xs[7:], dy).items():
        assert_close(found[name], array, PLAIN, name)
        assert np.array_equal(found[name], later[name])


@both
def test_extended_precision(gradient):
    """Forty digits, differences with h = 1e-12 of a vanilla RNN: no digit of float64 is lost in it."""
    rng = np.random.default_rng(5)
    W, U, h, xs = (rng.standard_normal(shape) for shape in ((2, 3), (3, 3), (3,), (7, 2)))

    def forward(params, h, x):
        h = np.tanh(x @ params["W"] + h @ params["U"])
        return h, h.sum()

    def value(W, U):
        state = mpmath.matrix(h.tolist()).T
        for x in xs:
            state = (mpmath.matrix(x.tolist()).T * W + state * U).apply(mpmath.tanh)
        return sum(state)

    found = gradient(forward, {"W": W, "U": U}, h, xs, 1.0)
    with mpmath.workdps(40):
        step = mpmath.mpf(10) ** -12
        for name, array in (("W", W), ("U", U)):
            expected = np.zeros_like(array)
            for index in np.ndindex(array.shape):
                values = []
                for sign in (1, -1):
                    at = {"W": mpmath.matrix(W.tolist()), "U": mpmath.matrix(U.tolist())}
                    at[name][index] += sign * step
                    values.append(value(**at))
                expected[index] = float((values[0] - values[1]) / (2 * step))
            assert_close(found[name], expected, PLAIN, name)


@both
@pytest.mark.parametrize("kind", [LinearRTU, NonlinearRTU])
def test_a_cell_of_the_package(kind, gradient):
    """The layer's hand-written RTRL, and the same recurrence as a plain function of tests/oracles.py."""
    layer = kind(4).build(3, RTRL(), seed=2)
    rng = np.random.default_rng(2)
    xs, dy = rng.standard_normal((20, 3)), rng.standard_normal(8)
    params = {name: view.copy() for name, view in layer.parameters.items()}

    def forward(params, state, x):
        return rtu(kind is NonlinearRTU, "tanh", params, state, x)

    state = np.zeros(8)
    for x in xs:
        layer.advance(x)
    found = gradient(forward, params, state, xs, dy)
    for name, view in layer.gradient(dy).items():
        assert_close(found[name], view, COMPLEX_STEP, name)
    report = check_recurrence(forward, params, state, xs, layer.gradient(dy), dy)
    assert report.passed, str(report)
    assert report.max_error <= COMPLEX_STEP


def test_a_layer_is_a_function_of_the_stream():
    """Compiled RTRL, checked from outside for all lengths; and T-BPTT, named."""
    from rtu_np import TBPTT

    def carried(method):
        def gradient(params, state, xs, dy):
            layer = LinearRTU(3).build(2, method, seed=1)
            for x in xs:
                layer.advance(x)
            return dict(layer.gradient(dy))

        return gradient

    def forward(params, state, x):
        return rtu(False, "tanh", params, state, x)

    params = {name: view.copy() for name, view in LinearRTU(3).build(2, RTRL(), seed=1).parameters.items()}
    arguments = params, np.zeros(6), np.random.default_rng(1).standard_normal((16, 2))
    assert check_recurrence(forward, *arguments, carried(RTRL())).passed
    report = check_recurrence(forward, *arguments, carried(TBPTT(5)))
    assert not report.passed
    assert {row.kind for row in report.parameters} == {"truncated to 5"}
    assert report.parting.steps == 6


@both
def test_a_random_dy_is_drawn_once(gradient):
    one, other = (gradient(gated, *homework()) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)


@both
def test_a_function_that_drops_imaginary_parts_gets_differences(gradient):
    def forward(params, h, x):
        h = np.tanh(0.5 * h + np.abs(x @ params["W"]))
        return h, h

    rng = np.random.default_rng(4)
    W, xs, h, dy = rng.standard_normal((2, 3)), rng.standard_normal((4, 2)), np.zeros(3), np.ones(3)
    expected = gradient(lambda p, h, x: forward_by_sign(p, h, x), {"W": W}, h, xs, dy)["W"]
    assert_close(gradient(forward, {"W": W}, h, xs, dy)["W"], expected, DIFFERENCES)
    with pytest.raises(
        ValueError, match=r"'complex step', and at xs.0. it differs from central differences; does forward"
    ):
        gradient(forward, {"W": W}, h, xs, dy, derivatives="complex step")


def forward_by_sign(params, h, x):
    z = x @ params["W"]
    h = np.tanh(0.5 * h + np.where(z > 0, z, -z))
    return h, h
