"""exp, expm1, tanh, sine and cosine: to the last places, at the edges, and vectorised."""

import mpmath
import numba
import numpy as np
import pytest

from rtu_np.numerics import elementary

# Largest errors allowed, in units in the last place of the correctly rounded value.
ULPS = {
    (np.float64, "exp"): 1.0,
    (np.float64, "expm1"): 2.0,
    (np.float64, "tanh"): 2.0,
    (np.float64, "sin"): 2.0,
    (np.float64, "cos"): 2.0,
    (np.float32, "exp"): 1.0,
    (np.float32, "expm1"): 2.0,
    (np.float32, "tanh"): 2.0,
    (np.float32, "sin"): 3.0,
    (np.float32, "cos"): 3.0,
}
PRECISIONS = pytest.mark.parametrize("real", [np.float64, np.float32], ids=["float64", "float32"])
compiled = pytest.mark.skipif(
    numba.config.DISABLE_JIT, reason="NumPy's own functions stand in where nothing is compiled"
)
plain_numba = numba.njit(error_model="numpy", fastmath={"contract"})


@plain_numba
def _exp(x, y):
    for k in range(x.size):
        y[k] = elementary.exp(x[k])


@plain_numba
def _expm1(x, y):
    for k in range(x.size):
        y[k] = elementary.expm1(x[k])


@plain_numba
def _tanh(x, y):
    for k in range(x.size):
        y[k] = elementary.tanh(x[k])


@plain_numba
def _sin(x, y):
    for k in range(x.size):
        y[k] = elementary.sin_cos(x[k])[0]


@plain_numba
def _cos(x, y):
    for k in range(x.size):
        y[k] = elementary.sin_cos(x[k])[1]


LOOPS = {"exp": _exp, "expm1": _expm1, "tanh": _tanh, "sin": _sin, "cos": _cos}


def evaluate(name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    with np.errstate(all="ignore"):
        LOOPS[name](x, y)
    return y


def arguments(name: str, real, n: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    largest = np.log(np.finfo(real).max) * 0.999
    smallest = np.log(np.finfo(real).smallest_subnormal) * 0.999
    small = np.exp(rng.uniform(-60, 0, n)) * rng.choice([-1, 1], n)
    x = {
        "exp": [rng.uniform(smallest, largest, n), rng.uniform(-1, 1, n), small],
        "expm1": [rng.uniform(-45, largest, n), rng.uniform(-1.5, 1.5, n), small],
        "tanh": [rng.uniform(-22, 22, n), rng.uniform(-1.5, 1.5, n), rng.uniform(-0.3, 0.3, n), small],
    }.get(name, [rng.uniform(-1e5, 1e5, n), rng.uniform(-7, 7, n), np.arange(1, n) * np.pi / 2, small])
    return np.concatenate(x).astype(real)


@compiled
@PRECISIONS
@pytest.mark.parametrize("name", LOOPS)
def test_error_in_units_in_the_last_place(name, real):
    x = arguments(name, real)
    with mpmath.workprec(200):
        exact = [getattr(mpmath, name)(mpmath.mpf(float(a))) for a in x]
        worst = 0.0
        for got, want in zip(evaluate(name, x), exact, strict=True):
            place = mpmath.mpf(float(np.spacing(np.abs(real(float(want))))))
            worst = max(worst, float(abs(mpmath.mpf(float(got)) - want) / place))
    print(f"{real.__name__} {name}: {worst:.2f} ulp")
    assert worst <= ULPS[real, name]


@PRECISIONS
@pytest.mark.parametrize("name", LOOPS)
def test_special_values(name, real):
    subnormal = np.finfo(real).smallest_subnormal
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4, subnormal, -subnormal], real)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    got = evaluate(name, x)
    far = (5, 6) if name in ("sin", "cos") else ()
    for k in range(x.size):
        if k not in far:
            assert np.array_equal(got[k], expected[k], equal_nan=True), f"{name}({x[k]})"
            assert np.isnan(x[k]) or np.signbit(got[k]) == np.signbit(expected[k]), f"sign of {name}({x[k]})"


@compiled
@PRECISIONS
def test_far_out_sine_and_cosine_stay_on_the_circle(real):
    x = np.concatenate([np.logspace(5, 15, 2000), np.logspace(15, np.log10(np.finfo(real).max) - 1, 500)]).astype(real)
    sine, cosine = evaluate("sin", x), evaluate("cos", x)
    assert np.abs(sine**2 + cosine**2 - 1).max() < {np.float64: 1e-14, np.float32: 1e-6}[real]


@compiled
@PRECISIONS
@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_vectorised_and_stay_in_their_precision(name, real):
    evaluate(name, np.ones(4, real))
    kernel = LOOPS[name]
    signature = next(s for s in kernel.signatures if s[0].dtype.name == real.__name__)
    body = kernel.inspect_llvm(signature).split("define ")[1]
    scalar, vector = ("double", "x double>") if real is np.float64 else ("float", "x float>")
    assert f"{vector}" in body, "no vector arithmetic"
    other = " x double>" if real is np.float32 else " x float>"
    assert other not in body, "arithmetic in the other precision"
    assert f"call {scalar} @" not in body.replace(f"call {scalar} @llvm", ""), "a call of a library function"


@plain_numba
def _both(x, y, z):
    for k in range(x.size):
        y[k], z[k] = elementary.exp(x[k]), elementary.exp_within_80(x[k])


@pytest.mark.parametrize("real", [np.float64, np.float32])
def test_exp_without_ends_has_the_bits_of_exp(real):
    x = np.concatenate([np.random.default_rng(0).uniform(-80, 80, 20_000), np.linspace(-1, 1, 2001), [0.0]]).astype(
        real
    )
    y, z = np.empty_like(x), np.empty_like(x)
    _both(x, y, z)
    assert np.array_equal(y, z)


def test_precision_is_kept():
    for function in (elementary.exp, elementary.expm1, elementary.tanh):
        assert function(np.float32(0.5)).dtype == np.float32
    assert elementary.sin_cos(np.float32(0.5))[0].dtype == np.float32
