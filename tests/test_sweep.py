"""Sweeps: the same bits wherever they run, and whatever happens to them on the way."""

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

from experiments.engine import results, sweep
from rtu_np import processes

HERE = Path(__file__).parent
NAME = "counting_experiment"
CONFIGS = [{"steps": 300, "lambda_": lambda_} for lambda_ in (0.0, 0.5, 0.9)]
SEEDS = [0, 1, 2]
N_DAMAGED = int(os.environ.get("RTU_NP_FUZZ", "100"))


def tasks(root, configs=CONFIGS, seeds=SEEDS):
    return sweep.plan(NAME, configs, seeds, root)


def bits(plan):
    """{run: its arrays' bytes} of the runs that are there."""
    out = {}
    for task in plan:
        if found := results.find(task.folder, task.settings, task.seed):
            arrays, _ = found
            out[task.folder.name, task.settings["lambda_"]] = {name: a.tobytes() for name, a in arrays.items()}
    return out


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    plan = tasks(tmp_path_factory.mktemp("unbroken"))
    sweep.run_all(plan, sweep.processes(1))
    found = bits(plan)
    assert len({str(run) for run in found.values()}) == len(plan) == 9
    return found


def test_processes_give_the_same_bits(tmp_path, unbroken):
    seen = []
    sweep.run_all(tasks(tmp_path), sweep.processes(2), seen.append)
    assert bits(tasks(tmp_path)) == unbroken
    assert {task.folder for task in seen} == {task.folder for task in tasks(tmp_path)}


def test_the_tasks_of_a_job_array_give_the_same_bits(tmp_path, unbroken):
    for k in range(4):
        sweep.run_all(sweep.share(tasks(tmp_path), k, 4), sweep.processes(1))
    assert bits(tasks(tmp_path)) == unbroken
    with pytest.raises(sweep.SweepError, match="--task-id is 4 with --num-tasks 4: expected 0 to 3"):
        sweep.share(tasks(tmp_path), 4, 4)


def test_finished_runs_are_never_repeated(tmp_path):
    plan = tasks(tmp_path)
    sweep.run_all(plan[:4], sweep.processes(1))
    before = [(task.folder / "arrays.npz").stat().st_mtime_ns for task in plan[:4]]

    def no_more(waiting):
        assert waiting == plan[4:]
        yield from sweep.processes(1)(waiting)

    sweep.run_all(plan, no_more)
    assert [(task.folder / "arrays.npz").stat().st_mtime_ns for task in plan[:4]] == before


def test_a_manifest_says_where_a_run_came_from(tmp_path):
    (task, *_) = plan = tasks(tmp_path)
    sweep.run_all(plan[:1], sweep.processes(1))
    _, manifest = results.load_run(task.folder)
    assert manifest["settings"] == task.settings
    assert manifest["experiment"] == NAME
    assert {"seed", "versions", "commit", "seconds", "host", "python"} <= set(manifest)


def test_a_failed_run_is_tried_again_reported_and_stops_nobody(tmp_path, capfd):
    bad = {"steps": 100, "lambda_": 0.1, "raise": True}
    plan = tasks(tmp_path, [bad, *CONFIGS])
    with pytest.raises(sweep.SweepError, match=r"3 of 12 runs failed twice(.|\n)*asked to fail"):
        sweep.run_all(plan, sweep.processes(2))
    assert len(bits(plan)) == 9
    told = capfd.readouterr()
    assert (told.out + told.err).count("trying again") == 3


@pytest.mark.parametrize("always", [False, True])
def test_a_run_that_kills_its_process(tmp_path, always, unbroken):
    accident = {"die": True} if always else {"die once at": str(tmp_path / "died")}
    plan = tasks(tmp_path, CONFIGS) + tasks(tmp_path, [{"steps": 100, "lambda_": 0.3, **accident}], [0])
    if always:
        with pytest.raises(sweep.SweepError, match=r"1 of 10 runs failed twice(.|\n)*the process that ran it died"):
            sweep.run_all(plan, sweep.processes(2))
    else:
        sweep.run_all(plan, sweep.processes(2))
        assert len(bits(plan)) == 10
    assert {key: run for key, run in bits(plan).items() if key[1] != 0.3} == unbroken


