"""Environments and habits of others: shared environments, older Gym, masked spaces, learners that have diverged."""

import gymnasium
import numpy as np
import pytest
from agent_cases import World, make
from gymnasium import spaces

from rtu_np import SGD, ActorCritic, LinearRTU, QLambda, TDLambda
from rtu_np.validation import brief

QUIET = {"progress": False, "log": None}


class Counting(World):
    """Episodes of ten steps, which know how long they are."""

    def __init__(self) -> None:
        super().__init__(discrete=True, ends=False)
        self.length, self.seen = 0, []

    def reset(self, *, seed=None, options=None):
        self.length = 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.length += 1
        x, reward, _, _, info = super().step(action)
        if self.length == 10:
            self.seen.append(self.length)
        return x, reward, False, self.length == 10, info


@pytest.mark.parametrize("in_between", ["another agent learns", "another agent evaluates", "a copy learns"])
def test_an_environment_that_another_has_moved_begins_an_episode(in_between) -> None:
    import copy

    env = Counting()
    one, other = (ActorCritic(env, LinearRTU(3), seed=seed) for seed in (1, 2))
    one.learn(env, 7, **QUIET)
    if in_between == "another agent evaluates":
        other.evaluate(env, 1, progress=False)
    elif in_between == "a copy learns":
        copy.deepcopy(one).learn(env, 8, **QUIET)
    else:
        other.learn(env, 8, **QUIET)
    assert one.learn(env, 25, **QUIET).lengths.tolist() == [10, 10]


def test_resume_insists() -> None:
    env = Counting()
    one, other = (ActorCritic(env, LinearRTU(3), seed=seed) for seed in (1, 2))
    one.learn(env, 7, **QUIET)
    other.resume(env)
    assert other.learn(env, 3, **QUIET).returns.size == 0  # `other` begins with a first step of its own
    one.resume(env)
    one.learn(env, 1, **QUIET)
    assert one.steps == 8


class Old(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, resets: bool) -> None:
        self.resets = resets

    def reset(self, *, seed=None, options=None):
        return (np.zeros(2), {}) if self.resets else np.zeros(2)

    def step(self, action):
        return np.zeros(2), 0.0, False, {}


def test_an_older_gym_is_named() -> None:
    agent = ActorCritic(Old(True), LinearRTU(3))
    for call in (lambda env: agent.learn(env, 3, **QUIET), lambda env: agent.evaluate(env, 1, progress=False)):
        with pytest.raises(TypeError, match=r"env.step returned 4 parts: expected .* older Gym"):
            call(Old(True))
        with pytest.raises(TypeError, match=r"env.reset returned a ndarray: expected \(observation, info\)"):
            call(Old(False))


@pytest.mark.parametrize(
    ("space", "observation"),
    [
        (spaces.MultiDiscrete([2, 3]), np.ma.masked_equal([1, 2], 2)),
        (spaces.MultiBinary(2), np.ma.masked_equal(np.array([1, 0], np.int8), 0)),
        (spaces.Discrete(3), np.ma.masked_equal(np.array(2), 2)),
        (spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(2)]), (1, np.ma.masked_equal([1, 0], 0))),
    ],
    ids=lambda given: type(given).__name__,
)
def test_masked_choices_are_refused(space, observation) -> None:
    env = World(discrete=True)
    env.observation_space = space
    agent = ActorCritic(env, LinearRTU(3))
    for call in (agent.step, agent.act):
        with pytest.raises(ValueError, match="masked"):
            call(observation)
    assert agent.steps == 0


@pytest.mark.parametrize("kind", [ActorCritic, QLambda])
def test_a_diverged_agent_does_not_act(kind) -> None:
    agent = kind(World(discrete=kind is QLambda), LinearRTU(3), seed=1)
    for name, view in agent.parameters.items():
        if "W" in name:
            view[:] = np.nan
    with pytest.raises(FloatingPointError, match="outputs are not finite, so there is no action"):
        agent.act(np.ones(3))
    with pytest.raises(FloatingPointError, match="learning has diverged"):
        agent.evaluate(World(discrete=kind is QLambda), 1, progress=False)


def test_a_home_in_log(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    agent = make(True)
    agent.learn(World(True), 20, progress=False, log="~/logs")
    assert not (tmp_path / "~").exists()
    assert (tmp_path / "logs" / "episodes.csv").exists()
    for log in (3, False, ""):
        with pytest.raises(TypeError, match=r"log is .*: expected the path of a folder"):
            agent.learn(World(True), 5, progress=False, log=log)
    with pytest.raises(TypeError, match="callback is 3: expected a function of the agent"):
        agent.learn(World(True), 5, callback=3, **QUIET)


def test_one_outlier_shows_in_the_reward_scale() -> None:
    agent = make(True, scale_rewards=True)
    x = np.random.default_rng(0).standard_normal((60, 3))
    for t in range(60):
        agent.step(x[t], float(x[t, 0]))
    assert 0.5 < agent.diagnostics()["reward_scale"] < 5
    agent.step(x[0], -9999.0)
    assert agent.diagnostics()["reward_scale"] > 500
    assert make(True, scale_rewards=False).diagnostics()["reward_scale"] == 1.0


def test_a_loaded_learner_still_looks_at_its_first_rows(tmp_path) -> None:
    learner = TDLambda(LinearRTU(3), 2, optimizer=SGD(1e-12))
    learner.run(np.full((50, 2), 1e5), np.zeros(50), progress=False)
    loaded = TDLambda.load(learner.save(tmp_path / "learner"))
    with pytest.warns(UserWarning, match=r"observations\[:, 0\] of mean 1e\+05"):
        loaded.run(np.full((500, 2), 1e5), np.zeros(500), progress=False)
    assert brief(loaded.cell) == "LinearRTU(3)"
