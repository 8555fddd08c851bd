"""MultiDiscrete and MultiBinary actions: independent softmaxes, against one softmax over all combinations of values.

The oracle knows no component: the logit of a combination is the sum of its values' outputs, and everything follows from
the softmax of these logits.
"""

import importlib
import itertools

import gymnasium
import numpy as np
import pytest
from agent_cases import World, everything, make
from cases import COMPILED
from gymnasium import spaces
from oracles import STEP
from ppo_cases import CELLS, gradient_of, oracle_of, parameters, sequences, stale
from ppo_oracle import PPOOracle
from tolerances import COMPLEX_STEP, FLOAT32, PLAIN, assert_close

import rtu_np
from rtu_np import PPO, QRC, RTRL, SGD, TBPTT, ActorCritic, LinearRTU, QLambda, Softmax
from rtu_np.control import policies
from rtu_np.control.actions import Actions
from rtu_np.control.inputs import DRAWN, LATEST, input_statistics
from rtu_np.jit import njit

SIZES = (2, 3, 1, 4)
SPACES = {
    "MultiDiscrete": spaces.MultiDiscrete([2, 3], start=[5, -1]),
    "a matrix": spaces.MultiDiscrete(np.array([[2, 3], [1, 4]]), dtype=np.int16),
    "one component": spaces.MultiDiscrete([3]),
    "MultiBinary": spaces.MultiBinary(3),
    "a matrix of bits": spaces.MultiBinary((2, 2)),
}
MULTI = SPACES["MultiDiscrete"]


def combinations(sizes, o):
    """({action: its place}, log-probabilities of all combinations)"""
    starts = np.cumsum([0, *sizes[:-1]])
    every = list(itertools.product(*map(range, sizes)))
    logits = np.array([sum(o[start + k] for start, k in zip(starts, each, strict=True)) for each in every])
    shifted = logits - logits.real.max()
    return {each: k for k, each in enumerate(every)}, shifted - np.log(np.exp(shifted).sum())


def log_probability(sizes, o, action):
    places, log_p = combinations(sizes, o)
    return log_p[places[tuple(int(k) for k in action)]]


def entropy(sizes, o):
    _, log_p = combinations(sizes, o)
    return -(np.exp(log_p) * log_p).sum()


def objective(sizes, o, action, weight):
    return log_probability(sizes, o, action) + weight * entropy(sizes, o)


def complex_step(function, o):
    return np.array([function(o + 1j * STEP * row).imag / STEP for row in np.eye(o.size)])


@njit
def call(spec, o, noise, action, along_log_probability, along_entropy, do, numbers):
    policies.sample(spec, o, noise, 0, action)
    numbers[0] = policies.log_probability(spec, o, action)
    numbers[1] = policies.entropy(spec, o)
    policies.gradient(spec, o, action, along_log_probability, along_entropy, do)


def drawn(seed=0, dtype="float64"):
    """(spec, outputs, noise)"""
    rng, spec = np.random.default_rng(seed), Softmax().spec(SIZES)
    o, noise = rng.standard_normal(spec.n_linear).astype(dtype), np.zeros(spec.n_noise, dtype)
    Softmax().draw(noise, rng)
    return spec, o, noise


