"""Every gradient method in every learner, what the checker says of it, what is refused, and how it is written down."""

import gymnasium
import numpy as np
import pytest
from cases import COMPILED, in_plain_python
from oracles import stream

import rtu_np
from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    PPO,
    QRC,
    RFLO,
    RTRL,
    UORO,
    ActorCritic,
    BlockDiagonalRNN,
    Dense,
    LayerNorm,
    LinearRTU,
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
from rtu_np.gradcheck import unbiased
from rtu_np.gradcheck.own_past import LEAK_ALONE, OWN_PAST

D = 3
LEAKY = VanillaRNN(4, leak=0.3)
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
        first = learner.run(s.observations, s.cumulants, progress=False)
        learner.reset()
        again = learner.run(s.observations, s.cumulants, progress=False)
        assert np.isfinite(again).all()
        assert not np.array_equal(first, again)  # it has learned
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
def test_the_checker_calls_what_is_below_a_layer_with_a_state_layer_local(monkeypatch):
    monkeypatch.setattr(unbiased, "DRAWS", 10)
    report = check_gradients(Stack([Dense(2), GRU(2), GRU(2), Dense(2)]), 2, 4, UORO())
    kinds = {block.block.partition(".")[0]: block.kind for block in report.blocks}
    local, above = "layer-local, approximate", "exact for fixed parameters"
    assert kinds == {"0": local, "1": "layer-local, random", "2": "unbiased, random", "3": above}


@in_plain_python
def test_the_checker_finds_a_wrong_own_past(plant):
    plant("gradients/recurrent_slopes.py", [("row[i] = J[i] * row[i] + x * by[i]", "row[i] = x * by[i]")])
    report = check_gradients(GRU(3), 2, 10, SnAp1())
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
        (lambda: LinearRTU(4).build(2, UORO()), TypeError, r"UORO\(0\) for LinearRTU: expected a dense cell"),
        (
            lambda: BlockDiagonalRNN(4).build(2, SnAp1()),
            TypeError,
            r"SnAp1\(\) for BlockDiagonalRNN: expected VanillaRNN, GRU",
        ),
        (
            lambda: LRU(4).build(2, RTRL(taylor=True)),
            TypeError,
            r"RTRL\(taylor=True\) for LRU: expected LinearRTU or NonlinearRTU",
        ),
        (
            lambda: VanillaRNN(4, leak=0.5).build(2, RTRL(taylor=True)),
            TypeError,
            r"RTRL\(taylor=True\) for VanillaRNN with leak 0.5: expected",
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
    assert (repr(RTRL()), repr(RTRL(taylor=True))) == ("RTRL(dense=False)", "RTRL(dense=False, taylor=True)")
    for part in (VanillaRNN(4, leak=0.25), RTRL(taylor=True), RTRL(), ELSTM(3)):
        assert checkpoint.build("part", checkpoint.describe(part)) == part


def test_without_a_leak_the_cell_is_what_it_was():
    assert type(VanillaRNN(4, leak=1).spec(2)) is type(VanillaRNN(4).spec(2))
    assert VanillaRNN(4, leak=1) == VanillaRNN(4)
    assert VanillaRNN(4, leak=0.5).spec(2).leak == 0.5
