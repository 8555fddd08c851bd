"""Stretches of agent and environment in compiled code: all is as it is step by step, to the bit."""

import copy
import os
import signal
import threading
import time
from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
from cases import COMPILED, in_plain_python
from compiled_cases import AGENTS, WORLDS, agents, both_ways, coins, learned, state, world
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from loop_cases import QUIET

import envs
from rtu_np import Epsilon, LinearRTU, QLambda, numba_compiler
from rtu_np.compiled_environment import CompiledEnvironment, begin, compiled, is_compiled
from rtu_np.control import compiled_loop

pytestmark = [
    pytest.mark.skipif(numba_compiler.PLAIN, reason="with plain Numba all goes step by step"),
    pytest.mark.filterwarnings("ignore:steps is .*, so this call learns nothing"),
]
# Each agent takes seconds to compile.
COMPILED_AGENTS = ("Q",) if COMPILED else tuple(AGENTS)


@pytest.fixture
def short(monkeypatch):
    """Stretches from the first step on."""
    monkeypatch.setattr(compiled_loop, "ENOUGH", 0)
    monkeypatch.setattr(compiled_loop, "LEAST", 1)


# ------------------------------------------------------------------------------------------------------ the same bits


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("agent", COMPILED_AGENTS)
def test_every_agent_in_every_environment(monkeypatch, agent, name):
    dtype = "float32" if len(agent + name) % 2 else "float64"
    make = AGENTS[agent]
    one, other = both_ways(monkeypatch, lambda: learned(lambda env, **how: make(env, dtype=dtype, **how), world(name)))
    assert one == other


@pytest.mark.parametrize("agent", ["PPO", "actor-critic"])
@pytest.mark.parametrize("limit", [None, 5])
def test_an_environment_of_a_users_own(monkeypatch, agent, limit):
    def work():
        env = coins()()
        return learned(AGENTS[agent], env if limit is None else TimeLimit(TimeLimit(env, limit), limit + 1))

    one, other = both_ways(monkeypatch, work)
    assert one == other


@pytest.mark.skipif(not COMPILED, reason="many steps")
def test_many_steps_with_pauses_and_a_checkpoint(monkeypatch, tmp_path):
    """Past a look at whether learning goes on, with a file and an evaluation on the way."""
    monkeypatch.setattr(compiled_loop, "_ROWS", 1000)  # fewer than a stretch has episodes

    def work():
        env, found = world("MemoryChain", None), []
        agent = QLambda(env, LinearRTU(3), epsilon=Epsilon(0.6, 0.1, 30))
        for n in (30_001, 36_000):
            found += [np.stack(agent.learn(env, n, **QUIET)).tolist(), state(agent, env)]
            found.append(agent.evaluate(world("MemoryChain"), 3, progress=False).tolist())
            found.append(agent.save(tmp_path / "agent.npz").read_bytes())
        loaded = QLambda.load(tmp_path / "agent.npz")
        loaded.resume(env)
        loaded.learn(env, 999, **QUIET)
        return [*found, state(loaded, env)]

    one, other = both_ways(monkeypatch, work)
    assert one == other


def test_an_environment_that_others_have_moved(monkeypatch):
    """Reset in mid-episode, moved by another agent, and by hand: the next call begins an episode, both ways."""

    def work():
        env, found = world("TMaze"), []
        one, two = (AGENTS["Q"](env, seed=seed) for seed in (1, 2))
        for each, n in ((one, 9), (two, 4), (one, 8)):
            each.learn(env, n, **QUIET)
            found.append(state(each, env))
        one.reset()
        one.learn(env, 5, **QUIET)
        env.reset(seed=4)
        one.resume(env)
        one.learn(env, 12, **QUIET)
        there = copy.deepcopy(env)
        one.evaluate(env, 1, progress=False)
        one.learn(there, 7, **QUIET)
        return [*found, state(one, there)]

    one, other = both_ways(monkeypatch, work)
    assert one == other


# -------------------------------------------------------------------------------------------------- errors, logs, bar


@pytest.mark.parametrize("spoilt", [1, 20])
def test_a_refused_observation(monkeypatch, spoilt):
    def work():
        env = coins()(spoilt=spoilt)
        agent = AGENTS["actor-critic"](env, seed=2)
        with pytest.raises(ValueError, match=r"observation\[1\] is nan") as refused:
            agent.learn(env, 50, **QUIET)
        found = [str(refused.value), np.stack(refused.value.result).tolist(), state(agent, env), agent._env is None]
        agent.learn(env, 7, **QUIET)
        return [*found, state(agent, env)]

    one, other = both_ways(monkeypatch, work)
    assert one == other
    assert one[3]


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")  # in plain Python
@pytest.mark.parametrize("agent", ["PPO", "actor-critic"])
def test_divergence(monkeypatch, agent):
    def work():
        env = coins()()
        learner = AGENTS[agent](env, seed=2)
        learner.learn(env, 17, **QUIET)
        for array in learner.parameters.values():
            array[:] = 1e30
        with pytest.raises(FloatingPointError, match="diverged") as diverged:
            learner.learn(env, 50, **QUIET)
        return [str(diverged.value), state(learner, env)]

    one, other = both_ways(monkeypatch, work)
    assert one == other