def check_values(seed, package=rtu_np):
    """Of a copy of the package too, uncompiled; its functions are called as `call` calls those of this one."""
    policies = importlib.import_module(f"{package.__name__}.control.policies")
    o, noise = drawn(seed)[1:]
    spec, action, do = package.Softmax().spec(SIZES), np.zeros(4), np.zeros_like(o)
    policies.sample(spec, o, noise, 0, action)
    policies.gradient(spec, o, action, 0.7, -0.3, do)
    numbers = np.array([policies.log_probability(spec, o, action), policies.entropy(spec, o)])
    assert_close(numbers, np.array([log_probability(SIZES, o, action), entropy(SIZES, o)]), PLAIN)
    assert_close(do, complex_step(lambda o: 0.7 * objective(SIZES, o, action, -0.3 / 0.7), o), COMPLEX_STEP)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients(seed):
    check_values(seed)
    spec, o, noise = drawn(seed)
    action, do, numbers = np.zeros(spec.n_action), np.zeros_like(o), np.zeros(2)
    call(spec, o, noise, action, 0.7, -0.3, do, numbers)
    expected = np.array([log_probability(SIZES, o, action), entropy(SIZES, o)])
    assert_close(numbers, expected, PLAIN)
    plain = [policies.plain_log_probability(spec, o, action), policies.plain_entropy(spec, o)]
    assert_close(np.array(plain), expected, PLAIN)
    along = complex_step(lambda o: 0.7 * objective(SIZES, o, action, -0.3 / 0.7), o)
    assert_close(do, along, COMPLEX_STEP)
    again = complex_step(
        lambda o: 0.7 * policies.plain_log_probability(spec, o, action) - 0.3 * policies.plain_entropy(spec, o), o
    )
    assert_close(again, along, COMPLEX_STEP)
    up, down = (numbers_at(spec, o + sign * 1e-6 * np.sin(np.arange(o.size)), action) for sign in (1, -1))
    assert abs((up - down) / 2e-6 - np.sin(np.arange(o.size)) @ do) < 1e-8


def numbers_at(spec, o, action):
    return 0.7 * policies.log_probability(spec, o, action) - 0.3 * policies.entropy(spec, o)


def test_float32():
    found = {}
    for dtype in ("float64", "float32"):
        spec, o, noise = drawn(3, dtype)
        noise[:] = np.linspace(0.3, 0.6, noise.size)
        action, do, numbers = np.zeros(spec.n_action, dtype), np.zeros_like(o), np.zeros(2, dtype)
        call(spec, o, noise, action, do.dtype.type(0.7), do.dtype.type(-0.3), do, numbers)
        found[dtype] = np.concatenate([action, numbers, do])
    assert_close(found["float32"], found["float64"], FLOAT32)


def test_draws_by_probability_and_independent():
    spec, o, _ = drawn(1)
    rng, noise, action, counted = np.random.default_rng(0), np.zeros(4), np.zeros(4), {}
    for _ in range(20_000):
        Softmax().draw(noise, rng)
        policies.sample(spec, o, noise, 0, action)
        each = tuple(action.astype(int).tolist())
        counted[each] = counted.get(each, 0) + 1
    places, log_p = combinations(SIZES, o)
    share = np.array([counted.get(each, 0) / 20_000 for each in places])
    assert np.abs(share - np.exp(log_p)).max() < 0.01


def test_the_most_probable_values_and_ties():
    spec, action = Softmax().spec((2, 3)), np.zeros(2)
    policies.mode(spec, np.array([0.0, 1.0, 2.0, 5.0, 5.0]), action)
    assert action.tolist() == [1, 1]


def test_one_choice_has_the_spec_and_the_draws_it_had():
    assert Softmax().spec(3) == (3, 3, 0, 1, 1)
    noise, one = np.zeros(1, np.float32), np.zeros(1, np.float32)
    Softmax().draw(noise, np.random.default_rng(0))
    one[0] = np.random.default_rng(0).random()
    assert noise[0] == one[0]


# ------------------------------------------------------------------------------------------------------------- agents


class ChoicesOracle(PPOOracle):
    """Of actions with the sizes 2 and 3."""

    def log_probability(self, o, action):
        return log_probability((2, 3), o, action)

    def entropy_of(self, o):
        return entropy((2, 3), o)


