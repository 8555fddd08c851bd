"""PPO: what it stores, its targets, whole updates against an oracle, threads, checkpoints, and what it refuses."""

import copy

import numpy as np
import oracles
import pytest
from cases import COMPILED, in_plain_python
from gymnasium import spaces
from ppo_cases import CELLS, N, T, World, below_of, collected, make, oracle_of, parameters
from ppo_oracle import copied
from tolerances import LEARNING, PLAIN, assert_close

from rtu_np import PPO, RTRL, SGD, TBPTT, Adam, LinearRTU, check_learner
from rtu_np.control.ppo.network import chunk

ENCODED = "linear RTU behind an encoder"
# All that is compiled here shares its types, and so is compiled once.
SIMPLE = "linear RTU"
METHODS = (RTRL(), TBPTT(T), RTRL(dense=True))
SOME = [(SIMPLE, RTRL(), True, "both")]
ALL = [("linear RTU", RTRL(), True, refresh) for refresh in ("none", "gradients", "targets", "both")]
ALL += [("GRU", TBPTT(T), False, refresh) for refresh in ("none", "both")]
ALL += [(ENCODED, RTRL(), False, "none"), ("GRU behind an encoder", RTRL(dense=True), True, "gradients")]
ALL += [("minGRU", RTRL(), True, "both"), ("minGRU", TBPTT(T), False, "none"), ("eLSTM", RTRL(), True, "none")]
ALL += [("gated RTU", RTRL(), False, "gradients"), ("gated RTU", TBPTT(T), True, "none")]
ADAM = Adam(0.01, epsilon=1e-5)


def everything(agent) -> bytes:
    return b"".join(array.tobytes() for array in agent._arrays().values())


