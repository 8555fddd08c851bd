"""A campaign at the doors of the agents: random spaces, settings, steps, copies and loops (campaign_cases.py)."""

import copy
import math
import pickle
import tempfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from campaign_cases import bad_numbers, door, given_as, good_numbers, outcome, refuses, spoiled
from campaign_spaces import ACTIONS, BAD_SPACES, OBSERVATIONS, World, not_in
from cases import COMPILED, in_plain_python
from hypothesis import given
from hypothesis import strategies as st
from loop_cases import QUIET, state
from rule_cases import RULES

from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    PPO,
    QRC,
    RTRL,
    SGD,
    TBPTT,
    ActorCritic,
    Adam,
    Dense,
    Epsilon,
    GatedRTU,
    LinearReadout,
    LinearRTU,
    MinGRU,
    ObGD,
    QLambda,
    RMSProp,
    Softmax,
    Stack,
)
from rtu_np.learning.outcomes import IS_FIRST

# Uncompiled, NumPy warns of what a compiled kernel meets without a word; and Gaussian policies warn of scales.
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = st.integers(1, 3)
CELLS = SMALL.map(LinearRTU)
if not COMPILED:
    single = (SMALL.map(GRU), SMALL.map(LRU), SMALL.map(MinGRU), SMALL.map(ELSTM), SMALL.map(GatedRTU))
    CELLS = st.one_of(CELLS, *single, SMALL.map(lambda n: Stack([Dense(n), LinearRTU(n)])))
ROLLOUT = {"n_steps": 8, "n_minibatches": 2, "n_epochs": 2, "threads": 1}
NARROW = {"actor": Dense(2, "tanh"), "critic": Dense(2, "tanh")}
GRADIENTS = st.sampled_from([None, RTRL(), RTRL(dense=True), TBPTT(2)])
OPTIMIZERS = st.sampled_from([None, SGD(0.01), Adam(0.003), RMSProp(0.003)])
BOUNDED = st.one_of(OPTIMIZERS, st.sampled_from([ObGD(0.5), *RULES.values()]))
OWN = {
    "shared": (
        ActorCritic,
        {"shared": st.just(True), "actor_optimizer": BOUNDED, "lambda_": st.sampled_from([0, 0.8])},
    ),
    "two": (
        ActorCritic,
        {"shared": st.just(False), "critic_optimizer": BOUNDED, "entropy_coef": st.sampled_from([0, 1])},
    ),
    "Q": (QLambda, {"optimizer": BOUNDED, "epsilon": st.sampled_from([None, Epsilon(0.5, 0.1, 9)])}),
    "QRC": (QRC, {"optimizer": OPTIMIZERS, "h_optimizer": OPTIMIZERS, "beta": st.sampled_from([0, 1.0])}),
    "PPO": (
        PPO,
        {"optimizer": OPTIMIZERS, "refresh": st.sampled_from(["none", "gradients", "targets", "both"])}
        | {name: st.just(value) for name, value in {**ROLLOUT, **NARROW}.items()},
    ),
}
KIND = st.sampled_from(list(OWN))


@st.composite
def agents(draw):
    """(kind, environment, settings)"""
    name = draw(KIND)
    kind, own = OWN[name]
    actions = ACTIONS.filter(lambda space: isinstance(space, gymnasium.spaces.Discrete)) if name[0] == "Q" else ACTIONS
    env = World(draw(OBSERVATIONS), draw(actions), draw(st.integers(0, 9)))
    inputs = {"normalize_observations": draw(st.booleans()), "scale_rewards": draw(st.booleans())}
    if inputs["normalize_observations"]:
        inputs["clip_observations"] = draw(st.sampled_from([None, 1, 10.0]))
    common = {
        "cell": draw(CELLS),
        "gradient": draw(GRADIENTS),
        "gamma": draw(st.sampled_from([0.9, 0, 1])),
        "previous_action_reward": draw(st.booleans()),
        "seed": draw(st.sampled_from([0, 2**70])),
        "dtype": draw(st.sampled_from(["float32", "float64"])),
    }
    return kind, env, {**common, **inputs, **{name: draw(values) for name, values in own.items()}}


def again(agent, how: str):
    """The agent, by way of a copy."""
    if how == "saved":
        with tempfile.TemporaryDirectory() as folder:
            return type(agent).load(agent.save(Path(folder) / "agent"))
    return {"same": lambda x: x, "pickled": lambda x: pickle.loads(pickle.dumps(x)), "copied": copy.deepcopy}[how](
        agent
    )


AGAIN = st.sampled_from(["same", "saved", "pickled", "copied"])


def live_state(agent) -> bytes:
    """The state without what nothing reads: after an end, the row of PPO's rollout that the next step writes."""
    arrays = agent._arrays()
    if agent._clock[IS_FIRST]:
        rows = [name for name in arrays if name.startswith("rollout.") and name != "rollout.memory"]
        arrays |= {name: arrays[name][:-1] for name in rows}
    generators = str([agent._rng.bit_generator.state, agent._acting_rng.bit_generator.state])
    return b"".join(array.tobytes() for array in arrays.values()) + generators.encode()


