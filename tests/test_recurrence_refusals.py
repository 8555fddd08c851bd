"""What `check_recurrence`, `rtrl` and `bptt` do with bad input, and what they say of functions that limit the check."""

import math

import numpy as np
import pytest
from cases import COMPILED
from recurrence_cases import backward, forward_mode, gated, homework

from rtu_np import bptt, check_recurrence, rtrl

pytestmark = pytest.mark.skipif(not COMPILED, reason="it is plain NumPy, whatever Numba does")
PARAMS, H, XS = homework()
RIGHT = backward(PARAMS, H, XS, np.ones(4))


def refused(error, message, forward=gated, params=PARAMS, state=H, xs=XS, **more):
    with pytest.raises(error) as caught:
        check_recurrence(forward, params, state, xs, **more)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text


def noisy(params, h, x, rng=np.random.default_rng(0)):  # noqa: B008  the state that a pure function may not have
    h, y = gated(params, h, x)
    return h, y + 1e-6 * rng.standard_normal()


class Counter:
    """From the third call on, another function."""

    calls = 0

    def __call__(self, params, h, x):
        self.calls += 1
        h, y = gated(params, h, x)
        return h, y * (1.0 if self.calls < 15 else 1.001)


def in_place(params, h, x):
    h += x.sum()
    return h, h


@pytest.mark.parametrize("forward", [lambda: noisy, Counter])
def test_a_forward_that_is_not_pure(forward):
    refused(ValueError, "forward is not a pure function: two calls with the same arguments give ", forward())
    refused(ValueError, "does it draw random numbers, or keep a state?", forward())


def test_a_forward_that_changes_its_arguments():
    h = np.zeros(4)
    refused(ValueError, "forward changes state[0] in place: expected a function that leaves", in_place, state=h)
    assert not h.any()


@pytest.mark.parametrize(
    ("forward", "error", "message"),
    [
        (np.eye(2), TypeError, "forward is a value of type ndarray: expected a function forward(params, state, x) ->"),
        (lambda p, h, x: (h, None), ValueError, "the y that forward returned has no numbers"),
        (
            lambda p, h, x: h,
            TypeError,
            "forward returned a value of type ndarray for xs[0]: expected a pair (state, y)",
        ),
        (
            lambda p, h, x: (h[:2], h),
            ValueError,
            "the state that forward returned has shape (2,): expected (4,), that of state",
        ),
        (
            lambda p, h, x: ({"h": h}, h),
            ValueError,
            "the state that forward returned has 'h': expected one array, as in state",
        ),
        (lambda p, h, x: (h, h[: 2 + (x[0] > 0)]), ValueError, "the y that forward returned has shape"),
        (
            lambda p, h, x: (h + np.nan, h),
            ValueError,
            "forward gives state[0] = nan for xs[0]: expected finite numbers",
        ),
        (lambda p, h, x: (h, h + 1j), TypeError, "y has dtype complex128: expected float64 or float32"),
    ],
)
def test_a_forward_that_returns_something_else(forward, error, message):
    refused(error, message, forward)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"params": {}}, ValueError, "params has no numbers: expected arrays to differentiate by"),
        (
            {"params": {**PARAMS, "bu": np.arange(4)}},
            TypeError,
            "params['bu'] has dtype int64: expected float64 or float32",
        ),
        (
            {"params": {**PARAMS, "bu": np.full(4, np.nan)}},
            ValueError,
            "params['bu'][0] is nan: expected finite numbers",
        ),
        ({"state": np.ma.masked_less(H, 1)}, ValueError, "state has masked numbers: expected finite numbers"),
        ({"state": "h"}, TypeError, "state has dtype <U1: expected float64 or float32"),
        ({"xs": iter(XS)}, TypeError, "xs is a value of type"),
        (
            {"params": {"a": 1}},
            TypeError,
            "params['a'] has dtype int64: expected float64 or float32; write 1.0 and not 1",
        ),
        ({"xs": []}, ValueError, "xs is a value of type list of length 0: expected"),
        ({"dy": np.ones(3)}, ValueError, "dy has shape (3,): expected (4,), that of y"),
        ({"dy": np.array([1, 1, 1, np.inf])}, ValueError, "dy[3] is inf: expected finite numbers"),
        (
            {"resets": 3},
            TypeError,
            "resets is a value of type int: expected a list of steps before which the state is set back",
        ),
        ({"resets": [12]}, ValueError, "resets[0] is 12: expected an integer of at least 0 and at most 11"),
        ({"tolerance": 0}, ValueError, "tolerance is 0: expected a finite number in (0"),
        ({"tolerance": 1e-17}, ValueError, "tolerance is 1e-17: expected at least "),
    ],
)
def test_arguments(arguments, error, message):
    refused(error, message, **arguments)


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (
            {n: g for n, g in RIGHT.items() if n != "Uu"},
            ValueError,
            "gradient lacks 'Uu': expected the names of params, 'Wu', ",
        ),
        ({**RIGHT, "V": H}, ValueError, "gradient has 'V', which params has not: expected the names of params, 'Wu', "),
        (
            {**RIGHT, "Wu": RIGHT["Wu"].T},
            ValueError,
            "gradient['Wu'] has shape (4, 3): expected (3, 4), that of params['Wu']; is it",
        ),
        ({**RIGHT, "bu": 1.0}, ValueError, "gradient['bu'] has shape (): expected (4,), that of params['bu']"),
        ({**RIGHT, "bu": np.array([1, np.nan, 2, 3])}, ValueError, "gradient['bu'][1] is nan: expected finite numbers"),
        ({**RIGHT, "bu": H + 1j}, TypeError, "gradient has complex numbers: expected real ones"),
        ({**RIGHT, "bu": None}, ValueError, "gradient lacks 'bu'"),
        (RIGHT["Wu"], ValueError, "gradient lacks 'Wu', 'Uu', 'bu', 'Wg', 'Ug', 'bg': expected the names of params"),
        (
            lambda p, h, xs: RIGHT,
            TypeError,
            "gradient has the arguments p, h, xs (too many positional arguments): expected",
        ),
        (lambda p, h, xs: RIGHT, TypeError, "names its third argument 'sensitivities'"),
        (
            lambda p, h, sensitivities, x: (h, h),
            TypeError,
            "gradient returned a value of type tuple for xs[0]: expected (state, y,",
        ),
        (
            lambda p, h, sensitivities, x: (h, h, sensitivities),
            ValueError,
            "gradient, as a step, gives state[0] = 0.0 for xs[0], and",
        ),
        (
            lambda p, h, sensitivities, x: (*gated(p, h, x), {n: s[0] for n, s in sensitivities.items()}),
            ValueError,
            "the sensitivities that gradient returned['Wu'] has shape (3, 4): expected (4, 3, 4)",
        ),
    ],
)
def test_gradients(gradient, error, message):
    refused(error, message, gradient=gradient)


