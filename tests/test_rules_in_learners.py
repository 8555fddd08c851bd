"""Step-size rules in learners as users have them: saved, copied, in one go and step by step; refused; diverging."""

import copy
import pickle

import numpy as np
import oracles
import pytest
from agent_cases import World, everything
from rule_cases import RULES, of_blocks
from td_cases import run, steps

from rtu_np import (
    PPO,
    QRC,
    TIDBD,
    ActorCritic,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    Blocks,
    Dense,
    Epsilon,
    HiddenReadout,
    Intentional,
    LinearRTU,
    ObGD,
    QLambda,
    Stack,
    SwiftTD,
    TDLambda,
    WithLambda,
    run_many,
)

PREDICTION = {**RULES, **of_blocks("readout")}
CONTROL = {**RULES, **of_blocks("policy")}
VALUES = {**RULES, **of_blocks("value")}


def learner(name: str, dtype: str = "float32", **settings) -> TDLambda:
    return TDLambda(LinearRTU(4), 2, gamma=0.9, lambda_=0.8, optimizer=PREDICTION[name], dtype=dtype, **settings)


def stream(n: int, seed: int = 1) -> oracles.Stream:
    return oracles.stream(n, 2, seed)


@pytest.mark.parametrize("name", PREDICTION)
def test_prediction_in_pieces_from_files_and_copies_gives_the_same_bits(name, tmp_path):
    s = stream(300)
    pieces = [oracles.Stream(*(a[k : k + 60] for a in vars(s).values())) for k in range(0, 300, 60)]
    whole, other = learner(name), learner(name)
    expected = run(whole, s)
    duplicates = [
        lambda: TDLambda.load(other.save(tmp_path / "a.npz") or tmp_path / "a.npz"),
        lambda: copy.deepcopy(other),
        lambda: pickle.loads(pickle.dumps(other)),
    ]
    got = [run(other, pieces[0])]
    for duplicate, piece in zip(duplicates, pieces[1:], strict=False):
        other = duplicate()
        assert other.optimizer == PREDICTION[name]
        got.append(run(other, piece))
    got.append(steps(other, pieces[4]))
    assert np.array_equal(np.concatenate(got), expected)
    assert everything(whole) == everything(other)
    assert len(set(map(bytes, whole.parameters.values()))) == len(whole.parameters)


def agent(kind: str, name: str):
    world, own = World(discrete=True), {"gamma": 0.9, "lambda_": 0.8, "seed": 3}
    if kind == "QLambda":
        return QLambda(world, LinearRTU(3), optimizer=VALUES[name], epsilon=Epsilon(0.5, 0.1, 30), **own)
    critics = VALUES["SwiftTD" if name == "mixed" else name]
    return ActorCritic(world, LinearRTU(3), actor_optimizer=CONTROL[name], critic_optimizer=critics, **own)


@pytest.mark.parametrize("name", CONTROL)
@pytest.mark.parametrize("kind", ["ActorCritic", "QLambda"])
def test_agents_from_files_and_copies_give_the_same_bits(kind, name, tmp_path):
    whole, s = agent(kind, name), oracles.stream(90, 3, 5)
    rows = list(zip(s.observations, s.cumulants, s.terminated, s.truncated, strict=True))
    for row in rows[:40]:
        whole.step(*row)
    whole.save(tmp_path / "a.npz")
    others = [type(whole).load(tmp_path / "a.npz"), pickle.loads(pickle.dumps(whole))]
    for each in (whole, *others):
        for row in rows[40:]:
            each.step(*row)
        assert everything(each) == everything(whole)


@pytest.mark.parametrize("name", PREDICTION)
def test_the_latest_update_is_the_change_of_the_parameters(name):
    """`diagnostics` reports it by block."""
    made, s = learner(name, "float64"), oracles.stream(40, 2, 3, ends=False)
    for t, row in enumerate(zip(s.observations, s.cumulants, strict=True)):
        before = {key: view.copy() for key, view in made.parameters.items()}
        made.step(*row)
        change: dict[str, float] = {}
        for key, view in made.parameters.items():
            block = key.partition(".")[0]
            change[block] = change.get(block, 0.0) + float(np.abs(view - before[key]).sum())
        if t > 1:
            found, total = made.diagnostics(), sum(change.values())
            assert found["last_step"] == pytest.approx(total, rel=1e-9), f"step {t}"
            assert {k: found[f"share.{k}"] for k in change} == pytest.approx({k: v / total for k, v in change.items()})