def test_logs(monkeypatch, tmp_path):
    def work():
        env, folder = world("MemoryChain"), tmp_path / str(len(list(tmp_path.iterdir())))
        agent = AGENTS["Q"](env)
        for n in (3, 40, 30):
            agent.learn(env, n, progress=False, log=folder, log_every=7)
        episodes = [line.rsplit(",", 1) for line in (folder / "episodes.csv").read_text().splitlines()]
        assert all(float(speed) > 0 for _, speed in episodes[1:])
        return [row for row, _ in episodes], (folder / "learning.csv").read_text()

    one, other = both_ways(monkeypatch, work)
    assert one == other
    assert len(one[0]) > 20
    assert one[1].count("\n") == 1 + 73 // 7


@pytest.mark.skipif(not COMPILED, reason="it runs as plain Python")
def test_dynamics_that_numba_does_not_compile(short):
    class Odd(NamedTuple):
        n: int

    @begin.register(Odd)
    def begin_odd(dynamics, state, rng, observation):
        observation[0] = len({"a set": rng}.setdefault("b", [dynamics]))

    @compiled
    class Env(type(coins()())):  # whose advance is not registered
        def __init__(self):
            self.dynamics, self.state = Odd(1), np.zeros(2)

    env = Env()
    agent = AGENTS["actor-critic"](env)
    with pytest.raises(Exception, match=r"advance|begin") as failed:
        agent.learn(env, 5, **QUIET)
    assert "env is a Env, marked with `compiled`: expected `begin` and `advance`" in failed.value.__notes__[0]
    assert agent.steps == 0


# ------------------------------------------------------------------------------------------------------------- Ctrl-C


@pytest.mark.skipif(not COMPILED, reason="many steps")
def test_ctrl_c_in_a_stretch(short, monkeypatch):
    """The steps until then count, and learning goes on from there: the bits are those of one long call."""
    env, there = world("MemoryChain"), world("MemoryChain")
    agent, other = AGENTS["Q"](env), AGENTS["Q"](there)
    agent.learn(env, 100, **QUIET)  # compiles
    sent: list[float] = []

    def send():
        time.sleep(0.3)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt) as stopped:
        agent.learn(env, 10**9, **QUIET)
    assert time.monotonic() - sent[0] < 2
    thread.join()
    result = stopped.value.result
    assert agent.steps > 1000
    assert result.lengths.sum() <= agent.steps - 100 + 7
    agent.learn(env, 17, **QUIET)
    expected = other.learn(there, agent.steps, **QUIET)
    assert state(agent, env) == state(other, there)
    assert np.array_equal(result.steps, expected.steps[np.isin(expected.steps, result.steps)])


