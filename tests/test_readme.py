"""The front door: README.md is short, its measured numbers are made from the committed results, and its names exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rtu_np
from experiments import claims, readme
from experiments.engine import verdicts

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results"
# The results that the made parts read, beside those of the claims.
READ = ("trace-conditioning/laptop.json", "soak/TDLambda.json", "speed/speed.json")


def test_the_page_is_what_the_script_makes():
    message = "README.md is not what the results say: run `python -m experiments.readme`"
    assert PAGE.read_text() == readme.page(PAGE.read_text(), RESULTS), message


def test_the_page_is_short():
    assert len(PAGE.read_text().splitlines()) <= 150


def without_made_parts(text):
    for name in readme.PARTS:
        text = re.sub(
            rf"{re.escape(readme.BEGIN.format(name))}.*{re.escape(readme.END.format(name))}", "", text, flags=re.DOTALL
        )
    return text


def test_no_number_is_written_by_hand():
    """Beside made parts, blocks of code (tests/test_docs.py runs them), names of code and targets of links."""
    text = re.sub(r"^```.*?^```|`[^`]*`|\]\([^)]*\)", "", without_made_parts(PAGE.read_text()), flags=re.DOTALL | re.M)
    assert re.findall(r"\d[\d.,]*\d|\d", text) == ["2024", "2409.01449", "3.11"]  # year, preprint, oldest Python


def test_a_number_that_was_changed_by_hand_is_found():
    text = PAGE.read_text()
    made = readme.page(text.replace("**Of the paper's 25 claims", "**Of the paper's 26 claims"), RESULTS)
    assert made == text
    assert "**Of the paper's 25 claims" in text


def test_each_claim_of_the_paper_is_counted():
    n = sum(claim.source.startswith(readme.PAPER) for claim in claims.CLAIMS)
    judged = re.search(
        r"\*\*Of the paper's (\d+) claims, (\d+) hold, (\d+) do not, and (\d+) are open", PAGE.read_text()
    )
    assert int(judged.group(1)) == n == sum(int(judged.group(k)) for k in (2, 3, 4))
    rows = re.findall(r"^\| \[Fig\. .*\| (.*) \| (.*) \|$", PAGE.read_text(), re.M)
    words = ", ".join(cell for row in rows for cell in row).replace("*", "")
    for k, verdict in ((2, verdicts.HOLDS), (3, verdicts.DOES_NOT), (4, verdicts.OPEN)):
        assert len(re.findall(rf"\b{verdict}\b", words)) == int(judged.group(k))


def test_numbers_are_those_of_the_json():
    rows = json.loads((RESULTS / "speed" / "speed.json").read_text())["grid"]
    row = next(row for row in rows if (row["dtype"], row["n"]) == ("float32", 192))
    assert f"{row['us']:.3g} us; {row['ours / C']:.3g} times as long as C |" in PAGE.read_text()


def table():
    """The cells, gradients and learners that README says go together."""
    rows = PAGE.read_text().split("| cells | gradients | learners |\n|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    columns = zip(*(row.strip("| ").split(" | ") for row in rows), strict=True)
    return [re.findall(r"`([^`]*)`", " ".join(column)) for column in columns]


TOGETHER = """
import gymnasium, numpy, envs
from rtu_np import *

RNG = numpy.random.default_rng(0)


def learn(learner, cell, gradient):
    if learner in ("TDLambda", "OnlineRegressor"):
        more = {"gamma": 0.9} if learner == "TDLambda" else {}
        made = globals()[learner](cell, n_inputs=2, gradient=gradient, **more)
        made.run(RNG.random((6, 2)), RNG.random(6), progress=False)
    else:
        env = gymnasium.make("rtu_np/MemoryChain-v0", length=4)
        globals()[learner](env, cell, gradient=gradient).learn(env, 6, progress=False, log=None)


T = 4
"""


def test_any_cell_goes_with_any_gradient_and_any_learner():
    """As the page says, for each of its names. It is learned uncompiled, in a process of its own."""
    cells, gradients, learners = table()
    assert (len(cells), len(gradients), len(learners)) == (10, 3, 6)
    script = TOGETHER
    for cell in cells:
        made = "Stack([LinearRTU(3), LinearRTU(3)])" if cell == "Stack" else f"{cell}(4)"
        script += "".join(f"learn({learner!r}, {made}, {how})\n" for how in gradients for learner in learners)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_names_are_those_of_the_package():
    """And the reference has every one of them."""
    assert {name.split("(")[0] for column in table() for name in column} <= set(rtu_np.__all__)
    reference = (ROOT / "docs" / "reference.md").read_text()
    assert [name for name in rtu_np.__all__ if not re.search(rf"`{name}\b", reference)] == []


@pytest.fixture
def copied(tmp_path):
    """A copy of the page and of all results."""
    shutil.copytree(RESULTS, tmp_path / "results", ignore=shutil.ignore_patterns("*.gif", "*.jsonl"))
    shutil.copy(PAGE, tmp_path / "README.md")
    return tmp_path


def run(folder):
    return readme.main(["--results", str(folder / "results"), "--page", str(folder / "README.md")])


def test_the_command_writes_the_page(copied, capsys):
    page = copied / "README.md"
    page.write_text(page.read_text().replace("**Of the paper's 25 claims", "**Of the paper's 26 claims"))
    assert run(copied) == 0
    assert page.read_text() == PAGE.read_text()
    assert str(page) in capsys.readouterr().out


DAMAGE = {
    "gone": lambda file: file.unlink(),
    "no JSON": lambda file: file.write_text("{"),
    "empty": lambda file: file.write_text("{}"),
    "a list": lambda file: file.write_text("[]"),
    "text for numbers": lambda file: file.write_text(re.sub(r": -?\d[\d.e+-]*", ': "ten"', file.read_text())),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", READ)
def test_results_that_are_missing_or_of_another_shape_are_named(kind, name, copied, capsys):
    DAMAGE[kind](copied / "results" / name)
    assert run(copied) == 1
    error = capsys.readouterr().err
    assert name in error
    assert error.count("\n") == 1
    assert (copied / "README.md").read_text() == PAGE.read_text()


@pytest.mark.parametrize("change", [("<!-- end of how fast -->", ""), ("<!-- how fast: ", "<!-- how slow: ")])
def test_a_page_without_a_part_is_named(change, copied, capsys):
    page = copied / "README.md"
    page.write_text(page.read_text().replace(*change))
    before = page.read_text()
    assert run(copied) == 1
    assert "has no such part: expected one comment '<!-- how fast" in capsys.readouterr().err
    assert page.read_text() == before