def test_an_error_of_forward_says_how_it_was_called():
    with pytest.raises(KeyError) as caught:
        check_recurrence(lambda p, h, x: (p["V"], h), PARAMS, H, XS)
    assert caught.value.__notes__ == ["forward was called as forward(params, state, xs[0])"]


def test_an_error_of_a_gradient_says_for_how_many_steps():
    with pytest.raises(IndexError) as caught:
        check_recurrence(gated, PARAMS, H, XS, lambda p, h, xs, dy: xs[3] and RIGHT if len(xs) < 4 else RIGHT)
    assert caught.value.__notes__ == ["gradient was called with the first 1 of 12 inputs"]


def test_inputs_that_forward_changes():
    def forward(params, h, x):
        x *= 2
        return gated(params, h, x)

    def later(params, h, x):
        if h.any():
            x *= 2
        return gated(params, h, x)

    xs = XS.copy()
    refused(ValueError, "forward changes xs[0] in place", forward, xs=xs)
    refused(ValueError, "forward is not a pure function", later, xs=xs)
    assert np.array_equal(xs, XS)


def test_differences_in_the_place_of_a_gradient():
    def gradient(params, h, xs, dy):
        out = {}
        for name, array in params.items():
            out[name] = np.zeros_like(array)
            for index in np.ndindex(array.shape):
                values = []
                for by in (1e-6, -1e-6):
                    moved, state = {**params, name: array.copy()}, h
                    moved[name][index] += by
                    for x in xs:
                        state, y = gated(moved, state, x)
                    values.append(y @ dy)
                out[name][index] = (values[0] - values[1]) / 2e-6
        return out

    report = check_recurrence(gated, PARAMS, H, XS[:4], gradient)
    assert not report.passed
    assert "computed in float32, or by differences?" in report.hints[0]
    assert check_recurrence(gated, PARAMS, H, XS[:4], gradient, tolerance=1e-6).passed


def test_a_gradient_that_is_nan_for_few_steps_says_for_how_many():
    def gradient(params, h, xs, dy):
        return {n: g / (1.0 if len(xs) > 1 else np.nan) for n, g in backward(params, h, xs, dy).items()}

    refused(ValueError, "gradient['Wu'][0, 0] is nan for the first 1 of 12 inputs: expected finite", gradient=gradient)


SINGLE = {name: array.astype("float32") for name, array in PARAMS.items()}


@pytest.mark.parametrize("way", [rtrl, bptt])
def test_float32_where_complex_step_is_asked(way):
    with pytest.raises(
        ValueError, match=r"params\['Wu'\] is float32 and derivatives is 'complex step': expected float64"
    ):
        way(gated, SINGLE, H, XS, derivatives="complex step")
    with pytest.raises(ValueError, match="derivatives is 'complex': expected one of 'complex step', 'differences'"):
        way(gated, PARAMS, H, XS, derivatives="complex")
    with pytest.raises(
        ValueError, match=r"is 'complex step', and forward does not take complex .*: expected 'differences'"
    ):
        way(lambda p, h, x: (h, math.exp(p)), 0.5, H, XS, derivatives="complex step")


