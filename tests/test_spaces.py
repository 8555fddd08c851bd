"""Spaces: observations as vectors, actions within their space, what is refused, and hints that work to the letter."""

import re
import warnings

import gymnasium
import numpy as np
import pytest
from agent_cases import World, make
from cases import COMPILED
from gymnasium import spaces

from rtu_np import PPO, ActorCritic, Gaussian, LinearRTU, QLambda
from rtu_np.control.actions import Actions
from rtu_np.control.spaces import build, describe, observation_writer

# ------------------------------------------------------------------------------------------------------- observations

OBSERVATIONS = [
    (spaces.Box(-1, 1, (2, 2)), np.array([[1, 2], [3, 4]]), [1, 2, 3, 4]),
    (spaces.Discrete(3, start=5), 6, [0, 1, 0]),
    (spaces.Discrete(3, start=-1), np.int8(-1), [1, 0, 0]),
    (spaces.Discrete(3), np.array(2), [0, 0, 1]),
    (spaces.MultiDiscrete([2, 3]), np.array([1, 2]), [0, 1, 0, 0, 1]),
    (spaces.MultiDiscrete([2, 3], start=[-4, 7]), [-3, 7], [0, 1, 1, 0, 0]),
    (spaces.MultiDiscrete([[2], [3]], dtype=np.uint8), np.array([[1], [2]], np.uint8), [0, 1, 0, 0, 1]),
    (spaces.MultiBinary(3), np.array([1, 0, 1]), [1, 0, 1]),
    (spaces.MultiBinary((2, 1)), np.array([[True], [False]]), [1, 0]),
    (spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (1,))]), (1, np.array([0.5])), [0, 1, 0.5]),
]


@pytest.mark.parametrize(("space", "observation", "expected"), OBSERVATIONS, ids=lambda x: type(x).__name__)
def test_an_observation_as_a_vector(space, observation, expected):
    n, write = observation_writer(space)
    out = np.full(n, np.nan)
    write(observation, out)
    assert out.tolist() == expected
    assert build(describe(space)) == space


def test_a_space_of_an_earlier_checkpoint():
    """It holds no type of MultiDiscrete; a checkpoint made for another type of integer still suits its environment."""
    space = spaces.MultiDiscrete([2, 3], dtype=np.int8)
    described = describe(space)
    del described["dtype"]
    agent = ActorCritic(Of(build(described)), LinearRTU(2))
    agent.resume(Of(space))


PAIR = spaces.Tuple([spaces.Discrete(2), spaces.MultiDiscrete([2, 3])])
OUTSIDE = [
    (spaces.Discrete(3), (3, -1, 1.5, 1.0, "1", None, np.nan, np.array([1]), [1], np.array(1.0))),
    (spaces.Discrete(3, start=5), (4, 8, 0)),
    (
        spaces.MultiDiscrete([2, 3]),
        ([2, 0], [0, 3], [-1, 0], [0.5, 1], [1.0, 1.0], [1], 1, [[1, 2]], [[1], [1, 2]], None),
    ),
    (spaces.MultiDiscrete([2, 3], start=[1, -1]), ([0, 0], [3, 0], [1, 2], [1, -2])),
    (spaces.MultiBinary(2), ([0, 2], [0, -1], [0.5, 1], [1], [[0, 1]], 1, "01", [np.nan, 0])),
    (PAIR, ((0,), (0, [0, 0], 1), (2, [0, 0]), (0, [0, 3]), 0, {0: 0, 1: [0, 0]})),
]


@pytest.mark.parametrize(
    ("space", "observation"), [(space, each) for space, several in OUTSIDE for each in several], ids=repr
)
def test_an_observation_outside_its_space(space, observation):
    n, write = observation_writer(space)
    with pytest.raises(ValueError, match=r"^observation.* is .*: expected an element of .*observation_space says\?"):
        write(observation, np.zeros(n))


def test_it_is_named_with_its_part_and_its_space():
    _, write = observation_writer(PAIR)
    with pytest.raises(
        ValueError, match=r"^observation\[1\] is \[0, 3\]: expected an element of MultiDiscrete\(\[2 3\]\)"
    ):
        write((0, [0, 3]), np.zeros(7))


