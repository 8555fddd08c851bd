"""What users type and read: keywords, reprs, and the names of parameters by block."""

import inspect

import numpy as np
import pytest
from agent_cases import World, make
from cases import in_plain_python

from rtu_np import (
    GRU,
    PPO,
    QRC,
    RTRL,
    SGD,
    TBPTT,
    ActorCritic,
    Dense,
    HiddenReadout,
    LayerNorm,
    LinearRTU,
    NonlinearRTU,
    QLambda,
    Stack,
    TDLambda,
)

# ---------------------------------------------------------------------------------------------------------- keywords

OLD_KEYWORDS = [
    (PPO, "rollout", "n_steps", 64),
    (PPO, "minibatches", "n_minibatches", 4),
    (PPO, "epochs", "n_epochs", 2),
    (PPO, "gae", "gae_lambda", 0.9),
    (PPO, "value", "value_coef", 0.5),
    (PPO, "entropy", "entropy_coef", 0.01),
    (PPO, "max_norm", "max_grad_norm", 0.5),
    (PPO, "fresh", "refresh", "nothing"),
    (ActorCritic, "entropy", "entropy_coef", 0.01),
    *((kind, "previous", "previous_action_reward", True) for kind in (PPO, ActorCritic, QLambda, QRC)),
]


@pytest.mark.parametrize(("kind", "old", "new", "value"), OLD_KEYWORDS)
def test_an_old_keyword_is_refused(kind, old, new, value):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{old}'"):
        kind(World(True), LinearRTU(2), **{old: value})
    assert new in inspect.signature(kind).parameters


def test_the_old_word_for_no_refresh_is_refused():
    with pytest.raises(ValueError, match="refresh is 'nothing': expected one of 'none', "):
        PPO(World(True), LinearRTU(2), refresh="nothing")


@in_plain_python
def test_an_old_keyword_is_refused_by_load(tmp_path):
    path = make(False).save(tmp_path / "agent.npz")
    with pytest.raises(TypeError, match="entropy is given: expected settings of ActorCritic, cell, "):
        ActorCritic.load(path, entropy=0.1)


# ------------------------------------------------------------------------------------------------------------- reprs


def test_repr_of_a_learner():
    learner = TDLambda(LinearRTU(16, "relu"), n_inputs=2, gamma=0.5, optimizer=SGD(0.01), readout=HiddenReadout(4))
    text = repr(learner)
    assert text.startswith("TDLambda(LinearRTU(16, activation='relu'), n_inputs=2, gamma=0.5, lambda_=0.9, ")
    for part in ("optimizer=SGD(step_size=0.01)", "readout=HiddenReadout(4)", "gradient=RTRL()", "dtype='float64'"):
        assert part in text
    assert text.endswith("steps=0)")


@in_plain_python
@pytest.mark.filterwarnings("ignore:steps is .*this call learns nothing:RuntimeWarning")
def test_repr_counts_steps():
    learner = TDLambda(LinearRTU(3), 2)
    learner.run(np.ones((12, 2)), np.ones(12), progress=False)
    assert repr(learner).endswith("steps=12)")
    for kind in (ActorCritic, QLambda, QRC, PPO):
        agent = kind(World(True), LinearRTU(3, "relu"))
        agent.learn(World(True), 3, progress=False, log=None)
        assert repr(agent).startswith(f"{kind.__name__}(LinearRTU(3, activation='relu')")
        assert repr(agent).endswith("steps=3)")


# ------------------------------------------------------------------------------------------------------------ blocks


def blocks(names) -> set[str]:
    return {name.rpartition(".")[0] for name in names}


ONE_OF_EACH = Stack([Dense(5, "tanh"), LinearRTU(3), Dense(4, "tanh")])
BODIES = {
    "a cell": (LinearRTU(3), {"cell"}),
    "no recurrence": (Dense(4), {"encoder"}),
    "one of each": (ONE_OF_EACH, {"encoder", "cell", "hidden"}),
    "two of each": (
        Stack([Dense(5), Dense(4), LinearRTU(3), GRU(3), Dense(4), Dense(2)]),
        {f"{name}.{k}" for name in ("encoder", "cell", "hidden") for k in (0, 1)},
    ),
    "a layer without parameters counts": (
        Stack([Dense(5), LayerNorm(), Dense(4), LinearRTU(3)]),
        {"encoder.0", "encoder.2", "cell"},
    ),
    "a layer between two recurrent ones belongs to them": (
        Stack([LinearRTU(3), Dense(4), NonlinearRTU(2)]),
        {"cell.0", "cell.1", "cell.2"},
    ),
}


@pytest.mark.parametrize("gradient", [RTRL(), TBPTT(2), RTRL(dense=True)], ids=str)
@pytest.mark.parametrize("body", BODIES)
def test_blocks_of_a_learner(body, gradient):
    cell, expected = BODIES[body]
    learner = TDLambda(cell, 2, gradient=gradient)
    assert blocks(learner.parameters) == {*expected, "readout"}
    assert learner.traces.keys() == learner.parameters.keys()


def test_parameters_of_a_learner():
    assert list(TDLambda(ONE_OF_EACH, 2).parameters) == [
        *("encoder.W", "encoder.b"),
        *("cell.nu_log", "cell.theta_log", "cell.W1", "cell.W2"),
        *("hidden.W", "hidden.b"),
        *("readout.w", "readout.b"),
    ]


@in_plain_python
def test_blocks_of_agents():
    body, world = {"encoder", "cell", "hidden"}, World(True)
    two = ActorCritic(world, ONE_OF_EACH, critic_cell=LinearRTU(2))
    assert blocks(two.parameters) == {*(f"actor.{name}" for name in (*body, "policy")), "critic.cell", "critic.value"}
    shared = ActorCritic(world, ONE_OF_EACH, shared=True)
    assert blocks(shared.parameters) == {*body, "policy", "value"}
    q, qrc = QLambda(world, ONE_OF_EACH), QRC(world, ONE_OF_EACH)
    assert blocks(q.parameters) == {*body, "value"}
    assert blocks(qrc.parameters) == {f"{net}.{name}" for net in ("q", "h") for name in (*body, "value")}
    for agent in (two, shared, q, qrc):
        assert agent.traces.keys() == agent.parameters.keys()
        assert blocks(name.removeprefix("trace.") for name in agent.diagnostics() if name.startswith("trace.")) == (
            blocks(agent.parameters)
        )


@in_plain_python
def test_blocks_of_ppo():
    agent = PPO(World(True), Stack([Dense(5, "tanh"), LinearRTU(3)]), critic=Stack([Dense(4), Dense(3)]))
    heads = {"actor.hidden", "policy", "critic.hidden.0", "critic.hidden.1", "value"}
    assert blocks(agent.parameters) == {"encoder", "cell", *heads}
    assert "policy.log_std" in PPO(World(False), LinearRTU(3)).parameters