def same(action, other) -> bool:
    return type(action) is type(other) and np.array_equal(action, other)


def check_action(env, action) -> None:
    assert env.action_space.contains(action), f"{action!r} is not in {env.action_space}"
    assert np.isfinite(np.asarray(action, np.longdouble)).all()


# ------------------------------------------------------------------------------------------------------------ settings

UNREAL = [math.nan, math.inf, "x", True, 10**400, 1j, [], np.zeros(1)]
SWAPPED = [0, "", [], False, 1e-3, "Adam", {}, LinearRTU, SGD]
BAD = {
    "cell": [*SWAPPED, SGD(0.1), RTRL(), LinearReadout(), [LinearRTU(2)]],
    "policy": [*SWAPPED, SGD(0.1), RTRL(), LinearRTU(2), Epsilon(), Softmax, LinearReadout()],
    "gradient": [*SWAPPED, SGD(0.1), LinearRTU(2), LinearReadout(), Softmax(), RTRL],
    "gamma": [-0.1, 1.1, None, *UNREAL],
    "lambda_": [-0.1, 1.1, None, *UNREAL],
    "entropy_coef": [-0.1, None, *UNREAL],
    "beta": [-0.1, None, *UNREAL],
    "gae_lambda": [-0.1, 1.1, None, *UNREAL],
    "clip": [0, -1, None, *UNREAL],
    "max_grad_norm": [0, -1, None, *UNREAL],
    **{name: [*SWAPPED, RTRL(), LinearRTU(2), Epsilon] for name in ("optimizer", "h_optimizer")},
    **{name: [*SWAPPED, RTRL(), LinearRTU(2), Epsilon] for name in ("actor_optimizer", "critic_optimizer")},
    "epsilon": [*SWAPPED, SGD(0.1), Softmax(), Epsilon, 0.1],
    **{name: [*SWAPPED, SGD(0.1), RTRL(), LinearRTU(2)] for name in ("actor", "critic")},
    **{name: [0, 1, None, "", "yes", 1.0, []] for name in ("normalize_observations", "scale_rewards", "shared")},
    "previous_action_reward": [0, 1, None, "", "yes", 1.0, []],
    "clip_observations": [0.5, -1, 0, False, *UNREAL],
    **{name: [0, -1, 1.5, True, None, "2", [], 2.0] for name in ("n_steps", "n_minibatches", "n_epochs")},
    "threads": [0, -1, 1.5, True, "2", [], np.float32(2)],
    "refresh": ["", "all", None, True, 0, [], {}],
    "seed": [-1, 1.5, "x", "", math.nan, 1j, {}, object()],
    "dtype": [None, "", "float16", int, [], {}, 8, object(), 0.5],
    "env": [None, "CartPole-v1", World, 0, [], gymnasium.spaces.Discrete(2)],
}


@in_plain_python
@door(100)
@given(agents(), st.data())
def test_settings(made, data):
    kind, env, settings = made
    possible = sorted({"env", "policy", *settings} & BAD.keys())
    if issubclass(kind, QLambda | QRC):
        possible.remove("policy")
    name = data.draw(st.sampled_from(possible))
    bad = {name: data.draw(st.sampled_from(BAD[name]))}
    refuses(lambda: kind(**{"env": env, **settings, **bad}), f"^{name}\\b.* (is|has) ", bytes)


@in_plain_python
@door(60)
@given(agents(), BAD_SPACES, st.booleans())
def test_spaces_that_no_agent_takes(made, bad, of_actions):
    kind, env, settings = made
    spaces = (env.observation_space, bad) if of_actions else (bad, env.action_space)
    which = "the action space is" if of_actions else "the observation space is"
    refuses(lambda: kind(World(*spaces, 0), **settings), which, bytes, ValueError)


# --------------------------------------------------------------------------------------------------------------- steps


def bad_step(draw, agent, env, observation):
    """A call that is to be refused, and what its message names."""
    name = draw(st.sampled_from(["observation", "reward", "terminated", "truncated"]))
    call = draw(st.sampled_from([agent.step, agent.act]))
    if name == "observation":
        wrong = not_in(draw, env.observation_space, agent.dtype.name)
        return (lambda: call(wrong)), "observation"
    if name == "reward":
        wrong = draw(bad_numbers(agent.dtype.name))
        return (lambda: call(observation, reward=wrong)), "reward"
    wrong = draw(st.sampled_from(["x", math.nan, 1j, {1}, object()]))
    return (lambda: agent.step(observation, 0.0, **{name: wrong})), name