def test_float32_is_held_to_1e_5():
    message = (
        "tolerance is 1e-08, and params['Wu'] is float32: expected at least 1e-06; complex step shows more, and needs"
    )
    refused(ValueError, message, params=SINGLE, gradient=backward, tolerance=1e-8)
    report = check_recurrence(gated, SINGLE, H.astype("float32"), XS.astype("float32"), backward)
    assert report.passed
    assert report.tolerance == 1e-5
    assert 1e-9 < report.max_error < 1e-6
    wrong = {name: array * np.float32(1 + 5e-5) for name, array in RIGHT.items()}
    assert not check_recurrence(gated, SINGLE, H, XS, wrong, np.ones(4)).passed


def with_abs(params, h, x):
    """|z| for complex z is no longer differentiable, and NumPy does not complain."""
    h = np.tanh(0.5 * h + np.abs(x @ params["W"] + 2.0))
    return h, h


def into_a_real_buffer(params, h, x):
    out = np.empty(3)
    out[:] = np.tanh(0.5 * h + x @ params["W"])
    return out, out


def by_math(params, h, x):
    h = np.array([math.tanh(0.5 * h[k] + (x @ params["W"])[k]) for k in range(3)])
    return h, h


def in_float32(params, h, x):
    h = np.tanh(np.float32(0.5) * h + x @ params["W"]).astype("float32")
    return h, h


@pytest.mark.parametrize(
    ("forward", "note"),
    [
        (with_abs, "does forward call abs, .real or float, which drop imaginary parts?"),
        (into_a_real_buffer, "no complex step: forward does not take complex numbers (ComplexWarning: "),
        (by_math, "no complex step: forward does not take complex numbers (ComplexWarning: "),
        (in_float32, "no complex step: forward computes in float32"),
    ],
)
def test_functions_without_complex_step(forward, note):
    rng = np.random.default_rng(4)
    params, xs = {"W": 0.3 * rng.standard_normal((2, 3))}, rng.standard_normal((5, 2))
    report = check_recurrence(forward, params, np.zeros(3), xs, lambda *a: bptt(forward, *a))
    assert report.passed, str(report)
    assert note in str(report)
    assert {row.complex_step for row in report.parameters} == {None}
    single = forward is in_float32
    assert report.tolerance == pytest.approx(1e-8, abs=0) if not single else 1e-5 <= report.tolerance <= 1e-3
    wrong = bptt(forward, params, np.zeros(3), xs)["W"]
    wrong[1, 2] += 1e-2 * np.abs(wrong).max()
    assert not check_recurrence(forward, params, np.zeros(3), xs, {"W": wrong}).passed


def test_recurrent_weights_in_float32_from_a_state_of_zero():
    """Their gradient is zero after one step, where nothing is known of it to a part of itself."""

    def forward(params, h, x):
        h = np.tanh(params["W"] @ x + params["U"] @ h).astype("float32")
        return h, h

    rng = np.random.default_rng(1)
    params = {"W": rng.standard_normal((3, 2)) / 2, "U": rng.standard_normal((3, 3)) / 3}
    xs = rng.standard_normal((6, 2))
    assert check_recurrence(forward, params, np.zeros(3), xs).passed
    wrong = bptt(forward, params, np.zeros(3), xs, np.ones(3))
    wrong["U"] *= 1.01
    assert not check_recurrence(forward, params, np.zeros(3), xs, wrong, np.ones(3)).passed


def test_a_kink_that_is_met_is_said():
    def forward(params, h, x):
        h = np.maximum(params["a"] * x, 0.0) + 0.5 * h
        return h, h

    report = check_recurrence(forward, {"a": np.zeros(1)}, np.zeros(1), [1.0, 2.0])
    assert "differences are unsure at a[0], T = 1; is there a kink" in str(report)

    def with_abs(params, h, x):
        h = math.fabs(params["a"] * x) + 0.5 * h
        return h, h

    report = check_recurrence(with_abs, {"a": 0.0}, 0.0, [1.0, 2.0])
    assert not report.passed
    assert "so nothing can be claimed; is there a kink or a jump near by" in str(report)


def test_a_parameter_without_effect_is_said():
    report = check_recurrence(
        gated, {**PARAMS, "unused": np.ones(2)}, H, XS, {**RIGHT, "unused": np.zeros(2)}, np.ones(4)
    )
    assert report.passed
    assert "nothing is shown of unused: the gradient by it is zero" in str(report)
    report = check_recurrence(
        gated, {**PARAMS, "unused": np.ones(2)}, H, XS, {**RIGHT, "unused": np.ones(2)}, np.ones(4)
    )
    assert not report.passed


def test_arguments_stay_as_they_are():
    params, h, xs = homework()

    def careless(params, h, xs, dy):
        d = backward(params, h, xs, dy)
        for array in params.values():
            array[...] = 0
        h += 1
        return d

    assert check_recurrence(gated, params, h, xs, careless).passed
    assert check_recurrence(gated, params, h, xs, forward_mode).passed
    for name, array in homework()[0].items():
        assert np.array_equal(params[name], array)
    assert not h.any()
