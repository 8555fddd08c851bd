"""The loop with an environment: callbacks, evaluation, acting, and lengths that learn nothing."""

import copy
import math

import gymnasium
import numpy as np
import pytest
from agent_cases import World, everything, make
from loop_cases import AGENTS, QUIET, state

from rtu_np.control.inputs import ENDED, LENGTH, RETURN
from rtu_np.learning.outcomes import IS_FIRST

# -------------------------------------------------------------------------------------------------------- callbacks


@pytest.mark.parametrize("answer", [False, np.False_, 0, 0.0, "", np.array(False)], ids=repr)
def test_a_callback_stops_learning(answer):
    agent, seen = make(False), []

    def callback(each):
        seen.append(each.steps)
        return answer if each.steps == 5 else None

    agent.learn(World(False), 50, **QUIET, callback=callback)
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("answer", [None, True, np.True_, 1, np.array(True)], ids=repr)
def test_a_callback_lets_learning_go_on(answer):
    agent = make(False)
    agent.learn(World(False), 9, **QUIET, callback=lambda each: answer)
    assert agent.steps == 9


def test_a_callback_that_resets_the_agent_begins_an_episode():
    agent, env, other, there = make(False), World(False), make(False), World(False)
    agent.learn(env, 9, **QUIET, callback=lambda each: each.reset() if each.steps == 3 else None)
    other.learn(there, 3, **QUIET)
    other.reset()
    other.learn(there, 6, **QUIET)
    assert everything(agent) == everything(other)


def test_a_callback_cannot_learn_elsewhere():
    agent, env = make(False), World(False)
    with pytest.raises(RuntimeError, match="this agent learns at this moment: expected a call of learn after it"):
        agent.learn(env, 9, **QUIET, callback=lambda each: each.learn(World(False), 3, **QUIET))
    with pytest.raises(RuntimeError, match=r"env is .*, in which an agent learns at this moment"):
        agent.learn(env, 9, **QUIET, callback=lambda _: make(False).learn(env, 3, **QUIET))
    assert agent.steps == 2
    agent.learn(env, 5, **QUIET)


def test_a_log_that_is_refused_leaves_the_environment_alone(tmp_path):
    agent, env = make(False), Counting(5)
    (tmp_path / "episodes.csv").write_text("other,columns\n")
    with pytest.raises(ValueError, match="has other columns"):
        agent.learn(env, 3, progress=False, log=tmp_path)
    assert env.has_reset == 0
    assert not env.has_reset
    assert agent._env is None


def test_a_loop_of_one_s_own_and_learn_count_the_same_episode():
    """Sums begin with an episode, whoever began it."""
    agent, env = make(False), World(False, ends=False)
    for _ in range(2):
        observation, _ = env.reset()
        agent.step(observation)
        for k in range(4):
            agent.step(np.ones(3), 1.0, terminated=k == 3)
    observation, _ = env.reset()
    agent.step(observation)
    agent.step(np.ones(3), 0.5)
    assert agent._episode[RETURN] == 0.5
    agent.resume(env)
    agent.learn(env, 3, **QUIET)
    assert agent._episode[LENGTH] == 4


# ------------------------------------------------------------------------------------------------------- evaluation


class Counting(World):
    """Episodes of `length` steps, with rewards of 1."""

    def __init__(self, length: float, discrete: bool = False) -> None:
        super().__init__(discrete)
        self.length, self.since, self.has_reset = length, 0, 0

    def reset(self, *, seed=None, options=None):
        self.since, self.has_reset = 0, self.has_reset + 1
        return super().reset(seed=seed)

    def step(self, action):
        self.t, self.since = self.t + 1, self.since + 1
        return self.np_random.standard_normal(3), 1.0, False, self.since >= self.length, {}


def test_evaluation_leaves_the_agent_as_it_is():
    agent, world = make(False), World(False)
    agent.learn(world, 9, **QUIET)
    agent.act(np.ones(3))
    before = everything(agent)
    returns = agent.evaluate(World(False), 3, seed=4)
    assert everything(agent) == before
    assert returns.shape == (3,)
    assert np.array_equal(returns, agent.evaluate(World(False), 3, seed=4))
    agent.learn(world, 1, **QUIET)  # in the middle of its episode, still: the one of steps 7 to 10
    assert agent._episode[ENDED] == 2


@pytest.mark.parametrize(
    ("length", "max_steps", "ended", "cut"),
    [(math.inf, 25, 0, "An episode of 25 steps so far, with rewards of 25"), (10, 25, 2, "5 steps so far, .* of 5 ")],
)
def test_a_limit_on_steps_counts_no_unfinished_episode(length, max_steps, ended, cut):
    agent, env = make(False), Counting(length)
    agent.act(np.ones(3))
    before = everything(agent)
    with pytest.warns(RuntimeWarning, match=rf"max_steps is {max_steps}: {ended} of 3 episodes .*{cut}.*TimeLimit"):
        returns = agent.evaluate(env, 3, max_steps=max_steps)
    assert returns.tolist() == [10.0] * ended
    assert returns.dtype == np.float64
    assert env.t == max_steps
    assert everything(agent) == before


