"""Flags of the command line: they change a preset, checked against its settings, with results of their own."""

import json
import re
from pathlib import Path

import pytest

from experiments.__main__ import EXPERIMENTS, main
from experiments.engine import changes, forecast, protocol, sweep
from experiments.engine.changes import FlagError, Flags
from experiments.engine.protocol import Experiment
from rtu_np import Adam, Dense, LinearRTU, ObGD, Stack, checkpoint

CELL = checkpoint.describe(LinearRTU(16))
STACK = checkpoint.describe(Stack((Dense(8), LinearRTU(4))))
SIMPLE = {"settings": [{"isi": 10, "steps": 100, "cell": CELL, "deep": False, "dtype": "float32"}], "seeds": range(2)}
AGENT = {
    "task": "TMaze",
    "env": {"length": 10},
    "steps": 1000,
    "parts": {
        "cell": STACK,
        "actor_optimizer": checkpoint.describe(ObGD()),
        "critic_optimizer": checkpoint.describe(ObGD()),
        "epsilon": {"name": "Epsilon", "start": 1.0, "end": 0.1, "steps": 400},
    },
}
PRESETS = {
    "simple": SIMPLE,
    "agents": {"settings": [AGENT, {"task": "other", "steps": 50}], "seeds": range(20, 23)},
    "tuned": {
        "settings": [{"method": "a", "steps": 900}, {"method": "b", "steps": 900, "x": None}],
        "tuning": {"step_sizes": [0.1, 0.2], "seeds": range(1000, 1002), "steps": 300},
        "seeds": range(3),
    },
    "staged": {
        "tasks": ["one"],
        "arms": [("RTU", "RTRL")],
        "steps": 900,
        "tuning": {"steps": 300, "lambdas": [0.9], "seeds": range(7, 8)},
        "seeds": range(3),
    },
}


class Module:
    PRESETS, __name__, __file__ = PRESETS, "example", "example.py"


@pytest.fixture
def change():
    def change(preset, **flags):
        experiment = Experiment("example", "example", Module())
        name = changes.changed(experiment, preset, Flags(**flags))
        return name, experiment.PRESETS[name]

    return change


def settings_of(change, preset, *texts):
    return change(preset, set=texts)[1]["settings"]


# --------------------------------------------------------------------------------------------------- what flags change


def test_each_setting_that_has_a_name_is_changed(change):
    (setting,) = settings_of(change, "simple", "isi=20", "cell.n_hidden=64", "deep=true", "dtype=float64")
    assert (setting["isi"], setting["cell"], setting["deep"]) == (20, {**CELL, "n_hidden": 64}, True)
    assert (setting["dtype"], setting["steps"]) == ("float64", 100)
    agent, other = settings_of(change, "agents", "env.length=30")
    assert (agent["env"], other) == ({"length": 30}, {"task": "other", "steps": 50})


def test_several_values_make_a_setting_for_each_combination(change):
    found = settings_of(change, "simple", "isi=10,20", "cell.n_hidden=4,8,16")
    assert [(each["isi"], each["cell"]["n_hidden"]) for each in found] == [(i, n) for i in (10, 20) for n in (4, 8, 16)]
    both = settings_of(change, "agents", "env.length=10,20")
    assert [each.get("env", {}).get("length") for each in both] == [10, None, 20]  # the other setting is there once


def test_numbers_have_the_type_of_what_stands_there(change):
    (setting,) = settings_of(change, "simple", "steps=2e3", "cell.max_phase=3")
    assert (setting["steps"], type(setting["steps"])) == (2000, int)
    assert (setting["cell"]["max_phase"], type(setting["cell"]["max_phase"])) == (3.0, float)


def test_a_name_is_also_the_only_place_that_ends_so(change):
    agent, _ = settings_of(change, "agents", "cell.n_hidden=7", "parts.actor_optimizer.kappa=5", "length=3")
    assert agent["parts"]["cell"]["layers"][1]["n_hidden"] == 7
    assert (agent["parts"]["actor_optimizer"]["kappa"], agent["env"]["length"]) == (5.0, 3)
    assert agent["parts"]["critic_optimizer"]["kappa"] == 2.0
    with pytest.raises(FlagError, match=r"kappa=5: parts.actor_optimizer.kappa and parts.critic_optimizer.kappa have"):
        change("agents", set=("kappa=5",))


def test_steps_are_the_setting_s_own_and_not_those_of_a_part(change):
    _, preset = change("agents", steps="2000")
    assert [each["steps"] for each in preset["settings"]] == [2000, 2000] != [1000, 50]
    assert preset["settings"][0]["parts"]["epsilon"]["steps"] == 400


