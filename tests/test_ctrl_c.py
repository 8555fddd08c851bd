"""Ctrl-C, and other exceptions, while agents and learners work: a step is done or it is not, and nothing is lost."""

import copy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from agent_cases import World
from cases import COMPILED
from loop_cases import AGENTS, QUIET, ctrl_c, in_stretches, state

from rtu_np.control.inputs import ENDED, LENGTH
from rtu_np.interrupts import HoldCtrlC
from rtu_np.learning.outcomes import IS_FIRST

STEPS = 30


class BrokenError(Exception):
    pass


def broken() -> None:
    raise BrokenError


class Interrupting(World):
    """Does `what` at certain steps, before or after these, or at the second reset."""

    def __init__(self, discrete, place, what, times=(4, 8)) -> None:
        super().__init__(discrete)
        self.place, self.what, self.times, self.resets = place, what, set(times), 0

    def _at(self, place, time) -> None:
        if place == self.place and time in self.times:
            self.times.remove(time)
            self.what()

    def step(self, action):
        self._at("before a step", self.t)
        out = super().step(action)
        self._at("after a step", self.t)
        return out

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        self._at("in a reset", 2 * self.resets)
        return super().reset(seed=seed)


def uninterrupted(make, discrete):
    agent = make()
    return agent, np.stack(agent.learn(World(discrete), STEPS, **QUIET))


# ------------------------------------------------------------------------------------------------- signals, one process


@pytest.mark.parametrize("place", ["before a step", "after a step", "in a reset", "in the callback"])
@pytest.mark.parametrize("name", AGENTS)
def test_ctrl_c_loses_nothing(name, place):
    """Learning goes on in the middle of the episode, and its bits are those of learning in one go."""
    discrete, make = AGENTS[name]
    other, expected = uninterrupted(make, discrete)
    agent, times = make(), {3, 6, 11}

    def callback(each):
        if place == "in the callback" and each.steps in times:
            times.remove(each.steps)
            ctrl_c()

    episodes, stopped = in_stretches(agent, Interrupting(discrete, place, ctrl_c), STEPS, callback=callback)
    assert stopped == (3 if place == "in the callback" else 2)
    assert np.array_equal(episodes, expected)
    assert state(agent) == state(other)


@pytest.mark.parametrize("name", ["PPO", "PPO on two threads"])
def test_an_update_is_finished_first(name):
    discrete, make = AGENTS[name]
    other, expected = uninterrupted(make, discrete)
    agent, env, calls = make(), World(discrete), []
    apply = agent._update._apply_gradient

    def interrupted(*arguments):
        calls.append(len(calls))
        if len(calls) in (1, 7):
            ctrl_c()
        return apply(*arguments)

    agent._update._apply_gradient = interrupted
    episodes, stopped = in_stretches(agent, env, STEPS)
    assert stopped == 2
    assert len(calls) == 12
    assert np.array_equal(episodes, expected)
    assert state(agent) == state(other)


def test_a_loop_of_one_s_own_may_fall_into_an_update():
    """The update is made, and the next rollout begun, when KeyboardInterrupt is raised."""
    agent = AGENTS["PPO"][1]()
    apply, rng = agent._update._apply_gradient, np.random.default_rng(0)
    agent._update._apply_gradient = lambda *arguments: (ctrl_c(), apply(*arguments))[1]
    agent.step(rng.standard_normal(3))
    for _ in range(7):
        agent.step(rng.standard_normal(3), 1.0)
    with pytest.raises(KeyboardInterrupt):
        agent.step(rng.standard_normal(3), 1.0)
    assert agent.steps == 8
    assert agent.diagnostics()["updates"] == 1
    assert agent._clock[IS_FIRST] == 0
    assert agent._views.rollout.starts[0] == 0
    agent.step(rng.standard_normal(3), 1.0)


class Hangs(World):
    """Its third step waits for another Ctrl-C."""

    def step(self, action):
        if self.t == 2:
            self.t += 1
            ctrl_c()
            ctrl_c()
            raise AssertionError("the second Ctrl-C was not heard")
        return super().step(action)


