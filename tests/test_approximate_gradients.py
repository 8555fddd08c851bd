"""SnAp-1, RFLO, UORO and corrected sensitivities: kernels against plain formulas, what they claim, and planted bugs."""

import itertools

import gymnasium
import numpy as np
import pytest
from cases import CASES, COMPILED, in_plain_python
from mutants import rebuilt
from oracles import stream
from tolerances import PLAIN, assert_close

import rtu_np
from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    PPO,
    QRC,
    RFLO,
    RTRL,
    SGD,
    UORO,
    ActorCritic,
    Adam,
    BlockDiagonalRNN,
    Dense,
    LayerNorm,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    OnlineRegressor,
    QLambda,
    SnAp1,
    Stack,
    TDLambda,
    VanillaRNN,
    check_gradients,
    checkpoint,
    recurrent_network,
)
from rtu_np.cells.eigenvalues import PARAMETERIZATIONS
from rtu_np.gradcheck.own_past import LEAK_ALONE, OWN_PAST
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


def check_snap1_is_rtrl(package, cell, gradient):
    exact = after(cell, package.RTRL())
    for name, value in after(cell, gradient).items():
        assert_close(value, exact[name], PLAIN, name)


@in_plain_python
@pytest.mark.parametrize("name", [name for name in SEE_NO_OTHER if name != "linear RTU on GRU"])
def test_by_unit_snap1_equals_rtrl_if_no_unit_sees_another(name):
    check_snap1_is_rtrl(rtu_np, CASES[name].cell, SnAp1())


def test_snap1_of_a_minGRU_equals_rtrl_compiled():  # noqa: N802
    check_snap1_is_rtrl(rtu_np, MinGRU(5), SnAp1())


@in_plain_python
def test_planted_entry_by_entry_it_does_not(mutant):
    """(dc1, dc2) of a pair each go their own way: dc2/dW1 is dropped."""
    package = mutant(
        "gradients/own_past.py",
        [("for b in range(k):\n            add_by_unit", "for b in (a,):\n            add_by_unit")],
    )
    for cell in (LinearRTU(4), NonlinearRTU(4), LRU(4)):
        with pytest.raises(AssertionError, match="nu_log: off by"):
            check_snap1_is_rtrl(package, rebuilt(package, cell), package.SnAp1())


def check_against_the_plain_formula(package, gradient, kept):
    """e <- J_ii e + (direct term), written out for a leaky network; `kept` says what J_ii is."""
    layer, rng = rebuilt(package, LEAKY).build(D, gradient, 1), np.random.default_rng(6)
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
    check_against_the_plain_formula(rtu_np, getattr(rtu_np, name)(), KEPT[name])


@in_plain_python
@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("RFLO", "cells/rnn.py", "keep[i] = like(by[i], 1.0) - leak", "keep[i] = leak"),
        (
            "RFLO",
            "gradients/own_past.py",
            "return _spec(cell_spec, LeakAlone())",
            "return _spec(cell_spec, OwnNumber())",
        ),
        ("SnAp1", "gradients/recurrent_slopes.py", "W[i, start + i]", "W[start + i, i - 1]"),
        ("SnAp1", "gradients/own_past.py", "memory.dstate[i] = memory.J[0, i] * dy[i]", "memory.dstate[i] = dy[i]"),
        ("SnAp1", "cells/rnn.py", "leak * slope(spec.activation, record.f[i]) * total", "leak * total"),
    ],
)
def test_planted_bugs_of_own_past(name, file, old, new, mutant):
    package = mutant(file, [(old, new)])
    with pytest.raises(AssertionError, match="off by"):
        check_against_the_plain_formula(package, getattr(package, name)(), KEPT[name])


# ------------------------------------------------------------------------------------------------------------ UORO


def z_scores(package, cell, n, problems):
    """All z-scores of `n` draws, for several parameters, inputs and dy."""
    scores = []
    for k in range(problems):
        rng = np.random.default_rng(k)
        inputs, dy = rng.standard_normal((6, D)), rng.standard_normal(cell.spec(D).n_outputs)
        draws = package.gradcheck.unbiased.draw_gradients(cell, package.UORO(k), inputs, dy, n, seed=k)
        scores += [(draws.mean[name] - draws.exact[name]) / draws.deviation[name] * np.sqrt(n) for name in draws.exact]
    return np.concatenate([each.ravel() for each in scores])


@pytest.mark.skipif(not COMPILED, reason="10,000 draws take minutes in plain Python")
@pytest.mark.parametrize("cell", [VanillaRNN(3, leak=0.5)])
def test_the_mean_of_10_000_draws_is_the_exact_gradient(cell):
    z = z_scores(rtu_np, cell, 10_000, 40)
    assert 0.9 < np.sqrt(np.mean(z**2)) < 1.1
    assert np.abs(z).max() < 5


