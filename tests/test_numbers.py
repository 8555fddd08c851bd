"""Bad numbers: every call refuses the same ones, names them as given, and leaves the learner as it was."""

import copy
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import agent_cases
import gymnasium
import numpy as np
import ppo_cases
import pytest
import td_cases

from rtu_np import ActorCritic, Epsilon, LinearRTU, QLambda
from rtu_np.validation import check_array, check_number

pytestmark = pytest.mark.filterwarnings("ignore:steps is .*this call learns nothing:RuntimeWarning")
QUIET: dict[str, Any] = {"progress": False, "log": None}
MISSING = "fill in a missing value, leave its step out, or mark it"


class Given(gymnasium.Env):
    """Observations and rewards as given."""

    def __init__(self, discrete: bool) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gymnasium.spaces.Discrete(3) if discrete else gymnasium.spaces.Box(-0.5, 0.5, (2,))
        self.give()

    def give(self, x: Any = (0.5, 1.0), reward: Any = 1.0, first: Any = (0.0, 0.5), over: bool = False) -> None:
        self.x, self.reward, self.first, self.over = (np.array(x) if isinstance(x, tuple) else x), reward, first, over

    def reset(self, *, seed=None, options=None):
        return (np.array(self.first) if isinstance(self.first, tuple) else self.first), {}

    def step(self, action):
        return self.x, self.reward, self.over, False, {}


class Bad(NamedTuple):
    number: Any
    error: type[Exception]
    message: str
    among: Callable[[Any], Any] = lambda bad: np.array([0.5, bad])  # an observation that has it


def objects(bad: Any) -> np.ndarray:
    return np.array([0.5, bad], object)


BAD = {
    "beyond float32": Bad(1e39, ValueError, r"1e\+39"),
    "beyond float64": Bad(10**400, ValueError, r"1000\d*\.\.\. of 401 characters", objects),
    "too long to write": Bad(10**5000, ValueError, "an integer of 16610 bits", objects),
    "a large fraction": Bad(Fraction(10**400, 3), ValueError, r"Fraction\(1000", objects),
    "longdouble": Bad(np.longdouble("1e4000"), ValueError, r"1e\+4000|inf"),  # inf on platforms without such a type
    "NaN": Bad(np.nan, ValueError, "nan"),
    "infinity": Bad(-np.inf, ValueError, "-inf"),
    "masked": Bad(
        np.ma.masked, ValueError, f"is masked: .*{MISSING}", lambda bad: np.ma.array([0, -9999.0], mask=[0, 1])
    ),
    "None": Bad(None, TypeError, f"is None of type NoneType: .*{MISSING}", objects),
    "NaT": Bad(np.datetime64("NaT"), TypeError, f"is NaT of type datetime64: .*{MISSING}", objects),
    "complex": Bad(1j, TypeError, "1j of type complex|dtype complex128: expected real numbers, not complex"),
    "text": Bad("1", TypeError, "'1' of type str|dtype <U"),
    "a date": Bad(np.datetime64("2020-01-01"), TypeError, "2020-01-01 of type datetime64", objects),
}
# Taken, each as the number 1.
ONES = [1, True, np.True_, np.float32(1), np.int8(1), np.array(1.0), np.array(True), Fraction(1), Decimal(1)]
NOT_ONE_NUMBER = [np.array([1.0]), np.array([1.0, 2.0]), [1.0], (1, 2)]


# ------------------------------------------------------------------------------------------------------ the learners


def q_lambda():
    env = Given(discrete=True)
    return QLambda(env, LinearRTU(2), epsilon=Epsilon(steps=5), dtype="float64"), env


def ppo():
    env = Given(discrete=True)
    agent, _ = ppo_cases.make(LinearRTU(2))
    agent = type(agent)(env, LinearRTU(2), **{k: v for k, v in agent._settings().items() if k != "cell"})
    return agent, env


def actor_critic(**settings):
    env = Given(discrete=False)
    return ActorCritic(env, LinearRTU(2), **settings), env


AGENTS = {
    "ActorCritic": actor_critic,
    "ActorCritic, as given": lambda: actor_critic(normalize_observations=False, scale_rewards=False),
    "QLambda": q_lambda,
    "PPO": ppo,
}


@pytest.fixture(scope="module")
def agents():
    """{name: (agent, env)} in the middle of an episode; made once, since compiling takes seconds."""
    made = {name: make() for name, make in AGENTS.items()}
    for agent, env in made.values():
        agent.learn(env, 5, **QUIET)
        agent.act(np.zeros(2))
    return made


