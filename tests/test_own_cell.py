"""Cells from one function: `from_step`."""

import json
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import step_cases
from agent_cases import World
from cache_folder import Folder, compiled
from cases import in_plain_python
from step_cases import CELLS, own_cell
from tolerances import COMPLEX_STEP, LEARNING, PLAIN, assert_close

from rtu_np import (
    PPO,
    RTRL,
    TBPTT,
    ActorCritic,
    Dense,
    OnlineRegressor,
    QLambda,
    SnAp1,
    Stack,
    TDLambda,
    cells,
    check_gradients,
    check_recurrence,
    checkpoint,
    from_step,
)
from rtu_np.cells.own_cell import unitwise
from rtu_np.cells.own_cell.duals import Duals
from rtu_np.cells.own_cell.rules import RULES, WITHOUT_SLOPE
from rtu_np.cells.own_cell.source import Writer
from rtu_np.gradcheck.case import Case, Sequence
from rtu_np.numerics.elementary import exp, expm1, sigmoid, sin_cos, tanh

NAMES = {"np": np, "exp": exp, "expm1": expm1, "sigmoid": sigmoid, "sin_cos": sin_cos, "tanh": tanh}
NUMBERS = {"one": 1.0, "zero": 0.0, "half": 0.5}


@pytest.mark.parametrize("name", sorted({*RULES} - WITHOUT_SLOPE - {"where"}))
@pytest.mark.parametrize("signs", [(1, 1), (-1, 1)])
def test_each_slope_is_the_derivative_of_its_operation(name, signs):
    """By complex step, or by differences if NumPy compares."""
    rule, at = RULES[name], [0.7 * signs[0], 0.4 * signs[1]]
    if name in ("log", "log1p", "sqrt", "power"):
        at[0] = 0.7
    at = at[: len(rule.slopes)]

    def evaluate(text, values, y=None):
        names = {f"v{k}": value for k, value in enumerate(values)}
        shown = text.format(*names, y="y")
        return eval(shown, {**NAMES, **NUMBERS, **names, "y": y, "abs": lambda v: v if v.real > 0 else -v})

    y = evaluate(rule.value, at)
    if name != "sigmoid":
        assert y == pytest.approx(getattr(np, name)(*at), rel=1e-14)
    for k, text in enumerate(rule.slopes):
        moved = [value + (1e-30j if j == k else 0) for j, value in enumerate(at)]
        if name in ("maximum", "minimum", "logaddexp"):
            up, down = ([v + (h if j == k else 0) for j, v in enumerate(at)] for h in (1e-6, -1e-6))
            assert evaluate(text, at, y) == pytest.approx(
                (evaluate(rule.value, up) - evaluate(rule.value, down)) / 2e-6
            )
        else:
            assert evaluate(text, at, y) == pytest.approx(evaluate(rule.value, moved).imag / 1e-30, rel=1e-14)


# ----------------------------------------------------------------------------------------------------------- exact


@in_plain_python
@pytest.mark.parametrize("gradient", [RTRL(), RTRL(dense=True), TBPTT(4)], ids=str)
@pytest.mark.parametrize("name", ["MinGRU", "VanillaRNN", "GRU"])
def test_it_is_the_cell_that_is_written_by_hand(name, gradient, rng):
    by_hand, ours = (cell.build(2, gradient) for cell in own_cell.cells(name, 3))
    assert [*by_hand.parameters] == [*ours.parameters]
    for parameter, view in ours.parameters.items():
        by_hand.parameters[parameter][...] = view
    for x in rng.standard_normal((7, 2)):
        assert_close(ours.advance(x), by_hand.advance(x), PLAIN)
    dy = rng.standard_normal(3)
    for parameter, expected in by_hand.gradient(dy).items():
        assert_close(ours.gradient(dy)[parameter], expected, COMPLEX_STEP, parameter)
    assert_close(ours.input_gradient(dy), by_hand.input_gradient(dy), COMPLEX_STEP)


