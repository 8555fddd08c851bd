"""What the campaign's tests share: how many examples, random numbers and arrays, and how a door is judged.

A door is a public function. What comes through it is drawn as either good or bad. The good must give the right result,
and the bad must give a documented error that names the argument, after which nothing has changed.
"""

import math
import os
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Examples per door. RTU_NP_FUZZ=10000 python -m pytest tests/test_campaign_*.py: hours. Each such run draws others.
FUZZ = os.environ.get("RTU_NP_FUZZ")
REFUSALS = (TypeError, ValueError)


def door(examples: int) -> Callable[[Any], Any]:
    """Settings of a property that is tried on `examples` examples, or on RTU_NP_FUZZ of them."""
    return settings(
        max_examples=int(FUZZ or examples),
        derandomize=FUZZ is None,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def outcome(call: Callable[[], Any], *errors: type[BaseException]) -> Any:
    """What `call` returns, or the error that it raises, if it is one of `errors`."""
    try:
        return call()
    except errors as error:
        return error


def refuses(call: Callable[[], Any], names: str, state: Callable[[], bytes], errors: Any = REFUSALS) -> None:
    """Check that `call` raises one of `errors`, whose message has `names`, and that `state()` stays."""
    before = state()
    with pytest.raises(errors) as caught:
        accepted(call())
    assert re.search(names, str(caught.value)), f"the message does not name {names}: {caught.value}"
    assert state() == before


def accepted(result: Any) -> None:
    raise AssertionError(f"accepted: {result!r}")


# ----------------------------------------------------------------------------------------------------------- numbers

FLOATS = st.one_of(st.floats(-8, 8), st.sampled_from([0.0, -0.0, 1.0, 1e-200, -5e-324, 1e-40]))
WHOLE = st.integers(-8, 8)
KINDS = ("float64", "float32", "float16", "longdouble", "int8", "int64", "bool", ">f8", "<i2")


@st.composite
def good_numbers(draw, low: float = -8.0, high: float = 8.0) -> Any:
    """One real number of any type, as data are given."""
    number = draw(st.one_of(st.floats(low, high), st.sampled_from([low, high])))
    whole = draw(st.integers(math.ceil(low), math.floor(high)))
    kind = draw(st.sampled_from(["float", "int", "bool", "Fraction", "Decimal", "0-d", "object", *KINDS]))
    if kind == "float":
        return number
    if kind in ("int", "bool"):
        return whole if kind == "int" else bool(abs(whole) % 2)
    if kind in ("Fraction", "Decimal"):
        return Fraction(whole) if kind == "Fraction" else Decimal(whole)
    if kind in ("0-d", "object"):
        return np.array(number) if kind == "0-d" else np.array(Fraction(whole), object)
    if kind == "float16":
        return np.float16(whole)
    exact = kind in ("float64", "float32", "longdouble", ">f8")
    if kind == "float32":
        number = float(np.clip(np.float32(number), *np.float32([low, high])))
        exact = low <= number <= high
    return np.array(number if exact else abs(whole) % 2 if kind == "bool" else whole, kind)[()]


# What is no real number, or not finite.
BAD_NUMBERS = st.one_of(
    st.sampled_from([None, math.nan, math.inf, -math.inf, "1", "", b"1", 1j, {}, {1.0}, object(), ...]),
    st.sampled_from(
        [np.float32("nan"), np.longdouble("inf"), np.datetime64("NaT"), np.timedelta64(1, "s"), np.str_("2")]
    ),
    st.sampled_from([Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), 10**400, -(10**5000), Fraction(10**400)]),
    st.sampled_from([[], [1.0], (1.0, 2.0), np.zeros(1), np.zeros((1, 1)), np.ma.masked, np.array("x"), np.array(1j)]),
    st.sampled_from([np.array(math.nan), np.array(None), np.array({}), np.ma.masked_array(1.0, mask=True), math.sqrt]),
)
TOO_LARGE = {"float32": (1e39, -1e300, 10**50, np.longdouble(1e60)), "float64": (np.longdouble("1e400"), 10**309)}


