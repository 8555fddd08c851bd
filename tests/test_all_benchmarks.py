"""Benchmarks of all kinds at once: what got slower is found, and compile seconds are what docs/speed.md shows."""

import copy
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cases import COMPILED

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import all as everything  # noqa: E402  a script beside the package, not a part of it
import compiling  # noqa: E402
import first_use  # noqa: E402
import speed  # noqa: E402

COMMITTED = ROOT / "docs" / "results" / "speed" / "speed.json"
measuring = pytest.mark.skipif(
    not COMPILED or (speed.shutil.which("cc") or speed.shutil.which("gcc")) is None,
    reason="there is nothing to measure",
)


@pytest.fixture
def page():
    return json.loads(COMMITTED.read_text())


def written(page, folder, name="then.json"):
    (folder / name).write_text(page if isinstance(page, str) else json.dumps(page))
    return str(folder / name)


# --------------------------------------------------------------------------------------------------------- comparing


def test_the_committed_numbers_are_no_slower_than_themselves(capsys):
    assert everything.main(["--measured", str(COMMITTED), "--against", str(COMMITTED)]) == 0
    said = capsys.readouterr().out
    assert "0 of " in said
    assert "ratios are larger by more than 10 %" in said
    kinds = {name.split(":")[0] for name in everything.ratios(json.loads(COMMITTED.read_text()))}
    assert kinds == set(everything.PARTS)


SLOWER = {
    "grid: float32, 192 x 64, linear RTU / C": lambda page: ("grid", 8, "ours / C", 1.2),
    "optimizers: Adam, float64 / C": lambda page: ("optimizers", 2, "ratio to SGD", 1.2),
    "from Python: float64, 10 x 2, step / C": lambda page: ("from Python", 0, "us of step", 1.2),
    "threads: 10 x 2, run_many / one by one": lambda page: ("threads", 0, "times as fast", 1 / 1.2),
    "agents: the agent alone, RTRL / C": lambda page: ("agents", 0, "ours / C", 1.2),
    "PPO: PPO, linear RTU 192, RTRL: update / C": lambda page: ("PPO", 0, "ours / C", 1.2),
    "compiling: TDLambda, cold / job": lambda page: ("compiling", 0, "cold / job", 1.2),
}


@pytest.mark.parametrize("name", SLOWER)
def test_a_planted_slow_down_is_found(name, page, tmp_path, capsys):
    part, row, key, factor = SLOWER[name](page)
    now = copy.deepcopy(page)
    now[part][row][key] *= factor
    words = ["--measured", written(now, tmp_path, "now.json"), "--against", str(COMMITTED)]
    assert everything.main(words) == 1
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if name in line]
    assert line.endswith("| 1.2 |")
    assert everything.main([*words, "--tolerance", "0.25"]) == 0
    assert everything.main(["--measured", words[3], "--against", words[1]]) == 0  # faster is good


def test_numbers_without_some_parts_are_compared_as_far_as_they_go(page, tmp_path, capsys):
    then = {name: rows for name, rows in page.items() if name not in ("agents", "PPO", "compiling")}
    assert everything.main(["--measured", str(COMMITTED), "--against", written(then, tmp_path)]) == 0
    assert "lack some of PPO, agents, compiling, which are not compared" in capsys.readouterr().out
    only = {"agents": page["agents"]}
    words = ["--measured", written(only, tmp_path, "only.json"), "--against", written(then, tmp_path)]
    assert everything.main(words) == 2
    assert "nothing in common" in capsys.readouterr().err


