"""Every experiment runs in its smallest preset, and its command line says in one line what is wrong."""

import json

import pytest
from cases import COMPILED
from figure_cases import faults

from experiments.__main__ import EXPERIMENTS, main, table
from experiments.engine import plotting

pytestmark = pytest.mark.skipif(not COMPILED, reason="learning takes too long in plain Python")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke(name, tmp_path, capsys, request, monkeypatch):
    if hasattr(request.config, "modes"):
        pytest.skip("runs in a process beside this one; test_modes.py looks at it")
    command = [name, "--preset", "smoke", "--jobs", "1", "--scores", str(tmp_path / "scores")]
    with monkeypatch.context() as patched:
        found = looked_at(patched)
        assert main([*command, "--output", str(tmp_path)]) == 0
    assert not found
    page = json.loads((tmp_path / name / "smoke.json").read_text())
    assert page["scores"]
    assert (tmp_path / name / "smoke.png").read_bytes().startswith(b"\x89PNG")
    assert next(iter(page["scores"])) in capsys.readouterr().out
    # What the experiment names in SCORES is enough for its table and its figure, without any run.
    assert main([*command, "--output", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "elsewhere" / name / "smoke.json").read_text() == (tmp_path / name / "smoke.json").read_text()
    assert (tmp_path / "elsewhere" / name / "smoke.png").read_bytes() == (tmp_path / name / "smoke.png").read_bytes()
    assert not list((tmp_path / "elsewhere").rglob("DONE"))


def looked_at(monkeypatch):
    """A list that gets what is hard to read in each figure that is saved; looking first would change its layout."""
    found, save = [], plotting.save

    def looking(figure, *rest):
        write = figure.savefig

        def writing(part):
            write(part)
            found.extend(faults(figure))

        figure.savefig = writing
        return save(figure, *rest)

    monkeypatch.setattr(plotting, "save", looking)
    return found


def test_a_job_array_then_the_figure_from_what_is_there(tmp_path, capsys):
    command = ["trace-conditioning", "--preset", "smoke", "--output", str(tmp_path), "--jobs", "1"]
    assert main([*command, "--task-id", "0", "--num-tasks", "2"]) == 0
    assert "2 of 4 runs are finished: the next stage waits" in capsys.readouterr().out
    assert main([*command, "--plot-only"]) == 0
    assert not (tmp_path / "trace-conditioning" / "smoke.png").exists()
    assert main([*command, "--task-id", "1", "--num-tasks", "2"]) == 0
    (tmp_path / "trace-conditioning" / "smoke.png").unlink()
    assert main([*command, "--plot-only"]) == 0
    assert (tmp_path / "trace-conditioning" / "smoke.png").exists()


def test_a_job_array_chooses_step_sizes_first_and_measures_when_submitted_again(tmp_path, capsys):
    command = ["fig12-rtu-bptt", "--preset", "smoke", "--output", str(tmp_path), "--jobs", "1", "--num-tasks", "2"]
    for task, told in (("0", "2 of 3 runs"), ("1", "3 of 6 runs"), ("0", "figure: ")):
        assert main([*command, "--task-id", task]) == 0
        assert told in capsys.readouterr().out
    page = json.loads((tmp_path / "fig12-rtu-bptt" / "smoke.json").read_text())
    assert (page["tuning"]["seeds"], page["seeds"], page["runs"]) == ([1000], [0, 1], 9)


def test_a_table_has_the_columns_of_all_rows():
    printed = table({"one": {"return": 1.0, "change": 2.5}, "two": {"return": 3.0}}).split("\n")
    assert [line.split() for line in printed] == [["return", "change"], ["one", "1", "2.5"], ["two", "3"]]


def test_without_a_name_it_lists(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in EXPERIMENTS)
    assert printed.count("Claim: ") == printed.count("Minutes on two cores: ") == len(EXPERIMENTS)


def test_an_unknown_name_is_one_line(capsys):
    assert main(["no-such-experiment"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("NAME is 'no-such-experiment': expected trace-conditioning, patterning, ")
    assert error.endswith("; python -m experiments lists all experiments, --help lists the options\n")


def test_bad_input_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "foreign" / "trace-conditioning").mkdir(parents=True)
    (tmp_path / "foreign" / "trace-conditioning" / "letter").touch()
    for words, message in {
        "--preset huge": "--preset 'huge' is not one of trace-conditioning: expected smoke",
        "--jobs 0": "--jobs is 0: expected at least 1",
        "--task-id 1": "--task-id and --num-tasks: expected both, or neither",
        "--task-id 3 --num-tasks 3": "--task-id is 3 with --num-tasks 3: expected 0 to 2",
        f"--output {tmp_path / 'file'}": "cannot be written to",
        f"--output {tmp_path / 'foreign'}": "holds files of another program",
    }.items():
        command = ["trace-conditioning", "--preset", "smoke", "--output", str(tmp_path / "out"), *words.split()]
        assert main(command) in (1, 2)
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert message in error
    for words, message in {
        "credit --no-such-option": "unrecognized arguments: --no-such-option",
        "credit --jobs many": "argument --jobs: invalid int value: 'many'",
    }.items():
        with pytest.raises(SystemExit) as left:
            main(words.split())
        error = capsys.readouterr().err
        assert left.value.code == 2
        assert error.count("\n") == 1, error
        assert message in error
        assert "--help lists the options" in error
