"""Dual numbers: what each operation on a number computes, and its slopes by its arguments (derivations (88)).

A dual number is a value a and its tangents a_k, the derivatives by some inputs k. An operation f makes of dual numbers
a, b, ... the dual number

    y = f(a, b, ...)        y_k = f_a a_k + f_b b_k + ...        f_a = df/da, f_b = df/db, ...

So values and tangents of a whole step follow from one line here for each operation. A tangent that is zero for all
inputs is left out when the code is written, and so are the factors 1 and -1. Of two sides, only the one that is taken
counts (`Taken`).

At a kink, the slope is that of the side that the value is from: np.maximum(0, z) has the slope 0 at z = 0 and
np.maximum(z, 0) the slope 1, as np.where(z >= 0, z, 0) has.
"""

from typing import NamedTuple


class Rule(NamedTuple):
    """Expressions of compiled code: {0}, {1}, {2} are the arguments and {y} is the value."""

    value: str
    slopes: tuple[str, ...]  # by each argument; "0", "1" and "-1" are not computed


class Taken(str):
    """A condition as a slope: 1 where it holds, else 0.

    The tangent is chosen by it and not multiplied: the side that is not taken may be infinite, and 0 times infinity is
    no number.
    """


def _kink(condition: str) -> tuple[Taken, Taken]:
    return Taken(condition), Taken(f"not ({condition})")


RULES = {
    "positive": Rule("{0}", ("1",)),
    "negative": Rule("-{0}", ("-1",)),
    "add": Rule("{0} + {1}", ("1", "1")),
    "subtract": Rule("{0} - {1}", ("1", "-1")),
    "multiply": Rule("{0} * {1}", ("{1}", "{0}")),
    "divide": Rule("{0} / {1}", ("one / {1}", "-{y} / {1}")),
    "reciprocal": Rule("one / {0}", ("-{y} * {y}",)),
    "power": Rule("{0} ** {1}", ("{1} * {0} ** ({1} - one)", "{y} * np.log({0})")),
    "square": Rule("{0} * {0}", ("{0} + {0}",)),
    "sqrt": Rule("np.sqrt({0})", ("half / {y}",)),
    "exp": Rule("exp({0})", ("{y}",)),
    "expm1": Rule("expm1({0})", ("{y} + one",)),
    "log": Rule("np.log({0})", ("one / {0}",)),
    "log1p": Rule("np.log1p({0})", ("one / (one + {0})",)),
    "tanh": Rule("tanh({0})", ("one - {y} * {y}",)),
    "sigmoid": Rule("sigmoid({0})", ("{y} * (one - {y})",)),
    "logaddexp": Rule("np.logaddexp({0}, {1})", ("sigmoid({0} - {1})", "sigmoid({1} - {0})")),
    "sin": Rule("sin_cos({0})[0]", ("sin_cos({0})[1]",)),
    "cos": Rule("sin_cos({0})[1]", ("-sin_cos({0})[0]",)),
    "sinh": Rule("np.sinh({0})", ("np.cosh({0})",)),
    "cosh": Rule("np.cosh({0})", ("np.sinh({0})",)),
    "arctan": Rule("np.arctan({0})", ("one / (one + {0} * {0})",)),
    "absolute": Rule("abs({0})", ("-one if {0} < zero else one",)),
    "maximum": Rule("{1} if {0} < {1} else {0}", _kink("{0} < {1}")[::-1]),
    "minimum": Rule("{1} if {1} < {0} else {0}", _kink("{1} < {0}")[::-1]),
    "where": Rule("{1} if {0} else {2}", ("0", *_kink("{0}"))),
    "sign": Rule("zero if {0} == zero else (-one if {0} < zero else one)", ("0",)),
    "less": Rule("{0} < {1}", ("0", "0")),
    "less_equal": Rule("{0} <= {1}", ("0", "0")),
    "greater": Rule("{0} > {1}", ("0", "0")),
    "greater_equal": Rule("{0} >= {1}", ("0", "0")),
    "logical_and": Rule("{0} and {1}", ("0", "0")),
    "logical_or": Rule("{0} or {1}", ("0", "0")),
    "logical_not": Rule("not {0}", ("0",)),
}
COMPARISONS = {"less", "less_equal", "greater", "greater_equal"}
WITHOUT_SLOPE = {*COMPARISONS, "logical_and", "logical_or", "logical_not", "sign"}
# NumPy's own functions of a complex number drop its imaginary part, or compare by it: the gradient check replaces them.
WATCHED = {*COMPARISONS, "absolute", "maximum", "minimum", "sign", "logaddexp"}
