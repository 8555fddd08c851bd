"""exp, expm1, tanh, sine and cosine of a scalar, in float64 and float32, without a branch.

Numba's own exp, tanh, sin and cos are calls to the C library, and a loop with a call in it does not vectorise. The
functions here consist of arithmetic, integer shifts and selections only, so loops that call them vectorise.

**exp, expm1, tanh.** With m = round(x / log 2) and s = x - m log 2, so that |s| <= log(2) / 2,

    e^x = 2^m (1 + q(s)),    expm1 x = 2^m q(s) + (2^m - 1),    tanh x = t / (t + 2) = 1 - 2 / (t + 2),  t = expm1(2 x)

where q(s) = s + s^2 / 2 + s^3 P(s) approximates expm1 s. Below 0.27 the division would cost the last digit, so there
tanh x = x + x^3 T(x^2). log 2 is subtracted in two parts. The first has so few digits that its product with m is exact,
whether or not the processor fuses it with the subtraction.

**sin, cos.** With m = round(2 x / pi), s = x - m pi / 2 in three parts or more, |s| <= pi / 4; polynomials for the sine
and cosine of s, exchanged and given signs by the last two bits of m. The table gives errors up to |x| = 1e5. Beyond,
digits are lost in proportion to |x|, until the pair is an arbitrary point of the unit circle, but never a point off the
circle. NaN and infinity give NaN.

Rounding to an integer adds and subtracts 1.5 x 2^52 (in float32 2^23); 2^m is m + bias moved into the exponent's bits.

P, T and the polynomials of sine and cosine interpolate at the Chebyshev points of their interval, computed with 200
bits; the interval is a little wider than needed. tests/elementary_coefficients.py computes and prints the coefficients.
Largest errors observed against correctly rounded values, in units in the last place, for 20,000 to 60,000 arguments in
each of several intervals, with fused multiply-add and without:

| | float64 | float32 |
|---|---|---|
| exp | 0.95 | 0.94 |
| expm1 | 1.92 | 1.42 |
| tanh | 1.36 | 1.34 |
| sin, cos to 1e5 | 1.52 | 2.98 |
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from rtu_np.jit import kernel, like, overload


def exp(x: Any) -> Any:
    """e^x"""
    return np.exp(x)


def exp_within_80(x: Any) -> Any:
    """e^x for |x| <= 80, with the bits of `exp`, in two thirds of its time; anything at all for other x"""
    return np.exp(x)


def expm1(x: Any) -> Any:
    """e^x - 1, with all digits near 0"""
    return np.expm1(x)


def tanh(x: Any) -> Any:
    """(e^x - e^-x) / (e^x + e^-x)"""
    return np.tanh(x)


def sin_cos(x: Any) -> tuple[Any, Any]:
    """(sin x, cos x)"""
    return np.sin(x), np.cos(x)


# ------------------------------------------------------------------------------------------------- compiled code
# Numba needs the NumPy type in the source for `view`, so each function exists twice.


@kernel
def _bits64(x):
    return np.float64(x).view(np.int64)


@kernel
def _scale64(x):
    """2^m, from x = rounder + bias + m."""
    return np.int64(_bits64(x) << 52).view(np.float64)


@kernel
def _bits32(x):
    return np.float32(x).view(np.int32)


@kernel
def _scale32(x):
    """2^m, from x = rounder + bias + m."""
    return np.int32(np.int32(_bits32(x)) << 23).view(np.float32)


class _Precision(NamedTuple):
    """Constants and functions of float64 or of float32."""

    real: Any
    bits: Callable
    scale: Callable
    rounder: float  # 1.5 x 2^digits: adding it rounds to an integer, in the lowest bits of the sum
    bias: float  # of the exponent
    highest: float  # exp overflows from here on
    lowest: float  # exp is 0 up to here
    saturated: float  # expm1 is -1 up to here
    tiny: float  # below, expm1 x = tanh x = sin x = x: this preserves subnormal digits, and the sign of 0
    log2: tuple[float, ...]
    half_pi: tuple[float, ...]
    P: tuple[float, ...]
    T: tuple[float, ...]
    S: tuple[float, ...]
    C: tuple[float, ...]


_FLOAT64 = _Precision(
    real=np.float64,
    bits=_bits64,
    scale=_scale64,
    rounder=1.5 * 2.0**52,
    bias=1023.0,
    highest=710.0,
    lowest=-746.0,
    saturated=-50.0,
    tiny=1e-300,
    log2=(float.fromhex("0x1.62e42fefa2000p-1"), float.fromhex("0x1.9ef35793c7673p-41")),
    half_pi=(
        float.fromhex("0x1.921fb54440000p+0"),
        float.fromhex("0x1.68c234c4c0000p-39"),
        float.fromhex("0x1.98a2e03707345p-77"),
        0.0,
        0.0,
    ),
    P=(
        0.16666666666666669,
        0.041666666666666664,
        0.008333333333330062,
        0.0013888888888886552,
        0.00019841269863053618,
        2.4801587317144498e-05,
        2.7557268459997064e-06,
        2.755728296954995e-07,
        2.510038549551032e-08,
        2.0911236630261545e-09,
    ),
    T=(
        -0.3333333333333333,
        0.133333333333323,
        -0.053968253965330275,
        0.02186948822043675,
        -0.00886321876136173,
        0.003591643167463576,
        -0.0014480291511009113,
        0.0005238082223597577,
    ),
    S=(
        -0.16666666666666666,
        0.008333333333333331,
        -0.0001984126984126506,
        2.7557319219335453e-06,
        -2.5052106231157904e-08,
        1.605853141458901e-10,
        -7.586685070091267e-13,
    ),
    C=(
        0.041666666666666664,
        -0.0013888888888888887,
        2.4801587301584645e-05,
        -2.755731922140076e-07,
        2.0876755790363397e-09,
        -1.1470460773969325e-11,
        4.7458652037874553e-14,
    ),
)
_FLOAT32 = _Precision(
    real=np.float32,
    bits=_bits32,
    scale=_scale32,
    rounder=1.5 * 2.0**23,
    bias=127.0,
    highest=89.0,
    lowest=-104.0,
    saturated=-20.0,
    tiny=1e-30,
    log2=(0.693115234375, 3.1946184945309415e-05),
    half_pi=(
        float.fromhex("0x1.92p+0"),
        float.fromhex("0x1.fap-12"),
        float.fromhex("0x1.54p-20"),
        float.fromhex("0x1.1p-30"),
        float.fromhex("0x1.68c234c4c6629p-39"),
    ),
    P=(0.16666666666666666, 0.041666554617204574, 0.008333320887169642, 0.0013926183587713494, 0.00019882698337221478),
    T=(-0.33333333134968596, 0.13333247769608908, -0.053910347505009684, 0.02060578094239914),
    S=(-0.16666666663853044, 0.008333331873837089, -0.00019840086263755443, 2.7249864655139585e-06),
    C=(0.04166666666431933, -0.0013888887671288108, 2.480059998353171e-05, -2.7300908167996537e-07),
)


class _Functions(NamedTuple):
    """The elementary functions in one precision."""

    exp: Callable
    expm1: Callable
    tanh: Callable
    sin_cos: Callable
    exp_within_80: Callable


def _compiled(k: _Precision) -> _Functions:
    """The functions in one precision. Constants have its type: a bare literal would lift float32 to float64."""
    real, bits, scale = k.real, k.bits, k.scale
    rounder, power = real(k.rounder), real(k.rounder + k.bias)
    highest, lowest, saturated, tiny = real(k.highest), real(k.lowest), real(k.saturated), real(k.tiny)
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)
    small, four_fifths, steepest, widest = real(0.27), real(0.8), real(25.0), real(0.8)
    per_log2, per_half_pi = real(1.4426950408889634), real(0.6366197723675814)
    log2_1, log2_2 = map(real, k.log2)
    pi_1, pi_2, pi_3, pi_4, pi_5 = map(real, k.half_pi)
    P, T, S, C = (tuple(map(real, coefficients)) for coefficients in (k.P, k.T, k.S, k.C))

    @kernel
    def polynomial(coefficients, x):
        total = coefficients[-1]
        for i in range(len(coefficients) - 2, -1, -1):
            total = total * x + coefficients[i]
        return total

    @kernel
    def reduced(x):
        """m and q(s) with x = m log 2 + s."""
        m = (x * per_log2 + rounder) - rounder
        s = (x - m * log2_1) - m * log2_2
        return m, s + s * s * (half + s * polynomial(P, s))

    def exp(x):
        x = highest if x > highest else x  # NaN compares false, and so passes
        x = lowest if x < lowest else x
        m, q = reduced(x)
        # 2^m in two factors: m may be outside the range of an exponent while the result is subnormal or infinite.
        half_m = (m * half + rounder) - rounder
        return (one + q) * scale(half_m + power) * scale((m - half_m) + power)

    def exp_within_80(x):
        m, q = reduced(x)
        return (one + q) * scale(m + power)

    @kernel
    def _expm1(x):
        x = highest if x > highest else x
        x = saturated if x < saturated else x
        m, q = reduced(x)
        half_scale = scale((m - one) + power)  # 2^(m - 1), as 2^m itself may overflow too early
        return two * (half_scale * q + (half_scale - half))

    def expm1(x):
        y = _expm1(x)
        return x if abs(x) < tiny else y

    def tanh(x):
        a = abs(x)
        u = x * x
        series = x + x * u * polynomial(T, u)
        t = _expm1(two * (steepest if a > steepest else a))
        # Both forms are tanh a. The first does not cancel for small a, the second rounds less for large a.
        near = a < four_fifths
        y = (t if near else two) / (t + two)
        y = y if near else one - y
        y = -y if x < zero else y
        y = series if a < small else y
        return x if a < tiny else y

    def sin_cos(x):
        rounded = x * per_half_pi + rounder
        m = rounded - rounder
        s = ((((x - m * pi_1) - m * pi_2) - m * pi_3) - m * pi_4) - m * pi_5
        # Even if |x| is too large for any digit, the pair is on the unit circle: a recurrence must not blow up.
        s = widest if s > widest else s
        s = -widest if s < -widest else s
        u = s * s
        sine = s + s * u * polynomial(S, u)
        cosine = one - half * u + u * u * polynomial(C, u)
        turns = bits(rounded)
        odd = (turns & 1) != 0
        first, second = (cosine if odd else sine), (sine if odd else cosine)
        first = -first if (turns & 2) != 0 else first
        second = -second if ((turns + 1) & 2) != 0 else second
        return (x if abs(x) < tiny else first), second

    return _Functions(exp, expm1, tanh, sin_cos, exp_within_80)


_IMPLEMENTATIONS = {types.float64: _compiled(_FLOAT64), types.float32: _compiled(_FLOAT32)}
_IN_PYTHON = _Functions(exp, expm1, tanh, sin_cos, exp_within_80)


def _choose(k: int) -> Callable[[Any], Callable | None]:
    return lambda x: _IMPLEMENTATIONS[x][k] if x in _IMPLEMENTATIONS else None


for _k, _function in enumerate(_IN_PYTHON):
    overload(_function)(_choose(_k))


@kernel
def sigmoid(x):
    """1 / (1 + e^-x), without a branch; 0 if e^-x overflows."""
    one = like(x, 1.0)
    return one / (one + exp(-x))
