"""The checker of plain recurrences: it passes what is right, finds what is wrong, and names the mistake."""

from typing import NamedTuple

import autograd
import autograd.numpy
import numpy as np
import pytest
from cases import COMPILED
from recurrence_cases import MISTAKES, STEPS, backward, changed, forward_mode, gated, homework
from tolerances import COMPLEX_STEP, DIFFERENCES

import rtu_np
from rtu_np import check_recurrence

pytestmark = pytest.mark.skipif(not COMPILED, reason="it is plain NumPy, whatever Numba does")


def with_resets(params, h, xs, dy, resets):
    """`backward` from the last reset on."""
    return backward(params, h, xs[max([0, *resets]) :], dy)


@pytest.mark.parametrize("steps", [1, STEPS, 40])
@pytest.mark.parametrize("gradient", [backward, forward_mode, "arrays"])
def test_a_right_gradient_passes(gradient, steps):
    params, h, xs = homework(steps)
    dy = np.array([1.0, -2.0, 0.5, 3.0])
    gradient = backward(params, h, xs, dy) if gradient == "arrays" else gradient
    report = check_recurrence(gated, params, h, xs, gradient, dy)
    assert report.passed, str(report)
    assert report.max_error <= COMPLEX_STEP
    assert not report.hints
    assert report.parting is None
    for row in report.parameters:
        assert row.kind == "exact for fixed parameters" or steps == 1
        assert row.bptt <= COMPLEX_STEP
        assert row.complex_step <= COMPLEX_STEP
        assert row.differences <= DIFFERENCES


def test_the_references_alone_agree():
    report = check_recurrence(gated, *homework())
    assert report.passed
    assert {row.kind for row in report.parameters} == {"reference"}
    assert 0 < max(row.complex_step for row in report.parameters) <= COMPLEX_STEP


@pytest.mark.parametrize("resets", [[5], [0, 3, 11]])
@pytest.mark.parametrize("gradient", [with_resets, forward_mode])
def test_resets(gradient, resets):
    report = check_recurrence(gated, *homework(), gradient, resets=resets)
    assert report.passed, str(report)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_typical_mistakes_are_found_and_named(mistake):
    replacements, hint = MISTAKES[mistake]
    report = check_recurrence(gated, *homework(), changed(backward, *replacements))
    assert not report.passed
    assert [line.startswith(hint) for line in report.hints] == [True], report.hints


@pytest.mark.parametrize(
    "mistake", ["a factor for all", "dy forgotten", "the first step left out", "a lost factor 1 - g²"]
)
def test_arrays_alone_show_it_too(mistake):
    params, h, xs = homework()
    dy = np.array([1.0, -2.0, 0.5, 3.0])
    report = check_recurrence(gated, params, h, xs, changed(backward, *MISTAKES[mistake][0])(params, h, xs, dy), dy)
    assert not report.passed
    assert "only all steps were compared" in str(report)
    hint = MISTAKES[mistake][1].replace("1 / T", "1 / 12")
    assert [line.startswith(hint) for line in report.hints] == [True], report.hints


FORWARD_MISTAKES = {
    "J transposed": ([("tensordot(J, s, 1)", "tensordot(J.T, s, 1)")], "d state / d state is transposed"),
    "J left out": ([("np.tensordot(J, s, 1)", "s.copy()")], "d state / d state is left out"),
    "only the diagonal": ([("tensordot(J, s, 1)", "tensordot(np.diag(np.diag(J)), s, 1)")], "only the diagonal"),
    "not carried": ([("np.tensordot(J, s, 1)", "0 * s")], "it is truncated to 1 step"),
    "the gate constant": ([('by_u[:, None] * params["Uu"].T + ', "")], "lacks the path through Uu"),
    "the new state": (
        [
            ("    S = {name", "    h_old, h = h, (1 - u) * h + u * g\n    S = {name"),
            ("    h = (1 - u) * h + u * g\n    return", "    return"),
        ],
        "the new state is used",
    ),
    "a sign": ([("(g - h) * u * (1 - u), ", "(h - g) * u * (1 - u), ")], "has the wrong sign"),
    "the diagonal, above": ([("[k, :, k] += by_g[k] * x", "[k, :, k] -= by_g[k] * x")], "its sign is wrong"),
}


@pytest.mark.parametrize("mistake", FORWARD_MISTAKES)
def test_mistakes_in_a_step_with_sensitivities(mistake):
    replacements, hint = FORWARD_MISTAKES[mistake]
    report = check_recurrence(gated, *homework(), changed(forward_mode, *replacements))
    assert not report.passed
    assert all(hint in line for line in report.hints), report.hints
    assert "d state[" in str(report.parting)