@in_plain_python
@door(100)
@given(agents(), st.data())
def test_steps(made, data):
    """Good and bad steps, acts and copies: actions lie in the space, and the bits are those of the good steps alone."""
    draw, (kind, env, settings) = data.draw, made
    agent, reference = kind(env, **settings), kind(env, **settings)
    for _ in range(draw(st.integers(1, 14))):
        observation = env.draw()
        if draw(st.booleans()):
            call, names = bad_step(draw, agent, env, observation)
            refuses(call, names, lambda agent=agent: state(agent))
        agent = again(agent, draw(AGAIN))
        reward = draw(good_numbers())
        ends = draw(st.sampled_from([(False, False)] * 6 + [(True, False), (False, True), (True, True)]))
        flags = tuple(draw(st.sampled_from([bool, np.bool_, int, float, np.array]))(flag) for flag in ends)
        plain = float(np.asarray(reward)[()])
        expected = outcome(lambda x=observation, r=plain, e=ends: reference.step(x, r, *e), FloatingPointError)
        if isinstance(expected, FloatingPointError):  # huge actions, as inputs, can make learning diverge
            refuses(
                lambda a=agent, x=observation, r=plain, e=ends: a.step(x, r, *e), "diverged", bytes, FloatingPointError
            )
            return
        action = agent.step(env.in_another_form(draw, observation), reward, *flags)
        assert same(action, expected)
        assert (action is None) == any(ends)
        if action is not None:
            check_action(env, action)
        if draw(st.booleans()):
            how = {"deterministic": draw(st.booleans()), "episode_start": draw(st.booleans())}
            action = agent.act(observation, reward=reward, **how)
            assert same(action, reference.act(observation, reward=plain, **how))
            check_action(env, action)
        assert live_state(agent) == live_state(reference)


@in_plain_python
@door(60)
@given(agents(), st.data())
def test_loops(made, data):
    """`learn` in stretches, through copies and beside evaluations, gives the bits of one long call."""
    draw, (kind, env, settings) = data.draw, made
    n = draw(st.integers(1, 20))
    reference, other = kind(env, **settings), env.again()
    expected = outcome(lambda: reference.learn(other, n, **QUIET), FloatingPointError)
    if isinstance(expected, FloatingPointError):  # huge actions, as inputs, can make learning diverge
        agent = kind(env, **settings)
        refuses(lambda: agent.learn(env, n, **QUIET), "diverged", bytes, FloatingPointError)
        assert agent.steps == reference.steps
        return
    agent, parts = kind(env, **settings), []
    while agent.steps < reference.steps:
        if draw(st.booleans()):
            wrong = draw(st.sampled_from([0, -1, 1.5, True, None, "2"]))
            refuses(
                lambda agent=agent, wrong=wrong: agent.learn(env, wrong, **QUIET), "steps", lambda a=agent: state(a)
            )
        if draw(st.booleans()):
            drawn = agent._acting_rng.bit_generator.state
            before = agent.parameters
            returns = agent.evaluate(env.again(), 1, draw(st.booleans()), max_steps=9, progress=False)
            assert returns.shape in ((0,), (1,))
            agent._acting_rng.bit_generator.state = drawn
            assert all(np.array_equal(view, before[name]) for name, view in agent.parameters.items())
        how = draw(AGAIN)
        agent = again(agent, how)
        if how != "same" and agent.steps:
            agent.resume(env)
        parts.append(
            agent.learn(env, draw(st.integers(1, n)) if not parts else n, callback=lambda a: a.steps < n, **QUIET)
        )
    assert live_state(agent) == live_state(reference)
    assert all(env.action_space.contains(action) for action in env.actions)
    assert len(env.actions) == len(other.actions)
    assert np.array_equal(np.concatenate(parts, axis=1), np.stack(expected))


# ------------------------------------------------------------------------------------------------------------ compiled


@pytest.mark.skipif(not COMPILED, reason="the other tests run uncompiled")
@door(60)
@given(st.sampled_from(["float32", "float64"]), st.integers(1, 4), st.data())
def test_compiled_steps(dtype, n, data):
    """One agent, compiled: the same as `test_steps`."""
    env = World(gymnasium.spaces.Box(-1, 1, (n,)), gymnasium.spaces.Box(-1, 1, (2,)), 0)
    agent, reference = (ActorCritic(env, LinearRTU(n), seed=n, dtype=dtype) for _ in range(2))
    for _ in range(data.draw(st.integers(1, 9))):
        observation = env.draw()
        if data.draw(st.booleans()):
            wrong = spoiled(data.draw, observation.astype(np.float64), dtype)
            refuses(lambda wrong=wrong: agent.step(wrong, 1.0), "observation", lambda: state(agent))
            reward = data.draw(bad_numbers(dtype))
            refuses(lambda reward=reward, x=observation: agent.step(x, reward), "reward", lambda: state(agent))
        reward = data.draw(good_numbers())
        action = agent.step(given_as(data.draw, observation.astype(np.float64)), reward)
        assert same(action, reference.step(observation, float(np.asarray(reward)[()])))
        check_action(env, action)
        assert live_state(agent) == live_state(reference)
