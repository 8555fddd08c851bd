"""A fingerprint is remembered as long as nothing that it read has changed."""

import types
from typing import NamedTuple

import pytest

from rtu_np import fingerprint, jit
from rtu_np.fingerprint import Fingerprint, text_of

SOURCE = """
A, TABLE = 2.0, {"a": 2.0}

def callee(x, y=1.0):
    return x * A

def other(x, y=1.0):
    return x + A

def make(k=3.0):
    def run(kind, x):
        return apply(kind, callee(x)) * k + helper.B + TABLE["a"] + abs(x)

    def put(value):
        nonlocal k
        k = value

    return run, put

def with_list(kind, x):
    return x * LIST[0]
"""


class Kind(NamedTuple):
    size: int


class Code:
    """Functions that call each other, and what they name."""

    def __init__(self) -> None:
        @jit.generic
        def apply(kind, x):
            """By kind."""

        self.apply, self.helper = apply, types.ModuleType("helper")
        self.helper.B = 1.0
        self.names = {"__name__": "own", "apply": apply, "helper": self.helper, "LIST": [1.0]}
        apply.otherwise(lambda kind, x: x)
        exec(SOURCE, self.names)
        self.run, self.put = self.names["make"]()


def _put_code(code):
    code.names["callee"].__code__ = code.names["other"].__code__


def _put_default(code):
    code.names["callee"].__defaults__ = (5.0,)


CHANGES = {
    "the code of a function that it calls": _put_code,
    "another function of that name": lambda code: code.names.update(callee=code.names["other"]),
    "a default": _put_default,
    "a constant": lambda code: code.names.update(A=3.0),
    "a constant that is as large, and another object": lambda code: code.names.update(A=2),
    "a variable of the function around it": lambda code: code.put(4.0),
    "an attribute of a module": lambda code: setattr(code.helper, "B", 9.0),
    "an entry of a table": lambda code: code.names["TABLE"].update(a=7.0),
    "one more entry of a table": lambda code: code.names["TABLE"].update(b=7.0),
    "a name that hides one of Python": lambda code: code.names.update(abs=code.names["other"]),
    "an implementation for a type": lambda code: code.apply.register(Kind)(lambda kind, x: 2 * x),
    "an implementation for all other types": lambda code: code.apply.otherwise(lambda kind, x: 2 * x),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_seen(change):
    code = Code()
    before = text_of(code.run, (Kind,))
    assert (code.run, Kind) in fingerprint._known
    assert text_of(code.run, (Kind,)) == before == Fingerprint(code.run, (Kind,)).text
    CHANGES[change](code)
    assert text_of(code.run, (Kind,)) == Fingerprint(code.run, (Kind,)).text != before


def test_what_may_change_inside_is_not_remembered():
    code = Code()
    before = text_of(code.names["with_list"], (Kind,))
    code.names["LIST"][0] = 5.0
    assert text_of(code.names["with_list"], (Kind,)) != before


def test_a_learner_that_is_made_again_makes_no_fingerprint(monkeypatch):
    from rtu_np import Adam, LinearRTU, TDLambda

    def make():
        learner = TDLambda(LinearRTU(4), 2, optimizer=Adam(1e-3))
        learner.step([0.0, 1.0], 0.5)

    for _ in range(2):  # the first also registers functions with Numba, after which all is read once more
        make()
    made = []
    monkeypatch.setattr(fingerprint.Fingerprint, "__init__", lambda self, *arguments: made.append(arguments))
    make()
    assert not made


def test_only_the_latest_are_kept():
    for _ in range(fingerprint._KEPT + 5):
        text_of(Code().run, (Kind,))
    assert len(fingerprint._known) <= fingerprint._KEPT