def test_runs_that_choose_a_step_size_have_no_more_steps_than_the_reported(change):
    assert change("tuned", steps="200")[1]["tuning"]["steps"] == 200
    assert change("tuned", steps="5000")[1]["tuning"]["steps"] == 300
    assert change("staged", steps="2e2")[1]["tuning"]["steps"] == change("staged", steps="200")[1]["steps"] == 200


def test_a_preset_of_stages_has_its_own_words(change):
    _, preset = change("staged", set=("tuning.lambdas=[0.8,0.9]", 'tasks=["two"]', 'arms=[["GRU","RTRL"]]'))
    assert (preset["tuning"]["lambdas"], preset["tasks"]) == ([0.8, 0.9], ["two"])
    assert preset["arms"] == [("GRU", "RTRL")]
    assert change("tuned", set=("tuning.step_sizes=[0.5]",))[1]["tuning"]["step_sizes"] == [0.5]


def test_a_part_can_be_replaced(change):
    (setting,) = settings_of(change, "simple", 'cell={"name": "GRU", "n_hidden": 3}')
    assert setting["cell"] == checkpoint.describe(checkpoint.build("cell", {"name": "GRU", "n_hidden": 3}))


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("10", range(20, 30)), ("1", [20]), ("0,3,7", [0, 3, 7]), ("2-4,9", [2, 3, 4, 9]), ("7,", [7]), ("7-7", [7])],
)
def test_seeds_are_how_many_or_which(text, seeds, change):
    assert change("agents", seeds=text)[1]["seeds"] == list(seeds)


def test_a_changed_preset_has_a_name_of_its_own_whatever_the_order_of_flags(change):
    one, _ = change("simple", set=("isi=20", "steps=5"))
    assert one.startswith("simple-")
    assert change("simple", set=("isi=20",), steps="5")[0] == change("simple", set=("steps=5", "isi=20"))[0] == one
    assert len({one, change("simple", set=("isi=20",))[0], change("simple", seeds="5")[0]}) == 3
    assert change("simple", set=("isi=10",), seeds="2", steps="100") == ("simple", SIMPLE)  # nothing has changed
    assert PRESETS["simple"]["settings"][0]["isi"] == 10


def test_runs_are_those_of_the_preset_if_their_settings_are(change, tmp_path):
    folder = {sweep.folder_of(tmp_path, each, 0) for each in settings_of(change, "simple", "isi=10,20")}
    assert sweep.folder_of(tmp_path, SIMPLE["settings"][0], 0) in folder


def test_flags_fit_every_experiment():
    """One rule for all: steps and seeds change each preset of each experiment, if a run of it has steps."""
    for given in EXPERIMENTS:
        experiment = protocol.find(given, EXPERIMENTS)
        for preset in list(experiment.PRESETS):
            name = changes.changed(experiment, preset, Flags("1", "150"))
            stage = experiment.stages(experiment.PRESETS[name])[0]
            settings = stage[0]([])
            assert all(setting["steps"] == 150 for setting in settings if "steps" in setting)
            assert any("steps" in setting for setting in settings)
            assert len(experiment.PRESETS[name]["seeds"]) == 1


# ------------------------------------------------------------------------------------------------------------ refusals

