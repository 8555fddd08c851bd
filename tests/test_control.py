"""Runs of agents in environments: one that was stopped goes on to the same bits, one that is made keeps its folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import __main__ as command
from experiments import (
    control,
    fig03_runtime,
    fig04_mujoco,
    fig06_popgym,
    fig18_staleness,
    memory_chain,
    ppo_agents,
    stream_pendulum,
    streaming_agents,
)
from experiments.engine import results, selection, sweep
from rtu_np import RTRL, SGD, Adam, LinearRTU, ObGD

POLE = streaming_agents.trials(stream_pendulum.PRESETS["smoke"])[0]
RUNS = {
    "streaming": (stream_pendulum, POLE),
    "values": (memory_chain, memory_chain.PRESETS["smoke"]["settings"][0]),
    "PPO, watched": (fig18_staleness, fig18_staleness.PRESETS["smoke"]["settings"][3]),
}


@pytest.mark.parametrize("steps", [50, 149])
def test_the_parts_of_a_run_have_all_of_its_steps(steps, monkeypatch):
    learned = []
    learn = control._learn
    monkeypatch.setattr(control, "_learn", lambda agent, env, n: (learned.append(n), learn(agent, env, n))[1])
    control.run({**POLE, "steps": steps}, 0)
    assert (learned[0], sum(learned[1:])) == (1, steps)  # the first compiles


def test_a_run_of_fewer_steps_than_parts_is_refused():
    with pytest.raises(ValueError, match="steps is 49: expected 50 or more"):
        control.run({**POLE, "steps": 49}, 0)


def test_a_score_that_is_no_number_is_the_worst():
    for name in ("final", "msre"):
        found = [{"diverged": np.array(False), name: np.array(number)} for number in (np.nan, 1.0)]
        assert min((selection.rank([run]), k) for k, run in enumerate(found))[1] == 1


class StoppedError(Exception):
    """As by a signal."""


@pytest.fixture
def stopping(monkeypatch):
    """Each part of a run is written down, and the run stops after the seventh."""
    leave = control._leave

    def stop(unfinished, agent, env, course):
        leave(unfinished, agent, env, course)
        if course["parts"] == 7:
            raise StoppedError

    monkeypatch.setattr(control, "EVERY", 0.0)
    monkeypatch.setattr(control, "_leave", stop)


def same(one, other):
    assert one.keys() == other.keys()
    for name in one.keys() - {"microseconds"}:
        assert np.array_equal(one[name], other[name], equal_nan=True), name


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(name, tmp_path, stopping):
    experiment, config = RUNS[name]
    whole = experiment.run(config, 3)
    folder = tmp_path / "unfinished"
    with pytest.raises(StoppedError):
        experiment.run(config, 3, unfinished=folder)
    assert [place.name for place in folder.iterdir()] == ["07"]
    same(experiment.run(config, 3, unfinished=folder), whole)


def test_where_it_is_damaged_the_run_begins_anew(tmp_path, stopping, capsys):
    with pytest.raises(StoppedError):
        control.run(POLE, 3, unfinished=tmp_path)
    archive = tmp_path / "07" / "env.npz"
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(StoppedError):
        control.run(POLE, 3, unfinished=tmp_path)
    assert "07 cannot be loaded" in capsys.readouterr().err


def test_a_sweep_goes_on_in_the_middle_of_a_run_and_tidies_up(tmp_path, stopping):
    (task,) = sweep.plan("experiments.stream_pendulum", [POLE], [3], tmp_path)
    assert "StoppedError" in sweep.execute(task)
    assert results.unfinished(task.folder).is_dir()
    assert sweep.execute(task) == ""
    assert not results.unfinished(task.folder).exists()
    same(results.load_run(task.folder)[0], control.run(POLE, 3))


def test_a_run_that_diverges_at_its_start_is_counted_and_the_sweep_goes_on():
    parts = {"cell": LinearRTU(4), "actor_optimizer": SGD(1e4), "critic_optimizer": SGD(1e4)}
    config = control.setting("MemoryChain", "m", 50_000, "ActorCritic", **parts)
    arrays = control.run(config, 0)
    assert arrays["diverged"]
    assert np.isnan(arrays["curve"]).all()
    assert "before it diverged" in control.describe(arrays)
    assert control.score([(config, [arrays])])["MemoryChain: m"]["diverged"] == 1


@pytest.mark.parametrize(
    ("experiment", "k", "folder"),
    [
        (fig03_runtime, -1, "941b53a7bf0d"),
        (fig06_popgym, 0, "e14f5fb6489d"),
        (fig18_staleness, 0, "0acd678530f0"),
        (fig18_staleness, 1, "3d3c433452c6"),
    ],
)
def test_a_renamed_argument_leaves_every_run_in_its_folder(experiment, k, folder):
    """These settings have all words of `control.WORDS`; with another hash, runs that are there would be made again."""
    config = experiment.PRESETS["smoke"]["settings"][k]
    assert sweep.folder_of(Path(), config, 0).parent.name == folder


def test_a_step_size_goes_into_every_optimiser_of_a_setting():
    ppo = control.setting("Hopper-P", "m", 1000, "PPO", optimizer=Adam(3e-4, epsilon=1e-5), gamma=0.9)
    assert control.arguments(ppo)["optimizer"] == Adam(3e-4, epsilon=1e-5)
    assert control.arguments({**ppo, "step_size": 1e-3}) == {"optimizer": Adam(1e-3, epsilon=1e-5), "gamma": 0.9}
    rules = {"actor_optimizer": Adam(1e-3, beta1=0.5), "critic_optimizer": ObGD(1.0, 3.0)}
    streaming = {
        **control.setting("CartPole-P", "m", 1000, "ActorCritic", cell=LinearRTU(2), **rules),
        "step_size": 0.5,
    }
    agent = control.make_agent(streaming, control.make_env(streaming), 0)
    assert (agent.actor_optimizer, agent.critic_optimizer) == (Adam(0.5, beta1=0.5), ObGD(0.5, 3.0))


def test_a_step_size_that_no_optimiser_can_have_is_refused():
    config = control.setting("Hopper-P", "m", 1000, "PPO", cell=LinearRTU(4))
    with pytest.raises(ValueError, match=r"step_size is 0.1, and the setting has no optimiser: expected optimizer, "):
        control.arguments({**config, "step_size": 0.1})
    with pytest.raises(ValueError, match=r"optimizer is RTRL\(dense=False\): expected an optimiser with a step_size"):
        control._tuned({"optimizer": RTRL()}, 0.1)


def test_agents_are_tuned_by_their_return_in_shorter_runs():
    setting = control.setting("Hopper-P", "m", 1000, "PPO", optimizer=Adam())
    preset = {"settings": [setting], "seeds": range(5)}
    preset["tuning"] = {"step_sizes": [1e-3, 3e-4, 1e-4], "seeds": range(1000, 1002), "steps": 300}
    (first, tuning_seeds), (last, seeds) = selection.stages(preset)
    tried = first([])
    assert [(config["step_size"], config["steps"]) for config in tried] == [(1e-3, 300), (3e-4, 300), (1e-4, 300)]
    assert (tuning_seeds, seeds) == ([1000, 1001], [0, 1, 2, 3, 4])

    def best(*finals, diverged=()):
        runs = [
            [{"final": np.array(f), "diverged": np.array(k in diverged)} for f in each] for k, each in enumerate(finals)
        ]
        (config,) = last([list(zip(tried, runs, strict=True))])
        assert config == {**setting, "step_size": config["step_size"]}
        return config["step_size"]

    assert best([1, 2], [5, 0], [2, 2]) == 3e-4  # the largest mean
    assert best([1, 2], [5, 0], [2, 2], diverged=[1]) == 1e-4  # the fewest divergences first
    assert best([1, 2], [5, np.nan], [2, np.nan]) == 1e-3  # a run without an episode's end is no good run


def test_an_agent_is_tuned_from_the_command_and_drawn_from_its_scores(tmp_path, monkeypatch):
    settings = ppo_agents.smoke("Hopper-P", optimizer=Adam(3e-4))
    tuning = {"step_sizes": [1e-2, 1e-5], "seeds": range(1000, 1001), "steps": 500}
    tiny = {"settings": settings, "tuning": tuning, "seeds": range(2)}
    monkeypatch.setitem(fig04_mujoco.PRESETS, "tiny", tiny)
    pages = []
    for output in ("here", "elsewhere"):
        words = ["--output", str(tmp_path / output), "--scores", str(tmp_path / "scores"), "--jobs", "1"]
        assert command.main(["fig04-mujoco", "--preset", "tiny", *words]) == 0
        pages.append(json.loads((tmp_path / output / "fig04-mujoco" / "tiny.json").read_text()))
        assert len(list((tmp_path / output).rglob("DONE"))) == (4 if output == "here" else 0)
    assert pages[0] == pages[1]
    (row,) = pages[0]["scores"].values()
    lines = [json.loads(line) for line in (tmp_path / "scores/fig04-mujoco/tiny.scores.jsonl").read_text().splitlines()]
    tried = {line["settings"]["step_size"]: line["arrays"]["final"] for line in lines if line["seed"] == 1000}
    assert row["step size"] == max(tried, key=tried.__getitem__)
    assert tried[1e-2] != tried[1e-5]
    assert sorted(line["settings"]["steps"] for line in lines) == [500, 500, 1000, 1000]
    assert [set(line["arrays"]) for line in lines] == [set(control.SCORES)] * 4


def test_an_agent_gets_the_arguments_that_were_written_down(monkeypatch):
    monkeypatch.setattr(control, "WORDS", {"n_steps": "rollout", "refresh": "fresh"})
    monkeypatch.setattr(control, "VALUES", {"fresh": {"none": "nothing"}})
    for given in ({"n_steps": 64, "refresh": "none", "gamma": 0.9}, {"refresh": "both", "cell": LinearRTU(4)}):
        config = control.setting("Hopper-P", "m", 1000, "PPO", **given)
        assert control.arguments(config) == given
    config = control.setting("Hopper-P", "m", 1000, "PPO", n_steps=64, refresh="none")
    assert config["parts"] == {"rollout": 64, "fresh": "nothing"}