def test_a_gradient_that_forgets_resets_is_found():
    report = check_recurrence(gated, *homework(), lambda p, h, xs, dy, resets: backward(p, h, xs, dy), resets=[5])
    assert not report.passed
    assert report.parting.steps == 6
    assert report.hints == ("Wu, Uu, bu, Wg, Ug, bg: resets are left out",)


@pytest.mark.parametrize("wrong_at", [1, 7, 19, 40])
def test_the_first_step_and_the_worst_entry_are_named(wrong_at):
    params, h, xs = homework(40)

    def gradient(params, h, xs, dy):
        d = backward(params, h, xs, dy)
        if len(xs) >= wrong_at:
            d["Uu"][1, 2] += 0.25
        return d

    report = check_recurrence(gated, params, h, xs, gradient)
    assert not report.passed
    assert (report.parting.steps, report.parting.name, report.parting.index) == (wrong_at, "Uu", (1, 2))
    assert report.parting.given == pytest.approx(report.parting.expected + 0.25)
    assert [row.parts_at for row in report.parameters] == [None, wrong_at, None, None, None, None]
    assert f"they part at T = {wrong_at}: the gradient by Uu[1, 2] is " in str(report)
    assert "no known mistake explains it" in report.hints[0]


def test_an_error_of_5e_5_in_one_entry_is_found():
    def gradient(params, h, xs, dy):
        d = backward(params, h, xs, dy)
        d["Wg"][0, 0] *= 1 + 5e-5
        return d

    report = check_recurrence(gated, *homework(), gradient)
    assert not report.passed
    assert report.parting.name == "Wg"


class Memory(NamedTuple):
    h: np.ndarray
    c: np.ndarray


def test_structures():
    """Nested dicts, lists, NamedTuples, bare arrays, numbers; and a y that is not the state."""

    def forward(params, state, x):
        (w, u), a = params["cell"]["weights"], params["a"]
        c = a * state.c + x @ w
        h = np.tanh(c + u * state.h)
        return Memory(h, c), {"h": h, "sum": np.sum(h) + params["cell"]["b"]}

    rng = np.random.default_rng(1)
    params = {"cell": {"weights": [rng.standard_normal((2, 3)), rng.standard_normal(3)], "b": 0.3}, "a": np.array(0.6)}
    xs, dy = rng.standard_normal((6, 2)), {"h": np.ones(3), "sum": 2.0}
    state = Memory(np.zeros(3), np.zeros(3))
    right = rtu_np.rtrl(forward, params, state, xs, dy)
    assert right["cell"]["weights"][0].shape == (2, 3)
    assert right["cell"]["b"] == 2.0
    assert check_recurrence(forward, params, state, xs, right, dy).passed
    flat = {"cell.weights.0": right["cell"]["weights"][0], "cell.weights.1": right["cell"]["weights"][1]}
    assert check_recurrence(forward, params, state, xs, {**flat, "cell.b": 2.0, "a": right["a"]}, dy).passed
    report = check_recurrence(forward, params, state, xs, lambda *a: rtu_np.bptt(forward, *a), dy)
    assert report.passed
    assert [row.name for row in report.parameters] == ["cell.weights.0", "cell.weights.1", "cell.b", "a"]

    def bare(a, h, x):
        return a * h + x, a * h + x

    def step(params, state, sensitivities, x):
        h = params * state + x
        return h, h, params * sensitivities + state

    assert check_recurrence(bare, 0.5, 0.0, [1.0, 2.0, 3.0], step).passed
    assert check_recurrence(bare, 0.5, 0.0, [1.0, 2.0, 3.0], 2.0 + 2 * 0.5, dy=1.0).passed
    wrong = check_recurrence(bare, np.array(0.5), 0.0, [1.0, 2.0, 3.0], -3.0, dy=1.0)
    assert not wrong.passed
    assert str(wrong.parting) == "they part at T = 3: the gradient by params is -3, expected 3"


def lstm(params, state, x):
    """A state of two arrays, and a readout with parameters of its own."""
    h, c = state
    i, f, o = (1 / (1 + np.exp(-(x @ params[f"W{gate}"] + h @ params[f"U{gate}"]))) for gate in "ifo")
    c = f * c + i * np.tanh(x @ params["Wg"] + h @ params["Ug"])
    h = o * np.tanh(c)
    return (h, c), h @ params["V"]