BAD = {
    "missing": (None, "cannot be read: No such file or directory"),
    "cut short": ('{"grid": [{"dtype"', "is damaged: "),
    "no text": (b"\xff\xfe\x00", "is damaged: "),
    "empty": ("{}", "it lacks 'grid'"),
    "another kind": ("[1, 2]", "it is not a table of parts"),
    "older": ('{"grid": [{"dtype": "float64", "n": 10, "d": 2, "us": 0.3}]}', "it lacks 'us in C'"),
    "no number": ('{"agents": [{"what": "a", "ours / C": "fast"}]}', "agents, a / C, is 'fast': expected a positive"),
    "not finite": ('{"agents": [{"what": "a", "ours / C": NaN}]}', "agents, a / C, is nan: expected a positive number"),
    "no rows": ('{"grid": 3}', "is not of this version"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("option", ["--against", "--measured", "--output"])
def test_a_bad_file_is_named_in_one_line(kind, option, tmp_path, capsys):
    content, said = BAD[kind]
    path = tmp_path / "page.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    elif option == "--output":
        pytest.skip("it is written")
    assert everything.main([option, str(path), "--parts", "grid"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert shown.err.startswith(f"{option} {path} ")
    assert said in shown.err
    assert f"python benchmarks/all.py --output {path} writes another" in shown.err


@pytest.mark.parametrize("tolerance", ["-1", "nan"])
def test_a_bad_tolerance_is_named(tolerance, capsys):
    assert everything.main(["--tolerance", tolerance]) == 2
    assert capsys.readouterr().err.startswith("--tolerance is ")


# --------------------------------------------------------------------------------------------------------- measuring


@measuring
def test_a_run_is_compared_and_written(page, tmp_path, capsys, monkeypatch):
    """One size, one round. What seems slower is measured once more."""
    monkeypatch.setattr(everything, "QUICK", everything.Settings(1, [speed.SMALL], [], 1))
    then = copy.deepcopy(page)
    then["grid"][0]["ours / C"] = 1e-6
    words = ["--quick", "--parts", "grid", "--against", written(then, tmp_path), "--tolerance", "1000"]
    assert everything.main([*words, "--output", str(tmp_path / "then.json")]) == 1
    shown = capsys.readouterr()
    assert "grid: float64, 10 x 2, linear RTU / C" in shown.out
    assert "2 of 4 ratios are larger" in shown.out
    assert shown.err.count("measuring: grid") == 2
    held = json.loads((tmp_path / "then.json").read_text())
    assert [len(held[part]) for part in ("grid", "peers")] == [2, len(page["peers"])]
    assert held["measured"]["grid"]["command"].startswith("python benchmarks/all.py --quick --parts grid")
    assert everything.main([*words[:-2], "--tolerance", "1000"]) == 0  # with itself
    assert capsys.readouterr().err.count("measuring: grid") == 1


def test_the_better_of_two_measurements_counts(page):
    worse = copy.deepcopy(page)
    worse["grid"][0]["ours / C"] *= 2
    worse["optimizers"][1]["ratio to SGD"] *= 2
    for part in ("grid", "optimizers"):
        for pair in ((page, worse), (worse, page)):
            assert everything.better(pair[0][part], pair[1][part], part, pair[0]) == page[part]


# --------------------------------------------------------------------------------------------------------- compiling


def test_a_profile_gives_each_the_time_that_is_its_own():
    profile = first_use.Profile()

    def spend(seconds):
        began = time.process_time()
        while time.process_time() - began < seconds:
            pass

    profile.begin(first_use.TYPES, "outer")
    spend(0.02)
    profile.begin(first_use.LOWERING, "inner")
    spend(0.04)
    profile.begin(first_use.MACHINE)  # of the inner function
    spend(0.02)
    profile.end()
    profile.end()
    profile.end()
    found = profile.result()
    assert found["by kind"][first_use.TYPES] == pytest.approx(0.02, abs=0.01)
    assert found["by kind"][first_use.LOWERING] == pytest.approx(0.04, abs=0.01)
    assert found["by kind"][first_use.MODULES] == 0
    assert found["by function"] == pytest.approx({"inner": 0.06, "outer": 0.02}, abs=0.015)


@measuring
def test_the_first_use_of_a_learner_in_parts():
    found = compiling.profiled("TDLambda", ROOT)
    kinds = found["by kind"]
    assert sum(kinds.values()) == pytest.approx(found["first use"], rel=0.05, abs=0.02)
    assert min(kinds[kind] for kind in (first_use.TYPES, first_use.LOWERING, first_use.MODULES)) > 0.02
    assert "run" in found["by function"]
    assert compiling.job(ROOT) > 0.05
    shown = compiling.page_of_work(found)
    assert "| all | " in shown
    assert "| `run` | " in shown


def test_a_folder_without_the_package_is_named(tmp_path):
    command = [sys.executable, "benchmarks/compiling.py", "--package", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})
    said = f"--package {tmp_path}: expected a folder that holds rtu_np\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_package_that_fails_is_named(tmp_path):
    (tmp_path / "rtu_np").mkdir()
    (tmp_path / "rtu_np" / "__init__.py").write_text("raise SystemError('not today')")
    with pytest.raises(
        compiling.FailedError, match=r"first_use.py TDLambda with the package of .*: SystemError: not to"
    ):
        compiling.measured("TDLambda", tmp_path)


def test_the_page_shows_the_committed_seconds():
    page = json.loads((COMMITTED.parent / "compiling.json").read_text())
    shown = (ROOT / "docs" / "speed.md").read_text()
    for table in compiling.pages(page).split("\n\n"):
        assert table in shown
    assert compiling.replaced(shown, page) == shown
    page["packages"][0]["rows"][0]["cold, s"] = 123.0
    assert "| TDLambda | 123.0 |" in compiling.replaced(shown, page)
    assert [row["case"] for row in page["packages"][0]["rows"]] == compiling.ALL


def test_agents_are_measured_step_by_step_and_in_compiled_code(monkeypatch):
    """With contenders that count: 3 steps and 5."""
    made = []
    contenders = {"some": (3, lambda: made.append(3)), "more": (5, lambda: made.append(5))}
    monkeypatch.setattr(everything.agents, "contenders", lambda: contenders)
    monkeypatch.setattr(
        everything, "beside_c", lambda _, timed: [{"what": name, "s": t()} for name, t in timed.items()]
    )
    rows = list(everything.of_agents(everything.QUICK))
    assert [row["what"] for row in rows] == ["some", "more"]
    assert made == [3, 5, 3, 5]
    assert all(row["s"] > 0 for row in rows)