@pytest.fixture(scope="module")
def td():
    learner = td_cases.learner(dtype="float32")
    learner.run(np.ones((3, 2)), np.ones(3), progress=False)
    learner.predict(np.ones(2))
    return learner


def state(agent) -> tuple:
    return (
        agent_cases.everything(agent),
        str(agent._rng.bit_generator.state),
        str(agent._acting_rng.bit_generator.state),
    )


def _continue(agent, env: Given, x: Any, reward: Any) -> Any:
    """Learn from one step in mid-episode. After a refused step, `learn` has let go of the environment."""
    env.give(x=x, reward=reward)
    agent.resume(env)
    return agent.learn(env, 1, **QUIET)


GOOD = np.array([0.5, 1.0])
# {name: (what is bad, a call of the agent in the environment)}
DOORS: dict[str, tuple[str, Callable[[Any, Given, Any], Any]]] = {
    "step(observation)": ("observation", lambda agent, env, bad: agent.step(bad, 1.0)),
    "step(reward)": ("reward", lambda agent, env, bad: agent.step(GOOD, bad)),
    "act(observation)": ("observation", lambda agent, env, bad: agent.act(bad)),
    "act(reward)": ("reward", lambda agent, env, bad: agent.act(GOOD, reward=bad)),
    "learn, observation": ("observation", lambda agent, env, bad: _continue(agent, env, bad, 1.0)),
    "learn, reward": ("reward", lambda agent, env, bad: _continue(agent, env, GOOD, bad)),
    "evaluate, first": ("observation", lambda agent, env, bad: agent.evaluate(other(env, first=bad), 1)),
    "evaluate, observation": ("observation", lambda agent, env, bad: agent.evaluate(other(env, x=bad), 1, False)),
    "evaluate, last reward": ("reward", lambda agent, env, bad: agent.evaluate(other(env, reward=bad, over=True), 1)),
}


def other(env: Given, **given: Any) -> Given:
    made = Given(isinstance(env.action_space, gymnasium.spaces.Discrete))
    made.give(**given)
    return made


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", AGENTS)
def test_every_door_of_an_agent_refuses_the_same(agents, name, door, kind):
    (agent, env), bad, (what, call) = agents[name], BAD[kind], DOORS[door]
    if kind == "beyond float32" and agent.dtype == np.float64:
        pytest.skip("it is within the range")
    before = state(agent)
    try:
        with pytest.raises(bad.error, match=rf"^{what}.*({bad.message})"):
            call(agent, env, bad.among(bad.number) if what == "observation" else bad.number)
    finally:
        env.give()
    assert state(agent) == before


@pytest.mark.parametrize("name", AGENTS)
def test_an_episode_that_begins_with_a_bad_observation(agents, name):
    agent, env = agents[name]
    env.give(first=np.array([0.0, np.nan]), over=True)
    with pytest.raises(ValueError, match=r"observation\[1\] is nan"):
        agent.learn(env, 5, **QUIET)
    before = state(agent)
    with pytest.raises(ValueError, match=r"observation\[1\] is nan"):
        agent.learn(env, 5, **QUIET)
    assert state(agent) == before
    env.give()
    agent.learn(env, 2, **QUIET)


@pytest.mark.parametrize("reward", NOT_ONE_NUMBER, ids=repr)
@pytest.mark.parametrize("door", [door for door, (what, _) in DOORS.items() if what == "reward"])
def test_a_vector_of_rewards(agents, door, reward):
    agent, env = agents["ActorCritic"]
    before = state(agent)
    with pytest.raises(ValueError, match=r"reward has shape \(\d,\): expected one number; mo_gymnasium.*LinearReward"):
        DOORS[door][1](agent, env, reward)
    env.give()
    assert state(agent) == before


@pytest.mark.parametrize("one", ONES, ids=repr)
def test_rewards_of_any_real_type(one, agents, tmp_path):
    agent, env = agents["QLambda"]
    path = agent.save(tmp_path / "agent.npz")
    loaded = [QLambda.load(path) for _ in range(4)]
    loaded[0].step(GOOD, 1.0)
    loaded[1].step(GOOD, one)
    assert agent_cases.everything(loaded[0]) == agent_cases.everything(loaded[1])
    env.give(reward=one)
    loaded[2].resume(env)
    loaded[2].learn(env, 1, **QUIET)
    env.give()
    assert agent_cases.everything(loaded[0]) == agent_cases.everything(loaded[2])
    assert loaded[3].evaluate(other(env, reward=one, over=True), 1).tolist() == [1.0]


