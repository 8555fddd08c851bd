"""SnAp-1, RFLO, UORO and corrected sensitivities: kernels against plain formulas, what they claim, and planted bugs."""

import itertools

import numpy as np
import pytest
from cases import CASES, COMPILED, in_plain_python
from oracles import stream
from planting import planted
from tolerances import PLAIN, assert_close

import rtu_np
from rtu_np import (
    GRU,
    LRU,
    RTRL,
    TBPTT,
    UORO,
    Adam,
    Dense,
    LayerNorm,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    SnAp1,
    Stack,
    TDLambda,
    VanillaRNN,
)
from rtu_np.gradients.uoro import _TURN, HIGH, LOW, draw_signs

D, LEAK = 3, 0.3
LEAKY = VanillaRNN(4, leak=LEAK)
SEE_NO_OTHER = [
    name for name in CASES if any(kind in name for kind in ("RTU", "LRU", "minGRU", "eLSTM")) and "GRU on" not in name
]


def after(cell, gradient, steps=12, seed=1):
    """y, the gradient and the input gradient of a layer after some steps."""
    layer, rng = cell.build(D, gradient, seed), np.random.default_rng(5)
    for x in rng.standard_normal((steps, D)):
        y = layer.advance(x)
    dy = rng.standard_normal(y.size)
    return {"y": y, **layer.gradient(dy), "dx": layer.input_gradient(dy)}


# ------------------------------------------------------------------------------------------------- SnAp-1 and RFLO


def check_snap1_is_rtrl(cell, gradient):
    exact = after(cell, RTRL())
    for name, value in after(cell, gradient).items():
        assert_close(value, exact[name], PLAIN, name)


@in_plain_python
@pytest.mark.parametrize("name", [name for name in SEE_NO_OTHER if name != "linear RTU on GRU"])
def test_by_unit_snap1_equals_rtrl_if_no_unit_sees_another(name):
    check_snap1_is_rtrl(CASES[name].cell, SnAp1())


def test_snap1_of_a_minGRU_equals_rtrl_compiled():  # noqa: N802
    check_snap1_is_rtrl(MinGRU(5), SnAp1())


@in_plain_python
def test_planted_entry_by_entry_it_does_not(plant):
    """(dc1, dc2) of a pair each go their own way: dc2/dW1 is dropped."""
    plant(
        "gradients/own_past.py",
        [("for b in range(k):\n            add_scaled_units", "for b in (a,):\n            add_scaled_units")],
    )
    for cell in (LinearRTU(4), NonlinearRTU(4), LRU(4)):
        with pytest.raises(AssertionError, match="nu_log: off by"):
            check_snap1_is_rtrl(cell, SnAp1())


def check_against_the_plain_formula(gradient, kept):
    """e <- J_ii e + (direct term), written out for a leaky network; `kept` says what J_ii is."""
    layer, rng = LEAKY.build(D, gradient, 1), np.random.default_rng(6)
    W = layer.parameters["W_recurrent"]
    e, h = {name: np.zeros_like(view) for name, view in layer.parameters.items()}, np.zeros(4)
    for t, x in enumerate(rng.standard_normal((12, D))):
        f = np.tanh(x @ layer.parameters["W_input"] + h @ W + layer.parameters["b"])
        slope, seen = LEAK * (1 - f**2), {"W_input": x[:, None], "W_recurrent": h[:, None], "b": 1.0}
        e = {name: kept(slope, W) * old + slope * seen[name] for name, old in e.items()}
        h = (1 - LEAK) * h + LEAK * f
        assert_close(layer.advance(x), h, PLAIN, "h")
        dy = rng.standard_normal(4)
        for name, value in layer.gradient(dy).items() if t else ():  # the first step has no past
            assert_close(value, dy * e[name], PLAIN, name)


KEPT = {
    "RFLO": lambda slope, W: np.full(4, 1 - LEAK),
    "SnAp1": lambda slope, W: 1 - LEAK + slope * np.diag(W),
}


@in_plain_python
@pytest.mark.parametrize("name", KEPT)
def test_a_leaky_network_by_the_plain_formula(name):
    check_against_the_plain_formula(getattr(rtu_np, name)(), KEPT[name])


@in_plain_python
@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("RFLO", "cells/rnn.py", "keep[i] = like(by[i], 1.0) - leak", "keep[i] = leak"),
        (
            "RFLO",
            "gradients/own_past.py",
            "return own_number_spec(cell_spec, LeakAlone())",
            "return own_number_spec(cell_spec, OwnNumber())",
        ),
        ("SnAp1", "gradients/recurrent_slopes.py", "W[i, start + i]", "W[start + i, i - 1]"),
        ("SnAp1", "gradients/recurrent_slopes.py", "row[i] = J[i] * row[i] + x * by[i]", "row[i] = row[i] + x * by[i]"),
        ("SnAp1", "cells/rnn.py", "by[i] = leak * slope(spec.activation, record.f[i])", "by[i] = leak"),
    ],
)
def test_planted_bugs_of_own_past(name, file, old, new, plant):
    plant(file, [(old, new)])
    with pytest.raises(AssertionError, match="off by"):
        check_against_the_plain_formula(getattr(rtu_np, name)(), KEPT[name])


# ------------------------------------------------------------------------------------------------------------ UORO


def z_scores(cell, n, problems):
    """All z-scores of `n` draws, for several parameters, inputs and dy."""
    scores = []
    for k in range(problems):
        rng = np.random.default_rng(k)
        inputs, dy = rng.standard_normal((6, D)), rng.standard_normal(cell.spec(D).n_outputs)
        draws = rtu_np.gradcheck.unbiased.draw_gradients(cell, UORO(k), inputs, dy, n, seed=k)
        scores += [(draws.mean[name] - draws.exact[name]) / draws.deviation[name] * np.sqrt(n) for name in draws.exact]
    return np.concatenate([each.ravel() for each in scores])