def test_many_learners_with_a_rule_each():
    s = stream(100)
    alone = [learner(name) for name in PREDICTION]
    together = [learner(name) for name in PREDICTION]
    run_many(together, s.observations, s.cumulants, progress=False)
    for one, other in zip(alone, together, strict=True):
        one.run(s.observations, s.cumulants, progress=False)
        assert everything(one) == everything(other)


def test_without_discount_of_traces_a_rule_stays_finite():
    s = oracles.stream(60, 2, 3, ends=False)
    for name in RULES:
        made = TDLambda(LinearRTU(3), 2, gamma=1.0, lambda_=1.0, optimizer=RULES[name])
        made.run(s.observations, s.cumulants, progress=False)
        assert all(np.isfinite(view).all() for view in made.parameters.values()), name


def test_rules_per_block_of_one_rule_are_that_rule():
    """But for the order of sums: of Adam, which has none, to the last digits; of shares, by the bound."""
    s, rule = stream(200), Adam(0.01)
    whole = TDLambda(LinearRTU(4), 2, optimizer=rule)
    parts = TDLambda(LinearRTU(4), 2, optimizer=Blocks(cell=rule, readout=rule))
    assert np.allclose(run(whole, s), run(parts, s), rtol=1e-9, atol=1e-12)
    shares = Blocks.of_shares(ObGD(step_size=0.5, kappa=3.0), cell=0.25, readout=0.75)
    assert (shares.cell, shares.readout) == (ObGD(0.5, 12.0), ObGD(0.5, 4.0))


# ---------------------------------------------------------------------------------------------------------- refusals