@in_plain_python
@pytest.mark.parametrize("gradient", [RTRL(), TBPTT(4)], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_check_is_green(name, gradient):
    report = check_gradients(CELLS[name], n_inputs=3, steps=12, gradient=gradient, reset_at=3)
    assert report.passed, report


def _learned(make, rng):
    """Parameters after learning, of any learner or agent."""
    learner = make()
    if isinstance(learner, TDLambda | OnlineRegressor):
        many = isinstance(learner, TDLambda) and np.ndim(learner.gamma)
        learner.run(rng.standard_normal((20, 2)), rng.standard_normal((20, 2) if many else 20), progress=False)
    else:
        learner.learn(World(True), 40, progress=False, log=None)
    return learner.parameters


_small = {"n_steps": 8, "n_minibatches": 2, "n_epochs": 1, "threads": 1, "dtype": "float64"}
LEARNERS = {
    "TDLambda": lambda cell: TDLambda(cell, 2),
    "many predictions": lambda cell: TDLambda(cell, 2, gamma=np.array([0.5, 0.9])),
    "a stack": lambda cell: TDLambda(Stack([Dense(3, "tanh"), cell, Dense(3, "tanh")]), 2),
    "OnlineRegressor": lambda cell: OnlineRegressor(cell, 2, horizon=2),
    "ActorCritic": lambda cell: ActorCritic(World(True), cell, dtype="float64"),
    "QLambda": lambda cell: QLambda(World(True), cell, dtype="float64"),
    "PPO": lambda cell: PPO(World(True), cell, **_small),
}


@in_plain_python
@pytest.mark.parametrize(
    ("name", "cell"), [*((name, "own lstm") for name in LEARNERS), ("a stack", "MinGRU"), ("PPO", "MinGRU")]
)
def test_every_learner_takes_it_and_one_sensitivity_a_parameter_is_full_rtrl(name, cell):
    """Two ways to the same gradient: with `elementwise`, and without."""
    cells_of_both = [replace(CELLS[cell], elementwise=e) for e in (True, False)]
    one, full = (_learned(lambda c=c: LEARNERS[name](c), np.random.default_rng(3)) for c in cells_of_both)
    start = LEARNERS[name](CELLS[cell]).parameters
    moved = [parameter for parameter in one if not np.array_equal(one[parameter], start[parameter])]
    assert {".W" if cell == "own lstm" else ".W_h"} <= {parameter[parameter.rindex(".") :] for parameter in moved}
    for parameter in moved:
        assert_close(one[parameter] - start[parameter], full[parameter] - start[parameter], 1e-7, parameter)


def _is_right(cell):
    """Each block of the gradient after six steps, along a random direction, by complex step through the user's step."""
    layer, rng = cell.build(3), np.random.default_rng(1)
    case = Case(layer, Sequence(6), rng)
    for name, view in layer.state.items():
        view[...] = case.start[name]
    for x in case.inputs:
        layer.advance(x)
    right = True
    for name, carried in layer.gradient(case.w).items():
        direction = rng.standard_normal(carried.shape)
        expected = case.complex_step(name, direction)
        right &= abs(np.sum(carried * direction) - expected) <= COMPLEX_STEP * max(1.0, abs(expected))
    return right


WRONG = {
    "tanh": ("one - {y}",),
    "sigmoid": ("{y}",),
    "divide": ("one / {1}", "{y} / {1}"),
    "multiply": ("{1}", "{1}"),
    "add": ("1", "0"),
    "subtract": ("1", "1"),
    "square": ("{0}",),
    "absolute": ("1",),
    "maximum": RULES["minimum"].slopes,
    "where": ("0", "one", "one"),
    "logaddexp": ("sigmoid({1} - {0})", "sigmoid({0} - {1})"),
}


@in_plain_python
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_slope_is_found(name, monkeypatch):
    assert _is_right(CELLS["mixed"])
    monkeypatch.setitem(RULES, name, RULES[name]._replace(slopes=WRONG[name]))
    wrong = [cell for cell in ("mixed", "own lstm") if not _is_right(CELLS[cell])]
    assert wrong
    if name == "tanh":
        assert not check_gradients(CELLS["own lstm"], steps=6).passed


def _one_number_overwritten(self, block, back=Writer._back_through_loop):
    return [line.replace("+= g", "= g") if "total" in line else line for line in back(self, block)]


def _first_array_alone(spec, memory, out, add=unitwise._add_kept):
    add(spec._replace(n_arrays=1), memory, out)


BUGS = {
    "a tangent by one of two arguments": (Duals, "_plus", lambda self, a, b: b),
    "one number for all units": (Writer, "_back_through_loop", _one_number_overwritten),
    "products": (Writer, "_back_through_product", lambda self, node, got: []),
    "earlier steps are lost": (unitwise, "_add_kept", lambda spec, memory, out: None),
    "the second array of the state": (unitwise, "_add_kept", _first_array_alone),
}


@in_plain_python
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug, monkeypatch):
    monkeypatch.setattr(*BUGS[bug])
    assert not all(_is_right(CELLS[name]) for name in ("mixed", "own lstm"))