def test_ctrl_c_before_a_stretch(short, monkeypatch):
    """It stops between two stretches, and nothing is lost."""
    env, there = world("TMaze"), world("TMaze")
    agent, other = AGENTS["Q"](env), AGENTS["Q"](there)
    run = compiled_loop.CompiledLoop.run

    def interrupted(self, n):
        if agent.steps > 20:
            os.kill(os.getpid(), signal.SIGINT)
        return run(self, n)

    monkeypatch.setattr(compiled_loop.CompiledLoop, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        agent.learn(env, 10**9, **QUIET)
    monkeypatch.undo()
    other.learn(there, agent.steps, **QUIET)
    assert state(agent, env) == state(other, there)


# ---------------------------------------------------------------------------------------- what is not made in stretches


class Changed(envs.MemoryChain):
    """A user's own, that changes nothing that we know of."""


class Other(gymnasium.Wrapper):
    """A wrapper that does nothing."""


def patched(env):
    step = env.unwrapped.step
    env.unwrapped.step = lambda action: step(action)
    return env


def patched_limit(env):
    env.step = lambda action: env.env.step(action)
    return env


@pytest.mark.parametrize(
    "make",
    [
        Changed,
        lambda: Other(world("MemoryChain")),
        lambda: TimeLimit(Other(envs.MemoryChain()), 5),
        lambda: patched(world("MemoryChain")),
        lambda: patched_limit(world("MemoryChain")),
        lambda: gymnasium.make("CartPole-v1"),
    ],
    ids=["subclass", "wrapper", "wrapper inside", "patched", "patched limit", "another's"],
)
def test_others_go_step_by_step(short, make):
    env = make()
    agent = AGENTS["Q"](env)
    assert compiled_loop.compiled_loop(agent, env, 10**6) is None
    agent.learn(env, 20, **QUIET)
    assert agent.steps == 20


def test_a_step_that_is_replaced_in_the_class(short, monkeypatch):
    env = world("MemoryChain")
    agent = AGENTS["Q"](env)
    assert compiled_loop.compiled_loop(agent, env, 10**6) is not None
    monkeypatch.setattr(CompiledEnvironment, "step", CompiledEnvironment.reset)
    assert compiled_loop.compiled_loop(agent, env, 10**6) is None
    monkeypatch.undo()
    assert is_compiled(env.unwrapped)


def test_few_steps_do_not_compile():
    env = world("MemoryChain")
    agent = AGENTS["Q"](env)
    assert compiled_loop.compiled_loop(agent, env, compiled_loop.ENOUGH - 1) is None
    assert compiled_loop.compiled_loop(agent, env, compiled_loop.ENOUGH) is not None


def test_a_callback_sees_every_step(short):
    env, seen = world("MemoryChain"), []
    agent = AGENTS["Q"](env)
    agent.learn(env, 9, **QUIET, callback=lambda each: seen.append(each.steps))
    assert seen == list(range(1, 10))


def test_an_agent_with_a_step_of_its_own(short):
    class Watched(QLambda):
        def step(self, *arguments, **named):
            seen.append(self.steps)
            return super().step(*arguments, **named)

    env, seen = world("MemoryChain"), []
    Watched(env, LinearRTU(3)).learn(env, 20, **QUIET)
    assert len(seen) > 20


def test_the_checks_of_the_first_steps_are_made(short):
    """PassiveEnvChecker looks at a reset and two steps, and an environment has to be reset before a step."""
    env = TimeLimit(OrderEnforcing(PassiveEnvChecker(coins()())), 9)
    agent = AGENTS["actor-critic"](env)
    loop = compiled_loop.compiled_loop(agent, env, 10**6)
    assert not loop.is_ready()
    agent.learn(env, 1, **QUIET)
    assert not loop.is_ready()
    agent.learn(env, 1, **QUIET)
    assert loop.is_ready()
    fresh = world("MemoryChain")
    other = AGENTS["Q"](fresh)
    other.learn(world("MemoryChain"), 2, **QUIET)
    other.resume(fresh)
    with pytest.raises(gymnasium.error.ResetNeeded):
        other.learn(fresh, 5, **QUIET)


# ---------------------------------------------------------------------------------------------------------- protocol


def test_only_a_marked_class_is_compiled():
    assert is_compiled(envs.MemoryChain())
    assert not is_compiled(Changed())
    assert is_compiled(compiled(type("Marked", (Changed,), {}))())


@in_plain_python
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("            copy(noise[made[DRAWN]], buffers.noise)\n", ""),
        ("            made[DRAWN] += 1\n", ""),
        ("noise[: used[DRAWN]]", "noise"),
        ("            rng.bit_generator.state = before\n", ""),
        ("                limits[ELAPSED, k] = 0\n", "                limits[ELAPSED, k] = 1\n"),
        ("limits[ELAPSED, k] >= limits[MOST, k]", "limits[ELAPSED, k] > limits[MOST, k]"),
        (
            "TERMINATED if terminated else TRUNCATED if truncated",
            "TRUNCATED if truncated else TERMINATED if terminated",
        ),
        ("            episode[ENDED] += 1\n", ""),
        ("        clear(env.observation)\n", ""),
        ("begins, reward, end = clock[IS_FIRST] != 0, 0.0,", "begins, reward, end = clock[IS_FIRST] != 0, 1.0,"),
        ("            layer._elapsed_steps = int(", "            int("),
        ("        inner.in_episode = ", "        _ = "),
    ],
)
def test_planted_bugs_are_found(monkeypatch, mutant, old, new):
    package = mutant("control/compiled_loop.py", [(old, new)])

    def work():
        env = TimeLimit(coins(package)(), 6)
        make = agents(package)["actor-critic"]
        found = learned(make, env)
        spoilt = coins(package)(spoilt=9)
        agent = make(spoilt, seed=1)
        with pytest.raises(ValueError, match="nan"):
            agent.learn(spoilt, 50, **QUIET)
        return [*found, state(agent, spoilt)]

    one, other = both_ways(monkeypatch, work, package)
    assert one != other
