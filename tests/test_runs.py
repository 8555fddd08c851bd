"""Runs say what they are: the folder's name, settings.json and the way back, TensorBoard's scalars."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from agent_cases import World, everything, make
from cases import in_plain_python
from loop_cases import AGENTS, QUIET, state

import envs  # noqa: F401   registers rtu_np/...
import rtu_np
from rtu_np import PPO, TBPTT, ActorCritic, LinearRTU, QLambda, Softmax, Stack, make_again, recurrent_network
from rtu_np.control import runs


def chain(**settings):
    return gymnasium.make("rtu_np/MemoryChain-v0", **{"length": 2, **settings})


def page_of(folder):
    return json.loads((Path(folder) / "settings.json").read_text())


# ------------------------------------------------------------------------------------------------------------ names


@in_plain_python
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"cell": LinearRTU(4)}, "LinearRTU-4__RTRL__seed-3"),
        ({"cell": recurrent_network(LinearRTU(4), 5), "gradient": TBPTT(2)}, "LinearRTU-4__TBPTT-2__seed-3"),
        ({"cell": rtu_np.Dense(4), "seed": 12}, "Dense-4__RTRL__seed-12"),
        ({"cell": Stack([rtu_np.Dense(3), rtu_np.GRU(2), LinearRTU(4)])}, "GRU-2+LinearRTU-4__RTRL__seed-3"),
    ],
)
def test_a_name_says_what_the_run_is(settings, name):
    env = gymnasium.wrappers.TimeLimit(gymnasium.wrappers.TransformReward(chain(), abs), 7)
    agent = ActorCritic(env, **{"seed": 3, **settings})
    assert runs.run_name(agent, env) == f"ActorCritic__rtu_np-MemoryChain-v0__{name}"


def test_the_innermost_class_names_what_is_not_registered():
    env = gymnasium.wrappers.TimeLimit(World(False), 7)
    assert runs.run_name(make(False), env).startswith("ActorCritic__World__")


@pytest.mark.parametrize("seed", [None, [1, 2], np.random.SeedSequence(4).spawn(2)[1], np.int64(5), 2**100])
def test_any_seed_makes_a_short_name_and_the_agent_again(seed, tmp_path):
    env = chain()
    agent = QLambda(env, LinearRTU(3), seed=seed)
    name = runs.run_name(agent, env).rpartition("__seed-")[2]
    assert 1 <= len(name) <= 12
    episodes = agent.learn(env, 30, progress=False, log=tmp_path)
    again, there, steps = make_again(tmp_path)
    assert np.array_equal(again.learn(there, steps, **QUIET).returns, episodes.returns)
    assert everything(again) == everything(agent)
    assert again.seed == agent.seed == QLambda.load(agent.save(tmp_path / "agent.npz")).seed


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path):
    work = (
        "import sys; from pathlib import Path; from rtu_np.control.runs import new_folder; "
        "[print(new_folder(Path(sys.argv[1]), 'a')) for _ in range(20)]"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", work, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    found = [line for each in processes for line in each.communicate()[0].split()]
    assert len(found) == len(set(found)) == len(list(tmp_path.iterdir())) == 40


def test_the_folder_is_printed_once(tmp_path, capsys):
    agent, env = make(True), World(True, ends=False)
    for _ in range(2):
        agent.learn(env, 5, log=tmp_path / "log")
    agent.learn(env, 5, log=tmp_path / "other", progress=False)
    assert agent.log_folder == tmp_path / "other"
    agent.learn(env, 5, log=None)
    assert agent.log_folder is None
    out, err = capsys.readouterr()
    assert (out, err.count(f"log: {tmp_path / 'log'}\n"), err.count("other")) == ("", 1, 0)


def test_nothing_is_written_without_a_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(True).learn(World(True), 20, log=None, callback=rtu_np.Evaluation(World(True), 10, episodes=1))
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------- the way back


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_is_made_again_and_learns_the_same_bits(name, tmp_path):
    discrete, agent_of = AGENTS[name]
    agent = agent_of()
    agent.learn(World(discrete), 40, progress=False, log=tmp_path)
    there = World(discrete)
    again, env, steps = make_again(tmp_path, env=there)
    assert env is there
    assert (type(again), steps) == (type(agent), 40)
    again.learn(env, steps, **QUIET)
    assert state(again) == state(agent)


WRAPPED = {
    "arguments": lambda: chain(length=3),
    "a tuple": lambda: gymnasium.make("rtu_np/TraceConditioning-v0", iti=(5, 7), isi=4, max_episode_steps=9),
    "wrappers": lambda: gymnasium.wrappers.RescaleAction(
        gymnasium.make("Pendulum-v1", disable_env_checker=True, max_episode_steps=9),
        np.float32(-1),
        np.array([0.5], np.float32),
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_environment_is_made_again(name, tmp_path):
    env = WRAPPED[name]()
    agent = ActorCritic(env, LinearRTU(3), seed=9)
    returns = agent.learn(env, 60, progress=False, log=tmp_path).returns
    again, there, steps = make_again(tmp_path)
    assert str(there) == str(env)
    assert there.spec.kwargs == env.spec.kwargs
    assert np.array_equal(again.learn(there, steps, **QUIET).returns, returns)
    assert returns.size
    assert state(again) == state(agent)


def test_of_two_limits_the_first_to_come_counts(tmp_path):
    def limited():
        return gymnasium.wrappers.TimeLimit(gymnasium.make("Pendulum-v1", max_episode_steps=8), 20)

    agent = ActorCritic(limited(), LinearRTU(3))
    lengths = agent.learn(limited(), 40, progress=False, log=tmp_path).lengths
    again, env, steps = make_again(tmp_path)
    assert np.array_equal(again.learn(env, steps, **QUIET).lengths, lengths)
    assert everything(again) == everything(agent)


def test_it_comes_back_in_another_process(tmp_path):
    env = chain()
    agent = QLambda(env, LinearRTU(3), seed=4)
    returns = agent.learn(env, 50, progress=False, log=tmp_path).returns
    code = (
        "import sys, rtu_np; agent, env, steps = rtu_np.make_again(sys.argv[1]); "
        "print(agent.learn(env, steps, progress=False, log=None).returns.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == returns.tolist()


def test_what_the_page_says(tmp_path):
    env = chain()
    agent = QLambda(env, LinearRTU(3), seed=4)
    agent.learn(env, 20, progress=False, log=tmp_path)
    page = page_of(tmp_path)
    assert page["agent"]["class"] == "QLambda"
    assert page["agent"]["settings"]["cell"]["n_hidden"] == 3
    assert page["environment"]["id"] == "rtu_np/MemoryChain-v0"
    assert page["environment"]["kwargs"] == {"dict": {"length": 2}}
    assert (page["call"]["steps_before"], page["call"]["steps"]) == (0, 20)
    assert page["call"]["versions"]["rtu_np"] == rtu_np.__version__ or "rtu_np" not in page["call"]["versions"]
    assert page["call"]["versions"]["numpy"] == np.__version__
    assert page["call"]["command"] == sys.orig_argv
    assert "continued" not in page
    agent.learn(env, 12, progress=False, log=tmp_path)
    (later,) = page_of(tmp_path)["continued"]
    assert (later["steps_before"], later["steps"]) == (20, 12)
    assert "agent" in later  # its parameters
    assert "environment" not in later
    assert page_of(tmp_path)["call"] == page["call"]


def test_an_agent_that_was_changed_before_its_run_warns(tmp_path):
    env = chain()
    agent = QLambda(env, LinearRTU(3))
    agent.parameters["cell.nu_log"][:] += 0.1
    agent.learn(env, 20, progress=False, log=tmp_path / "one")
    agent.learn(env, 20, progress=False, log=tmp_path / "other")
    for folder, why in (("one", "had other parameters"), ("other", "had learned for 20 steps")):
        with pytest.warns(RuntimeWarning, match=f"whose agent {why} before it began: .*Load a checkpoint"):
            make_again(tmp_path / folder)


class Recorded(gymnasium.Wrapper):
    pass


MISSING = {
    "World was not made by gymnasium.make": lambda: World(True),
    "the wrapper Recorded does not record its arguments": lambda: Recorded(chain()),
    "TransformReward's arguments.*function": lambda: gymnasium.wrappers.TransformReward(chain(), lambda r: r),
}


@pytest.mark.parametrize("why", MISSING)
def test_an_environment_that_cannot_be_made_again_is_given(why, tmp_path):
    env = MISSING[why]()
    agent = ActorCritic(env, LinearRTU(3))
    agent.learn(env, 20, progress=False, log=tmp_path)
    with pytest.raises(ValueError, match=rf"does not say how to make .*{why}.*pass it: env=\.\.\."):
        make_again(tmp_path)
    again, there, _ = make_again(tmp_path, env=MISSING[why]())
    again.learn(there, 20, **QUIET)
    assert everything(again) == everything(agent)


def test_a_class_that_is_registered_without_a_name(tmp_path):
    """As in a notebook: only this process knows the class."""

    class Local(World):
        pass

    gymnasium.register("Local-v3", entry_point=lambda **how: Local(True, **how))
    try:
        env = gymnasium.make("Local-v3", ends=False)
        agent = ActorCritic(env, LinearRTU(3))
        agent.learn(env, 20, progress=False, log=tmp_path)
        again, there, _ = make_again(tmp_path)
        again.learn(there, 20, **QUIET)
        assert everything(again) == everything(agent)
    finally:
        del gymnasium.registry["Local-v3"]
    with pytest.raises(ValueError, match="nobody has registered 'Local-v3' here"):
        make_again(tmp_path)


def test_a_part_of_another_package_is_given(tmp_path, monkeypatch):
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Softer(Softmax):
        pass

    agent = ActorCritic(World(True), LinearRTU(3), policy=Softer())
    agent.learn(World(True), 9, progress=False, log=tmp_path)
    with pytest.raises(ValueError, match="policy 'Softer' is not part of rtu_np; pass it: policy="):
        make_again(tmp_path, env=World(True))
    with pytest.raises(TypeError, match="polcy is given: expected settings of ActorCritic, cell, "):
        make_again(tmp_path, env=World(True), polcy=Softer())
    assert make_again(tmp_path, env=World(True), policy=Softer()).agent.policy == Softer()


PAGES = {
    "is damaged": b'{"format": "rtu_np run"',
    "is not a page that learn wrote": b"[1, 2]",
    "has version 7: expected 1": b'{"format": "rtu_np run", "version": 7, "agent": {}, "call": {}}',
    "describes an agent of the class 'Other'": json.dumps(
        {"format": "rtu_np run", "version": 1, "agent": {"class": "Other"}, "call": {}, "environment": {}}
    ).encode(),
}


@pytest.mark.parametrize("why", PAGES)
def test_a_bad_page(why, tmp_path):
    (tmp_path / "settings.json").write_bytes(PAGES[why])
    with pytest.raises(ValueError, match=rf"log '.*settings.json' {why}"):
        make_again(tmp_path, env=World(True))
    with pytest.raises(FileNotFoundError):
        make_again(tmp_path / "missing")


def test_a_page_that_is_refused_leaves_the_folder_as_it_was(tmp_path):
    agent, env = make(True), World(True)
    agent.learn(env, 8, progress=False, log=tmp_path, log_every=2)
    path = agent.save(tmp_path / "agent.npz")
    agent.learn(env, 8, progress=False, log=tmp_path, log_every=2)
    (tmp_path / "settings.json").write_text("{")
    found = {file: file.read_bytes() for file in tmp_path.glob("*.[cj]s*")}
    with pytest.raises(ValueError, match="is damaged"):
        ActorCritic.load(path).learn(World(True), 8, progress=False, log=tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.glob("*.[cj]s*")} == found


# --------------------------------------------------------------------------------------------------------- TensorBoard


def accumulated(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the package's own dependencies
        accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        events = accumulator.EventAccumulator(str(folder))
        events.Reload()
    return events


def test_tensorboard_finds_scalars(tmp_path):
    agent, env = make(True), World(True)
    agent.learn(
        env, 12, progress=False, log=tmp_path, log_every=5, callback=lambda a: a.log_scalars({"own/steps": a.steps})
    )
    events = accumulated(tmp_path)
    assert events.Tags()["tensors"] == []
    assert [(each.step, each.value) for each in events.Scalars("charts/episodic_length")] == [(6, 6.0), (10, 4.0)]
    rows = (tmp_path / "episodes.csv").read_text().split()
    returns = [each.value for each in events.Scalars("charts/episodic_return")]
    assert returns == [np.float32(row.split(",")[2]) for row in rows[1:]]
    assert all(each.value > 0 for each in events.Scalars("charts/SPS"))
    assert [each.step for each in events.Scalars("losses/td_loss")] == [4, 9]
    assert [each.step for each in events.Scalars("learning/rms_delta")] == [4, 9]
    assert [each.value for each in events.Scalars("own/steps")] == list(range(1, 13))


@in_plain_python
def test_ppo_has_the_tags_of_cleanrl(tmp_path):
    env = chain()
    agent = PPO(env, LinearRTU(3), n_steps=8, n_minibatches=2, threads=1)
    agent.learn(env, 40, progress=False, log=tmp_path, log_every=10)
    tags = set(accumulated(tmp_path).Tags()["scalars"])
    names = ("policy_loss", "value_loss", "entropy", "approx_kl", "clipfrac")
    assert {f"losses/{name}" for name in names} < tags


def test_tensorboard_forgets_what_a_loaded_agent_makes_again(tmp_path):
    agent, env = make(True), World(True, ends=False)
    agent.learn(env, 8, progress=False, log=tmp_path, log_every=2)
    path = agent.save(tmp_path / "agent.npz")
    agent.learn(env, 8, progress=False, log=tmp_path, log_every=2)
    loaded = ActorCritic.load(path)
    loaded.learn(World(True), 4, progress=False, log=tmp_path, log_every=2)
    assert [each.step for each in accumulated(tmp_path).Scalars("losses/td_loss")] == [1, 3, 5, 7, 9, 11]