REFUSED = {
    (
        "simple",
        "set",
        "size=3",
    ): "--set size=3: no setting of example, simple has size; names are isi, steps, cell.name,",
    (
        "simple",
        "set",
        "n_hiden=3",
    ): "no setting of example, simple has n_hiden (did you mean cell.n_hidden?); names are",
    ("simple", "set", "optimizer.step_size=1"): "has optimizer.step_size; names are isi",
    ("staged", "set", "step=3"): "has step (did you mean steps",
    ("simple", "set", "isi=ten"): "--set isi=ten: isi is 10 there, and 'ten' is not a whole number",
    ("simple", "set", "isi=10.5"): "isi is 10 there, and '10.5' is not a whole number",
    ("simple", "set", "isi=nan"): "'nan' is not a whole number",
    ("simple", "set", "cell.max_phase=inf"): "'inf' is not a number",
    ("simple", "set", "deep=3"): "deep is False there, and '3' is not true or false",
    ("simple", "set", "isi"): "--set isi: expected NAME=VALUE",
    ("simple", "set", "isi="): "--set isi=: expected NAME=VALUE",
    ("simple", "set", "isi=1,,2"): "a value between commas is missing",
    ("simple", "set", "isi=1,1"): "a value is there twice",
    ("simple", "set", "cell=GRU"): "and 'GRU' is not JSON, as it is here",
    ("simple", "set", "cell=[1]"): "and '[1]' is not an object of JSON",
    ("simple", "set", "cell.n_hidden=-3"): "--set cell.n_hidden=-3: n_hidden is -3: expected an integer of at least 1",
    ("simple", "set", "cell.activation=cosine"): "activation is 'cosine': expected ",
    ("simple", "set", "cell.name=GRU"): "--set cell.name=GRU: ",
    ("staged", "set", "steps=1,2"): "--set steps=1,2: expected one value here; one list is written [1,2]",
    ("tuned", "set", "step_size=1"): "this preset chooses its step sizes; expected --set tuning.step_sizes=[1e-4,1e-3]",
    ("tuned", "seeds", "990-1000"): "--seeds 990-1000: step sizes are chosen on seed 1000; expected other seeds",
    ("simple", "seeds", "0"): "--seeds 0: expected 1 to 100000; 0, is seed 0 alone",
    ("simple", "seeds", "-3"): "--seeds -3: expected how many, as 10, or seeds and ranges, as 0,3,7-9",
    ("simple", "seeds", "5-3"): "--seeds 5-3: expected how many",
    ("simple", "seeds", "1,2,1"): "--seeds 1,2,1: seed 1 is there twice",
    ("simple", "seeds", "many"): "--seeds many: expected how many",
    ("simple", "steps", "0"): "--steps 0: expected a whole number of at least 1",
    ("simple", "steps", "nan"): "--steps nan: expected a whole number of at least 1",
    ("simple", "steps", "1.5"): "--steps 1.5: expected a whole number of at least 1",
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: "-".join(case))
def test_a_flag_that_does_not_fit_is_named_and_changes_nothing(case, change):
    preset, flag, text = case
    before = json.dumps(PRESETS, default=list)
    with pytest.raises(FlagError) as refused:
        change(preset, **{flag: (text,) if flag == "set" else text})
    assert REFUSED[case] in str(refused.value)
    assert "\n" not in str(refused.value)
    assert json.dumps(PRESETS, default=list) == before


OWN = """
import json
import numpy as np
PRESETS = {"p": {"settings": [{"steps": 100, "a": 1.0, "b": "x"}], "seeds": range(2)}}
def run(config, seed):
    if config["b"] == "fails":
        raise ValueError("asked to fail")
    return {"final": config["a"] + seed, "curve": np.arange(config["steps"])}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"flagged.py": OWN, "labelled.py": OWN + "def label(config):\n    return 'one'\n"}.items():
        (tmp_path / name).write_text(text)
    return lambda *words, file="flagged.py": main([file, *words, "--jobs", "1"])


def test_flags_that_exclude_each_other(own, capsys):
    for words, said in {
        "--steps 5 --set steps=6": "--steps and --set steps: expected one of them",
        "--set a=1 --set a=2": "--set names a twice: expected one list of values, as a=1,2",
        "--dry-run --plot-only": "--dry-run and --plot-only: expected one of them",
        "--dry-run --task-id 0 --num-tasks 2": "--dry-run and --task-id: expected one of them",
        "--scheduler tcp://nowhere:1": "--scheduler and --jobs: expected one of them",
    }.items():
        assert own(*words.split()) == 2
        assert capsys.readouterr().err == f"{said}\n"
    assert not Path("runs").exists()


def test_results_of_changed_presets_stand_next_to_the_preset_s(own, capsys):
    assert own() == own("--set", "a=2,3", "--seeds", "3") == 0
    folder = Path("runs/flagged")
    (changed,) = (json.loads(path.read_text()) for path in folder.glob("p-*.json"))
    assert json.loads((folder / "p.json").read_text())["preset"] == "p"
    assert changed["changed"] == {"preset": "p", "flags": "--seeds 3 --set a=2,3"}
    assert {name: row["final"] for name, row in changed["scores"].items()} == {"a 2": 3.0, "a 3": 4.0}
    assert len(list(folder.glob("p-*.png"))) == 1
    assert f"p with --seeds 3 --set a=2,3: {changed['preset']}\n" in capsys.readouterr().out
    assert own("--set", "a=2,3", "--seeds", "3", "--scores", "scores", "--plot-only") == 0
    assert (Path("scores/flagged") / f"{changed['preset']}.scores.jsonl").exists()


def test_labels_that_know_nothing_of_a_flag_lose_no_row(own):
    assert own("--set", "a=2,3", file="labelled.py") == 0
    (path,) = Path("runs/labelled").glob("p-*.json")
    rows = json.loads(path.read_text())["scores"]
    assert [row["final"] for row in rows.values()] == [2.5, 3.5]
    assert [name.partition(":")[0] for name in rows] == ["a=2", "a=3"]
    assert len(list(path.parent.glob("p-*.png"))) == 2


# ------------------------------------------------------------------------------------------------------------ dry runs


def test_a_dry_run_says_what_is_left_and_writes_nothing(own, capsys):
    assert own() == 0
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    capsys.readouterr()
    assert own("--dry-run", "--seeds", "4") == 0
    out = capsys.readouterr().out
    assert "4 runs: 1 setting with seeds 0 to 3; 2 finished, 2 to make\n" in out
    assert ": 2 of 4 finished\n" in out
    assert "less than 0.1 minutes on this machine with 1 run at a time" in out
    assert "Base: finished runs of the same setting for 2\n" in out
    assert own("--dry-run") == 0
    assert capsys.readouterr().out.endswith("nothing is left to make\n")
    assert own("--dry-run", "--set", "a=7", "--output", "elsewhere") == 0
    assert "Base: short runs made now for 2\n" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_dry_run_finds_a_setting_that_fails(own, capsys):
    assert own("--dry-run", "--set", "b=fails") == 1
    assert capsys.readouterr().err == ("steps 100, a 1, b fails: a run of 100 steps fails: ValueError: asked to fail\n")


LOADS = """
import time
PRESETS = {"p": {"settings": [{"steps": 40000}], "seeds": range(3)}}
loaded = []
def run(config, seed):
    if config["steps"] >= 3000 and not loaded:
        time.sleep(1.2)
        loaded.append("kernels")
    time.sleep(config["steps"] * 1e-4)
    return {"final": 1.0}
