"""Callbacks that name their steps: evaluations, checkpoints, and stretches in between, all without changing a bit."""

import signal
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from agent_cases import World, everything, make
from cases import COMPILED
from compiled_cases import AGENTS, both_ways, world
from compiled_cases import state as all_state
from loop_cases import AGENTS as LOOP_AGENTS
from loop_cases import QUIET, rows_of, state

import envs  # noqa: F401   registers rtu_np/...
from envs import snapshot
from rtu_np import ActorCritic, Checkpoints, Evaluation, LinearRTU, QLambda, continue_run, every, numba_compiler
from rtu_np.control import callbacks, compiled_loop

no_stretches = pytest.mark.skipif(numba_compiler.PLAIN, reason="with plain Numba all goes step by step")


def chain(**settings):
    return gymnasium.make("rtu_np/MemoryChain-v0", **{"length": 2, **settings})


# ------------------------------------------------------------------------------------------------------ composition


def test_callbacks_compose():
    agent, seen = make(True), []
    listed = [
        every(4, lambda a: seen.append(("four", a.steps))),
        lambda a: a.steps < 9 or seen.append(("last", a.steps)) or False,
        every(3, lambda a: seen.append(("three", a.steps))),
    ]
    agent.learn(World(True, ends=False), 5, **QUIET, callback=listed)
    agent.learn(World(True, ends=False), 50, **QUIET, callback=tuple(listed))
    assert seen == [("three", 3), ("four", 4), ("three", 6), ("four", 8), ("last", 9), ("three", 9)]
    assert agent.steps == 9


def test_steps_are_those_of_the_agent_s_life():
    agent, seen = make(True), []
    for n in (7, 1, 5, 20):
        agent.learn(World(True), n, **QUIET, callback=every(10, lambda a: seen.append(a.steps)))
    assert seen == [10, 20, 30]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, TypeError, "callback is 3: expected a function of the agent, a list of them, or None"),
        ([print, 3], TypeError, r"callback\[1\] is 3: expected a function of the agent"),
        (type("Odd", (), {"every": 0, "__call__": print})(), ValueError, "callback.every is 0: expected an integer"),
        ([type("Odd", (), {"every": "1", "__call__": print})()], TypeError, r"callback\[0\].every is '1'"),
        (Evaluation(World(False)), ValueError, "is the agent made for another environment"),
    ],
)
def test_what_is_refused(given, error, message, tmp_path):
    agent, env = make(True), World(True)
    with pytest.raises(error, match=message):
        agent.learn(env, 5, progress=False, callback=given, log=tmp_path / "log")
    assert not (tmp_path / "log").exists()
    assert (agent.steps, env.t) == (0, 0)


@pytest.mark.parametrize("settings", [{"every": 0}, {"every": 5, "episodes": 0}, {"every": 5, "max_steps": 0}])
def test_settings_of_an_evaluation(settings):
    with pytest.raises(ValueError, match=f"{list(settings)[-1]} is 0: expected an integer of at least 1"):
        Evaluation(World(True), **settings)


def test_settings_of_checkpoints():
    with pytest.raises(ValueError, match="keep is 0"):
        Checkpoints(5, keep=0)
    with pytest.raises(TypeError, match="snapshot is 3: expected an object with capture and restore"):
        Checkpoints(5, snapshot=3)
    with pytest.raises(TypeError, match="function is 3"):
        every(5, 3)


# -------------------------------------------------------------------------------------------------------- stretches


@no_stretches
@pytest.mark.parametrize("agent", ("Q",) if COMPILED else ("Q", "PPO", "actor-critic"))
def test_stretches_run_between_calls(monkeypatch, agent):
    monkeypatch.setattr(callbacks, "SHORTEST", 2)

    def work():
        env, found = world("MemoryChain"), []
        learner = AGENTS[agent](env, seed=2)
        evaluation = Evaluation(world("MemoryChain"), 9, episodes=2)
        seen = every(7, lambda a: found.append((a.steps, all_state(a, env))))
        learner.learn(env, 50, **QUIET, callback=[evaluation, seen])
        learner.learn(env, 13, **QUIET, callback=[seen, every(6, lambda a: a.reset())])
        return [found, evaluation.steps, np.array(evaluation.returns).tolist(), all_state(learner, env)]

    one, other = both_ways(monkeypatch, work)
    assert one == other
    assert [step for step, _ in one[0]] == [7, 14, 21, 28, 35, 42, 49, 56, 63]


@no_stretches
def test_a_callback_of_every_step_is_called_at_every_step(monkeypatch):
    monkeypatch.setattr(compiled_loop, "ENOUGH", 0)
    monkeypatch.setattr(compiled_loop, "LEAST", 1)
    env, seen = world("MemoryChain"), []
    AGENTS["Q"](env).learn(env, 40, **QUIET, callback=[every(20, print), lambda a: seen.append(a.steps)])
    assert seen == list(range(1, 41))