@pytest.mark.parametrize(("name", "gradient", "discrete", "refresh"), SOME if COMPILED else ALL)
def test_an_update_is_the_oracle_s(name, gradient, discrete, refresh):
    """Order of minibatches, clipped gradients, Adam, and what is computed again between epochs."""
    settings = {"refresh": refresh, "n_epochs": 3, "optimizer": ADAM, "entropy_coef": 0.01, "max_grad_norm": 0.3}
    agent, world = make(CELLS[name].cell, discrete, gradient=gradient, **settings)
    rollout, start = copied(collected(agent, world)), parameters(agent)
    oracle = oracle_of(agent, CELLS[name], rollout, discrete, below_of(name, gradient))
    rng = copy.deepcopy(agent._rng)
    orders = [rng.permutation(N // agent._spec.sequence) for _ in range(3)]
    adam = oracles.Optimizer("Adam", step_size=0.01, beta1=0.9, beta2=0.999, epsilon=1e-5)
    again = {"states": refresh in ("gradients", "both"), "values": refresh in ("targets", "both")}
    expected = oracle.update(start, orders, agent.n_minibatches, adam, 0.3, **again)
    assert agent._update() == ""
    for key, block in expected.items():
        assert not np.array_equal(block, start[key]), f"{key} has not moved"
        assert_close(agent.parameters[key] - start[key], block - start[key], LEARNING, key)
    assert agent.diagnostics()["updates"] == 1


def test_a_compiled_agent_is_checked_step_by_step():
    """With the kernels of the test above."""
    agent, _ = make(CELLS[SIMPLE].cell, refresh="both", n_epochs=3, optimizer=ADAM, entropy_coef=0.01)
    report = check_learner(agent, 30)
    assert report.passed, str(report)


@pytest.mark.parametrize(("name", "discrete"), [(SIMPLE, True)] if COMPILED else [("GRU", True), (ENCODED, False)])
def test_what_acting_stores(name, discrete):
    agent, world = make(CELLS[name].cell, discrete)
    r = collected(agent, world)
    oracle, p = oracle_of(agent, CELLS[name], r, discrete), parameters(agent)
    states = oracle.states(p)
    assert_close(r.states, states, PLAIN, "states")
    values, bootstraps = oracle.foresight(p)
    assert_close(r.values, values, PLAIN, "values")
    cut = (r.ends == 2) | (np.arange(N) == N - 1)
    assert r.ends.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0]
    assert r.starts.tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert_close(r.bootstraps[cut], bootstraps[cut], PLAIN, "bootstraps")
    outputs = [oracle.heads(p, oracle.cell(p, state, x)[1])[0] for state, x in zip(states, r.x, strict=True)]
    log_p = [oracle.log_probability(o, action) for o, action in zip(outputs, r.actions, strict=True)]
    assert_close(r.log_p, log_p, PLAIN, "log-probabilities")


AGAIN = [(SIMPLE, RTRL())] if COMPILED else [(name, gradient) for name in CELLS for gradient in METHODS]


@pytest.mark.parametrize(("name", "gradient"), AGAIN)
def test_a_rollout_run_again_with_the_same_parameters_is_the_same(name, gradient):
    """To the bit, and also where it began in the middle of an episode, with a memory of earlier parameters."""
    agent, world = make(CELLS[name].cell, gradient=gradient, every=7)
    agent.learn(world, N, progress=False, log=None)
    r = collected(agent, world, N)
    assert r.starts[0] == 0
    names = ("states", "stored", "values", "bootstraps")
    before = {name: getattr(r, name).copy() for name in names}
    for name in names:
        getattr(r, name)[:] += before[name] != 0  # what is set aside between arrays stays as it is
    agent._update._recompute(True, True)
    cut = (r.ends == 2) | ((r.ends == 0) & (np.arange(N) == N - 1))
    for name, array in before.items():
        rows = cut if name == "bootstraps" else slice(None)
        assert np.array_equal(getattr(r, name)[rows], array[rows]), name


@pytest.mark.parametrize("seed", range(3))
def test_advantages(seed):
    """Any mixture of ends; termination bootstraps nothing, truncation and the rollout's end do."""
    agent, world = make(CELLS[SIMPLE].cell)
    r, rng = collected(agent, world), np.random.default_rng(seed)
    r.ends[:] = rng.choice(3, N, p=[0.6, 0.2, 0.2])
    for array in (r.values, r.rewards, r.bootstraps):
        array[:] = rng.standard_normal(N)
    agent._update._compute_gae()
    advantages, returns = oracle_of(agent, CELLS[SIMPLE], r, True).targets(r.values, r.bootstraps)
    assert_close(r.advantages, advantages, PLAIN, "advantages")
    assert_close(r.returns, returns, PLAIN, "returns")


@in_plain_python
@pytest.mark.parametrize("size", [0.01, 10.0])
def test_a_long_gradient_is_shortened(size):
    agent, _ = make(CELLS[SIMPLE].cell, optimizer=SGD(1.0), max_grad_norm=0.5)
    update, start, rng = agent._update, agent._views.learned.flat_params.copy(), np.random.default_rng(0)
    update._parts[:] = 0
    total = np.zeros(start.size)
    for part in update._parts:
        view = chunk(agent._spec, part)[0].flat_gradient
        view[:] = size * rng.standard_normal(view.size) / np.sqrt(view.size)
        total += view
    norm, _ = update._apply_gradient()
    assert_close(norm, np.linalg.norm(total), PLAIN)
    expected = -total * min(1, 0.5 / np.linalg.norm(total))
    assert_close(agent._views.learned.flat_params - start, expected, PLAIN)


def test_threads_change_no_bit():
    """Nor does evaluation in between."""
    bits = []
    for threads in (1, 2, 3):
        agent, world = make(CELLS[SIMPLE].cell, threads=threads, refresh="both")
        agent.learn(world, 30, progress=False, log=None)
        if threads == 2:
            agent.evaluate(World(seed=3), 2)
        agent.learn(world, 30, progress=False, log=None)
        bits.append(everything(agent))
    assert bits[0] == bits[2]
    learned = [part[: len(bits[0]) // 2] for part in bits]
    assert learned[0] == learned[1]


@pytest.mark.filterwarnings("ignore:steps is .*this call learns nothing:RuntimeWarning")
@pytest.mark.parametrize("steps", [11, 12, 15, 17])
def test_a_checkpoint_goes_on_bit_for_bit(steps, tmp_path):
    """In the middle of a rollout and of an episode, at the end of either."""
    agent, world = make(CELLS[SIMPLE].cell, refresh="both")
    agent.learn(world, steps, progress=False, log=None)
    agent.save(tmp_path / "agent.npz")
    loaded, there = PPO.load(tmp_path / "agent.npz"), copy.deepcopy(world)
    for setting in ("cell", "gradient", "refresh", "threads", "optimizer"):
        assert getattr(loaded, setting) == getattr(agent, setting)
    loaded.resume(there)
    for each, env in ((agent, world), (loaded, there)):
        each.learn(env, 40, progress=False, log=None)
    assert everything(agent) == everything(loaded)


@pytest.mark.filterwarnings("ignore:steps is .*this call learns nothing:RuntimeWarning")
def test_a_stream_that_is_left_is_cut_off():
    agent, world = make(CELLS[SIMPLE].cell)
    agent.learn(world, 3, progress=False, log=None)
    r = agent._views.rollout
    agent.reset()
    assert r.ends[:3].tolist() == [0, 0, 2]
    assert r.bootstraps[2] == r.values[3] != 0
    agent.learn(World(seed=4), N, progress=False, log=None)
    assert r.starts[3] == 0  # the next rollout's
    assert agent.diagnostics()["updates"] == 1


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_a_stream_that_is_left_where_an_episode_has_ended_ends_as_it_did(end):
    """The next episode has begun, and its first value is not what the last one bootstraps from."""
    agent, _ = make(CELLS[SIMPLE].cell)
    rng = np.random.default_rng(0)
    agent.step(rng.standard_normal(3))
    agent.step(rng.standard_normal(3), 1.0)
    agent.step(rng.standard_normal(3), 1.0, **{end: True})
    agent.step(rng.standard_normal(3))
    r = agent._views.rollout
    ends, bootstraps = r.ends.copy(), r.bootstraps.copy()
    assert r.starts[:3].tolist() == [1, 0, 1]
    agent.reset()
    assert np.array_equal(r.ends, ends)
    assert np.array_equal(r.bootstraps, bootstraps)
    assert (r.bootstraps[1] != 0) == (end == "truncated")


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_where_the_last_step_of_an_update_was_too_far_it_is_taken_back(tmp_path):
    """The gradient of every minibatch is finite, but not what the network says with the parameters they lead to."""
    agent, world = make(CELLS[SIMPLE].cell)
    start, learn = parameters(agent), agent._update._learn

    def too_far(each):
        fault = learn(each)
        agent.parameters["policy.W"][:] = np.inf
        return fault

    agent._update._learn = too_far
    with pytest.raises(
        FloatingPointError, match=r"an output of the network is no longer finite.* those before the latest update"
    ):
        agent.learn(world, 20, progress=False, log=None)
    for name, view in agent.parameters.items():
        assert np.array_equal(view, start[name])
    loaded = PPO.load(agent.save(tmp_path / "last.npz"))
    loaded.learn(world, 20, progress=False, log=None)
    assert not np.array_equal(loaded.parameters["policy.W"], start["policy.W"])


def test_a_failed_update_leaves_all_that_was_learned():
    agent, world = make(CELLS[SIMPLE].cell, optimizer=Adam(1e-3))
    rollout = collected(agent, world)
    assert agent._update() == ""
    before = everything(agent)
    expected, rollout.log_p[7] = rollout.log_p[7], np.nan
    assert agent._update().startswith("epoch 1, minibatch ")
    rollout.log_p[7] = expected
    assert everything(agent) == before


def test_divergence_is_said_and_the_agent_can_be_saved(tmp_path):
    agent, world = make(CELLS[SIMPLE].cell, optimizer=Adam(1e300))
    start = parameters(agent)
    with pytest.raises(
        FloatingPointError, match=r"diverged by step 12, in epoch 1, minibatch .* before the latest update"
    ):
        agent.learn(world, 20, progress=False, log=None)
    for name, view in agent.parameters.items():
        assert np.array_equal(view, start[name])
    agent.save(tmp_path / "last.npz")
    loaded = PPO.load(tmp_path / "last.npz", optimizer=Adam(1e-4))
    assert np.array_equal(loaded.parameters["cell.W1"], start["cell.W1"])
    loaded.learn(world, 20, progress=False, log=None)
    assert loaded.diagnostics()["updates"] == 1
    assert not np.array_equal(loaded.parameters["cell.W1"], start["cell.W1"])


class Broken(World):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, np.nan if self._steps == 7 else reward, *rest


def test_a_reward_that_is_no_number_is_the_environment_s_fault(tmp_path):
    agent, _ = make(CELLS[SIMPLE].cell)
    seen = []
    with pytest.raises(ValueError, match="reward is nan after step 6"):
        agent.learn(Broken(), 20, progress=False, log=None, callback=lambda each: seen.append(everything(each)))
    assert agent.steps == 6
    assert everything(agent) == seen[-1]
    assert everything(PPO.load(agent.save(tmp_path / "before.npz"))) == seen[-1]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"n_steps": 100, "n_minibatches": 32},
            ValueError,
            r"n_steps is 100 and n_minibatches 32: expected n_steps to",
        ),
        (
            {"n_steps": 64, "n_minibatches": 4, "gradient": TBPTT(7)},
            ValueError,
            r"TBPTT\(7\) and n_steps 64: .* n_steps=63 would",
        ),
        ({"n_steps": 64, "n_minibatches": 32, "gradient": TBPTT(4)}, ValueError, "each of whole sequences of 4"),
        ({"cell": LinearRTU(200_000), "n_steps": 2**20}, MemoryError, r"1048576 transitions.* needs \d+ bytes"),
        ({"actor": LinearRTU(4)}, ValueError, "actor is LinearRTU.*, which has a state: expected feedforward layers"),
        ({"gradient": "rtrl"}, TypeError, "gradient is 'rtrl': expected a gradient method such as RTRL"),
        ({"refresh": "all"}, ValueError, "refresh is 'all': expected one of 'none', 'gradients', 'targets', 'both'"),
        ({"gae_lambda": 1.5}, ValueError, "gae_lambda is 1.5"),
        ({"clip": 0.0}, ValueError, "clip is 0.0"),
        ({"threads": 0}, ValueError, "threads is 0"),
    ],
)
def test_settings_that_cannot_be(settings, error, message):
    with pytest.raises(error, match=message):
        PPO(World(), **settings)


class Echo:
    """The reward is for naming the sign seen two steps before."""

    observation_space, action_space = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)

    def reset(self, seed=None):
        self._rng = np.random.default_rng(seed) if seed is not None else self._rng
        self._seen, self._steps = [1, 1, self._rng.choice([-1, 1])], 0
        return np.array([self._seen[-1]], float), {}

    def step(self, action):
        right = (self._seen[-3] > 0) == bool(action)
        self._seen.append(self._rng.choice([-1, 1]))
        self._steps += 1
        return np.array([self._seen[-1]], float), float(right), False, self._steps == 20, {}


@pytest.mark.skipif(not COMPILED, reason="takes thousands of steps")
def test_it_learns_what_needs_memory():
    env = Echo()
    agent = PPO(
        env, LinearRTU(8), n_steps=512, n_minibatches=8, optimizer=Adam(3e-3, epsilon=1e-5), threads=1, dtype="float64"
    )
    returns = agent.learn(env, 20_000, progress=False, log=None).returns
    assert returns[:50].mean() < 13
    assert returns[-50:].mean() > 18
    assert agent.evaluate(Echo(), 10).mean() > 18
