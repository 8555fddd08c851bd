"""A sweep of the user's own: a file or a module anywhere, started from any folder, edited, killed and continued."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cases import COMPILED

from experiments.__main__ import EXPERIMENTS, main
from experiments.engine import modules, protocol, sources, sweep, template

ROOT = Path(__file__).parent.parent
OWN = """
import numpy as np
from scaling import scaled

PRESETS = {
    "small": {"settings": [{"steps": 40, "gain": 1.0, "part": {"size": 3}}], "seeds": range(2)},
    "slow": {"settings": [{"steps": 40, "gain": g, "part": {"size": 3}, "seconds": 0.3} for g in (1.0, 2.0)],
             "seeds": range(4)},
}

def run(config, seed):
    import time
    time.sleep(config.get("seconds", 0))
    noise = np.random.default_rng(seed).standard_normal(config["steps"])
    return {"final": scaled(config["gain"]) + seed, "curve": noise.cumsum()}
"""
FILES = {"my_sweep.py": OWN, "scaling.py": "def scaled(x):\n    return 2 * x\n"}


@pytest.fixture
def own(tmp_path):
    """The path of an experiment of the user's, in a folder that is not on Python's path."""
    folder, path = tmp_path / "code", list(sys.path)
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    yield folder / "my_sweep.py"
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def command(tmp_path, own, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, where=own, jobs="1"):
        return main([str(where), *words, *(["--jobs", jobs] if jobs else [])])

    return run


def page(folder: Path, preset: str = "small") -> dict:
    return json.loads((folder / "runs" / "my_sweep" / f"{preset}.json").read_text())


def process(words, folder, **options):
    """The command in a process of its own, in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = [sys.executable, "-m", "experiments", *map(str, words)]
    return subprocess.run(start, cwd=folder, env=environment, capture_output=True, text=True, check=False, **options)


def test_modules_of_python_are_not_the_users_wherever_the_interpreter_is():
    assert not modules._is_of_folder(json, Path(json.__file__).parents[1])
    assert not modules._is_of_folder(object(), Path(json.__file__).parents[1])  # what others put among the modules


# ------------------------------------------------------------------------------------------------------ a file's runs


def test_a_file_with_two_names_is_enough(tmp_path, command, capsys):
    """The first preset is the default; the table has the numbers of `run`, and the figure its curve."""
    assert command() == 0
    out = capsys.readouterr().out
    assert "seed 1: final 3\n" in out
    found = page(tmp_path)
    (row,) = found["scores"].values()
    assert (found["experiment"], row["seeds"], row["final"]) == ("my_sweep", 2, 2.5)
    assert (tmp_path / "runs" / "my_sweep" / "small.png").read_bytes().startswith(b"\x89PNG")
    manifest = json.loads(next((tmp_path / "runs").rglob("manifest.json")).read_text())
    assert manifest["experiment"] == "my_sweep"
    assert set(manifest["code"]) == {"my_sweep.py", "scaling.py"}


def test_an_edit_makes_the_runs_again_in_the_same_process_and_a_comment_does_not(tmp_path, own, command, capsys):
    assert command() == 0
    own.write_text(own.read_text() + "# a remark\n")
    assert command() == 0
    assert "made again" not in capsys.readouterr().err
    own.write_text(own.read_text().replace("+ seed", "- seed"))
    assert command() == 0
    assert "2 of 2 runs were made by other code (my_sweep.py changed)" in capsys.readouterr().err
    assert next(iter(page(tmp_path)["scores"].values()))["final"] == 1.5
    (own.parent / "scaling.py").write_text("def scaled(x):\n    return 5 * x\n")
    assert command("--plot-only") == 0
    assert "2 of 2 runs were made by other code (scaling.py changed): they do not count" in capsys.readouterr().out
    assert command() == 0
    assert next(iter(page(tmp_path)["scores"].values()))["final"] == 4.5


def test_processes_import_the_file_from_any_folder(tmp_path, own):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = process([own, "--jobs", 2, "--output", tmp_path / "runs"], elsewhere)
    assert done.returncode == 0, done.stderr
    assert (done.stderr, list(elsewhere.iterdir())) == ("", [])
    lines = done.stdout.splitlines()  # one for each run, also on a pipe
    assert sorted(lines[:2]) == [f"steps 40, gain 1, part ..., seed {k}: final {2 + k}" for k in range(2)]
    relative = process(["../code/my_sweep.py", "--output", "../runs", "--plot-only"], elsewhere)
    assert (relative.returncode, "figure: " in relative.stdout) == (0, True)