DRIVER = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from experiments.engine import sweep
configs = [{{"steps": 300, "lambda_": l, "seconds": 0.15}} for l in (0.0, 0.5, 0.9)]
sweep.run_all(sweep.plan({NAME!r}, configs, [0, 1, 2, 3, 4, 5], Path(sys.argv[1])), sweep.processes(2))
"""


def processes_below(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    children = [int(line) for line in found.split()]
    return children + [below for child in children for below in processes_below(child)]


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of Unix")
def test_killed_twenty_times_and_resumed(tmp_path, unbroken):
    """The driver or a worker is killed at a random moment; the sweep that is left has the bits of an unbroken one."""
    rng, kills, finished = random.Random(0), 0, False
    root = tmp_path / "runs"
    while kills < 20:
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(root)], stderr=subprocess.DEVNULL, cwd=HERE.parent)
        for _ in range(rng.randint(1, 4)):
            time.sleep(rng.uniform(0.3, 1.5))
            victims = [driver.pid, *processes_below(driver.pid)]
            try:
                os.kill(rng.choice(victims[: 1 if rng.random() < 0.3 else None]), signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
            if driver.poll() is not None:
                break
        driver.kill()
        driver.wait()
        for folder in root.glob("*/seed-*"):  # whatever is there is whole
            assert (folder / results.DONE).exists()
            assert results.load_run(folder)[0]["predictions"].size == 300
        finished = len(list(root.glob("*/seed-*"))) == 18
        if finished:  # take some away, so that there is something to kill
            for folder in sorted(root.glob("*/seed-*"))[::2]:
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(root)], capture_output=True, text=True, cwd=HERE.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    slow = [{**config, "seconds": 0.15} for config in CONFIGS]
    assert bits(tasks(root, slow)) == unbroken
    assert len(list(root.glob("*/seed-*"))) == 18
    assert not list(root.glob("*/*damaged*"))


def test_what_cannot_be_read_is_set_aside_and_made_again(tmp_path, unbroken, capsys):
    plan = tasks(tmp_path)
    sweep.run_all(plan, sweep.processes(1))
    (plan[0].folder / "arrays.npz").write_bytes(b"cut short")
    (plan[1].folder / "manifest.json").write_text("{")
    (plan[2].folder / results.DONE).unlink()
    archive = plan[3].folder / "arrays.npz"
    packed = bytearray(archive.read_bytes())
    packed[1000:1050] = bytes([255] * 50)
    archive.write_bytes(packed)
    (plan[4].folder / "manifest.json").write_text("[]")
    sweep.run_all(plan, sweep.processes(1))
    assert bits(plan) == unbroken
    assert len(list(tmp_path.glob("*/*.damaged-*"))) == 5
    assert capsys.readouterr().err.count("renamed to") == 5


def test_a_damaged_run_is_renamed_or_makes_no_difference(tmp_path, capsys):
    """At random places: RTU_NP_FUZZ=5000 tries more of them."""
    (task,) = tasks(tmp_path, CONFIGS[:1], [0])
    assert sweep.execute(task) == ""
    arrays, _ = results.load_run(task.folder)
    whole = {path.name: path.read_bytes() for path in task.folder.iterdir()}
    rng, refused = random.Random(0), 0
    for k in range(N_DAMAGED):
        name = ("arrays.npz", "manifest.json")[k % 2]
        copy = bytearray(whole[name])
        if k % 3:
            copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
        else:
            copy = copy[: rng.randrange(len(copy))]
        (task.folder / name).write_bytes(copy)
        try:
            found = results.find(task.folder, task.settings, task.seed)
        except results.ForeignResultsError:  # a setting or the seed has changed
            assert name == "manifest.json"
            found = None
        refused += found is None
        assert found is None or np.array_equal(found[0]["predictions"], arrays["predictions"])
        for folder in task.folder.parent.glob("*.damaged-*"):
            shutil.rmtree(folder)
        task.folder.mkdir(exist_ok=True)
        for each, content in whole.items():
            (task.folder / each).write_bytes(content)
    assert refused > N_DAMAGED / 3
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do everything")
def test_a_run_that_may_not_be_read_is_not_damaged(tmp_path):
    (task,) = tasks(tmp_path, CONFIGS[:1], [0])
    assert sweep.execute(task) == ""
    (task.folder / "arrays.npz").chmod(0)
    with pytest.raises(PermissionError):
        results.find(task.folder, task.settings, task.seed)
    assert task.folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are Unix's")
def test_the_folder_of_a_run_has_the_permissions_of_the_umask(tmp_path):
    (task,) = tasks(tmp_path, CONFIGS[:1], [0])
    before = os.umask(0o027)
    try:
        assert sweep.execute(task) == ""
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (task.folder, *task.folder.iterdir())}
    assert modes == {"seed-0": 0o750, "arrays.npz": 0o640, "manifest.json": 0o640, "DONE": 0o640}


def test_results_of_other_settings_are_not_overwritten(tmp_path):
    (task, *_) = plan = tasks(tmp_path)
    sweep.run_all(plan[:1], sweep.processes(1))
    page = json.loads((task.folder / "manifest.json").read_text())
    (task.folder / "manifest.json").write_text(json.dumps({**page, "seed": 99}))
    with pytest.raises(results.ForeignResultsError, match="holds a run of other settings"):
        sweep.run_all(plan, sweep.processes(1))
    assert (task.folder / "arrays.npz").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(results.ForeignResultsError, match="holds files of another program"):
        results.claim(tmp_path)
    results.claim(tmp_path / "new")
    results.claim(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["letters.txt"]


def test_a_readme_of_somebody_else_is_no_mark_of_ours(tmp_path):
    (tmp_path / "README").write_text("mine")
    with pytest.raises(results.ForeignResultsError, match="holds files of another program"):
        results.claim(tmp_path)
    assert (tmp_path / "README").read_text() == "mine"


def test_a_full_disk_stops_the_sweep_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*arguments, **names):
        raise OSError(28, "No space left on device")

    plan = tasks(tmp_path)
    sweep.run_all(plan[:2], sweep.processes(1))
    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(sweep.SweepError, match="No space left on device") as caught:
        sweep.run_all(plan, sweep.processes(1))
    monkeypatch.undo()
    assert "make room, and the same command continues" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(bits(plan)) == 2
    assert [path.name for path in plan[2].folder.parent.iterdir()] == [f".{plan[2].folder.name}.begun"]
    assert not plan[3].folder.parent.exists() or not results.has_begun(plan[3].folder)  # what would be lost is not made
    sweep.run_all(plan, sweep.processes(1))
    assert len(bits(plan)) == 9


@pytest.mark.skipif(sys.platform == "win32", reason="sizes of files are not limited there")
def test_where_files_cannot_grow_workers_stop(tmp_path):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n" + DRIVER
    done = subprocess.run(
        [sys.executable, "-c", limited, str(tmp_path)], capture_output=True, text=True, cwd=HERE.parent, check=False
    )
    assert re.search(r"File too large: '.*/seed-\d'; finished runs are kept: make room", done.stderr), done.stderr
    assert not list(tmp_path.glob("*/seed-*"))
    assert len(list(tmp_path.glob("*/.seed-*.begun"))) < 18  # the rest is not made


def test_on_a_dask_cluster_with_a_worker_killed(tmp_path, unbroken):
    distributed = pytest.importorskip("distributed")
    slow = [{**config, "seconds": 0.3} for config in CONFIGS]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        killed = []

        def kill_one(task):
            if not killed:
                killed.append(next(iter(cluster.workers.values())).process.process.pid)
                os.kill(killed[0], signal.SIGKILL)

        sweep.run_all(tasks(tmp_path, slow), sweep.dask(cluster.scheduler_address), kill_one)
    assert killed
    assert bits(tasks(tmp_path, slow)) == unbroken


def test_a_scheduler_that_is_not_there(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(processes, "CONNECT", 1)
    with pytest.raises(sweep.SweepError, match="cannot be reached"):
        sweep.run_all(tasks(tmp_path), sweep.dask("tcp://127.0.0.1:1"))