"""


def test_what_the_first_long_run_loads_is_no_part_of_a_step(own):
    Path("loads.py").write_text(LOADS)
    experiment = protocol.find("loads.py", {})
    (task, *_) = sweep.plan(experiment.place, experiment.PRESETS["p"]["settings"], [0], Path("runs"))
    _, per_step = forecast._line(experiment, task)
    assert 0.9e-4 < per_step < 1.5e-4


SLOW = """
import time
PRESETS = {"p": {"settings": [{"steps": 4000, "us": 1000.0}], "seeds": range(3)}}
def run(config, seed):
    time.sleep(0.2 + config["steps"] * config["us"] * 1e-6)
    return {"final": 1.0}
"""


def test_minutes_are_those_of_the_steps_and_of_the_rest(own, capsys):
    Path("slow.py").write_text(SLOW)
    experiment = protocol.find("slow.py", {})
    (task, *_) = sweep.plan(experiment.place, experiment.PRESETS["p"]["settings"], [0], Path("runs"))
    fixed, per_step = forecast._line(experiment, task)
    assert 0.9e-3 < per_step < 1.5e-3
    assert 0 <= fixed < 0.5
    assert own("--dry-run", file="slow.py") == 0
    said = capsys.readouterr().out
    core = float(re.search(r"about ([\d.]+) minutes of one core", said).group(1))
    assert 0.19 < core < 0.35  # three runs of 0.2 and 4 seconds


def test_a_tuned_preset_is_planned_in_stages(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forecast, "_line", lambda experiment, task: (0.0, 1e-6))
    assert main(["patterning", "--preset", "smoke", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "stage 1 of 2: 16 runs: 16 settings with seed 1000; 0 finished, 16 to make\n" in out
    assert "stage 2 of 2: 32 runs: 16 settings with seeds 0 to 1; the earlier stages choose them" in out
    assert main(["stream-memory", "--preset", "smoke", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "stage 3 of 3: 4 runs: 4 settings with seed 0; the earlier stages choose them" in out
    assert "TMaze: Blocks: RTU, RTRL, size 0.0003, lambda 0.95: 0 of 1 finished" in out
    assert main(["trace-conditioning", "--preset", "smoke", "--dry-run", "--set", "cell.n_hidden=2", "isi=5"]) == 0
    assert not list(tmp_path.iterdir())


def test_the_optimiser_in_a_setting_is_a_part(change):
    experiment = Experiment("e", "e", Module())
    experiment.PRESETS["own"] = {"settings": [{"optimizer": checkpoint.describe(Adam(1e-3))}], "seeds": [0]}
    name = changes.changed(experiment, "own", Flags(set=("optimizer.step_size=1e-3,3e-4",)))
    assert [each["optimizer"]["step_size"] for each in experiment.PRESETS[name]["settings"]] == [1e-3, 3e-4]