def check_mean_over_all_signs(package, monkeypatch):
    """The mean over all 64 sequences of signs of two units in three steps is the exact gradient, to rounding."""
    cell, rng = package.VanillaRNN(2, leak=0.8), np.random.default_rng(1)
    inputs, dy = rng.standard_normal((4, D)), rng.standard_normal(2)
    exact, layer = cell.build(D, package.RTRL(), seed=1), cell.build(D, package.UORO(0), seed=1)
    for x in inputs:
        exact.advance(x)
    sums = {name: np.zeros_like(view) for name, view in layer.parameters.items()}
    given: list[float] = []

    def next_signs(seed, draws, out):
        out[:] = [given.pop() for _ in out] if given else 1.0  # those of the last step do not count

    monkeypatch.setattr(package.gradients.uoro, "draw_signs", next_signs)
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
    check_mean_over_all_signs(rtu_np, monkeypatch)


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
def test_planted_bugs_make_uoro_biased(file, old, new, mutant, monkeypatch):
    with pytest.raises(AssertionError, match="off by"):
        check_mean_over_all_signs(mutant(file, [(old, new)]), monkeypatch)


@in_plain_python
def test_planted_a_dropped_random_sign_makes_uoro_biased(mutant):
    package = mutant("gradients/uoro.py", [("& 1 else -one", "& 1 else one")])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = z_scores(package, rebuilt(package, VanillaRNN(3, leak=0.8)), 20, 1)
    assert not np.abs(z).max() < 5
    assert np.abs(z_scores(rtu_np, VanillaRNN(3, leak=0.8), 20, 1)).max() < 5


def test_signs_are_balanced_and_independent_and_the_count_goes_beyond_float32():
    signs, draws = np.zeros((4000, 40)), np.zeros(2, np.float32)
    for row in signs:
        draw_signs(7, draws, row)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    for products in (signs.mean(0), (signs[1:] * signs[:-1]).mean(0), (signs[:, 1:] * signs[:, :-1]).mean(0)):
        assert np.abs(products).max() < 5 / np.sqrt(4000)
    assert (draws[HIGH], draws[LOW]) == (0, 4000)
    draws[:] = (_TURN - 1, 3) if LOW == 0 else (3, _TURN - 1)
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


# ------------------------------------------------------------------------------------------- corrected sensitivities


def along_states(package, spec, params, states, xs, which):
    """The sensitivity to a (0) or b (1) at the end, with all Jacobians at `params`, along given states."""
    rotation = package.cells.rotation.plain_rotation(spec, params)
    lam, e = rotation.g + 1j * rotation.p, np.zeros(spec.n_hidden, complex)
    for c, c_t, x in zip(states[:-1], states[1:], xs, strict=True):
        drive = x @ (params.weights.W1 + 1j * params.weights.W2)
        shares = rotation.dlog_r * lam * c + rotation.dgamma * drive, 1j * rotation.dtheta * lam * c
        e = lam * e + shares[which]
        if "Nonlinear" in type(spec).__name__:
            e = (1 - c_t.real**2) * e.real + 1j * (1 - c_t.imag**2) * e.imag
    return e


def distances(package, cell, moved, move, looked_at):
    """How far sensitivities are from those of today's parameters along the same states, with RTRL and corrected."""
    found = []
    for gradient in (package.RTRL(), package.RTRL(taylor=True)):
        layer, xs = cell.build(D, gradient, seed=1), np.random.default_rng(2).standard_normal((30, D))
        states = [np.zeros(cell.n_hidden, complex)]
        for t, x in enumerate(xs):
            if t in (10, 15, 20):
                list(layer.parameters.values())[moved][...] += move
            layer.advance(x)
            states.append(layer.state["c1"] + 1j * layer.state["c2"])
        memory, spec = package.protocol.memory(layer.spec, layer._memory)[0], cell.spec(D)
        units = memory.cell.units if gradient.taylor else memory.units
        carried = units.dc1_da + 1j * units.dc2_da, units.dc1_db + 1j * units.dc2_db
        params = package.protocol.parameters(spec, layer._params)[0]
        found.append(np.abs(carried[looked_at] - along_states(package, spec, params, states, xs, looked_at)).max())
    return found


def check_second_order(package, cell, which):
    (stale, corrected), (stale_10, corrected_10) = (distances(package, cell, which, d, which) for d in (1e-4, 1e-3))
    assert 5 < stale_10 / stale < 20, "RTRL has an error of first order"
    assert 50 < corrected_10 / corrected < 200, "the corrected one has an error of second order"
    assert corrected < 0.1 * stale


@in_plain_python
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("form", PARAMETERIZATIONS)
@pytest.mark.parametrize("kind", [LinearRTU, NonlinearRTU])
def test_corrected_sensitivities_are_nearer_by_an_order(kind, form, which):
    ring = {"max_phase": 1.0, "r_min": 0.5, "r_max": 0.95, "parameterization": form}
    check_second_order(rtu_np, kind(5, "tanh", **ring), which)