def test_a_second_ctrl_c_is_heard_at_once():
    agent, env = AGENTS["actor-critic"][1](), Hangs(False)
    with pytest.raises(KeyboardInterrupt) as stopped:
        agent.learn(env, 20, **QUIET)
    assert stopped.value.result.steps.size == 0
    assert agent.steps == 2
    agent.learn(env, 4, **QUIET)  # an episode that ends at the fourth step of the world's six
    with pytest.raises(KeyboardInterrupt):
        agent.evaluate(Hangs(False), 1)


def test_evaluation_keeps_what_there_is():
    agent = AGENTS["actor-critic"][1]()
    agent.act(np.ones(3))
    memory, expected = agent._acting.tobytes(), agent.evaluate(World(False), 3)
    with pytest.raises(KeyboardInterrupt) as stopped:
        agent.evaluate(Interrupting(False, "after a step", ctrl_c, times=[12]), 3)
    assert np.array_equal(stopped.value.result, expected[:2])
    assert agent._acting.tobytes() == memory


def test_evaluation_in_a_callback_stops_all():
    """At the next of its own steps, also if Ctrl-C was pressed just before the callback. Learning's episodes count."""
    agent, other = AGENTS["actor-critic"][1](), World(False, ends=False)
    env = Interrupting(False, "after a step", ctrl_c, times=[12])
    with pytest.raises(KeyboardInterrupt) as stopped:
        agent.learn(env, 20, **QUIET, callback=lambda each: each.steps < 12 or each.evaluate(other, 1))
    assert stopped.value.result.lengths.tolist() == [6, 4]
    assert other.t == 0
    assert agent.steps == 12


def test_handlers_of_one_s_own():
    """A handler that returns lets learning go on; the handler is back in place when learning is over."""
    asked = []

    def handler(_number, _frame):
        asked.append(len(asked))

    before = signal.signal(signal.SIGINT, handler)
    try:
        agent, env = AGENTS["actor-critic"][1](), Interrupting(False, "after a step", ctrl_c)
        agent.learn(env, 20, **QUIET)
        assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        agent.learn(Interrupting(False, "after a step", ctrl_c), 20, **QUIET)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked == [0, 1]
    assert agent.steps == 40


def test_other_threads_are_left_alone():
    agent, seen = AGENTS["actor-critic"][1](), []

    def work():
        agent.learn(World(False), 20, **QUIET)
        seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
    assert agent.steps == 20


def held(result, *work, insists=False) -> None:
    with HoldCtrlC(result, insists):
        for each in work:
            each()


def test_ctrl_c_at_the_end_is_raised_at_the_end():
    with pytest.raises(KeyboardInterrupt) as stopped:
        held(lambda: "all", ctrl_c)
    assert stopped.value.result == "all"
    with pytest.raises(KeyboardInterrupt) as stopped:  # Ctrl-C may have ended what the environment needs
        held(lambda: "some", ctrl_c, broken)
    assert stopped.value.result == "some"
    assert isinstance(stopped.value.__context__, BrokenError)