def bad_numbers(dtype: str) -> st.SearchStrategy[Any]:
    return st.one_of(BAD_NUMBERS, st.sampled_from(TOO_LARGE[dtype]))


# ------------------------------------------------------------------------------------------------------------ arrays


def given_as(draw: Any, array: np.ndarray) -> Any:
    """The numbers of a float64 array in another form: a list, another order in memory, another type."""
    negative_zero = (array == 0) & np.signbit(array.astype(np.float64))  # which integers lack
    whole = bool((array == np.round(array)).all() and (np.abs(array) < 100).all() and not negative_zero.any())
    small = bool((array.astype(np.float32) == array).all())
    forms = ["same", "list", "tuples", "Fortran", "strided", "reversed", "read-only", "objects", "longdouble", ">f8"]
    forms += ["unmasked", "subclass"] + ["float32"] * small + ["int8", "int64", "Fractions"] * whole
    form = draw(st.sampled_from(forms))
    if form == "list":
        return array.tolist()
    if form == "tuples":
        return tuple(map(tuple, array.tolist())) if array.ndim > 1 else tuple(array.tolist())
    if form == "Fortran":
        return np.asfortranarray(array)
    if form == "strided":
        return np.repeat(array, 2, axis=0)[::2]
    if form == "reversed":
        return array[::-1].copy()[::-1]
    if form == "read-only":
        copy = array.copy()
        copy.setflags(write=False)
        return copy
    if form in ("objects", "Fractions"):
        kind = Fraction if form == "Fractions" else float
        flat = np.array([None, *map(kind, array.ravel().astype(float).tolist())], object)[1:]
        return flat.reshape(array.shape)
    if form == "unmasked":
        return np.ma.masked_array(array, mask=np.zeros(array.shape, bool))
    if form == "subclass":
        return array.view(np.recarray) if array.ndim == 1 else array.view(np.matrix)
    return array if form == "same" else array.astype(form)


def floats(draw: Any, *shape: int, elements: st.SearchStrategy[float] = FLOATS) -> np.ndarray:
    """A float64 array, of whole numbers or of any."""
    elements = draw(st.sampled_from([elements, WHOLE.map(float), st.sampled_from([0.0, 1.0])]))
    n = math.prod(shape)
    return np.array(draw(st.lists(elements, min_size=n, max_size=n)), np.float64).reshape(shape)


def spoiled(draw: Any, array: np.ndarray, dtype: str) -> Any:
    """The array with a fault: a number that is not usable, another shape, or another type of elements."""
    fault = draw(st.sampled_from(["number", "element", "masked", "wider", "ndim", "ragged", "type", "nothing"]))
    array = array.copy()
    at = tuple(draw(st.integers(0, n - 1)) for n in array.shape)
    if fault == "number":
        array[at] = draw(st.sampled_from([math.nan, math.inf, -math.inf, *([1e39] if dtype == "float32" else [])]))
        return draw(st.sampled_from([array, array.tolist(), array.astype(object), array.astype(np.longdouble)]))
    if fault == "element":
        objects = array.astype(object)
        objects[at] = draw(
            st.sampled_from([None, "x", 1j, math.nan, 10**400, Decimal("sNaN"), {}, np.datetime64("NaT")])
        )
        return objects
    if fault == "masked":
        mask = np.zeros(array.shape, bool)
        mask[at] = True
        return np.ma.masked_array(array, mask=mask)
    if fault == "wider":
        return np.concatenate([array, array[..., :1]], axis=-1)
    if fault == "ndim":
        return array[None, None]
    if fault == "ragged":
        rows = array.tolist()
        return [*rows, [rows[0], 1.0]]
    if fault == "type":
        return draw(st.sampled_from([array.astype(str), array + 0j, array.astype("M8[s]"), array.astype("S4")]))
    return draw(st.sampled_from([None, 1.0, "x", [], {}, math.nan, object(), np.zeros(0)]))
