"""What `from_step` refuses, each in one line."""

import re

import numpy as np
import pytest
from step_cases import init_loops, own_cell

from rtu_np import RFLO, RTRL, UORO, Dense, SnAp1, Stack, flops, from_step

_rng, _calls = np.random.default_rng(0), [0]


def count():
    _calls[0] += 1
    return _calls[0]


def changes(p, h, x):
    h += x @ p["W"] + h @ p["V"]
    return h, h


def branches(p, h, x):
    h = x @ p["W"] + h @ p["V"]
    return (h, h) if h[0] > 0 else (-h, h)


def with_view(p, h, x):
    h = x @ p["W"] + h @ p["V"]
    part = h[:2]
    h += 1
    return h, np.concatenate([part, part])


def incomplete(p, h, x, h_next, y):
    h_next[:] = x @ p["W"] + h @ p["V"]
    y[:2] = h[:2]


def into_zeros(p, h, x):
    z = np.zeros(4)
    z[:2] = h[:2]
    return z + x @ p["W"] + h @ p["V"], h


def drives(p, h, x):
    return x @ p["W"] + h @ p["V"]


BAD = {
    "draws": (lambda p, h, x: (drives(p, h, x), h * _rng.random()), "is not a pure .* value of y; does it draw"),
    "counts": (lambda p, h, x: (drives(p, h, x) + count(), h), "is not a pure function: .* value of state 'h'"),
    "changes its argument": (changes, "changes its argument in place: write h = h \\+"),
    "y": (lambda p, h, x: (drives(p, h, x), h[:2]), r"returns y of shape \(2,\): expected \(4,\), .*n_outputs"),
    "state": (lambda p, h, x: (drives(p, h, x).sum(), h), r"the state 'h' of shape \(\): expected \(4,\)"),
    "one result": (drives, r"expected a pair \(state, y\)"),
    "missing": (lambda p, h, x: (h + p["b"], h), r"reads params\['b'\], and init makes W, V: .*misspelt"),
    "missing, by attribute": (lambda p, h, x: (h + p.b, h), r"reads params\['b'\], and init makes W, V"),
    "extra": (lambda p, h, x: (h + x @ p["W"], h), "init makes V, and step .* does not read it"),
    "inverse": (lambda p, h, x: (np.linalg.inv(p["V"]) @ h, h), "calls numpy.linalg.inv, whose derivative is"),
    "arctanh": (lambda p, h, x: (np.arctanh(drives(p, h, x)), h), "calls numpy.arctanh, whose .* one of absolute, "),
    "cumsum": (lambda p, h, x: (drives(p, h, x).cumsum(), h), "uses .cumsum of an array"),
    "a matrix": (lambda p, h, x: (h @ np.exp(p["V"]), h), "calls exp of an array of two dimensions"),
    "branches": (branches, "needs the value of an array while it is differentiated, by if"),
    "shapes": (lambda p, h, x: (h @ p["V"] + x, h), r"add of arrays of the shapes \(4,\) and \(3,\)"),
    "product": (lambda p, h, x: (x @ p["V"], h), r"multiplies arrays of the shapes \(3,\) and \(4, 4\)"),
    "zeros": (into_zeros, r"that np.zeros or np.empty has made: expected np.zeros_like\(state\)"),
    "a part": (with_view, "while it is taken apart, .*does it change an array of which it has a part"),
    "incomplete": (incomplete, r"leaves y\[2\] unwritten"),
    "two arguments": (lambda p, h: h, "has 2 arguments without defaults: expected step"),
}


def init_both(d, n, rng):
    return {"W": rng.standard_normal((d, n)), "V": rng.standard_normal((n, n))}


@pytest.mark.parametrize("name", BAD)
def test_a_step_is_refused_in_one_line(name):
    step, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        from_step(step, 4, init=init_both).spec(3)
    assert "\n" not in str(caught.value)


def init_transposed(d, n, rng):
    return {"W": np.ones((n, d)), "b": np.ones(n)}


@pytest.mark.parametrize(
    ("step", "init", "message"),
    [
        (lambda p, h, x: (np.tanh(drives(p, h, x)), h), init_both, r"unit 1 depends on state\[0\], with the"),
        (lambda p, h, x: (h * p.b + h.mean() + x @ p.W, h), init_loops, r"unit 1 depends on state\[0\], with the"),
        (lambda p, h, x: (p.W @ x * p.b, h), init_transposed, r"params\['W'\]\[0, 1\], with the"),
        (lambda p, h, x: (h * p.a, h), lambda d, n, rng: {"a": 0.5}, r"params\['a'\], with the derivative"),
        (lambda p, h, x: (np.where(x[0] > 99, h @ p.V, x @ p.W), h), init_both, "a unit depends on state of another"),
    ],
)
def test_units_that_see_one_another_are_refused(step, init, message):
    with pytest.raises(ValueError, match=f"elementwise is True, .*{message}"):
        from_step(step, 4, init=init, elementwise=True).spec(3)
    assert from_step(step, 4, init=init).spec(3).n_hidden == 4


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (None, "init is None: expected a function"),
        (lambda d, n: {}, "init has 2 arguments without defaults"),
        (lambda d, n, rng: [1.0], "init returns list: expected a dict"),
        (lambda d, n, rng: {"W": np.ones((2, 2, 2))}, r"W of dtype float64 and shape \(2, 2, 2\)"),
        (lambda d, n, rng: {"W": np.full(2, np.nan)}, r"init's W\[0\] is nan"),
        (lambda d, n, rng: {"lambda": np.ones(2)}, "init makes 'lambda': expected a name"),
        (lambda d, n, rng: {"spec": np.ones(2)}, "init makes 'spec': expected another name"),
    ],
)
def test_init_is_refused(init, message):
    with pytest.raises((ValueError, TypeError), match=message):
        from_step(lambda p, h, x: (h, h), 4, init=init).spec(3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_hidden": 0}, "n_hidden is 0"),
        ({"n_outputs": 1.5}, "n_outputs is 1.5"),
        ({"elementwise": 1}, "elementwise is 1 of type int"),
        ({"state": "h"}, re.escape("state is 'h': expected a tuple of names")),
        ({"step": 3}, "step is 3: expected a function step"),
    ],
)
def test_settings_are_refused(settings, message):
    given = {"step": own_cell.rnn, "n_hidden": 4, "init": own_cell.init_rnn, **settings}
    with pytest.raises((ValueError, TypeError), match=message):
        from_step(**given)


def test_gradients_and_counts_that_it_has_not_are_refused_by_the_name_of_the_step():
    cell = from_step(own_cell.rnn, 4, init=own_cell.init_rnn)
    for gradient in (SnAp1(), UORO(0), RFLO(), RTRL(taylor=True)):
        with pytest.raises(TypeError, match=r"gradient is .* for from_step\(rnn\): expected"):
            cell.build(3, gradient)
    for counted in (cell, Stack([Dense(2), cell])):
        with pytest.raises(TypeError, match=r"cell is from_step\(rnn\), whose operations are not counted: expected"):
            flops(counted, 3)