@in_plain_python
def test_moves_of_another_parameter_are_not_corrected():
    """The form is diagonal: an error of first order remains."""
    cell = LinearRTU(5, "tanh", max_phase=1.0, r_min=0.5, r_max=0.95)
    for moved, looked_at in ((0, 1), (1, 0)):
        small, large = (distances(rtu_np, cell, moved, d, looked_at)[1] for d in (1e-4, 1e-3))
        assert 5 < large / small < 20


@in_plain_python
@pytest.mark.parametrize(
    ("old", "new", "which"),
    [
        ("L * last.dc2_da[i]", "L * last.dc1_da[i]", 0),
        ("along = squared + slope_of_log_r", "along = squared - slope_of_log_r", 0),
        ("(along + squared) + first * first", "(along + squared) - first * first", 0),
        ("- along * u1 - across * u2", "- along * u1 + across * u2", 1),
        ("- H * last.dc2_db[i]", "+ H * last.dc2_db[i]", 1),
    ],
)
def test_planted_bugs_in_the_derivatives(old, new, which, mutant):
    package = mutant("cells/second_derivatives.py", [(old, new)])
    cell = rebuilt(package, LinearRTU(5, "tanh", max_phase=1.0, r_min=0.5, r_max=0.95))
    with pytest.raises(AssertionError, match="second order"):
        check_second_order(package, cell, which)


@in_plain_python
def test_a_phase_that_wraps_leaves_corrected_sensitivities_of_the_same_unit():
    """The learner with wrapped phases goes on as the one without, but for the scale of theta_log's derivative."""
    cell, xs = LinearRTU(3, "tanh", max_phase=1.0), np.random.default_rng(3).standard_normal((20, D))
    for wrap in (False, True):
        layer = cell.build(D, RTRL(taylor=True), seed=1)
        theta = layer.parameters["theta_log"]
        theta[:] = np.log(2.2 * 2 * np.pi + np.arange(3) / 10)
        for t, x in enumerate(xs):
            if t == 10 and wrap:
                memory, params = (
                    rtu_np.protocol.memory(layer.spec, layer._memory)[0],
                    rtu_np.protocol.parameters(layer.spec, layer._params)[0],
                )
                flat = np.ones(layer._params.size)
                factors = rtu_np.protocol.parameters(layer.spec, flat)[0]
                rtu_np.protocol.wrap(layer.spec, params, factors)
                rtu_np.protocol.rescale(layer.spec, params, memory, factors)
            if t == 14:  # a phase moves by as much, in radians
                theta[:] = np.log(np.exp(theta) + 1e-4)
            layer.advance(x)
        gradient = {
            name: value / (np.exp(theta) if name == "theta_log" else 1)
            for name, value in layer.gradient(np.ones(6)).items()
        }
        if not wrap:
            expected = gradient
    assert np.exp(theta).max() < 4 * np.pi
    for name, value in gradient.items():
        assert_close(value, expected[name], 1e-7, name)


@in_plain_python
def test_a_learner_whose_parameters_stay_has_the_bits_of_rtrl():
    s = stream(30, D, seed=8)
    learners = [
        TDLambda(LinearRTU(4), D, optimizer=SGD(1e-300), gradient=RTRL(taylor=t), seed=2) for t in (False, True)
    ]
    assert np.array_equal(*(run(each, s) for each in learners))
    assert all(np.array_equal(learners[0].traces[name], learners[1].traces[name]) for name in learners[0].traces)


# ---------------------------------------------------------------------------------------- learners, labels, refusals

EVERY = [(GRU(3), UORO(1)), (LEAKY, RFLO()), (NonlinearRTU(3), RTRL(taylor=True))]


@in_plain_python
@pytest.mark.parametrize(("cell", "gradient"), EVERY, ids=lambda part: rtu_np.validation.brief(part))
def test_every_learner_takes_them_and_ppo_refuses_them(cell, gradient, tmp_path):
    s, env = stream(30, D, seed=3), gymnasium.make("CartPole-v1")
    body = Stack([Dense(4, "tanh"), LayerNorm(), cell])
    agents = [kind(env, recurrent_network(cell), gradient=gradient) for kind in (ActorCritic, QLambda, QRC)]
    for agent in agents:
        agent.learn(env, 60, progress=False, log=None)
        agent.save(tmp_path / "agent.npz")
        assert type(agent).load(tmp_path / "agent.npz").gradient == gradient
    many = TDLambda(body, D, gamma=np.array([0.5, 0.9]), gradient=gradient)
    many.run(s.observations, np.stack([s.cumulants] * 2, 1), progress=False)
    for learner in (TDLambda(body, D, gradient=gradient), OnlineRegressor(body, D, gradient=gradient)):
        learner.reset()
    with pytest.raises((TypeError, ValueError), match=r"gradient is .*: expected RTRL\(\)"):
        PPO(env, recurrent_network(cell), gradient=gradient)