class Of(World):
    """With any observation space, and observations as they are given."""

    def __init__(self, space, actions=True):
        super().__init__(actions)
        self.observation_space = space


def test_a_refused_observation_changes_nothing(tmp_path):
    agent, other = (ActorCritic(Of(spaces.Discrete(4)), LinearRTU(3)) for _ in range(2))
    for k in (0, 3, 1):
        agent.step(k, 1.0)
        other.step(k, 1.0)
    for wrong in (4, -1, 1.5):
        with pytest.raises(ValueError, match="expected an element of Discrete"):
            agent.step(wrong, 1.0)
        with pytest.raises(ValueError, match="expected an element of Discrete"):
            agent.act(wrong)
    assert agent.step(2, 1.0) == other.step(2, 1.0)
    assert all(np.array_equal(a, b) for a, b in zip(agent._arrays().values(), other._arrays().values(), strict=True))


def test_an_observation_of_another_shape():
    agent = make(False)
    with pytest.raises(ValueError, match=r"observation has shape \(2,\): expected \(3,\)"):
        agent.step(np.ones(2))


# ------------------------------------------------------------------------------------------------------------ actions

TENTH = np.float64(0.1)
NARROW = {
    "float64, rounded outward": (spaces.Box(-0.1, 0.1, (1,), np.float64), 1.0),
    "float64, rounded inward": (spaces.Box(-0.3, 0.3, (1,), np.float64), 1.0),
    "between two numbers": (spaces.Box(TENTH, np.nextafter(TENTH, 1), (2,), np.float64), 1.0),
    "one number": (spaces.Box(TENTH, TENTH, (), np.float64), 1.0),
    "float16": (spaces.Box(np.float16(-0.1), np.float16(0.1), (2, 2), np.float16), 1.0),
    "float16, without an upper bound": (spaces.Box(-1, np.inf, (2,), np.float16), 1e6),
    "float32, without a lower bound": (spaces.Box(-np.inf, np.float32(0.1), (2,), np.float32), 1e30),
    "float32, without bounds": (spaces.Box(-np.inf, np.inf, (2,), np.float32), 1e300),
    "float64, huge": (spaces.Box(-1e300, 1e300, (2,), np.float64), 1e30),
}


class Strict(World):
    """Refuses an action that is not in the space, or not finite."""

    def step(self, action):
        assert isinstance(action, np.ndarray)
        assert action.dtype == self.action_space.dtype
        assert self.action_space.contains(action), repr(action)
        assert np.isfinite(action).all()
        return super().step(action)


@pytest.mark.filterwarnings("ignore:the action space is")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NARROW)
def test_actions_lie_in_the_space_in_its_own_precision(name, dtype):
    space, size = NARROW[name]
    actions = Actions(space)
    low, high = actions.bounds(dtype)
    assert low.dtype == high.dtype == dtype
    most = float(np.finfo(dtype).max)
    for drawn in (0.0, min(size, most), -min(size, most), np.inf, -np.inf):
        action = actions.to_environment(np.minimum(np.maximum(np.full(low.shape, drawn, dtype), low), high))
        Strict(space).step(action)
    if "between" not in name and "one" not in name and np.isfinite(space.high).all():
        assert (low <= high).all()
        with np.errstate(over="ignore"):  # no number of the type lies between
            assert (np.nextafter(high, high.dtype.type(np.inf)).astype(np.longdouble) > space.high.ravel()).all()


@pytest.mark.filterwarnings("ignore:the action space is")
def test_agents_stay_within_a_space_of_another_precision():
    space = NARROW["float64, rounded outward"][0]
    small = {"n_steps": 16, "n_minibatches": 2, "threads": 1}
    agents = [ActorCritic(World(space), LinearRTU(4))]
    if not COMPILED:
        agents.append(PPO(World(space), LinearRTU(4), **small))
    for agent in agents:
        agent.learn(world := Strict(space), 100, progress=False, log=None)
        assert np.abs(world.actions).max() == np.nextafter(np.float32(0.1), np.float32(0))
        for x in np.random.default_rng(0).standard_normal((20, 3)):
            assert space.contains(agent.act(x))


