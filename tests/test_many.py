"""Agents side by side: the bits of learning one by one, whatever the number of processes; errors and Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from agent_cases import World, make
from loop_cases import AGENTS, QUIET, rows_of, state

import envs  # noqa: F401   registers rtu_np/...
from rtu_np import LinearRTU, QLambda, learn_many


class Failing(World):
    """Raises at a step."""

    def __init__(self, at: int, kill: bool = False) -> None:
        super().__init__(True, ends=False)
        self.at, self.kill = at, kill

    def step(self, action):
        if self.t == self.at:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError("the robot has fallen")
        return super().step(action)


def chain():
    return gymnasium.make("rtu_np/MemoryChain-v0", length=2)


@pytest.mark.parametrize(("name", "n_processes"), [*((name, 1) for name in AGENTS), ("actor-critic", 2)])
def test_the_bits_are_those_of_learning_one_by_one(name, n_processes):
    discrete, agent_of = AGENTS[name]
    agents, others = [agent_of() for _ in range(2)], [agent_of() for _ in range(2)]
    for _ in range(2 if n_processes == 1 else 1):  # the second call begins with an episode
        learned = learn_many(agents, [World(discrete), World(discrete)], 13, n_processes=n_processes, progress=False)
        for agent, other, episodes in zip(agents, others, learned.episodes, strict=True):
            one = other.learn(World(discrete), 13, **QUIET)
            assert np.array_equal(episodes, one)
            assert state(agent) == state(other)
            assert agent.steps == other.steps


def test_the_next_call_begins_with_an_episode():
    """As it does if the environments have stayed in other processes."""
    agents, others = ([QLambda(chain(), LinearRTU(2), seed=seed) for seed in range(2)] for _ in range(2))
    own = [chain(), chain()]
    for _ in range(2):
        learn_many(agents, own, 14, n_processes=1)
        for agent, other in zip(agents, others, strict=True):
            other.learn(chain(), 14, **QUIET)
            assert state(agent) == state(other)


@pytest.mark.parametrize("n_processes", [1, 2])
def test_each_begins_an_episode(n_processes):
    agents, others = ([QLambda(chain(), LinearRTU(2), seed=seed) for seed in range(2)] for _ in range(2))
    for group in (agents, others):
        own = [chain(), chain()]
        for agent, env in zip(group, own, strict=True):
            agent.learn(env, 4, **QUIET)  # to the middle of an episode
        if group is agents:
            learn_many(agents, own, 14, n_processes=n_processes, progress=False)
        else:
            for agent, env in zip(others, own, strict=True):
                agent._env = None
                agent.learn(env, 14, **QUIET)
    assert [state(agent) for agent in agents] == [state(other) for other in others]


@pytest.mark.parametrize(("how", "n_processes"), [("id", 1), ("function", 1), ("function", 2)])
def test_environments_by_id_and_by_function(how, n_processes, tmp_path):
    """Also of ids that only this process knows."""

    class Local(World):
        pass

    gymnasium.register("Own-v9", entry_point=lambda: Local(True))
    try:
        made = "Own-v9" if how == "id" else lambda: gymnasium.make("Own-v9")
        agents = {f"{n} units": [QLambda(World(True), LinearRTU(n), seed=seed) for seed in (0, 1)] for n in (2, 3)}
        learned = learn_many(agents, made, 20, n_processes=n_processes, progress=False, log=tmp_path, log_every=5)
        other = QLambda(World(True), LinearRTU(3), seed=1)
        episodes = other.learn(gymnasium.make("Own-v9"), 20, progress=False, log=tmp_path / "own", log_every=5)
    finally:
        del gymnasium.registry["Own-v9"]
    assert np.array_equal(learned.episodes[3], episodes)
    assert state(agents["3 units"][1]) == state(other)
    shutil.rmtree(tmp_path / "own")
    folders = sorted(path.name.rpartition("__")[0] for path in tmp_path.iterdir())
    assert folders == [f"QLambda__Own-v9__LinearRTU-{n}__RTRL__seed-{seed}" for n in (2, 3) for seed in (0, 1)]
    assert {agent.log_folder for group in agents.values() for agent in group} == set(tmp_path.iterdir())
    assert [row["step"] for row in rows_of(agents["2 units"][0].log_folder / "learning.csv")] == ["4", "9", "14", "19"]


def test_numbers_over_seeds():
    agents = {
        "few": [QLambda(chain(), LinearRTU(2), seed=s) for s in range(3)],
        "one": [QLambda(chain(), LinearRTU(4))],
    }
    learned = learn_many(agents, [chain() for _ in range(4)], 120, n_processes=1)
    returns = [episodes.returns for episodes in learned.episodes]
    curves, table = learned.curves(bins=4), learned.table()
    assert curves["few"].shape == (3, 4)
    assert curves["one"][0, 0] == returns[3][learned.episodes[3].steps * 4 // 120 == 0].mean()
    late = [r[e.steps > 108].mean() for r, e in zip(returns, learned.episodes, strict=True)]
    assert table["few"]["mean"] == pytest.approx(np.mean(late[:3]), rel=1e-12)
    assert table["few"]["smallest"] <= table["few"]["low"] <= table["few"]["mean"] <= table["few"]["high"]
    assert table["one"] == {"seeds": 1, **dict.fromkeys(("mean", "low", "high", "smallest", "largest"), late[3])}
    later = learn_many(agents, [chain() for _ in range(4)], 120, n_processes=1)
    assert np.isfinite(later.curves(4)["few"]).all()  # counted from the beginning of this call


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_error_names_the_agent_and_stops_no_other(n_processes):
    agents = [make(True, seed=seed) for seed in (3, 4, 5)]
    own = [World(True), Failing(7), World(True)]
    with pytest.raises(
        RuntimeError, match=r"agents\[1\], ActorCritic.* of seed 4: OSError: the robot has fallen. The "
    ) as e:
        learn_many(agents, own, 20, n_processes=n_processes, progress=False)
    assert isinstance(e.value.__cause__, OSError)
    assert [agent.steps for agent in agents] == [20, 7, 20]
    assert e.value.result.episodes[2].returns.size == 3
    agents[1].learn(World(True), 5, **QUIET)  # goes on from there


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of Unix")
def test_a_process_that_dies():
    agents = [make(True, seed=seed) for seed in (3, 4)]
    with pytest.raises(
        RuntimeError, match=r"agents\[1\], .*ProcessDiedError: the process that ran it died. The other 1"
    ):
        learn_many(agents, [World(True), Failing(7, kill=True)], 20, n_processes=2, progress=False)
    assert [agent.steps for agent in agents] == [20, 0]


AGENT = make(True)
REFUSED = {
    "agents holds 0 agents, 0 different": ([], "CartPole-v1"),
    "agents holds 2 agents, 1 different": ([AGENT, AGENT], [World(True), World(True)]),
    r"agents\[1\] is 3: expected an agent": ([AGENT, 3], "CartPole-v1"),
    r"agents\['b'\] is empty": ({"a": [AGENT], "b": []}, [World(True)]),
    "envs is 2 of them: expected a list of 1 environments": ([AGENT], [World(True), World(True)]),
    "envs is <.*World.*: expected a list of 1 environments": ([AGENT], World(True)),
    r"envs\[0\]: env has observation_space": ([AGENT], [World(True, d=4)]),
    r"agents\[0\]: env has observation_space": ([AGENT], lambda: World(True, d=4)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(message, tmp_path):
    agents, own = REFUSED[message]
    with pytest.raises((ValueError, TypeError), match=message):
        learn_many(agents, own, 20, log=tmp_path / "log")
    assert AGENT.steps == 0
    assert not (tmp_path / "log").exists()
    for name in ("steps", "n_processes", "log_every"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            learn_many([AGENT], [World(True)], **{"steps": 5, name: 0})


CTRL_C = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from agent_cases import World, make
from rtu_np import learn_many

class Telling(World):
    def step(self, action):
        if self.t == 100:
            Path(self.place).touch()
        return super().step(action)

agents = [make(True, seed=seed) for seed in range(2)]
own = [Telling(True, ends=False), World(True, ends=False)]
own[0].place = sys.argv[3]
try:
    learn_many(agents, own, 10**8, n_processes=int(sys.argv[2]), progress=False)
except KeyboardInterrupt as stopped:
    steps, other = agents[0].steps, make(True, seed=0)
    other.learn(World(True, ends=False), steps, progress=False, log=None)
    same = all((other.parameters[n] == a).all() for n, a in agents[0].parameters.items())
    print(steps, agents[1].steps, len(stopped.result.episodes), same)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize(("n_processes", "send"), [(1, os.kill), (2, os.kill), (2, os.killpg)])
def test_ctrl_c_keeps_what_was_learned(n_processes, send, tmp_path):
    """Sent to this process alone, or to all of its group, as a terminal does."""
    command = [sys.executable, "-c", CTRL_C, str(Path(__file__).parent), str(n_processes), str(tmp_path / "begun")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
            time.sleep(0.05)
        send(process.pid, signal.SIGINT)
        steps, others, n, same = process.communicate(timeout=60)[0].split()
    finally:
        process.kill()
    assert 100 < int(steps) < 10**7
    assert int(others) < 10**7
    assert (n, same) == ("2", "True")