def test_a_limit_on_steps_that_suffices():
    agent, env = make(False), Counting(10)
    assert agent.evaluate(env, 3, max_steps=30).tolist() == [10.0] * 3
    with pytest.warns(RuntimeWarning, match=r"2 of 3 episodes ended.*An episode of 0 steps so far, with rewards of 0 "):
        agent.evaluate(env, 3, max_steps=20)
    assert env.has_reset == 5
    with pytest.raises(ValueError, match="max_steps is 0: expected an integer of at least 1"):
        agent.evaluate(env, 3, max_steps=0)


class Wrapper(gymnasium.Wrapper):
    pass


@pytest.mark.parametrize("wrap", [lambda env: env, Wrapper, lambda env: Wrapper(Wrapper(env))])
@pytest.mark.parametrize("inner", [False, True], ids=["trained in it", "trained in a wrapper of it"])
def test_the_training_environment_is_refused_while_learning(wrap, inner):
    env = World(False)
    training = Wrapper(env) if inner else env
    agent, other = make(False), make(False)
    for each in (agent, other):  # an agent that does not learn in it would spoil it as well
        times = env.t
        with pytest.raises(RuntimeError, match=r"in which an agent learns at this moment: .* a callback of learn\?"):
            agent.learn(training, 9, **QUIET, callback=lambda _, each=each: each.evaluate(wrap(env), 1))
        assert env.t == times + 1
    agent.learn(training, 9, **QUIET, callback=lambda each: each.evaluate(World(False), 1))
    assert agent.steps == 11


@pytest.mark.parametrize("wrap", [lambda env: env, Wrapper])
@pytest.mark.parametrize("name", ["actor-critic", "PPO"])
def test_the_training_environment_after_learning(name, wrap):
    """Its present episode is lost, and the next call begins another, with nothing of the last in memory."""
    discrete, agent_of = AGENTS[name]
    agent, env, other = agent_of(), World(discrete), agent_of()
    there = World(discrete)
    for each, its in ((agent, env), (other, there)):
        each.learn(its, 12, **QUIET)
    agent.evaluate(wrap(env), 1)  # to the end of the world's episodes, at its step 14
    other._acting_rng.bit_generator.state = agent._acting_rng.bit_generator.state
    env.ends = there.ends = False
    agent.learn(env, 12, **QUIET)
    other.reset()
    other.learn(there, 12, **QUIET)
    assert state(agent) == state(other)


# ----------------------------------------------------------------------------------------------------------- acting


def test_acting_has_a_memory_of_its_own():
    agent = make(False)
    first = agent.act(np.ones(3), deterministic=True)
    second = agent.act(np.ones(3), deterministic=True)
    assert not np.array_equal(first, second)
    assert np.array_equal(agent.act(np.ones(3), deterministic=True, episode_start=True), first)
    assert np.array_equal(agent.act(np.ones(3), deterministic=True), second)
    agent.reset()
    assert np.array_equal(agent.act(np.ones(3), deterministic=True), first)


def test_a_refused_observation_leaves_the_memory_of_acting():
    agent = make(False)
    agent.act(np.ones(3))
    before = everything(agent)
    for arguments in ({"observation": np.full(3, np.nan)}, {"observation": np.ones(3), "reward": np.nan}):
        with pytest.raises(ValueError, match="nan"):
            agent.act(**arguments, episode_start=True)
    assert everything(agent) == before


@pytest.mark.parametrize("name", AGENTS)
def test_an_evaluation_of_one_s_own_in_mid_training_changes_nothing_of_learning(name):
    discrete, agent_of = AGENTS[name]
    agent, env, other, there = agent_of(), World(discrete), agent_of(), World(discrete)
    returns = []
    for _ in range(3):
        agent.learn(env, 11, **QUIET)
        other.learn(there, 11, **QUIET)
        held_out = Counting(5, discrete)
        for _ in range(2):
            observation, _ = held_out.reset(seed=0)
            total, reward, start, over = 0.0, 0.0, True, False
            while not over:
                action = agent.act(observation, True, reward, episode_start=start)
                observation, reward, terminated, truncated, _ = held_out.step(action)
                total, start, over = total + reward, False, terminated or truncated
            returns.append(total)
    assert returns == [5.0] * 6
    agent._acting[:] = 0  # the one array that differs
    agent._acting_rng = copy.deepcopy(other._acting_rng)
    assert state(agent) == state(other)


# ---------------------------------------------------------------------------------------------- lengths, with PPO


def test_a_call_that_is_too_short_for_a_rollout_warns():
    agent, env = AGENTS["PPO"][1](), World(True)
    agent.learn(env, 8 + 3, **QUIET)
    with pytest.warns(
        RuntimeWarning,
        match=r"steps is 4, so this call learns nothing: .* n_steps=8 .* there are 3. Expected at least 5 steps",
    ) as warned:
        agent.learn(env, 4, **QUIET)
    assert warned[0].filename == __file__
    assert agent.diagnostics()["updates"] == 1
    agent.learn(env, 1, **QUIET)  # and completes the rollout
    assert agent.diagnostics()["updates"] == 2
    agent.learn(env, 1, **QUIET)  # whoever learns in short stretches reads it once
    assert agent._clock[IS_FIRST] == 0
