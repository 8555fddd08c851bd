"""Derives the numbers in rtu_np/numerics/elementary.py: polynomial coefficients, and log 2 and pi / 2 in parts.

    python tests/elementary_coefficients.py

prints them as that file holds them.

**Coefficients.** A polynomial p with n coefficients takes the values of f at the n Chebyshev points of [a, b],

    x_k = (a + b) / 2 + (b - a) / 2 cos((2 k + 1) pi / (2 n)),    k = 0 .. n - 1,

which are the roots of the Chebyshev polynomial of degree n. The four functions f are

    P(s) = (expm1 s - s - s^2 / 2) / s^3     |s| <= r,          r = 1.0001 log(2) / 2
    T(u) = (tanh x - x) / x^3                0 <= u <= 0.2725^2
    S(u) = (sin x - x) / x^3                 0 <= u <= r^2,     r = 1.0001 pi / 4
    C(u) = (cos x - 1 + x^2 / 2) / x^4       0 <= u <= r^2,     r = 1.0001 pi / 4

with x = sqrt(u). The last three are even in x, so the points lie in u. P is not even, so its points lie in s.
Each interval is a little wider than what is needed: rounding can leave |s| just above log(2) / 2 or pi / 4,
and the series of tanh ends at 0.27.

Each coefficient is rounded once, to float64. The tables for float32 hold float64 numbers too: the module rounds them.

**Parts.** Each part but the last is the rest so far, cut off (not rounded) after a number of binary digits. The last
part is the rest, rounded to float64. With d digits in a part and j digits in the integer m, their product is exact
where d + j is at most 53 in float64, and 24 in float32.
"""

from collections.abc import Callable

import mpmath
from mpmath import mpf

BITS = 200  # of every intermediate result; 400 give the same numbers
WIDER = "1.0001"
TANH_TO = "0.2725"
COUNTS = {
    "float64": {"P": 10, "T": 8, "S": 7, "C": 7},
    "float32": {"P": 5, "T": 4, "S": 4, "C": 4},
}
# Digits in a part, and how many parts. m has up to 11 digits for log 2 (8 in float32): any number from 12 to 14 gives
# the same parts in float32. For pi / 2 it has 16, as |x| is up to 1e5: any number from 35 to 38 gives the same parts
# in float64.
LOG2 = {"float64": (40, 2), "float32": (14, 2)}
HALF_PI = {"float64": (37, 3), "float32": (8, 5)}
HALF_PI_PARTS = 5  # that the module subtracts in both precisions; in float64 the last two are 0


def rest_of_expm1(s: mpf) -> mpf:
    # An odd number of points has one at 0, where the quotient is 0 / 0 and its limit is 1 / 6.
    return (mpmath.expm1(s) - s - s**2 / 2) / s**3 if s else mpf(1) / 6


def rest_of_tanh(u: mpf) -> mpf:
    x = mpmath.sqrt(u)
    return (mpmath.tanh(x) - x) / x**3


def rest_of_sine(u: mpf) -> mpf:
    x = mpmath.sqrt(u)
    return (mpmath.sin(x) - x) / x**3


def rest_of_cosine(u: mpf) -> mpf:
    x = mpmath.sqrt(u)
    return (mpmath.cos(x) - 1 + u / 2) / u**2


def interpolate(f: Callable[[mpf], mpf], a: mpf, b: mpf, count: int) -> tuple[float, ...]:
    """The coefficients, lowest power first, of the polynomial that equals f at the Chebyshev points of [a, b]."""
    # cospi gives exactly 0 in the middle, which cos(pi / 2) does not.
    points = [(a + b) / 2 + (b - a) / 2 * mpmath.cospi(mpf(2 * k + 1) / (2 * count)) for k in range(count)]
    powers = mpmath.matrix([[x**i for i in range(count)] for x in points])
    return tuple(map(float, mpmath.lu_solve(powers, mpmath.matrix([f(x) for x in points]))))


def split(x: mpf, digits: int, parts: int) -> tuple[float, ...]:
    """Numbers that add up to x, all but the last with so many binary digits."""
    leading = []
    for _ in range(parts - 1):
        _, exponent = mpmath.frexp(x)
        part = mpmath.ldexp(mpmath.floor(mpmath.ldexp(x, digits - exponent)), exponent - digits)
        leading.append(float(part))
        x -= part
    return *leading, float(x)


def tables(precision: str) -> dict[str, tuple[float, ...]]:
    """All tables for "float64" or "float32", under the names that the module gives them."""
    count = COUNTS[precision]
    with mpmath.workprec(BITS):
        log2, pi, wider = mpmath.log(2), +mpmath.pi, mpf(WIDER)
        s_to, tanh_to, turn_to = wider * log2 / 2, mpf(TANH_TO) ** 2, (wider * pi / 4) ** 2
        half_pi = split(pi / 2, *HALF_PI[precision])
        return {
            "log2": split(log2, *LOG2[precision]),
            "half_pi": half_pi + (0.0,) * (HALF_PI_PARTS - len(half_pi)),
            "P": interpolate(rest_of_expm1, -s_to, s_to, count["P"]),
            "T": interpolate(rest_of_tanh, mpf(0), tanh_to, count["T"]),
            "S": interpolate(rest_of_sine, mpf(0), turn_to, count["S"]),
            "C": interpolate(rest_of_cosine, mpf(0), turn_to, count["C"]),
        }


def source(name: str, numbers: tuple[float, ...]) -> str:
    """One table as a keyword argument, laid out as the formatter would."""
    in_parts = name in ("log2", "half_pi")  # hexadecimal digits show where a part ends
    written = [f'float.fromhex("{x.hex()}")' if in_parts and x else repr(x) for x in numbers]
    line = f"    {name}=({', '.join(written)}),"
    return line if len(line) <= 120 else "\n".join([f"    {name}=(", *(f"        {x}," for x in written), "    ),"])


def main() -> None:
    for precision in COUNTS:
        print(f"# {precision}", *(source(*table) for table in tables(precision).items()), sep="\n")


if __name__ == "__main__":
    main()