# ----------------------------------------------------------------------------------------------------------- files

MINE = """
import numpy as np
from rtu_np import from_step

def init(d, n, rng):
    return {"W": rng.standard_normal((d, n))}

def make(k):
    def step(params, h, x):  # no other module can import it
        h = np.tanh(k * h + x @ params["W"])
        return h, h
    return from_step(step, 3, init=init, elementwise=True)
"""
LEARN = """
from numba.core import event
import mine
from rtu_np import TDLambda
with event.install_recorder("numba:compile") as compiled:
    learner = TDLambda(mine.make(0.5), 2)
    print(learner.run([[1.0, -1.0]] * 9, [0.5] * 9, progress=False)[-1], len(compiled.buffer))
"""


@pytest.mark.parametrize("folder", [pytest.param(None, marks=compiled)])
def test_a_second_process_compiles_nothing(tmp_path, folder):
    """Also of a function that is not at module level."""
    folder = Folder(tmp_path)
    folder.write(mine=MINE)
    value, n = folder.run(LEARN)
    assert int(n) > 0
    files = folder.stored()
    assert files
    assert folder.run(LEARN) == [value, "0"]
    assert folder.stored() == files
    plain, _ = folder.run(LEARN, NUMBA_DISABLE_JIT="1")
    assert float(plain) == pytest.approx(float(value), rel=LEARNING)


def test_what_a_step_reads_is_a_part_of_it(monkeypatch):
    """So compiled code of another value is not found."""
    names: dict = {}
    exec(MINE, names)
    half = names["make"](0.5)
    assert type(half.spec(2)) is type(names["make"](0.5).spec(5))
    assert type(half.spec(2)) is not type(names["make"](0.25).spec(2))
    kind = type(CELLS["mixed"].spec(3))
    monkeypatch.setattr(step_cases, "MASK", 2 * step_cases.MASK)
    assert type(CELLS["mixed"].spec(3)) is not kind


@in_plain_python
def test_files_and_copies(tmp_path, rng):
    cell, xs, cs = CELLS["lstm"], rng.standard_normal((9, 3)), rng.standard_normal(9)
    learner = TDLambda(cell, 3)
    learner.run(xs, cs, progress=False)
    path = learner.save(tmp_path / "mine")
    again = [pickle.loads(pickle.dumps(learner)), TDLambda.load(path, cell=cell)]
    expected = learner.run(xs, cs, progress=False)
    assert all(np.array_equal(each.run(xs, cs, progress=False), expected) for each in again)
    assert repr(learner).startswith("TDLambda(StepCell(lstm, 3, 2, init_lstm, state=['h', 'c']), n_inputs=3")
    with pytest.raises(ValueError, match="'StepCell' is not part of rtu_np; pass it: cell="):
        TDLambda.load(path)
    layer, _ = cell.build(3), replace(cell, n_hidden=2).build(3)  # of another size, and the same type
    assert pickle.loads(pickle.dumps(layer)).spec == layer.spec