def check_ppo(name, gradient, package=rtu_np):
    agent, rollout, then = stale(name, gradient, MULTI, package=package, entropy_coef=0.1, clip=0.1)
    oracle = ChoicesOracle(**vars(oracle_of(agent, CELLS[name], rollout, True)))
    order, now = sequences(agent), parameters(agent)
    arguments = (order, oracle.stored(then, now), *oracle.targets(rollout.values, rollout.bootstraps))
    found = gradient_of(agent, order)
    assert set(rollout.actions[:, 0]) == {0, 1}
    assert set(rollout.actions[:, 1]) == {0, 1, 2}
    for key, block in oracle.gradient(now, *arguments).items():
        assert_close(found[key], block, COMPLEX_STEP, key)


@pytest.mark.parametrize(
    ("name", "gradient"), [("linear RTU", RTRL())] if COMPILED else [("GRU", TBPTT(3)), ("linear RTU", RTRL())]
)
def test_ppo_s_gradient(name, gradient):
    check_ppo(name, gradient)


BUGS = {
    "one choice's outputs for all": ("o[start:stop], action[j:])", "o[: stop - start], action[j:])"),
    "one choice's action for all": ("o[start:stop], action[j:])", "o[start:stop], action)"),
    "the entropy of the last choice": ("total += entropy(one", "total = entropy(one"),
    "a gradient in another place": ("along_entropy, do[start:stop])", "along_entropy, do[: stop - start])"),
}


@pytest.mark.skipif(COMPILED, reason="a copy of the package compiles again; test_modes.py runs it uncompiled")
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug, mutant):
    package = mutant("control/softmax.py", [BUGS[bug]])
    with pytest.raises(AssertionError):
        check_values(2, package)
    if "entropy" not in bug:  # whose value no gradient needs
        with pytest.raises(AssertionError):
            check_ppo("linear RTU", RTRL(), package)


@pytest.mark.skipif(COMPILED, reason="a copy of the package compiles again; test_modes.py runs it uncompiled")
def test_an_unchanged_copy_stays_green(mutant):
    package = mutant("control/softmax.py", [])
    check_values(2, package)
    check_ppo("linear RTU", RTRL(), package)


@pytest.mark.parametrize("shared", [False] if COMPILED else [False, True])
def test_the_actor_s_step(shared):
    """Without traces and with SGD, the policy's bias moves along the gradient of the oracle's objective."""
    agent = make(MULTI, actor_optimizer=SGD(0.01), lambda_=0.0, shared=shared)
    world, rng = World(MULTI), np.random.default_rng(2)
    agent.step(world.reset(seed=0)[0])
    bias = agent.parameters["policy.b" if shared else "actor.policy.b"]
    for _ in range(5):
        o, action, old = agent._learned()["o"].copy(), agent._buffers.action[DRAWN].copy(), bias.copy()
        agent.step(rng.standard_normal(3), float(rng.standard_normal()))
        delta = input_statistics(agent._inputs, agent._buffers.statistics)[0].td_errors[LATEST]
        along = complex_step(lambda o, a=action, d=delta: objective((2, 3), o, a, 0.1 * np.sign(d)), o)
        assert_close(bias - old, 0.01 * delta * along, COMPLEX_STEP)


class Checked(World):
    """Refuses an action that is not in the space, and stores what it gets."""

    def step(self, action):
        assert isinstance(action, np.ndarray)
        assert action.dtype == self.action_space.dtype
        assert self.action_space.contains(action), action
        return super().step(action)


def agents(space):
    small = {"n_steps": 8, "n_minibatches": 2, "threads": 1, "dtype": "float64"}
    yield lambda **settings: make(space, **settings)
    yield lambda **settings: PPO(World(space), LinearRTU(4), **small, **settings)


