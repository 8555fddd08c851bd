"""Runs of agents in environments: one that was stopped goes on to the same bits, one that is made keeps its folder."""

from pathlib import Path

import numpy as np
import pytest

from experiments import control, fig03_runtime, fig06_popgym, fig18_staleness, memory_chain, stream_mujoco
from experiments.engine import results, sweep
from rtu_np import LinearRTU

RUNS = {
    "streaming": (stream_mujoco, 0),
    "values": (memory_chain, 0),
    "PPO, watched": (fig18_staleness, 3),
}


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
    experiment, k = RUNS[name]
    config = experiment.PRESETS["smoke"]["settings"][k]
    whole = experiment.run(config, 3)
    folder = tmp_path / "unfinished"
    with pytest.raises(StoppedError):
        experiment.run(config, 3, unfinished=folder)
    assert [place.name for place in folder.iterdir()] == ["07"]
    same(experiment.run(config, 3, unfinished=folder), whole)


def test_where_it_is_damaged_the_run_begins_anew(tmp_path, stopping, capsys):
    config = stream_mujoco.PRESETS["smoke"]["settings"][0]
    with pytest.raises(StoppedError):
        control.run(config, 3, unfinished=tmp_path)
    archive = tmp_path / "07" / "env.npz"
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(StoppedError):
        control.run(config, 3, unfinished=tmp_path)
    assert "07 cannot be loaded" in capsys.readouterr().err


def test_a_sweep_goes_on_in_the_middle_of_a_run_and_tidies_up(tmp_path, stopping):
    config = stream_mujoco.PRESETS["smoke"]["settings"][0]
    (task,) = sweep.plan("experiments.stream_mujoco", [config], [3], tmp_path)
    assert "StoppedError" in sweep.execute(task)
    assert results.unfinished(task.folder).is_dir()
    assert sweep.execute(task) == ""
    assert not results.unfinished(task.folder).exists()
    same(results.load_run(task.folder)[0], control.run(config, 3))


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


def test_an_agent_gets_the_arguments_that_were_written_down(monkeypatch):
    monkeypatch.setattr(control, "WORDS", {"n_steps": "rollout", "refresh": "fresh"})
    monkeypatch.setattr(control, "VALUES", {"fresh": {"none": "nothing"}})
    for given in ({"n_steps": 64, "refresh": "none", "gamma": 0.9}, {"refresh": "both", "cell": LinearRTU(4)}):
        config = control.setting("Hopper-P", "m", 1000, "PPO", **given)
        assert control.arguments(config) == given
    config = control.setting("Hopper-P", "m", 1000, "PPO", n_steps=64, refresh="none")
    assert config["parts"] == {"rollout": 64, "fresh": "nothing"}