@pytest.mark.skipif(not COMPILED, reason="10,000 draws take minutes in plain Python")
@pytest.mark.parametrize("cell", [VanillaRNN(3, leak=0.5)])
def test_the_mean_of_10_000_draws_is_the_exact_gradient(cell):
    z = z_scores(cell, 10_000, 40)
    assert 0.9 < np.sqrt(np.mean(z**2)) < 1.1
    assert np.abs(z).max() < 5


def check_mean_over_all_signs(monkeypatch):
    """The mean over all 64 sequences of signs of three units in two steps is the exact gradient, to rounding."""
    cell, rng = VanillaRNN(3, leak=0.8), np.random.default_rng(1)
    inputs, dy = rng.standard_normal((3, D)), rng.standard_normal(3)
    exact, layer = cell.build(D, TBPTT(3), seed=1), cell.build(D, UORO(0), seed=1)
    for x in inputs:
        exact.advance(x)
    sums = {name: np.zeros_like(view) for name, view in layer.parameters.items()}
    given: list[float] = []

    def next_signs(seed, draws, out):
        out[:] = [given.pop() for _ in out] if given else 1.0  # those of the last step do not count

    monkeypatch.setattr(rtu_np.gradients.uoro, "draw_signs", next_signs)
    for signs in itertools.product((-1.0, 1.0), repeat=6):
        given[:] = signs
        layer.reset()
        for x in inputs:
            layer.advance(x)
        for name, value in layer.gradient(dy).items():
            sums[name] += value / 2**6
    for name, value in exact.gradient(dy).items():
        assert_close(sums[name], value, PLAIN, name)


@in_plain_python
def test_the_mean_over_all_signs_is_the_exact_gradient(monkeypatch):
    check_mean_over_all_signs(monkeypatch)


@in_plain_python
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("gradients/uoro.py", "s[i] = rho0 * memory.pushed[i]", "s[i] = memory.pushed[i]"),
        ("gradients/uoro.py", "shrink0 * w[p] + shrink1", "shrink0 * w[p] + rho1"),
        ("gradients/recurrent_slopes.py", "scratch[i] += tangent[k] * W[k, i]", "scratch[i] += tangent[k] * W[i, k]"),
        ("cells/rnn.py", "keep[i] = like(by[i], 1.0) - leak", "keep[i] = leak"),
    ],
)
def test_planted_bugs_make_uoro_biased(file, old, new, plant, monkeypatch):
    plant(file, [(old, new)])
    with pytest.raises(AssertionError, match="off by"):
        check_mean_over_all_signs(monkeypatch)


@in_plain_python
def test_planted_a_dropped_random_sign_makes_uoro_biased():
    with (
        planted("gradients/uoro.py", [("& 1 else -one", "& 1 else one")]),
        np.errstate(divide="ignore", invalid="ignore"),
    ):
        z = z_scores(VanillaRNN(3, leak=0.8), 20, 1)
    assert not np.abs(z).max() < 5
    assert np.abs(z_scores(VanillaRNN(3, leak=0.8), 20, 1)).max() < 5


def test_signs_are_balanced_and_independent_and_the_count_goes_beyond_float32():
    signs, draws = np.zeros((4000, 40)), np.zeros(2, np.float32)
    for row in signs:
        draw_signs(7, draws, row)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    for products in (signs.mean(0), (signs[1:] * signs[:-1]).mean(0), (signs[:, 1:] * signs[:, :-1]).mean(0)):
        assert np.abs(products).max() < 5 / np.sqrt(4000)
    assert (draws[HIGH], draws[LOW]) == (0, 4000)
    draws[LOW], draws[HIGH] = _TURN - 1, 3
    one, other = np.zeros(40), np.zeros(40)
    draw_signs(7, draws, one)
    assert (draws[LOW], draws[HIGH]) == (0, 4)
    draw_signs(7, draws, other)
    assert not np.array_equal(one, other)


def run(agent, s):
    return agent.run(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, progress=False)


def test_equal_seeds_give_equal_bits_and_a_file_continues_exactly(tmp_path):
    """In a stream whose episodes end; compiled and in plain Python."""
    s, more = stream(40, D, seed=4), stream(25, D, seed=5)
    assert s.terminated.any()
    one, same, other = (TDLambda(VanillaRNN(4), D, optimizer=Adam(1e-2), gradient=UORO(k), seed=2) for k in (3, 3, 4))
    predictions = run(one, s)
    rows = zip(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, strict=True)
    assert np.array_equal(predictions, [same.step(*row) for row in rows])
    assert not np.array_equal(predictions, run(other, s))
    one.save(tmp_path / "one.npz")
    copy = TDLambda.load(tmp_path / "one.npz")
    assert copy.gradient == UORO(3)
    assert np.array_equal(run(one, more), run(copy, more))
    assert one._views.memory.draws[LOW] == 65


@in_plain_python
def test_an_episode_that_ends_does_not_bring_the_signs_back():
    layer = Stack([Dense(3, "tanh"), LayerNorm(), GRU(4)]).build(D, UORO(1), seed=0)
    gradients = []
    for _ in range(2):
        for x in np.random.default_rng(1).standard_normal((5, D)):
            layer.advance(x)
        gradients.append(layer.gradient(np.ones(4)))
        layer.reset()
    assert not np.array_equal(gradients[0]["2.W_recurrent"], gradients[1]["2.W_recurrent"])
    assert np.array_equal(gradients[0]["0.W"], gradients[1]["0.W"])  # its share is exact