@pytest.mark.parametrize("name", ["MultiDiscrete"] if COMPILED else SPACES)
def test_actions_are_in_the_space(name, tmp_path):
    """Learned, acted and evaluated; saved in mid-episode, and gone on with bit for bit."""
    space = SPACES[name]
    for new in agents(space):
        agent, world = new(previous_action_reward=True), Checked(space)
        agent.learn(world, 40, progress=False, log=None)
        assert len({action.tobytes() for action in world.actions}) > 2
        first = agent.act(np.ones(3), deterministic=True)
        agent.reset()
        assert np.array_equal(agent.act(np.ones(3), deterministic=True), first)
        agent.evaluate(Checked(space), 2)
        agent.step(np.ones(3))
        again = type(agent).load(agent.save(tmp_path / "agent.npz"))
        assert again.action_space == space
        for x in np.random.default_rng(0).standard_normal((20, 3)):
            one, two = agent.step(x, 0.5), again.step(x, 0.5)
            assert np.array_equal(one, two)
            assert one.dtype == two.dtype == space.dtype
            assert space.contains(one)
        assert everything(agent) == everything(again)


def test_the_previous_action_is_one_hot_for_each_choice():
    agent = make(MULTI, previous_action_reward=True, normalize_observations=False)
    assert agent.parameters["actor.cell.W1"].shape[0] == 3 + 5 + 1
    agent.step(np.zeros(3))
    for _ in range(10):
        action = agent.step(np.zeros(3), 1.0) - MULTI.start
        expected = np.concatenate([np.eye(2)[action[0]], np.eye(3)[action[1]]])
        assert agent._views.previous[:-1].tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", ["float64"] if COMPILED else ["float64", "float32"])
def test_a_single_component_learns_as_discrete(dtype):
    """Bit for bit, since it is the same policy."""
    one, other = (make(space, dtype=dtype) for space in (spaces.MultiDiscrete([3]), spaces.Discrete(3)))
    for agent in (one, other):
        agent.learn(World(agent.action_space), 40, progress=False, log=None)
    assert everything(one) == everything(other)


def test_bits_are_learned():
    """The reward counts the bits that are equal to the observation's signs."""

    class Signs(World):
        def reset(self, *, seed=None, options=None):
            self.x = super().reset(seed=seed)[0]
            return self.x, {}

        def step(self, action):
            reward = float((action == (self.x > 0)).mean())
            self.t += 1
            self.x = self.np_random.standard_normal(3)
            return self.x, reward, False, self.t % 20 == 0, {}

    space = spaces.MultiBinary(3)
    agent = ActorCritic(Signs(space), rtu_np.Dense(16, "tanh"), lambda_=0.0, gamma=0.0, seed=1)
    returns = agent.learn(Signs(space), 4000 if COMPILED else 1500, progress=False, log=None).returns / 20
    assert returns[-20:].mean() > returns[:20].mean() + 0.15


@pytest.mark.parametrize("kind", [QLambda, QRC])
@pytest.mark.parametrize("space", [*SPACES.values(), spaces.MultiBinary(1)], ids=repr)
def test_agents_of_values_refuse_and_name_a_cure(kind, space):
    """The cure works, followed to the letter: all combinations are reached."""
    with pytest.raises(ValueError, match=rf"expected Discrete; {kind.__name__} learns a value for each") as caught:
        kind(World(space), LinearRTU(4))
    hint = str(caught.value).split("; ")[-1]
    assert hint.endswith(" numbers all combinations")
    env = Checked(space)
    wrapped = eval(hint.removesuffix(" numbers all combinations"), {"env": env, "np": np, "gymnasium": gymnasium})
    kind(wrapped, LinearRTU(4))
    wrapped.reset(seed=0)
    for k in range(wrapped.action_space.n):
        wrapped.step(k)
    n = int(np.prod(space.nvec)) if hasattr(space, "nvec") else 2 ** int(np.prod(space.shape))
    assert len({action.tobytes() for action in env.actions}) == n


def test_sizes():
    assert Actions(MULTI).n == (2, 3)
    assert Actions(spaces.MultiBinary((2, 2))).n == (2, 2, 2, 2)
    assert Actions(MULTI).width == 5
    assert Actions(spaces.MultiBinary(3)).width == 6