def test_ctrl_c_again_and_again(monkeypatch):
    """The second raises, and those of the next second do not. If it is caught, later ones raise, and the end does."""
    cleaned = []

    def cleans():
        try:
            ctrl_c()
        finally:
            ctrl_c()
            cleaned.append("all")

    with pytest.raises(KeyboardInterrupt):
        held(None, ctrl_c, cleans, insists=True)
    assert cleaned == ["all"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def catches():
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()
        cleaned.append("caught")

    monkeypatch.setattr("rtu_np.interrupts._PAUSE", -1.0)
    with pytest.raises(KeyboardInterrupt):
        held(None, ctrl_c, catches, catches, insists=True)
    assert cleaned == ["all", "caught", "caught"]


# ---------------------------------------------------------------------------------------- exceptions, wherever raised


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("what", [broken, interrupt])
@pytest.mark.parametrize("place", ["before a step", "after a step"])
@pytest.mark.parametrize("name", AGENTS)
def test_an_environment_that_raises_is_begun_again(name, place, what, tmp_path):
    """It may be a step ahead. The agent is as of its last step, and can be saved, or resumed if one knows better."""
    discrete, make = AGENTS[name]
    agent, env = make(), Interrupting(discrete, place, what, times=[9])
    with pytest.raises((BrokenError, KeyboardInterrupt)) as stopped:
        agent.learn(env, STEPS, **QUIET)
    done = 9 if place == "before a step" else 8
    assert agent.steps == done
    assert stopped.value.result.lengths.tolist() == [6]
    loaded = type(agent).load(agent.save(tmp_path / "agent.npz"))
    assert state(loaded) == state(agent)

    other, there = make(), World(discrete)
    other.learn(there, done, **QUIET)
    if place == "after a step":
        there.step(other.actions.to_environment(other._executed))  # as the environment did
    else:  # whoever knows that it is not a step ahead may continue
        twin = copy.deepcopy(there)
        loaded.resume(twin)
        loaded.learn(twin, 7, **QUIET)
        assert (loaded.steps, twin.t, loaded._episode[ENDED]) == (16, 16, 3)
    other.reset()
    for each, its in ((agent, env), (other, there)):
        each.learn(its, 15, **QUIET)
    assert state(agent) == state(other)


@pytest.mark.parametrize("name", ["actor-critic", "PPO"])
def test_a_reset_that_raises_is_done_again(name):
    discrete, make = AGENTS[name]
    other, expected = uninterrupted(make, discrete)
    agent, env = make(), Interrupting(discrete, "in a reset", broken, times=[2, 6])
    episodes, stopped = in_stretches(agent, env, STEPS, errors=BrokenError)
    assert stopped == 2
    assert state(agent) == state(other)
    assert np.array_equal(episodes, expected)


@pytest.mark.parametrize("name", AGENTS)
def test_an_interrupt_between_the_compiled_step_and_the_next_noise(name, tmp_path):
    """The step is done, its episode's sums as well, and the next action does not get the noise of the last."""
    discrete, make = AGENTS[name]
    agent, env = make(), World(discrete)
    agent.learn(env, 8, **QUIET)
    noise, policy, draws = agent._noise.copy(), agent._policy, []

    class Policy:
        def draw(self, out, rng):
            draws.append(out)
            if len(draws) == 1:
                raise KeyboardInterrupt
            policy.draw(out, rng)

    agent._policy = Policy()
    with pytest.raises(KeyboardInterrupt):
        agent.learn(env, 20, **QUIET)
    assert agent.steps == 9
    assert agent._episode[LENGTH] == 3
    assert not np.array_equal(agent._noise, noise)
    assert state(type(agent).load(agent.save(tmp_path / "agent.npz"))) == state(agent)
    assert agent.learn(env, 20, **QUIET).steps.size > 0


def test_an_update_that_raises_is_undone():
    agent = AGENTS["PPO"][1]()
    start, apply, calls = agent.parameters["cell.W1"].copy(), agent._update._apply_gradient, []

    def raises(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return apply(*arguments)

    agent._update._apply_gradient = raises
    env = World(True)
    with pytest.raises(MemoryError):
        agent.learn(env, 20, **QUIET)
    assert np.array_equal(agent.parameters["cell.W1"], start)
    assert agent.steps == 8
    assert agent.learn(env, 20, **QUIET).steps.size > 0
    assert agent.diagnostics()["updates"] == 2


# --------------------------------------------------------------------------------------------- signals, other processes


@pytest.mark.skipif(not COMPILED, reason="takes thousands of steps")
@pytest.mark.parametrize(("name", "seed"), [("actor-critic", 0), ("PPO", 1)])
def test_signals_at_random_times(name, seed):
    """A process that is interrupted again and again learns what another learns in one go, to the bit."""
    assert interrupted_process(name, seed) > 3


def interrupted_process(name: str, seed: int) -> int:
    """How often the process was interrupted."""
    script, stopped = Path(__file__).parent / "interrupted_learning.py", 0
    rng = np.random.default_rng(seed)
    with subprocess.Popen([sys.executable, script, name], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line in ("ready\n", "stopped\n", "between\n"):
            stopped += line == "stopped\n"
            time.sleep(rng.uniform(0, 0.03))
            process.send_signal(signal.SIGINT)
            line = process.stdout.readline()
        assert line == "same\n"
    assert process.returncode == 0
    return stopped