def test_bounds_that_both_precisions_have_stay():
    space = spaces.Box(np.float32(-0.1), np.float32(0.3), (2,))
    for dtype in ("float32", "float64"):
        assert Actions(space).bounds(dtype).tolist() == [[np.float32(-0.1)] * 2, [np.float32(0.3)] * 2]


FAR = [
    (spaces.Box(5, 10), "nearly every action would be clipped", "RescaleAction"),
    (spaces.Box(-0.1, 0.1), "nearly every action would be clipped", "RescaleAction"),
    (spaces.Box(0, 1000), "hardly use the range", "RescaleAction"),
    (spaces.Box(np.array([-1, -100]), np.array([1, 100]), dtype=np.float64), "hardly use the range", "RescaleAction"),
    (spaces.Box(5, np.inf), "nearly every action would be clipped", "TransformAction"),
]


@pytest.mark.parametrize(("space", "fault", "cure"), FAR, ids=str)
def test_a_space_far_from_the_gaussian_s_scale_gets_one_warning(space, fault, cure):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        agent = ActorCritic(World(space), LinearRTU(2))
        agent.learn(World(space), 5, progress=False, log=None)
        agent.act(np.zeros(3))
    (warning,) = caught
    message = str(warning.message)
    assert re.search(rf"the action space is {re.escape(str(space))}.*{fault}.*gymnasium\.wrappers\.{cure}", message)
    assert warning.filename == __file__
    if cure == "RescaleAction":
        cured = eval(re.search(r"(gymnasium\.wrappers\.\w+\(.*\)) gives", message)[1], given(World(space)))
        agent = ActorCritic(cured, LinearRTU(2))  # a warning would be an error here
        agent.learn(cured, 5, progress=False, log=None)


def given(env):
    return {"env": env, "gymnasium": gymnasium, "np": np}


@pytest.mark.parametrize("bound", [np.float32(0.4), 0.5, 1.0, 2.0, 3.0, 10.0, np.inf])
def test_usual_spaces_get_no_warning(bound):
    ActorCritic(World(spaces.Box(-bound, bound, (2,))), LinearRTU(2))
    ActorCritic(World(spaces.Box(0, bound, (2,))), LinearRTU(2), policy=Gaussian("free"))


# -------------------------------------------------------------------------------------------------- spaces not taken

PICTURE = spaces.Box(0, 255, (84, 84, 3), np.uint8)
LETTERS = spaces.Text(5, charset="ab")


def counts(text):
    return np.array([text.count("a"), text.count("b")])


def mean_of_elements(elements):
    return np.mean(elements, axis=0) if len(elements) else np.zeros(2)


HINTS = {
    "boxes": (spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3)), None, 5),
    "boxes within": (spaces.Dict(a=spaces.Dict(b=spaces.Box(-1, 1, (2,)))), None, 2),
    "a text part": (spaces.Dict(mission=LETTERS, direction=spaces.Discrete(4), image=PICTURE), None, 84 * 84 * 3 + 4),
    "texts alone": (spaces.Dict(mission=LETTERS), lambda parts: counts(parts["mission"]), 2),
    "text": (LETTERS, counts, 2),
    "sequence": (spaces.Sequence(spaces.Box(-1, 1, (2,))), mean_of_elements, 2),
    "graph": (spaces.Graph(spaces.Box(-1, 1, (2,)), None), lambda graph: graph.nodes.mean(0), 2),
    "one of": (spaces.OneOf([spaces.Box(-1, 1, (2,)), spaces.Discrete(2)]), None, 3),
    "a tuple of a dict": (spaces.Tuple([spaces.Dict(a=spaces.Box(-1, 1, (2,))), spaces.Discrete(2)]), None, 4),
    "a tuple of a text": (spaces.Tuple([LETTERS, spaces.Discrete(2)]), lambda pair: counts(pair[0]), 2),
    "a tuple of an image": (spaces.Tuple([PICTURE, spaces.Discrete(2)]), None, 84 * 84 * 3 + 2),
    "a tuple of a dict of a text": (
        spaces.Tuple([spaces.Dict(a=LETTERS, b=spaces.Discrete(2)), spaces.Discrete(2)]),
        lambda pair: counts(pair[0]["a"]),
        2,
    ),
    "image": (PICTURE, None, 144),
    "grey image": (spaces.Box(0, 255, (84, 60), np.uint8), None, 12 * 9),
    "stacked images": (spaces.Box(0, 255, (4, 84, 84), np.uint8), None, 4 * 144),
    "floats of an image": (spaces.Box(0, 1, (10, 10, 3)), None, 100),
}