@in_plain_python
def test_the_checker_says_what_each_is():
    for cell, gradient, kinds in (
        (LEAKY, SnAp1(), {OWN_PAST}),
        (GRU(3), SnAp1(), {OWN_PAST}),
        (LEAKY, RFLO(), {LEAK_ALONE}),
        (LinearRTU(3), SnAp1(), {"exact for fixed parameters"}),
        (
            LinearRTU(3),
            RTRL(taylor=True),
            {"exact for fixed parameters", "exact for fixed parameters, corrected for its own moves"},
        ),
    ):
        report = check_gradients(cell, 2, 10, gradient)
        assert report.passed, str(report)
        assert {b.kind for b in report.blocks if b.block not in ("x", "readout.w", "readout.b")} == kinds


@pytest.mark.skipif(not COMPILED, reason="1000 draws take long in plain Python")
def test_the_checker_calls_uoro_unbiased():
    report = check_gradients(VanillaRNN(3, leak=0.5), 3, 10, UORO(0))
    assert report.passed, str(report)
    assert {block.kind for block in report.blocks} == {"unbiased, random"}
    assert all(block.deviation > 0.1 for block in report.blocks)


@in_plain_python
def test_the_checker_finds_a_wrong_own_past(mutant):
    package = mutant("gradients/own_past.py", [("memory.dstate[i] = memory.J[0, i] * dy[i]", "pass")])
    report = package.check_gradients(package.GRU(3), 2, 10, package.SnAp1())
    assert not report.passed, str(report)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: VanillaRNN(4).build(2, RFLO()),
            ValueError,
            r"RFLO\(\) for VanillaRNN with leak 1.0: expected a leak below 1",
        ),
        (lambda: GRU(4).build(2, RFLO()), TypeError, r"RFLO\(\) for GRU: expected VanillaRNN\(n, leak=a\)"),
        (lambda: LinearRTU(4).build(2, UORO()), TypeError, r"UORO\(\) for LinearRTU: expected a dense cell"),
        (
            lambda: BlockDiagonalRNN(4).build(2, SnAp1()),
            TypeError,
            r"SnAp1\(\) for BlockDiagonal: expected VanillaRNN, GRU",
        ),
        (
            lambda: LRU(4).build(2, RTRL(taylor=True)),
            TypeError,
            r"RTRL\(taylor=True\) for LinearRTU.*an LRU's have not",
        ),
        (lambda: GRU(4).build(2, RTRL(taylor=True)), TypeError, r"RTRL\(taylor=True\) for GRU: expected LinearRTU or"),
        (lambda: RTRL(dense=True, taylor=True), ValueError, "dense and taylor are both True: expected one"),
        (lambda: RTRL(taylor=1), TypeError, "taylor is 1"),
        (lambda: UORO(-1), ValueError, "seed is -1: expected an integer of at least 0 and at most 4294967295"),
        (lambda: UORO(0.5), TypeError, "seed is 0.5"),
        (lambda: VanillaRNN(4, leak=0.0), ValueError, "leak is 0.0"),
        (lambda: VanillaRNN(4, leak=1.5), ValueError, "leak is 1.5"),
        (lambda: check_gradients(GRU(2), gradient=UORO(), thorough=True), ValueError, "thorough is True for UORO"),
        (lambda: check_gradients(GRU(2), gradient=UORO(), reset_at=3), ValueError, "reset_at is 3 for UORO"),
        (lambda: check_gradients(GRU(2), gradient=UORO(), dtype="float32"), ValueError, "dtype is 'float32' for UORO"),
        (
            lambda: check_gradients(Stack([GRU(2), Dense(2)]), gradient=SnAp1()),
            TypeError,
            "a stack with a dense cell: expected the dense cell alone",
        ),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_settings_that_came_later_are_described_only_if_they_are_not_at_their_default():
    assert checkpoint.describe(VanillaRNN(4)) == {"name": "VanillaRNN", "n_hidden": 4, "activation": "tanh"}
    assert checkpoint.describe(RTRL()) == {"name": "RTRL", "dense": False}
    for part in (VanillaRNN(4, leak=0.25), RTRL(taylor=True), RTRL(), ELSTM(3)):
        assert checkpoint.build("part", checkpoint.describe(part)) == part


def test_without_a_leak_the_cell_is_what_it_was():
    assert type(VanillaRNN(4, leak=1).spec(2)) is type(VanillaRNN(4).spec(2))
    assert VanillaRNN(4, leak=1) == VanillaRNN(4)
    assert VanillaRNN(4, leak=0.5).spec(2).leak == 0.5
