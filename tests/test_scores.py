"""Committed scores: a sweep goes on from them on another machine, which has no folder of a run."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tuned_experiment

from experiments import __main__ as command
from experiments.engine import committed, sources, sweep

HERE = Path(__file__).parent
N_DAMAGED = int(os.environ.get("RTU_NP_FUZZ", "100"))


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    """The command of the small experiment, with scores, on the "machine" `output`."""
    monkeypatch.setitem(command.EXPERIMENTS, "tuned", "tuned_experiment")

    def run(output, *words, preset="tiny", scores=tmp_path / "scores"):
        arguments = ["tuned", "--preset", preset, "--output", str(tmp_path / output), "--jobs", "1"]
        return command.main([*arguments, "--scores", str(scores), *words])

    return run


def made(output: Path) -> int:
    return len(list(output.glob("tuned/*/seed-*/DONE")))


def scores_file(tmp_path: Path, preset: str = "tiny") -> Path:
    return tmp_path / "scores" / "tuned" / f"{preset}.scores.jsonl"


def page(output: Path, preset: str = "tiny") -> dict:
    return json.loads((output / "tuned" / f"{preset}.json").read_text())


def test_scores_alone_plan_the_next_stage_and_draw_the_figure(tmp_path, tuned, capsys):
    assert tuned("first") == 0
    first, table = page(tmp_path / "first"), capsys.readouterr().out
    assert made(tmp_path / "first") == 2 * 3 * 2 + 2 * 3 == first["runs"]
    picture = (tmp_path / "first" / "tuned" / "tiny.png").read_bytes()
    lines = scores_file(tmp_path).read_bytes()
    shutil.rmtree(tmp_path / "first")
    assert tuned("second") == 0
    assert made(tmp_path / "second") == 0
    assert page(tmp_path / "second") == first
    assert {name: row["step size"] for name, row in first["scores"].items()} == {"a": 0.1, "b": 0.3}
    assert (tmp_path / "second" / "tuned" / "tiny.png").read_bytes() == picture
    again = capsys.readouterr().out
    assert again[again.index("\n  ") : again.index("figure")] == table[table.index("\n  ") : table.index("figure")]
    assert "18 of 18 runs: committed scores of commit " in again
    assert scores_file(tmp_path).read_bytes() == lines
    assert b"returns" not in lines  # the curve of every episode stays at home


def test_the_first_stage_alone_plans_the_second(tmp_path, tuned):
    assert tuned("whole") == 0
    kept = [line for line in scores_file(tmp_path).read_text().splitlines() if json.loads(line)["seed"] >= 50]
    assert len(kept) == 12
    scores_file(tmp_path).write_text("\n".join(kept[::-1]))  # any order, and no newline at the end
    assert tuned("rest") == 0
    assert made(tmp_path / "rest") == 6
    assert page(tmp_path / "rest")["scores"] == page(tmp_path / "whole")["scores"]


def test_stages_of_an_experiment_s_own_are_planned_from_scores(tmp_path, tuned, capsys):
    assert tuned("first", preset="own stages") == 0
    first = page(tmp_path / "first", "own stages")
    assert {name: row["step size"] for name, row in first["scores"].items()} == {"by": 0.3, "bz": 0.3}
    assert [stage["runs"] for stage in first["earlier stages"]] == [3, 12]
    assert first["earlier stages"][1]["by step size"] == {"0.2": 4}
    assert "stage 2: 4 of 12 runs diverged: 4 with step size 0.2\n" in capsys.readouterr().out
    assert tuned("second", preset="own stages") == 0
    assert made(tmp_path / "second") == 0
    assert page(tmp_path / "second", "own stages") == first


def test_shares_of_two_machines_are_a_whole(tmp_path, tuned, capsys):
    """Each has its own folder of runs, and goes on from the lines of both."""
    for stage in (12, 6):
        for k, output in enumerate(("one", "other")):
            before = made(tmp_path / output)
            assert tuned(output, "--task-id", str(k), "--num-tasks", "2") == 0
            # a machine makes its share of a stage, and the last of the first stage its share of the next one as well
            assert made(tmp_path / output) - before in (stage // 2, stage // 2 + 3, 0)
    assert made(tmp_path / "one") + made(tmp_path / "other") == 18
    assert tuned("other", "--plot-only") == 0
    assert "figure: " in capsys.readouterr().out


def test_seeds_that_are_complete_are_drawn_before_the_others(tmp_path, tuned, capsys):
    assert tuned("whole") == 0
    lines = scores_file(tmp_path).read_text().splitlines(keepends=True)
    seeds = [json.loads(line)["seed"] for line in lines]
    scores_file(tmp_path).write_text("".join(line for line, seed in zip(lines, seeds, strict=True) if seed != 1))
    capsys.readouterr()
    assert tuned("part", "--plot-only") == 0
    assert "4 of 6 runs are finished: this is of seeds 0, 2, of which every run is\n" in capsys.readouterr().out
    part, whole = page(tmp_path / "part"), page(tmp_path / "whole")
    assert (part["seeds"], part["runs"], "unfinished" in part, "unfinished" in whole) == ([0, 2], 16, True, False)
    finals = [
        tuned_experiment.run({**tuned_experiment.SETTINGS[0], "step_size": 0.1}, seed)["final"] for seed in (0, 2)
    ]
    assert part["scores"]["a"]["final"] == np.mean(finals)
    scores_file(tmp_path).write_text("".join(line for line, seed in zip(lines, seeds, strict=True) if seed != 50))
    assert tuned("other", "--plot-only") == 0  # step sizes are chosen from all of their runs, or not at all
    assert "6 of 12 runs are finished: the next stage waits for the others" in capsys.readouterr().out


def start(tmp_path, output, *words):
    arguments = ["tuned", "--preset", "slow", "--output", str(tmp_path / output), "--jobs", "1", *words]
    script = [sys.executable, str(HERE / "tuned_experiment.py"), *arguments, "--scores", str(tmp_path / "scores")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    return subprocess.Popen(script, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of Unix")
def test_killed_and_continued_elsewhere(tmp_path, tuned):
    file, process = scores_file(tmp_path, "slow"), start(tmp_path, "killed")
    deadline = time.monotonic() + 60
    while not (file.exists() and len(file.read_text().splitlines()) > 2):  # whole at any moment
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = len(file.read_text().splitlines())
    assert 2 < there < 18
    assert tuned("elsewhere", preset="slow") == 0
    assert made(tmp_path / "elsewhere") == 18 - there
    assert tuned("whole", preset="slow", scores=tmp_path / "others") == 0
    assert page(tmp_path / "elsewhere", "slow")["scores"] == page(tmp_path / "whole", "slow")["scores"]


def test_two_processes_write_one_file(tmp_path):
    """Both at once, in the first stage: no line is lost."""
    shares = [start(tmp_path, f"machine {k}", "--task-id", str(k), "--num-tasks", "2") for k in range(2)]
    for process in shares:
        process.communicate()
        assert process.returncode == 0
    keys = [(line["settings"]["step_size"], line["seed"]) for line in lines_of(scores_file(tmp_path, "slow"))]
    assert len([key for key in keys if key[1] >= 50]) == 12


def lines_of(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_git_merges_the_lines_of_two_machines(tmp_path, tuned):
    def git(*words):
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *names, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    tuned("all")
    whole = scores_file(tmp_path).read_text().splitlines(keepends=True)
    git("init", "-b", "main")
    shutil.copy(HERE.parent / ".gitattributes", tmp_path)
    git("add", ".gitattributes")
    git("commit", "-m", "start")
    for k, branch in enumerate(("one", "other")):
        git("checkout", "-b", branch, "main")
        scores_file(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        scores_file(tmp_path).write_text("".join(whole[k::2]))
        git("add", "scores")
        git("commit", "-m", branch)
    git("merge", "one")
    assert sorted(scores_file(tmp_path).read_text().splitlines(keepends=True)) == sorted(whole)
    assert tuned("merged") == 0
    assert made(tmp_path / "merged") == 0


DAMAGE = {
    "cut short": (lambda text: text[:-40], "line 18: it is no JSON .*was it cut short"),
    "edited": (lambda text: text.replace('"seed":51', '"seed":52', 1), "line 5: its check sum is .*by hand"),
    "a number edited": (lambda text: text.replace('"final":', '"final":1', 1), "line 1: .*"),
    "a conflict": (lambda text: "<<<<<<< HEAD\n" + text, "line 1: git has left the mark of a conflict"),
    "something else": (lambda text: text + '{"seed": 3}\n', "line 19: it has seed: expected arrays, check, code"),
    "a list": (lambda text: text + "[]\n", "line 19: it has a list: expected"),
    "nested": (lambda text: text + "[" * 100_000 + "\n", "line 19: it is no JSON"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_refused_by_name_and_nothing_is_lost(kind, tmp_path, tuned, capsys):
    change, message = DAMAGE[kind]
    assert tuned("first") == 0
    capsys.readouterr()
    damaged = change(scores_file(tmp_path).read_text())
    scores_file(tmp_path).write_text(damaged)
    assert tuned("second") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{scores_file(tmp_path)}, line " in error
    assert re.search(message, error), error
    assert scores_file(tmp_path).read_text() == damaged
    assert made(tmp_path / "second") == 0


def test_damage_at_a_random_place_is_refused_or_loses_whole_lines(tmp_path, tuned):
    """RTU_NP_FUZZ=5000 tries more places."""
    assert tuned("first") == 0
    file, rng, refused = scores_file(tmp_path), random.Random(0), 0
    whole, texts = file.read_bytes(), set(file.read_text().splitlines())
    for k in range(N_DAMAGED):
        copy = bytearray(whole)
        if k % 3:
            copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
        else:
            copy = copy[: rng.randrange(len(copy))]
        file.write_bytes(copy)
        try:
            found = committed.Scores(file)._lines
        except committed.ScoresError as error:
            refused += str(file) in str(error)
        else:
            assert {line.text for line in found.values()} <= texts
    assert refused > 0.9 * N_DAMAGED


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are Unix's")
def test_a_folder_and_a_pipe_are_no_scores(tmp_path, tuned, capsys):
    for make, kind in ((os.mkfifo, "a named pipe"), (os.mkdir, "a folder")):
        scores = tmp_path / kind
        (scores / "tuned").mkdir(parents=True)
        make(scores / "tuned" / "tiny.scores.jsonl")
        assert tuned("first", scores=scores) == 1
        assert f"tiny.scores.jsonl is {kind}: expected a file of scores" in capsys.readouterr().err


def test_a_file_that_is_no_text_and_a_folder_that_cannot_be(tmp_path, tuned, capsys):
    scores_file(tmp_path).parent.mkdir(parents=True)
    scores_file(tmp_path).write_bytes(b"\xff\xfe\x00")
    assert tuned("first") == 1
    assert f"{scores_file(tmp_path)} is not a text" in capsys.readouterr().err
    assert tuned("first", scores=scores_file(tmp_path)) == 2
    assert "--scores" in (error := capsys.readouterr().err)
    assert "cannot be used" in error


def test_two_different_lines_of_one_run_are_refused(tmp_path, tuned, capsys):
    assert tuned("first") == 0
    text = scores_file(tmp_path).read_text()
    task, run = a_run(tmp_path)
    scores_file(tmp_path).write_text(text + text.splitlines()[0])  # the same line twice is one line
    assert tuned("second") == 0
    changed = committed._written(task, ({**run[0], "final": np.array(9.0)}, run[1]), tuned_experiment.SCORES)
    scores_file(tmp_path).write_text(text + changed)
    capsys.readouterr()
    assert tuned("second") == 1
    assert "and 19: both are of the same settings and seed, and they differ" in capsys.readouterr().err


def a_run(tmp_path):
    """A task of the small experiment, and its run as other code made it."""
    config = {**tuned_experiment.SETTINGS[0], "step_size": 0.1}
    (task,) = sweep.plan("tuned_experiment", [config], [0], tmp_path)
    manifest = {"commit": "0123456789abcdef", "code": {"a.py": "1"}, "seconds": 1.5, "versions": {}, "python": "3"}
    return task, (tuned_experiment.run(config, 0), {**manifest, "machine": "other"})


def test_scores_of_other_code_count_and_are_said(tmp_path, tuned, capsys):
    task, run = a_run(tmp_path)
    scores_file(tmp_path).parent.mkdir(parents=True)
    committed.Scores(scores_file(tmp_path), tuned_experiment.SCORES).add(task, run)
    assert tuned("first") == 0
    assert made(tmp_path / "first") == 17
    code = sources.digest({"a.py": "1"})
    assert f"1 of 18 runs: committed scores of commit 0123456789, code {code}, which is not" in capsys.readouterr().out
    origins = page(tmp_path / "first")["committed scores"]
    assert [origin["runs"] for origin in origins] == [1, 17]
    assert [origin["present code"] for origin in origins] == [False, True]


def test_scores_of_no_run_are_counted_and_kept(tmp_path, tuned, capsys):
    task, run = a_run(tmp_path)
    other = sweep.Task(task.experiment, {**task.settings, "steps": 7}, 0, task.folder, task.code)
    scores_file(tmp_path).parent.mkdir(parents=True)
    committed.Scores(scores_file(tmp_path), tuned_experiment.SCORES).add(other, run)
    assert tuned("first") == 0
    assert "1 committed scores are of no run of this plan, and do not count" in capsys.readouterr().out
    assert len(lines_of(scores_file(tmp_path))) == 19


def test_an_array_that_scores_name_later(tmp_path, tuned, capsys, monkeypatch):
    assert tuned("first") == 0
    capsys.readouterr()
    monkeypatch.setattr(tuned_experiment, "SCORES", (*tuned_experiment.SCORES, "returns"))
    assert tuned("second") == 1
    assert "line 1: it lacks 'returns', which the experiment's SCORES names now" in capsys.readouterr().err
    monkeypatch.setattr(tuned_experiment, "SCORES", ("no such array",))
    with pytest.raises(ValueError, match="SCORES of tuned_experiment names 'no such array', and a run has final"):
        committed.Scores(tmp_path / "new", ("no such array",)).add(*a_run(tmp_path))


@pytest.mark.parametrize(
    "array",
    [
        np.array(0.1),
        np.array([0.1, np.nan, 1e-308, -0.0, np.inf, -np.inf]),
        np.array([1.0, 2.0]),
        np.array(np.nan),
        np.array([], float),
        np.zeros((0, 3), np.int64),
        np.array([1, 2**60]),
        np.array(True),
        np.array([True, False]),
        np.array([0.1, np.nan], np.float32),
        np.arange(6.0).reshape(2, 3),
        np.array(3, np.uint8),
    ],
    ids=repr,
)
def test_arrays_are_read_to_the_same_bits(array):
    read = committed._array(json.loads(json.dumps(committed._values("x", array), allow_nan=False)))
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_what_a_line_cannot_hold_is_refused():
    for array in (np.array(["a"]), np.array(1j), np.array(1, np.longdouble)):
        with pytest.raises(ValueError, match=r"the array 'x' has dtype .*: scores hold booleans, integers and floats"):
            committed._values("x", array)