A = Adam(1e-3)
DISCRETE, STACK = World(discrete=True), Stack([LinearRTU(3), Dense(2)])
REFUSED = {
    "ObGD in QRC": (lambda: QRC(DISCRETE, LinearRTU(3), optimizer=ObGD()), "optimizer is ObGD.*sum of three terms"),
    "bound in QRC": (
        lambda: QRC(DISCRETE, LinearRTU(3), h_optimizer=AdaptiveObGD()),
        "h_optimizer is AdaptiveObGD.*SGD",
    ),
    "gradient in QRC": (lambda: QRC(DISCRETE, LinearRTU(3), optimizer=TIDBD()), "optimizer is TIDBD.*latest gradient"),
    "blocks in QRC": (lambda: QRC(DISCRETE, LinearRTU(3), optimizer=Blocks(cell=A)), "optimizer is Blocks.*QRC"),
    "SwiftTD in QRC": (lambda: QRC(DISCRETE, LinearRTU(3), optimizer=SwiftTD()), "optimizer is SwiftTD.*QRC"),
    "gradient in PPO": (lambda: PPO(DISCRETE, LinearRTU(3), optimizer=Adaptive()), "optimizer is Adaptive.*no traces"),
    "blocks in PPO": (lambda: PPO(DISCRETE, LinearRTU(3), optimizer=Blocks(cell=A)), "optimizer is Blocks.*no traces"),
    "SwiftTD in PPO": (lambda: PPO(DISCRETE, LinearRTU(3), optimizer=SwiftTD()), "optimizer is SwiftTD.*no traces"),
    "SwiftTD of a network": (lambda: TDLambda(LinearRTU(3), 2, optimizer=SwiftTD()), "whole network.*readout=SwiftTD"),
    "SwiftTD of a cell": (
        lambda: TDLambda(LinearRTU(3), 2, optimizer=Blocks(cell=SwiftTD(), readout=A)),
        "optimizer: cell has SwiftTD.*linear readout",
    ),
    "SwiftTD of a hidden layer": (
        lambda: TDLambda(STACK, 2, optimizer=Blocks(cell=A, hidden=SwiftTD(), readout=A)),
        "hidden has SwiftTD",
    ),
    "SwiftTD of a hidden readout": (
        lambda: TDLambda(LinearRTU(3), 2, readout=HiddenReadout(3), optimizer=Blocks(cell=A, readout=SwiftTD())),
        "readout has SwiftTD.*linear readout",
    ),
    "SwiftTD of a policy": (
        lambda: ActorCritic(DISCRETE, LinearRTU(3), actor_optimizer=Blocks(cell=A, policy=SwiftTD())),
        "actor_optimizer: policy has SwiftTD",
    ),
    "no such block": (
        lambda: ActorCritic(DISCRETE, LinearRTU(3), actor_optimizer=Blocks(cell=A, readout=A)),
        "actor_optimizer has a rule for readout.*its blocks are cell, policy",
    ),
    "a block is missing": (
        lambda: ActorCritic(DISCRETE, LinearRTU(3), critic_optimizer=Blocks(cell=A)),
        "critic_optimizer has no rule for value",
    ),
    "no blocks": (lambda: TDLambda(LinearRTU(3), 2, optimizer=Blocks()), "optimizer has no rule for cell, readout"),
    "lambda alone": (
        lambda: TDLambda(LinearRTU(3), 2, optimizer=WithLambda(A, 0.3)),
        "optimizer is WithLambda.*Blocks",
    ),
    "nested blocks": (lambda: Blocks(cell=Blocks(cell=A)), "cell is Blocks.*do not nest"),
    "lambda of blocks": (lambda: WithLambda(Blocks(cell=A), 0.3), "rule is Blocks.*do not nest"),
    "lambda of lambda": (lambda: Blocks(cell=WithLambda(WithLambda(A, 0.3), 0.3)), "rule is WithLambda"),
    "lambda out of range": (lambda: WithLambda(A, 1.2), "lambda_ is 1.2"),
    "a class": (lambda: Blocks(cell=Adam), "cell is <class"),
    "shares above one": (lambda: Blocks.of_shares(ObGD(), cell=0.5, readout=0.6), "cell=0.5, readout=0.6, 1.1 in all"),
    "no shares": (lambda: Blocks.of_shares(ObGD()), "shares are missing"),
    "a negative share": (lambda: Blocks.of_shares(ObGD(), cell=1.5, readout=-0.5), "readout is -0.5"),
    "a share of no block": (lambda: Blocks.of_shares(ObGD(), cel=1.0), "cel is not a block"),
    "shares of Adam": (lambda: Blocks.of_shares(A, cell=1.0), "bound is Adam.*expected ObGD"),
    "a block that is none": (lambda: Blocks(cel=A), "cel"),
    "a step size that the rule would change": (lambda: TIDBD(1e-12), "step_size is 1e-12"),
    "statistics": (lambda: Intentional(statistics="weights"), "statistics is 'weights'"),
    "a step size above eta": (lambda: SwiftTD(0.2), "step_size is 0.2: expected at most eta"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_rule_without_a_meaning_is_refused_at_construction(case):
    make, message = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------------------- divergence

WILD = {
    "AdaptiveObGD": (AdaptiveObGD(1e30, kappa=1e-30), "a larger kappa of AdaptiveObGD"),
    "Adaptive": (Adaptive(1e30), "a larger epsilon of Adaptive"),
    "Intentional": (Intentional(1e30), "Intentional"),
    "TIDBD": (TIDBD(7.0, kappa=1e-30), "a larger kappa or a smaller meta_step of TIDBD"),
    "Autostep": (Autostep(7.0, meta_step=1e30), "a smaller meta_step of Autostep"),
    "SwiftTD": (Blocks(cell=Adam(1e30), readout=SwiftTD(1e30, eta=1e30)), "a smaller eta of SwiftTD"),
    "shares": (Blocks.of_shares(ObGD(1e30, 1e-30), cell=0.5, readout=0.5), "a larger kappa of ObGD"),
    "Adam": (Adam(1e38), "or ObGD, which bounds its steps"),
}


@pytest.mark.parametrize("name", WILD)
@pytest.mark.parametrize("kind", ["prediction", "control"])
@pytest.mark.filterwarnings("ignore:in its first")
def test_divergence_stops_the_learner_and_names_the_cure(kind, name):
    rule, cure = WILD[name]
    scale = 1e25 if name in ("Autostep", "TIDBD") else 1e3  # its steps do not overshoot, whatever the settings
    rng = np.random.default_rng(0)
    x, c = scale * rng.standard_normal((2000, 2)), scale * rng.standard_normal(2000)
    message = "learning diverged.*cure is a smaller step size, .*" + cure
    if kind == "prediction":
        made = TDLambda(LinearRTU(3, activation="identity"), 2, optimizer=rule, dtype="float32")
    else:
        rule = Blocks(cell=rule.cell, value=rule.readout) if isinstance(rule, Blocks) else rule
        plain = {"normalize_observations": False, "scale_rewards": False, "dtype": "float32"}
        made = QLambda(World(True, d=2), LinearRTU(3, activation="identity"), optimizer=rule, **plain)

    def learn():
        for row, number in zip(x, c, strict=True):
            made.step(row, number)

    with pytest.raises(FloatingPointError, match=message):
        learn()