def test_a_dotted_module_is_found_from_the_present_folder_by_both_commands(tmp_path, own):
    (tmp_path / "code" / "package").mkdir()
    own.rename(tmp_path / "code" / "package" / "inner.py")
    script = "import sys; sys.path.pop(0); from rtu_np_command import main; sys.exit(main())"
    for start in (["-m", "experiments"], ["-c", script, "experiments"]):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = ["package.inner", "--jobs", "2"]
        done = subprocess.run(
            [sys.executable, *start, *words],
            cwd=own.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert (own.parent / "runs" / "package.inner" / "small.json").exists()


def test_a_module_of_this_package_has_its_own_name():
    found = protocol.find("experiments.trace_conditioning", EXPERIMENTS)
    assert (found.name, found.place) == ("trace-conditioning", "experiments.trace_conditioning")


def test_a_folder_with_our_names_hides_nothing(tmp_path, own):
    """The user's project has packages called `experiments` and `envs`, next to the file."""
    for name in ("experiments", "envs"):
        (own.parent / name).mkdir()
        (own.parent / name / "__init__.py").write_text("raise RuntimeError('hidden')\n")
    done = process([own, "--jobs", 2], tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_long_plan_has_a_line_for_each_new_run_on_a_pipe(command, capsys):
    assert command("--seeds", "55") == command("--seeds", "57") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if ", seed " in line]
    assert len(lines) == len(set(lines)) == 57


def test_scores_stand_for_runs_on_another_machine(tmp_path, command, capsys):
    assert command("--scores", "scores") == 0
    first = page(tmp_path)
    assert command("--scores", "scores", "--output", "other", "--plot-only") == 0
    assert json.loads((tmp_path / "other" / "my_sweep" / "small.json").read_text()) == first
    assert not list((tmp_path / "other").rglob("DONE"))


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of Unix")
def test_a_killed_sweep_is_continued(tmp_path, own):
    words = [sys.executable, "-m", "experiments", str(own), "--preset", "slow", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 100
        while len(made := list((tmp_path / "runs").rglob("DONE"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
    times = {path: path.stat().st_mtime_ns for path in made}
    assert len(times) < 8
    done = process([own, "--preset", "slow", "--jobs", "2"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == times
    assert (page(tmp_path, "slow")["runs"], len(list((tmp_path / "runs").rglob("DONE")))) == (8, 8)


def test_a_worker_that_outlives_an_edit_loads_the_file_again(own):
    """As one of a Dask cluster does: the planner is another process."""
    (task,) = sweep.plan(str(own), [{"steps": 3, "gain": 1.0}], [0], own.parent / "runs")
    assert sweep.execute(task) == ""
    old = sources.digest(sources.fingerprint(str(own)))
    own.write_text(own.read_text().replace("+ seed", "- seed"))
    code = f"from experiments.engine import sources; print(sources.digest(sources.fingerprint({str(own)!r})))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    new = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    planned = sweep.Task(str(own), task.settings, 1, task.folder.with_name("seed-1"), new.stdout.strip())
    assert new.stdout.strip() != old
    assert sweep.execute(planned) == ""


def test_a_dask_worker_imports_the_file(tmp_path, own):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    with cluster:
        done = process([own, "--scheduler", cluster.scheduler_address], tmp_path)
    assert done.returncode == 0, done.stderr
    assert page(tmp_path)["runs"] == 2


# ------------------------------------------------------------------------------------------------------------- `new`


@pytest.mark.skipif(not COMPILED, reason="learning takes too long in plain Python")
def test_the_template_runs_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "first_try.py"]) == 0
    text = (tmp_path / "first_try.py").read_text()
    assert (len(text.splitlines()), "{" * 2 in text) == (25, False)
    began = time.monotonic()
    done = process(["first_try.py", "--preset", "smoke", "--jobs", 1], tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60
    assert (tmp_path / "runs" / "first_try" / "smoke.png").exists()
    lint = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "first_try.py"]
    checked = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert main(["new", "first_try.py"]) == 2
    assert capsys.readouterr().err == "new: first_try.py exists, and stays as it is; name another file\n"
    assert (tmp_path / "first_try.py").read_text() == text


@pytest.mark.parametrize("name", ["", "no/such/folder/a.py", "a.txt", "my-sweep.py", "class.py.py"])
def test_new_writes_no_file_that_is_no_module(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", *([name] if name else [])]) == 2
    error = capsys.readouterr().err
    assert (error.startswith("new: "), error.count("\n")) == (True, 1)
    assert not list(tmp_path.iterdir())


def test_the_template_is_valid_for_every_name():
    assert compile(template.LINES.format(title="x", file="x.py"), "x.py", "exec")


# --------------------------------------------------------------------------------------------------------- bad input

PRESET = 'PRESETS = {"p": {"settings": [{"a": 1}], "seeds": range(2)}}\n'
RUN = "def run(config, seed):\n    return {'x': 1.0}\n"
BAD = {
    PRESET: "bad.py has no `run`: expected run(config, seed), which returns arrays; docs/own_sweep.md",
    RUN: "bad.py has no `PRESETS`: expected {name: {'settings': ..., 'seeds': ...}}; docs/own_sweep.md",
    PRESET + "run = 3\n": "bad.py has no `run`",
    PRESET + "def run(config):\n    return {}\n": "run of bad.py takes 1 arguments: expected config and seed",
    RUN + "PRESETS = {}\n": "bad.py has no `PRESETS`",
    PRESET
    + RUN
    + "def draw_curves(shown):\n    pass\n": "bad.py has `draw_curves` and no `curves`: expected curves(results)",
    RUN + "PRESETS = {'p': 3}\n": "PRESETS['p'] of bad.py is 3: expected {'settings': ..., 'seeds': ...}",
    RUN + "PRESETS = {'p': {'seeds': [1]}}\n": "PRESETS['p'] of bad.py has settings None: expected a list of dicts",
    RUN + "PRESETS = {'p': {'settings': [{}], 'seeds': 3}}\n": "has seeds 3: expected whole numbers of at least 0",
    RUN
    + "PRESETS = {'p': {'settings': [{'a': {1, 2}}], 'seeds': [0]}}\n": "has settings[0]['a'] = {1, 2}: expected plain",
    RUN + "PRESETS = {'p': {'settings': [{'a': 1}], 'seeds': [0], 'tuning': {'step_sizes': [1]}}}\n": "has tuning",
    "import numpy as np\nx = 1\nnp.nothing\n": "bad.py, line 3: AttributeError: module 'numpy' has no attribute",
    "def run(:\n": "bad.py, line 1: SyntaxError: ",
    "import no_such_package\n": "bad.py, line 1: ModuleNotFoundError: No module named 'no_such_package'",
}


@pytest.mark.parametrize("text", BAD)
def test_a_module_that_is_no_experiment_is_named_in_one_line(text, tmp_path, command, capsys):
    (tmp_path / "bad.py").write_text(text)
    assert command(where="bad.py") == 2
    error = capsys.readouterr().err
    assert BAD[text] in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_name_that_is_nothing_is_named_with_what_is_near(tmp_path, command, capsys):
    for given, said in {
        "trace-conditionin": "(did you mean trace-conditioning?): expected trace-conditioning, patterning,",
        "code.nothing": "NAME is 'code.nothing': expected ",
        "no_such.py": "no_such.py is not a file: expected the path of an experiment; `new no_such.py` writes one",
        "random.py": "random.py has the name of the module random of Python: expected a name of its own; rename it",
        "matplotlib.py": "matplotlib.py has the name of the module ",
        "credit.py": "credit.py has the name of the experiment credit: expected another; rename it",
        "a.b.py": "a.b.py is no name of a module: expected one without a dot before .py; rename it",
    }.items():
        if not given.startswith("no_such"):
            (tmp_path / given).write_text(PRESET + RUN) if given.endswith(".py") else None
        assert command(where=given) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert command(where="trace-conditionin") == 2
    assert "'trace-conditionin' (did you mean trace-conditioning?): expected" in capsys.readouterr().err
    (tmp_path / "nearby.py").write_text(PRESET + RUN)
    assert command(where="nearby") == 0  # a module of the present folder
    assert not (tmp_path / "runs" / "credit").exists()


def test_what_run_returns_is_checked(tmp_path, command, capsys):
    for returned, said in {
        "3.0": "run returned a float: expected a dict of arrays by name",
        "{}": "run returned an empty dict: expected a dict of arrays by name",
        "{'x': object()}": "run returned 'x' with <object object at ",
    }.items():
        (tmp_path / "returns.py").write_text(PRESET + f"def run(config, seed):\n    return {returned}\n")
        assert command(where="returns.py") == 1
        assert f"TypeError: {said}" in capsys.readouterr().err
    assert not list((tmp_path / "runs").rglob("DONE"))


def test_a_file_that_is_loaded_is_not_loaded_twice(own):
    assert modules.module_of(str(own)) is modules.module_of(str(own))
    assert not modules.renewed(str(own))