@pytest.mark.parametrize(
    ("detached", "hint"),
    [
        ((), None),
        ((0,), "d state / d state lacks all paths through matrices"),
        ((1,), "d state / d state lacks what the state does to the next without a matrix"),
        ((0, 1), "it is truncated to 1 step: nothing is carried through the state"),
    ],
)
def test_what_is_detached_in_an_lstm(detached, hint):
    """Differentiated by autograd, which shares nothing with the references."""
    step = changed(lstm, np=autograd.numpy)

    def gradient(params, state, xs, dy):
        def value(params):
            now = state
            for x in xs:
                now = tuple(autograd.tracer.getval(part) if k in detached else part for k, part in enumerate(now))
                now, y = step(params, now, x)
            return y @ dy

        return autograd.grad(value)(params)

    rng = np.random.default_rng(0)
    shapes = {f"W{k}": (2, 3) for k in "ifog"} | {f"U{k}": (3, 3) for k in "ifog"} | {"V": (3, 2)}
    params = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
    state = tuple(0.3 * rng.standard_normal((2, 3)))
    report = check_recurrence(lstm, params, state, rng.standard_normal((8, 2)), gradient)
    assert report.passed == (hint is None), str(report)
    if hint:
        assert report.hints[0].endswith(hint)
        assert "Wi, " in report.hints[0]
        assert [row.parts_at for row in report.parameters if row.name == "V"] == [None]


def test_a_stream_that_shows_nothing_does_not_pass():
    def dead(params, h, x):
        h = np.maximum(params["w"] * x - 10.0, 0.0)
        return h, h

    report = check_recurrence(dead, {"w": np.ones(2)}, np.zeros(2), [1.0, 2.0], {"w": np.zeros(2)})
    assert not report.passed
    assert "nothing is shown of w: the gradient by it is zero" in str(report)


def leaky(params, h, x):
    h = np.exp(-np.exp(params["nu_log"])) * h + x @ params["W"]
    return h, np.tanh(h)


def leaky_rtrl(params, h, xs, dy):
    """Elementwise: one sensitivity for each parameter."""
    a = np.exp(-np.exp(params["nu_log"]))
    by_nu, by_W = np.zeros_like(h), np.zeros_like(params["W"])
    for x in xs:
        by_nu = a * by_nu - np.exp(params["nu_log"]) * a * h
        by_W = a * by_W + x[:, None]
        h = a * h + x @ params["W"]
    dh = dy * (1 - np.tanh(h) ** 2)
    return {"nu_log": dh * by_nu, "W": dh * by_W}


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('- np.exp(params["nu_log"]) * a', "- a", "nu_log: the factor exp(p) is missing, p being the parameter"),
        ('- np.exp(params["nu_log"]) * a', "+ a", "nu_log: the factor -exp(p) is missing, p being the parameter"),
        ("by_nu - np", "by_nu - 3 * np", "nu_log: it is 3 times (by the size of the state?) what is expected"),
        (
            "a * by_W + x[:, None]",
            "a * by_W + a * x[:, None]",
            "W: the direct effect goes through d state / d state of its",
        ),
        ("dy * (1 - np.tanh(h) ** 2)", "dy", "no known mistake explains it; it is wrong at once, at T = 1"),
        ('    h = a * h + x @ params["W"]\n', "", "no known mistake"),
    ],
)
def test_mistakes_of_a_diagonal_cell(old, new, hint):
    rng = np.random.default_rng(3)
    params = {"nu_log": rng.uniform(-1.5, 0.5, 3), "W": rng.standard_normal((2, 3))}
    arguments = params, np.zeros(3), rng.standard_normal((9, 2))
    assert check_recurrence(leaky, *arguments, leaky_rtrl).passed
    report = check_recurrence(leaky, *arguments, changed(leaky_rtrl, (old, new)))
    assert not report.passed
    assert any(hint in line for line in report.hints), report.hints


def test_a_gradient_that_keeps_what_an_earlier_call_left():
    left = {}

    def gradient(params, h, xs, dy):
        for name, array in backward(params, h, xs, dy).items():
            left[name] = left.get(name, 0) + array
        return left

    report = check_recurrence(gated, *homework(), gradient)
    assert not report.passed
    assert "a second call with the same arguments gives another gradient" in report.hints[0]


def test_a_planted_bug_in_a_reference_is_found(mutant):
    broken = mutant(
        "recurrence/exact.py",
        [("total + by_state @ step.state_by_params", "total - by_state @ step.state_by_params")],
    )
    assert not broken.check_recurrence(gated, *homework()).passed


def test_the_report_is_a_table_in_notebooks_too():
    report = check_recurrence(gated, *homework(), changed(backward, *MISTAKES["three steps back only"][0]))
    text, html = str(report), report._repr_html_()
    assert (
        text.splitlines()[0]
        == "Gradient of gated, 64 parameters, state of 4: 12 steps, float64, given as a function of the stream"
    )
    assert text.splitlines()[-1].startswith("FAILED: largest error ")
    assert text.count("truncated to 3 ") == 7
    assert "<td>truncated to 3</td>" in html
    assert html.count("<tr>") == 7
    assert "Wu, Uu, bu, Wg, Ug, bg: it is truncated to 3 steps" in html