@pytest.mark.parametrize("name", AGENTS)
def test_the_largest_observation_is_in_the_diagnostics(agents, name):
    agent, env = agents[name]
    agent.diagnostics()
    agent.learn(env, 1, **QUIET)
    assert 0 < agent.diagnostics()["largest_observation"] <= 3
    assert agent.diagnostics()["largest_observation"] == 0


def test_numbers_that_statistics_divide_have_a_smaller_range(agents):
    """A constant reward is divided by as little as 1e-4, and the square of 1e200 is not finite."""
    for name, reward, x, message in (
        ("ActorCritic", 1e35, GOOD, r"reward is 1e\+35 after step \d+: .* in magnitude at most 1e\+34; is it a fault"),
        ("QLambda", 1.0, GOOD * 1e200, r"observation\[0\] is 5e\+199 after step \d+: .* at most 1e\+100"),
    ):
        agent, _ = agents[name]
        before = state(agent)
        with pytest.raises(ValueError, match=message):
            agent.step(x, reward)
        assert state(agent) == before


def test_divergence_names_a_large_observation_and_a_cure_that_is_left():
    agent, _ = actor_critic(normalize_observations=False)
    agent.parameters["actor.policy.b"][:] = np.nan
    with pytest.raises(FloatingPointError, match=r"numbers of magnitude 1e\+07. .* a larger kappa of ObGD"):
        agent.step(GOOD * 1e7)


# ------------------------------------------------------------------------------------------------------- TD(lambda)


STREAM = np.full((4, 2), 0.5)


def row(bad: Any) -> np.ndarray:
    """A stream whose third row is `bad`."""
    if isinstance(bad, np.ma.MaskedArray):
        return np.ma.stack([GOOD, GOOD, bad, GOOD])
    return np.array([GOOD, GOOD, bad, GOOD], bad.dtype if bad.dtype.kind != "f" else np.result_type(bad, float))


def column(bad: Any) -> Any:
    """Four cumulants, the second of which is `bad`."""
    if bad is np.ma.masked:
        return np.ma.array([1.0, -9999.0, 1, 1], mask=[0, 1, 0, 0])
    return (
        np.array([1.0, bad, 1.0, 1.0]) if isinstance(bad, float | complex | str | np.longdouble) else [1.0, bad, 1, 1]
    )


TD_DOORS: dict[str, Callable[[Any, Bad], Any]] = {
    "step(x": lambda td, bad: td.step(bad.among(bad.number), 1.0),
    "step(list": lambda td, bad: td.step(list(bad.among(bad.number)), 1.0),
    "step(c": lambda td, bad: td.step(GOOD, bad.number),
    "step(discount": lambda td, bad: td.step(GOOD, 1.0, discount=bad.number),
    "run(observations": lambda td, bad: td.run(row(bad.among(bad.number)), np.ones(4), progress=False),
    "run(rows": lambda td, bad: td.run([GOOD, GOOD, bad.among(bad.number), GOOD], np.ones(4), progress=False),
    "run(cumulants": lambda td, bad: td.run(STREAM, column(bad.number), progress=False),
    "run(discounts": lambda td, bad: td.run(STREAM, np.ones(4), column(bad.number), progress=False),
    "predict(one": lambda td, bad: td.predict(bad.among(bad.number)),
    "predict(stretch": lambda td, bad: td.predict(row(bad.among(bad.number))),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("door", TD_DOORS)
def test_every_door_of_td_refuses_the_same(td, door, kind):
    bad = BAD[kind]
    before = td_cases.everything(td)
    if (door, kind) == ("step(discount", "None"):
        pytest.skip("it means gamma")
    with pytest.raises(bad.error, match=bad.message):
        TD_DOORS[door](td, bad)
    assert td_cases.everything(td) == before


@pytest.mark.parametrize("one", ONES, ids=repr)
def test_cumulants_and_discounts_of_any_real_type(td, one):
    learners = [copy.deepcopy(td) for _ in range(4)]
    learners[0].step(GOOD, 1.0, 1.0)
    learners[1].step([0.5, one], one, one)
    learners[2].run([[0.5, one]], [one], [one], progress=False)
    learners[3].run(objects(one)[None], np.array([one], object), np.array([one], object), progress=False)
    assert len({td_cases.everything(learner) for learner in learners}) == 1


def test_tiny_numbers_become_zero_whatever_numpy_is_set_to(td):
    """And numbers beyond float32 are named."""
    plain, strict = copy.deepcopy(td), copy.deepcopy(td)
    tiny = np.full((3, 2), 1e-200)

    def learn(learner):
        return [
            learner.step(tiny[0], 1e-200, 1e-200),
            *learner.run(tiny, tiny[:, 0], tiny[:, 0]),
            *learner.predict(tiny),
        ]

    expected = learn(plain)
    with np.errstate(all="raise"):
        assert learn(strict) == expected
        before = td_cases.everything(strict)
        for call in (lambda: strict.step(GOOD * 1e39, 0.0), lambda: strict.run(STREAM * 1e39, np.ones(4))):
            with pytest.raises(ValueError, match=r"is 5e\+38: expected finite numbers in the range of float32"):
                call()
    assert td_cases.everything(strict) == before


# --------------------------------------------------------------------------------------------------- arrays, frames


class Frame:
    """As a pandas DataFrame shows itself to NumPy."""

    def __init__(self, **columns: np.ndarray) -> None:
        self.columns, self.dtypes = list(columns), [values.dtype for values in columns.values()]
        self._values = list(columns.values())

    def __array__(self, dtype=None, copy=None):
        kinds = {kind.kind for kind in self.dtypes}
        return np.column_stack([v.astype(object) if len(kinds) > 1 else v for v in self._values])


DATES = np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(flow=np.ones(2), day=DATES), r"x\[0, 1\] \(column 'day'\) is datetime.date\(2020, 1, 1\) of type date"),
        (Frame(flow=np.ones(2), name=np.array(["a", "b"])), r"x\[0, 1\] \(column 'name'\) is 'a' of type str"),
        (Frame(begin=DATES, end=DATES), r"x\[0, 0\] \(column 'begin'\) has dtype datetime64"),
        (Frame(flow=np.ones(2), gap=np.array([1, None])), rf"x\[1, 1\] \(column 'gap'\) is None .*{MISSING}"),
    ],
)
def test_a_column_that_is_not_of_numbers_is_named(frame, message):
    with pytest.raises(TypeError, match=message):
        check_array("x", frame, (None, 2))