def test_the_page_shows_the_committed_numbers():
    docs = Path(__file__).parent.parent / "docs"
    rows = json.loads((docs / "results" / "own-cell" / "own-cell.json").read_text())["rows"]
    page = (docs / "own_cell.md").read_text()
    assert own_cell.replaced(page, rows) == page


def test_the_same_function_is_one_for_check_recurrence():
    cell = CELLS["VanillaRNN"]
    params = cell.init(2, 3, np.random.default_rng(0))
    assert check_recurrence(cell.step, params, np.zeros(3), np.eye(2)).passed
    assert cells.from_step is from_step


@in_plain_python
@pytest.mark.parametrize("name", ["own lstm", "loops"])
def test_snap1_of_units_that_see_no_other_is_rtrl(name):
    exact, other = (CELLS[name].build(3, method, seed=1) for method in (RTRL(), SnAp1()))
    for x in np.random.default_rng(2).standard_normal((8, 3)):
        y = exact.advance(x)
        assert_close(other.advance(x), y, PLAIN, "y")
    expected = exact.gradient(np.ones(y.size))
    for view, found in other.gradient(np.ones(y.size)).items():
        assert_close(found, expected[view], PLAIN, view)


SIDES = {
    "elu": (lambda z: np.where(z > 0, z, np.exp(z) - 1), [1.5, 1.5 * np.exp(-1)]),
    "capped": (lambda z: np.minimum(np.exp(z), 10.0), [0.0, 1.5 * np.exp(-1)]),
    "root": (lambda z: np.where(z > 0, np.sqrt(z), 0.0), [0.75 / np.sqrt(800), 0.0]),
}


@in_plain_python
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
@pytest.mark.parametrize("name", SIDES)
def test_the_side_that_is_not_taken_may_be_infinite(name):
    """e^800 and the root of -1 do not reach the gradient: 0 times infinity is no number."""
    f, expected = SIDES[name]

    def step(p, h, x):
        h = 0.5 * h + f(x @ p.W)
        return h, h

    layer = from_step(step, 2, init=lambda d, n, rng: {"W": np.array([[800.0, -1.0]])}, elementwise=True).build(1)
    for _ in range(2):
        layer.advance([1.0])
    assert_close(layer.gradient(np.ones(2))["W"], np.array([expected]), PLAIN, name)


def scaled(p, h, x, scale=1.0):
    h = 0.5 * h + scale * np.tanh(x @ p.W)
    return h, h


class Scaled:
    def __call__(self, p, h, x):
        return scaled(p, h, x)


@in_plain_python
@pytest.mark.parametrize("step", [partial(scaled, scale=2.0), Scaled()], ids=["partial", "object"])
def test_a_learner_whose_step_is_a_partial_function_or_an_object_is_saved(step, tmp_path):
    cell = from_step(step, 2, init=lambda d, n, rng: {"W": np.ones((d, n))}, elementwise=True)
    learner = TDLambda(cell, 2)
    learner.step([1.0, 2.0], 1.0)
    learner.save(tmp_path / "own.npz")
    assert TDLambda.load(tmp_path / "own.npz", cell=cell).step([1.0, 0.0], 1.0) == learner.step([1.0, 0.0], 1.0)
    assert cell.name in ("scaled", "Scaled")


def test_partial_functions_are_described_with_what_they_have_been_given():
    """Runs of experiments are named by this."""
    assert checkpoint.describe(partial(scaled, scale=2.0)) == f"{__name__}.scaled(scale=2.0)"


def powers(p, h, x):
    """From h = 0, whose logarithm is infinite, on."""
    h = 0.3 * (np.abs(h) + 0.1) ** p.a + 0.5 * np.abs(h) ** 1.5 * h + h**0 * np.tanh(x @ p.W)
    return h, h


@in_plain_python
def test_powers_of_zero_and_of_negative_numbers():
    cell = from_step(powers, 2, init=lambda d, n, rng: {"W": rng.standard_normal((d, n)), "a": np.full(n, 1.3)})
    report = check_gradients(cell, 2, steps=6)
    assert report.passed, str(report)
