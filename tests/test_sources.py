"""A sweep never shows a run of other code as its own: what counts as other code, and what happens to such runs."""

import ast
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import experiments.__main__ as command
from experiments.engine import results, sources, sweep

ROOT = Path(__file__).parent.parent
OWN = '''
"""An experiment of one's own."""
import numpy as np
import tables
from helper import scaled
from helper import unused

SIZE, OTHER = 3, 4
PRESETS = {"smoke": {"settings": [{"k": 1}, {"k": 2}], "seeds": range(2)}}
COLOUR = "red"

def run(config, seed):
    """Make numbers."""
    # a comment
    return {"x": np.full(SIZE, scaled(config["k"]) + 10.0 * seed) * tables.FACTORS["one"]}

def label(config):
    return f"k {config['k']}"

def describe(arrays):
    return f"x {arrays['x'][0]}"

def score(results):
    return {label(config): {"x": float(np.mean([r["x"] for r in runs]))} for config, runs in results}

def plot(results):
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots()
    axes.plot([1, 2], color=COLOUR)
    return figure
'''
HELPER = """
import functools
from deep.constants import TWO

def scaled(x):
    return inner(x) * TWO

@functools.cache
def inner(x):
    return 1.0 * x

def unused(x):
    return -x
"""
FILES = {
    "own.py": OWN,
    "helper.py": HELPER,
    "tables.py": 'FACTORS = {"one": 1.0}\nFACTORS["two"] = 2.0\nprint\n',
    "deep/__init__.py": "",
    "deep/constants.py": "TWO = 2.0\nTHREE = 3.0\n",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of an experiment of one's own, which the command line knows as `own`."""
    folder = tmp_path / "code"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions within a second have one date
    monkeypatch.setitem(command.EXPERIMENTS, "own", "own")
    yield folder
    forget(folder)


def forget(folder):
    """As a new process would begin."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


def change(folder, file, old, new):
    text = (folder / file).read_text()
    assert text.count(old) == 1
    (folder / file).write_text(text.replace(old, new))
    forget(folder)


COUNTS = [
    ("own.py", "SIZE, OTHER = 3, 4", "SIZE, OTHER = 5, 4"),
    ("own.py", "10.0 * seed", "11.0 * seed"),
    ("own.py", "import numpy as np", "import numpy.ma as np"),
    ("helper.py", "1.0 * x", "1.5 * x"),
    ("helper.py", "inner(x) * TWO", "TWO * inner(x)"),
    ("tables.py", '"one": 1.0', '"one": 3.0'),
    ("tables.py", '["two"] = 2.0', '["two"] = 3.0'),
    ("tables.py", "print\n", "FACTORS.update(one=2)\n"),
    ("deep/constants.py", "TWO = 2.0", "TWO = 2.5"),
]
DOES_NOT = [
    ("own.py", "Make numbers.", "Make other numbers."),
    ("own.py", "# a comment", "# another comment"),
    ("own.py", "An experiment of", "The experiment of"),
    ("own.py", 'COLOUR = "red"', 'COLOUR = "blue"'),
    ("own.py", "return f\"k {config['k']}\"", "return f\"{config['k']}\""),
    ("own.py", '"seeds": range(2)', '"seeds": range(3)'),
    ("own.py", "def run(config, seed):", "\n\ndef run(config,\n        seed):"),
    ("helper.py", "return -x", "return x"),
    ("deep/constants.py", "THREE = 3.0", "THREE = 4.0"),
]


@pytest.mark.parametrize(("file", "old", "new"), COUNTS)
def test_what_a_run_reaches_counts(own, file, old, new):
    before = sources.fingerprint("own")
    change(own, file, old, new)
    assert sources.changed(before, sources.fingerprint("own")) == [file]


@pytest.mark.parametrize(("file", "old", "new"), DOES_NOT)
def test_comments_docstrings_and_figures_do_not_count(own, file, old, new):
    before = sources.fingerprint("own")
    change(own, file, old, new)
    assert sources.fingerprint("own") == before


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("import other\ndef run(c, s): return other", ["other"]),
        ("import other\ndef run(c, s): return other.value", ["other"]),
        ("import other\ndef run(c, s): return other.harmless", []),
        ("import other as o\ndef run(c, s): return getattr(o, 'val' + 'ue')", ["other"]),
        ("def run(c, s):\n    import other\n    return other.value", ["other"]),
        ("def run(c, s):\n    from other import value\n    return value", ["other"]),
        ("from other import *\ndef run(c, s): return value", ["other"]),
        ("from importlib import import_module\ndef run(c, s): return import_module('other')", ["other"]),
        (
            "try:\n    from other import value\nexcept ImportError:\n    value = 1\ndef run(c, s): return value",
            ["other"],
        ),
        ("import other\nclass A:\n    x = other.value\ndef run(c, s): return A()", ["other"]),
        ("from inside import other\ndef run(c, s): return other.value", ["inside/other"]),
        ("import inside.other\ndef run(c, s): return inside.other.value", ["inside/other"]),
        ("import other\ndef f(): return other.value\ndef run(c, s): return globals()['f']()", ["other"]),
        ("import other\nrun = other.value", ["other"]),
        ("import other\nX = {}\nX['a'] = other.value\ndef run(c, s): return X", ["other"]),
        ("import other\ndef plot(r): return other.value\ndef run(c, s): return 1", []),
    ],
)
def test_ways_to_reach_another_file(own, text, counts):
    for file in ("other.py", "inside/other.py"):
        (own / file).parent.mkdir(exist_ok=True)
        (own / file).write_text("value = 1\nharmless = 1\n")
    (own / "inside" / "__init__.py").touch()
    (own / "own.py").write_text(text)
    before = sources.fingerprint("own")
    for file in ("other.py", "inside/other.py"):
        (own / file).write_text("value = 2\nharmless = 1\n")
    forget(own)
    assert sources.changed(before, sources.fingerprint("own")) == [f"{name}.py" for name in counts]


def test_a_long_way_from_file_to_file(own):
    n = 1500
    for k in range(n):
        (own / f"link{k}.py").write_text(f"from link{k + 1} import value\n")
    (own / f"link{n}.py").write_text("value = 1\n")
    (own / "own.py").write_text("def run(c, s):\n    from link0 import value\n    return value\n")
    before = sources.fingerprint("own")
    assert len(before) == n + 2
    change(own, f"link{n}.py", "value = 1", "value = 2")
    assert sources.changed(before, sources.fingerprint("own")) == [f"link{n}.py"]


def test_what_is_not_loaded_yet_is_found_without_importing_it(own, tmp_path, monkeypatch):
    """An import within `run` may cost seconds, or fail on this machine."""
    (own / "late" / "room").mkdir(parents=True)  # no __init__.py
    (own / "late" / "room" / "slow.py").write_text("raise SystemError\nvalue = 1\n")
    (tmp_path / "site-packages" / "foreign").mkdir(parents=True)
    for name in ("__init__", "part"):
        (tmp_path / "site-packages" / "foreign" / f"{name}.py").write_text("raise SystemError\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    (own / "own.py").write_text(
        "def run(c, s):\n    from late.room.slow import value\n    import foreign.part as p\n    return p.x, value\n"
    )
    before = sources.fingerprint("own")
    change(own, "late/room/slow.py", "value = 1", "value = 2")
    assert sources.changed(before, sources.fingerprint("own")) == ["late/room/slow.py"]
    assert not {"late.room.slow", "foreign"} & sys.modules.keys()


def test_a_function_that_registers_counts_and_one_that_a_standard_decorator_wraps_does_not(own):
    (own / "own.py").write_text("import helper\ndef run(c, s): return helper.TABLE\n")
    (own / "helper.py").write_text(
        "import functools\nTABLE = {}\ndef register(f):\n    TABLE['f'] = f\n    return f\n"
        "@register\ndef f(): return 1\n@functools.cache\ndef g(): return 1\n"
    )
    before = sources.fingerprint("own")
    change(own, "helper.py", "def g(): return 1", "def g(): return 2")
    assert sources.fingerprint("own") == before
    change(own, "helper.py", "def f(): return 1", "def f(): return 2")
    assert sources.changed(before, sources.fingerprint("own")) == ["helper.py"]


def test_a_reload_is_noticed_and_an_edit_without_one_is_not(own):
    """What counts is the code that this process runs."""
    before = sources.fingerprint("own")
    text = (own / "deep" / "constants.py").read_text()
    (own / "deep" / "constants.py").write_text(text.replace("2.0", "4.0"))
    assert sources.fingerprint("own") == before
    importlib.reload(sys.modules["deep.constants"])
    assert sources.changed(before, sources.fingerprint("own")) == ["deep/constants.py"]


def test_the_library_and_the_environments_count_whole():
    made = sources.fingerprint("experiments.stream_mujoco")
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "rtu_np").rglob("*.py")}
    assert {"rtu_np/jit.py", "rtu_np/control/agent.py", "envs/masked.py", "experiments/control.py"} <= made.keys()
    assert not {"rtu_np/__main__.py", "experiments/engine/sweep.py", "experiments/fig02_resources.py"} & made.keys()
    assert len(files & made.keys()) > 60


@pytest.mark.parametrize(
    ("module", "function", "counts"),
    [
        ("rtu_np.plot", "learning_curves", False),
        ("rtu_np.intervals", "interval", False),
        ("rtu_np.intervals", "curve", True),
        ("rtu_np.control.loop", "_bar", True),
    ],
)
def test_what_draws_makes_no_run_again(module, function, counts, monkeypatch):
    """Of the library's functions for figures and tables, those alone count that a run calls."""
    before = sources.fingerprint("experiments.stream_mujoco")
    spec, statements = sources._parsed[module]
    changed = [
        ast.parse(f"def {function}(): pass").body[0] if getattr(s, "name", "") == function else s for s in statements
    ]
    assert changed != statements
    monkeypatch.setitem(sources._parsed, module, (spec, changed))
    monkeypatch.setattr(sources, "_made", {})
    after = sources.fingerprint("experiments.stream_mujoco")
    assert sources.changed(before, after) == ([f"{module.replace('.', '/')}.py"] if counts else [])


# ----------------------------------------------------------------------------------------------------- the command


def run(folder, *words):
    return command.main(["own", "--preset", "smoke", "--jobs", "1", "--output", str(folder / "runs"), *words])


def scores(folder):
    page = json.loads((folder / "runs" / "own" / "smoke.json").read_text())
    return {name: row["x"] for name, row in page["scores"].items()}, page


def test_a_changed_constant_is_said_and_the_runs_are_made_again(own, tmp_path, capsys):
    assert run(tmp_path) == 0
    assert scores(tmp_path)[0] == {"k 1": 7.0, "k 2": 9.0}
    assert "other code" not in "".join(capsys.readouterr())
    change(own, "deep/constants.py", "TWO = 2.0", "TWO = 4.0")
    assert run(tmp_path) == 0
    told = capsys.readouterr()
    assert "4 of 4 runs were made by other code (deep/constants.py changed): they are made again" in told.err
    assert scores(tmp_path)[0] == {"k 1": 9.0, "k 2": 13.0}
    assert "stale" not in scores(tmp_path)[1]
    assert len(list((tmp_path / "runs").glob("own/*/seed-*.stale-*"))) == 4  # nothing is lost
    assert run(tmp_path) == 0
    assert "other code" not in "".join(capsys.readouterr())
    assert len(list((tmp_path / "runs").glob("own/*/seed-*.stale-*"))) == 4


def test_keep_stale_uses_them_and_says_so_everywhere(own, tmp_path, capsys):
    assert run(tmp_path) == 0
    change(own, "own.py", "10.0 * seed", "11.0 * seed")
    change(own, "own.py", "range(2)", "range(3)")
    assert run(tmp_path, "--keep-stale") == 0
    told = capsys.readouterr()
    assert "4 of 6 runs were made by other code (own.py changed): used as they are" in told.err
    assert "4 of 6 runs were made by other code (own.py changed), and used all the same" in told.out
    page = scores(tmp_path)[1]
    assert page["stale"].startswith("4 of 6 runs were made by other code")
    assert len(page["code"]) == 2
    assert scores(tmp_path)[0]["k 1"] == pytest.approx((2 + 12 + 24) / 3)


def test_a_figure_alone_is_not_drawn_from_runs_of_other_code(own, tmp_path, capsys):
    assert run(tmp_path) == 0
    (tmp_path / "runs" / "own" / "smoke.png").unlink()
    change(own, "helper.py", "1.0 * x", "2.0 * x")
    assert run(tmp_path, "--plot-only") == 0
    told = capsys.readouterr().out
    assert "4 of 4 runs were made by other code (helper.py changed): they do not count; --keep-stale uses them" in told
    assert "0 of 4 runs are finished" in told
    assert not (tmp_path / "runs" / "own" / "smoke.png").exists()
    assert run(tmp_path, "--plot-only", "--keep-stale") == 0
    assert (tmp_path / "runs" / "own" / "smoke.png").exists()
    assert "and used all the same" in capsys.readouterr().out


def test_runs_that_do_not_say_what_made_them_are_of_an_earlier_version(own, tmp_path, capsys):
    assert run(tmp_path) == 0
    for path in sorted((tmp_path / "runs").glob("own/*/seed-*/manifest.json"))[:3]:
        page = json.loads(path.read_text())
        del page["code"]
        path.write_text(json.dumps(page))
    assert run(tmp_path, "--keep-stale") == 0
    silent = "3 of 4 runs were made by other code (3 do not say which code made them: an earlier version of this"
    assert silent in capsys.readouterr().err
    assert set(scores(tmp_path)[1]["code"]) > {"unknown"}
    assert run(tmp_path) == 0
    assert f"{silent} package did): they are made again" in capsys.readouterr().err
    assert len(list((tmp_path / "runs").glob("own/*/seed-*.stale-*"))) == 3


def test_the_share_of_a_job_array_counts_runs_of_this_code_only(own, tmp_path, capsys):
    assert run(tmp_path, "--task-id", "0", "--num-tasks", "2") == 0
    change(own, "own.py", "10.0 * seed", "11.0 * seed")
    assert run(tmp_path, "--task-id", "1", "--num-tasks", "2") == 0
    assert "2 of 4 runs are finished" in capsys.readouterr().out
    assert run(tmp_path, "--task-id", "0", "--num-tasks", "2") == 0
    assert "2 of 2 runs were made by other code" in capsys.readouterr().err
    assert scores(tmp_path)[0] == {"k 1": 7.5, "k 2": 9.5}


def test_a_process_with_other_code_makes_no_run(own, tmp_path):
    """A worker of a cluster that was not updated, or a file that is edited while the sweep runs."""
    (task, *_) = sweep.plan("own", [{"k": 1}], [0], tmp_path / "runs")
    change(own, "own.py", "10.0 * seed", "11.0 * seed")
    told = sweep.execute(task)
    assert "this process has other code" in told
    assert "was a file edited meanwhile, or has the worker another version? Start both again" in told
    with pytest.raises(sweep.SweepError, match=r"k 1, seed 0: this process .*; finished runs are kept"):
        sweep.run_all([task], sweep.processes(1))
    assert not task.folder.exists()


def test_a_state_that_other_code_saved_is_not_continued(own, tmp_path):
    text = """
def run(config, seed, unfinished):
    state = unfinished / "state"
    if not state.exists():
        unfinished.mkdir(parents=True)
        state.write_text("1")
        raise KeyError("stopped")
    import numpy as np
    return {"x": np.array(1.0)}
"""
    (own / "own.py").write_text(text)

    def task():
        return sweep.plan("own", [{"k": 1}], [0], tmp_path / "runs")[0]

    assert "stopped" in sweep.execute(task())
    change(own, "own.py", "1.0", "2.0")
    assert "stopped" in sweep.execute(task())  # begins again
    assert sweep.execute(task()) == ""
    assert results.load_run(task().folder)[0]["x"] == 2
    assert not results.unfinished(task().folder).exists()


def test_in_processes_of_their_own(own, tmp_path):
    """The whole way, twice: the command line's own interpreter, and workers that import what is on disk."""
    driver = (
        "import sys; import experiments.__main__ as c; c.EXPERIMENTS['own'] = 'own'; "
        "sys.exit(c.main(['own', '--preset', 'smoke', '--jobs', '2', '--output', 'runs']))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(own), str(ROOT)])}
    for expected in ({"k 1": 7.0, "k 2": 9.0}, {"k 1": 9.0, "k 2": 13.0}):
        done = subprocess.run(
            [sys.executable, "-c", driver], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert scores(tmp_path)[0] == expected
        assert ("deep/constants.py changed" in done.stderr) == (expected["k 1"] == 9)
        time.sleep(1.1)  # Python tells versions of a file apart by its date, in seconds
        (own / "deep" / "constants.py").write_text("TWO = 4.0\n")