# -------------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("name", LOOP_AGENTS)
def test_an_evaluation_changes_no_bit_of_the_agent(name):
    discrete, agent_of = LOOP_AGENTS[name]
    agent, other = agent_of(), agent_of()
    evaluation = Evaluation(gymnasium.wrappers.TimeLimit(World(discrete, ends=False), 4), 5, episodes=2)
    agent.learn(World(discrete), 33, **QUIET, callback=evaluation)
    other.learn(World(discrete), 33, **QUIET)
    assert evaluation.steps == [5, 10, 15, 20, 25, 30]
    assert state(agent) == state(other)


def test_the_best_agent_is_kept(tmp_path):
    env = chain()
    agent = QLambda(env, LinearRTU(4), gamma=0.9, seed=1)
    evaluation = Evaluation(chain(), 100, episodes=5)
    agent.learn(env, 1000, progress=False, callback=evaluation, log=tmp_path)
    rows = rows_of(tmp_path / "evaluations.csv")
    assert [int(row["step"]) for row in rows] == evaluation.steps == list(range(100, 1001, 100))
    means = [returns.mean() for returns in evaluation.returns]
    assert [float(row["mean"]) for row in rows] == means
    best = np.maximum.accumulate(means)
    assert [int(row["best"]) for row in rows] == [1, *(np.diff(best) > 0).astype(int)]
    assert evaluation.best == max(means)
    kept = QLambda.load(tmp_path / "best.npz")
    assert kept.steps == evaluation.steps[int(np.argmax(means))]
    assert kept.evaluate(chain(), 5, progress=False).mean() == max(means)
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in rows)


def test_an_evaluation_without_an_end_has_an_empty_row(tmp_path):
    agent = make(True)
    evaluation = Evaluation(World(True, ends=False), 5, max_steps=3)
    agent.learn(World(True), 5, progress=False, callback=evaluation, log=tmp_path)
    (row,) = rows_of(tmp_path / "evaluations.csv")
    assert (row["step"], row["episodes"], row["mean"], row["best"]) == ("5", "0", "", "0")
    assert not (tmp_path / "best.npz").exists()


def test_the_environment_of_learning_is_refused_before_the_first_step(tmp_path):
    agent, env = make(True), World(True)
    for each in (env, gymnasium.wrappers.TimeLimit(env, 9)):
        with pytest.raises(ValueError, match="the env of Evaluation is the one that the agent learns in"):
            agent.learn(env, 20, progress=False, callback=Evaluation(each, 5), log=tmp_path / "log")
    assert agent.steps == 0
    assert not (tmp_path / "log").exists()


# ------------------------------------------------------------------------------------------------------- checkpoints


def learn_in(folder, steps, stop_at=None):
    """Learn with everything on, in one call; or until somebody stops it."""
    env = chain(length=3)
    agent = QLambda(env, LinearRTU(4), gamma=0.9, seed=1)
    listed = [Checkpoints(60, keep=2, snapshot=snapshot), Evaluation(chain(length=3), 50, episodes=2)]
    if stop_at is not None:
        listed.append(lambda a: a.steps < stop_at)
    agent.learn(env, steps, progress=False, callback=listed, log=folder, log_every=30)
    return agent, env


@pytest.mark.parametrize("stop_at", [200, 181, 239])
def test_a_run_that_is_stopped_goes_on_to_the_bit(stop_at, tmp_path):
    whole, env = learn_in(tmp_path / "whole", 400)
    learn_in(tmp_path / "stopped", 400, stop_at)
    agent, there, steps = continue_run(tmp_path / "stopped", snapshot=snapshot)
    assert (agent.steps, steps) == (180, 220)
    listed = [Checkpoints(60, keep=2, snapshot=snapshot), Evaluation(chain(length=3), 50, episodes=2)]
    agent.learn(there, steps, progress=False, callback=listed, log=tmp_path / "stopped", log_every=30)
    assert all_state(agent, there) == all_state(whole, env)
    for name in ("evaluations.csv", "learning.csv", "episodes.csv"):
        one, other = (rows_of(tmp_path / folder / name) for folder in ("whole", "stopped"))
        for row in [*one, *other]:
            row.pop("steps_per_second", None)
        assert one == other, name
    for folder in ("whole", "stopped"):
        found = sorted(path.name for path in (tmp_path / folder / "checkpoints").iterdir())
        assert found == ["step-0000000300", "step-0000000360"]