class Sampled(World):
    """Observations are samples of the space."""

    def __init__(self, space):
        super().__init__(True)
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.mark.parametrize("name", HINTS)
def test_a_refused_observation_space_names_a_wrapper_that_works(name):
    """The line of the message, evaluated as it stands; it leaves out at most a function and its width."""
    space, function, n = HINTS[name]
    with pytest.raises(ValueError, match=r"the observation space is .*: expected .*; gymnasium\.wrappers\.") as caught:
        ActorCritic(Sampled(space), LinearRTU(2))
    line = re.search(r"(gymnasium\.wrappers\.\w+\(.*\)) makes", str(caught.value))[1]
    env = eval(line, given(Sampled(space)) | {"function": function, "n": n})
    agent = ActorCritic(env, LinearRTU(2))
    agent.learn(env, 3, progress=False, log=None)
    assert agent._inputs.n_observation == n
    assert env.observation_space.contains(env.reset(seed=0)[0].astype(env.observation_space.dtype))


def test_a_text_of_minigrid_s_kind():
    """A space of one's own, which Gymnasium cannot flatten: its part is left out."""

    class Mission(spaces.Space):
        def sample(self):
            return "go"

    space = spaces.Dict(direction=spaces.Discrete(4), mission=Mission())
    with pytest.raises(ValueError, match=r"FilterObservation\(env, \['direction'\]\).* leaves 'mission' out"):
        observation_writer(space)


@pytest.mark.parametrize("space", [spaces.Box(0, 3, (2,), np.int64), spaces.Box(-1, 2, (2, 2), np.int8)], ids=str)
def test_whole_numbers_as_actions_become_choices(space):
    with pytest.raises(ValueError, match=r"expected Discrete, MultiDiscrete, MultiBinary, or a Box of real") as caught:
        ActorCritic(Strict(space), LinearRTU(2))
    env = eval(re.search(r"(gymnasium\.wrappers\.\w+\(.*\)) makes", str(caught.value))[1], given(Strict(space)))
    agent = ActorCritic(env, LinearRTU(2))
    agent.learn(env, 30, progress=False, log=None)
    played = np.array(env.unwrapped.actions)
    assert played.min() == space.low.min()
    assert played.max() == space.high.max()


OTHERS = [
    spaces.Dict(a=spaces.Discrete(2)),
    spaces.Tuple([spaces.Discrete(2)] * 2),
    spaces.Box(0, 2**40, (9,), np.int64),
]


@pytest.mark.parametrize("space", [*OTHERS, LETTERS], ids=str)
def test_other_actions_need_a_function_of_one_s_own(space):
    with pytest.raises(
        ValueError, match=r"gymnasium\.wrappers\.TransformAction\(env, function, space\) lets the agent"
    ):
        Actions(space)


@pytest.mark.parametrize(
    "space", [spaces.Dict(a=spaces.Discrete(2)), LETTERS, PICTURE, spaces.Sequence(LETTERS)], ids=str
)
def test_learning_in_an_environment_whose_space_no_agent_takes(space):
    """The constructor's message, from `learn`, `evaluate` and `resume`."""
    agent, env = make(True), Sampled(space)
    with pytest.raises(ValueError, match="expected") as caught:
        ActorCritic(env, LinearRTU(2))
    for use in (lambda: agent.learn(env, 1, log=None), lambda: agent.evaluate(env, 1), lambda: agent.resume(env)):
        with pytest.raises(ValueError, match=f"^{re.escape(str(caught.value))}$"):
            use()
    strange = World(spaces.Discrete(3))
    strange.action_space = LETTERS
    with pytest.raises(ValueError, match=r"the action space is Text.*expected Discrete, MultiDiscrete"):
        agent.learn(strange, 1, log=None)


def test_q_lambda_names_the_agents_that_take_a_box():
    with pytest.raises(ValueError, match=r"expected Discrete; QLambda learns .*\. ActorCritic and PPO take"):
        QLambda(World(False), LinearRTU(2))