def test_arrays_that_are_taken():
    columns = Frame(flow=np.ones(2), rain=np.array([True, False]))
    assert check_array("x", columns, (None, 2)).tolist() == [[1.0, 1.0], [1.0, 0.0]]
    unmasked = np.ma.masked_equal([1.0, 2.0], -9999.0)
    assert check_array("x", unmasked, (2,)).tolist() == [1.0, 2.0]
    assert check_array("x", [unmasked, [3, 4]], (2, 2)).tolist() == [[1, 2], [3, 4]]
    whole = np.arange(6).reshape(2, 3).T[::-1]
    assert np.shares_memory(check_array("x", whole, (3, 2), dtype="float64"), whole)
    with pytest.raises(ValueError, match=r"x is not an array .*: expected rows of equal length"):
        check_array("x", [[1.0], [1.0, 2.0]], (2, 2))
    with pytest.raises(ValueError, match=r"observations has shape \(3,\).*reshape\(-1, 1\) makes rows of one number"):
        td_cases.TDLambda(LinearRTU(2), 1).run(np.ones(3), np.ones(3))


def test_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"flow": pd.array([1.0, 2.0], "Float64"), "on": [True, False]})
    assert check_array("x", frame, (None, 2)).tolist() == [[1.0, 1.0], [2.0, 0.0]]
    assert check_number("c", frame["flow"].iloc[0]) == 1.0
    with pytest.raises((TypeError, ValueError), match=r"x\[1\] is .*missing value"):
        check_array("x", pd.Series([1.0, None], dtype="Float64"), (2,))
    with pytest.raises(TypeError, match=f"c is <NA> of type NAType: .*{MISSING}"):
        check_number("c", pd.NA)
    with pytest.raises(TypeError, match=f"c is NaT of type NaTType: .*{MISSING}"):
        check_number("c", pd.NaT)
    dated = pd.DataFrame({"flow": [1.0], "day": [pd.Timestamp("2020-01-01")], "site": ["a"]})
    with pytest.raises(TypeError, match=r"x\[0, 1\] \(column 'day'\) is Timestamp\("):
        check_array("x", dated, (None, 3))


def test_a_door_without_its_check_is_found(td, monkeypatch):
    """The table above turns red if a mask is overlooked, as NumPy overlooks it."""
    monkeypatch.setattr("rtu_np.validation._check_mask", lambda *_, **__: None)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_every_door_of_td_refuses_the_same(copy.deepcopy(td), "run(observations", "masked")