KILLED = """
import os, signal, sys, gymnasium, envs
from envs import snapshot
from rtu_np import Checkpoints, Evaluation, LinearRTU, QLambda

env, other = (gymnasium.make("rtu_np/MemoryChain-v0", length=3) for _ in range(2))
agent = QLambda(env, LinearRTU(4), gamma=0.9, seed=1)
listed = [Checkpoints(60, keep=2, snapshot=snapshot), Evaluation(other, 50, episodes=2)]
listed.append(lambda a: a.steps < 230 or os.kill(os.getpid(), signal.SIGKILL))
agent.learn(env, 400, progress=False, callback=listed, log=sys.argv[1], log_every=30)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of Unix")
def test_a_process_that_is_killed_goes_on_in_another(tmp_path):
    whole, env = learn_in(tmp_path / "whole", 400)
    folder = tmp_path / "killed"
    assert subprocess.run([sys.executable, "-c", KILLED, folder], check=False).returncode == -signal.SIGKILL
    assert [row["step"] for row in rows_of(folder / "evaluations.csv")] == ["50", "100", "150", "200"]
    agent, there, steps = continue_run(folder, snapshot=snapshot)
    evaluation = Evaluation(chain(length=3), 50, episodes=2)
    agent.learn(there, steps, progress=False, callback=evaluation, log=folder, log_every=30)
    assert all_state(agent, there) == all_state(whole, env)
    assert rows_of(folder / "evaluations.csv") == rows_of(tmp_path / "whole" / "evaluations.csv")
    assert rows_of(folder / "learning.csv") == rows_of(tmp_path / "whole" / "learning.csv")


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    learn_in(tmp_path, 200)
    last = tmp_path / "checkpoints" / "step-0000000180"
    (last / "agent.npz").write_bytes((last / "agent.npz").read_bytes()[:-100])
    with pytest.warns(RuntimeWarning, match=r"goes on from step 120, since path .*step-0000000180.* is not a whole"):
        agent, _, steps = continue_run(tmp_path, snapshot=snapshot)
    assert (agent.steps, steps) == (120, 80)
    (last / "agent.npz").unlink()  # as if the process had been killed while it wrote
    assert continue_run(tmp_path, snapshot=snapshot).agent.steps == 120
    for path in (tmp_path / "checkpoints").rglob("agent.npz"):
        path.unlink()
    with pytest.raises(ValueError, match="has no checkpoint to go on from: expected those of the callback Checkpoints"):
        continue_run(tmp_path)


def test_without_a_snapshot_the_run_goes_on_with_an_episode(tmp_path):
    env = World(True)
    agent = ActorCritic(env, LinearRTU(3))
    agent.learn(env, 12, progress=False, log=tmp_path, callback=Checkpoints(5, keep=9))
    with pytest.raises(ValueError, match=r"World was not made by gymnasium.make.*pass it: env=\.\.\."):
        continue_run(tmp_path)
    again, there, steps = continue_run(tmp_path, env=World(True))
    assert (again.steps, steps) == (10, 2)
    assert again._env is None
    again.learn(there, steps, progress=False, log=tmp_path)


class OfNoUse:
    """A snapshot of an environment that no snapshot knows."""

    @staticmethod
    def capture(env):
        raise ValueError(f"{env} cannot be captured")

    restore = capture


def test_other_folders_for_checkpoints(tmp_path):
    agent, env = make(True), World(True)
    with pytest.raises(ValueError, match="Checkpoints has no folder, since learn got log=None"):
        agent.learn(env, 9, **QUIET, callback=Checkpoints(5))
    with pytest.raises(ValueError, match="cannot be captured"):
        agent.learn(env, 9, **QUIET, callback=Checkpoints(5, snapshot=OfNoUse, folder=tmp_path))
    assert agent.steps == 0
    agent.learn(env, 9, **QUIET, callback=Checkpoints(5, folder=tmp_path))
    assert everything(ActorCritic.load(tmp_path / "checkpoints" / "step-0000000005" / "agent.npz"))
    with pytest.raises(ValueError, match="holds those of another run: expected an empty folder for a new agent"):
        make(True).learn(World(True), 9, **QUIET, callback=Checkpoints(5, folder=tmp_path))
    agent.learn(env, 9, **QUIET, callback=Checkpoints(5, folder=tmp_path))  # the same agent goes on


def test_a_log_that_is_a_file_is_refused_before_anything_is_learned(tmp_path):
    (tmp_path / "taken").write_text("")
    agent = make(True)
    with pytest.raises(NotADirectoryError, match=r"log is .*taken: expected a folder"):
        agent.learn(World(True), 9, progress=False, log=tmp_path / "taken")
    assert agent.steps == 0


def test_other_folders_for_evaluations(tmp_path):
    agent = make(True)
    for _ in range(2):  # the same agent goes on
        agent.learn(World(True), 6, **QUIET, callback=Evaluation(World(True), 5, episodes=1, folder=tmp_path))
    assert [row["step"] for row in rows_of(tmp_path / "evaluations.csv")] == ["5", "10"]
    with pytest.raises(ValueError, match="holds evaluations of another run: expected an empty folder for a new agent"):
        make(True).learn(World(True), 9, **QUIET, callback=Evaluation(World(True), 5, folder=tmp_path))
