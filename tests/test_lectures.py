"""Lectures: the source runs, its notebook is made from it, and each number of the text stands in its code."""

import ast
import contextlib
import io
import json
import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from cases import COMPILED

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "lectures"))
import notebooks  # noqa: E402  the command that makes notebooks, beside the package and not a part of it

pytestmark = [
    pytest.mark.skipif(not COMPILED, reason="lectures run learners, which take minutes in plain Python"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Jupyter's own packages
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning"),
]
FIRST = notebooks.LECTURES[0]
each = pytest.mark.parametrize("path", notebooks.LECTURES, ids=lambda path: path.stem)
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")
CITED = r"(?<![\w`])\((\d{1,3})\)"  # (11), but not T-BPTT(10)
MINUTES = 15
# How far arrays that are drawn may differ on another processor. Learning makes more of a rounding error.
TOLERANCE = 1e-5
TOLERANCES = {"04_what_t_bptt_forgets": 0.03, "06_stale": 1.0, "08_memory_in_control": 0.3}


def committed(path: Path):
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)


def outputs(notebook, kind: str) -> list:
    return [
        out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs if out[kind[0]] == kind[1]
    ]


def run(source: str, name: str) -> tuple[str, list]:
    """What a source prints, and what its figures draw, in a fresh namespace."""
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    plt.close("all")
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), matplotlib.rc_context():
            exec(compile(source, name, "exec"), {"__name__": "__main__"})
            return printed.getvalue(), [notebooks.drawn(plt.figure(k)) for k in plt.get_fignums()]
    finally:
        plt.close("all")


def parted(text: str) -> tuple[str, list[str]]:
    """The text with a sign for each number, and the numbers. Columns may be wider on another machine."""
    return re.sub(r"\s+", " ", NUMBER.sub("#", text)), NUMBER.findall(text)


def last_place(number: str) -> float:
    """How much the last digit of a printed number is worth."""
    digits, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def same_text(ours: str, theirs: str) -> bool:
    """Up to the last digit of rounded numbers, and to rounding errors, which differ by processor."""
    (frame, numbers), (expected, others) = parted(ours), parted(theirs)
    if frame != expected:
        return False
    pairs = [(a, b) for a, b in zip(numbers, others, strict=True) if a != b]
    values = [(float(a.replace(",", "")), float(b.replace(",", "")), last_place(b)) for a, b in pairs]
    return all(abs(a - b) <= 1.01 * place or max(abs(a), abs(b)) < 1e-9 for a, b, place in values)


def same_figures(ours: list, theirs: list, tolerance: float = TOLERANCE) -> bool:
    """The same arrays in the same places, to a tolerance relative to the root mean square of x, and to that of y."""

    def kinds(figures):
        return [[(each["axes"], each["kind"], tuple(each["shape"])) for each in figure] for figure in figures]

    def sums(figures):
        return np.array([part for figure in figures for each in figure for part in each["sums"]]).reshape(-1, 3)

    if kinds(ours) != kinds(theirs):
        return False
    return bool((abs(sums(ours) - sums(theirs)) <= tolerance * (sums(theirs)[:, 1:2] + 1e-9)).all())


def text_of(cells: list) -> str:
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def code_of(cells: list) -> str:
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def numbers_without_code(cells: list) -> list[str]:
    """Numbers of the text, of two digits or more, that stand nowhere in the code. An assert there checks them.

    Not looked at: formulas, code, links, headings, and references such as (11) or "lecture 4".
    """
    text = re.sub(r"(?s:\$\$.*?\$\$)|`[^`]*`|\]\([^)]*\)|^#.*$|" + CITED, " ", text_of(cells), flags=re.MULTILINE)
    text = re.sub(r"\$([^$]*)\$", lambda maths: " = ".join(maths[1].split("=")[1:]), text)  # r = 0.9 is a number
    found = re.findall(r"(?<![\w.,-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w.]*\d)", text)
    literals = {
        float(node.value)
        for node in ast.walk(ast.parse(code_of(cells)))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    }
    many = [number for number in found if len(number) > 1 and not re.fullmatch(r"(19|20)\d\d", number)]
    values = {number: float(number.replace(",", "")) for number in many}
    return [number for number, value in values.items() if value not in literals and value / 100 not in literals]


def sections(cells: list) -> dict[str, list]:
    """{heading: cells below it}; a cell of text with several headings belongs to all of them."""
    found: dict[str, list] = {}
    headings: list[str] = []
    for cell in cells:
        new = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        headings = new or headings
        for heading in headings:
            found.setdefault(heading, []).append(cell)
    return found


@each
def test_the_source_runs_and_the_notebook_shows_what_it_does(path):
    printed, figures = run(path.read_text(encoding="utf-8"), path.name)
    notebook = committed(path)
    assert same_text(printed, "".join(out.text for out in outputs(notebook, ("output_type", "stream"))))
    shown = [out.metadata.get("drawn") for out in outputs(notebook, ("output_type", "display_data"))]
    assert figures, "a lecture has a picture"
    tolerance = TOLERANCES.get(path.stem, TOLERANCE)
    assert same_figures(figures, shown, tolerance), (
        f"python lectures/notebooks.py {path.name[:2]} makes the notebook again"
    )


@each
def test_a_notebook_is_its_source(path):
    source, notebook = notebooks.read(path), committed(path)
    again = f"python lectures/notebooks.py {path.name[:2]} makes the notebook again"
    assert [(c.cell_type, c.id, c.source) for c in notebook.cells] == [
        (c.cell_type, c.id, c.source) for c in source.cells
    ], again
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), again
    assert path.with_suffix(".ipynb").stat().st_size <= notebooks.MOST_BYTES
    assert {out.name for out in outputs(notebook, ("output_type", "stream"))} <= {"stdout"}
    assert outputs(notebook, ("output_type", "error")) == []
    for out in outputs(notebook, ("output_type", "execute_result")):  # a script shows no value of a last line
        assert "image/png" in out.data, "end a cell with plt.show(), or print"


@each
def test_a_lecture_reads_in_fifteen_minutes(path):
    """200 words a minute, and ten lines of code."""
    cells = notebooks.read(path).cells
    end = next(k for k, cell in enumerate(cells) if cell.source.startswith("## Solution 1"))
    lines = [line for line in code_of(cells[:end]).splitlines() if line.strip()]
    assert len(text_of(cells[:end]).split()) / 200 + len(lines) / 10 <= MINUTES


@each
def test_two_exercises_and_their_solutions_are_checked(path):
    found = sections(notebooks.read(path).cells)
    names = [name for name in found if name.startswith(("Exercise", "Solution"))]
    assert names == ["Exercise 1", "Exercise 2", "Solution 1", "Solution 2"]
    for name in names[2:]:
        assert "assert " in code_of(found[name]), f"{name} has no assert"


@each
def test_numbers_of_the_text_stand_in_code(path):
    assert numbers_without_code(notebooks.read(path).cells) == []


@each
def test_links_and_equations_exist(path):
    text = text_of(notebooks.read(path).cells)
    assert not re.search(r"\\[^A-Za-z\s]", text), "some readers of markdown take the backslash off, also in maths"
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in target or (path.parent / target).exists(), target
    page = (ROOT / "docs" / "derivations.md").read_text(encoding="utf-8")
    known = set(re.findall(r"\\tag\{(\d+)\}", page))
    assert set(re.findall(CITED, re.sub(r"`[^`]*`|\$[^$]*\$", "", text))) <= known


def test_the_index_has_each_lecture_by_its_title():
    index = (ROOT / "lectures" / "README.md").read_text(encoding="utf-8")
    for path in notebooks.LECTURES:
        title = re.match(r"# %% \[markdown\]\n# # (\d+)\. (.+)\n", path.read_text(encoding="utf-8"))
        assert title, f"{path.name}: the first line of text is a title, such as # 0. RTRL in 20 lines"
        assert int(path.name[:2]) == int(title[1])
        assert f"[{title[2]}]({path.stem}.ipynb)" in index


def test_the_command_makes_the_notebook_that_is_committed(tmp_path, monkeypatch):
    """From a kernel of its own; but for the bytes of its pictures, which depend on versions and fonts."""
    pytest.importorskip("ipykernel")

    def without_pictures(notebook):
        for out in outputs(notebook, ("output_type", "display_data")):
            assert out.data.pop("image/png")
        return json.loads(nbformat.writes(notebook))

    new, old = without_pictures(notebooks.execute(FIRST)), without_pictures(committed(FIRST))
    for one, other in zip(new["cells"], old["cells"], strict=True):
        out, expected = one.pop("outputs", []), other.pop("outputs", [])
        assert same_text(json.dumps(out), json.dumps(expected))
        assert one == other
    assert {**new, "cells": 0} == {**old, "cells": 0}


def test_a_lecture_that_fails_or_is_too_large_leaves_the_notebook_as_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "FOLDER", ROOT / "lectures")
    path = tmp_path / "00_small.py"
    path.with_suffix(".ipynb").write_text("as it was")
    path.write_text("# %%\nassert 1 == 2\n")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="assert 1 == 2"):
        notebooks.make(path)
    path.write_text(f"# %%\nprint('{'long' * 10}' * 10_000)\n")
    with pytest.raises(
        ValueError, match=r"the notebook of 00_small\.py has 40\d,\d{3} bytes: expected at most 300,000"
    ):
        notebooks.make(path)
    assert path.with_suffix(".ipynb").read_text() == "as it was"
    with pytest.raises(SystemExit):
        notebooks.main(["00", "77"])
    assert "no lecture has the number 77: expected some of 00" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "nbclient", None)
    with pytest.raises(SystemExit):
        notebooks.main(["00"])
    assert 'nbclient is missing: python -m pip install -e ".[lectures]" installs it' in capsys.readouterr().err


DRAW = "import matplotlib.pyplot as plt\nf, a = plt.subplots()\na.plot([1, 2, 4])\na.imshow([[1.0, 2.0], [3.0, 4.0]])\n"
DRAW += "a.plot([0, 1e6, 2e6], [1, 2, 3.5])\na.bar([2e5, 4e5], [1, 0.25])\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[1, 2, 4]", "[1, 2, 5]"),
        ("[1, 2, 4]", "[2, 1, 4]"),
        ("4.0", "4.001"),
        ("3.5", "3.51"),
        ("0.25", "0.2501"),
        ("plot([1", "scatter([1, 2, 3], [1"),
    ],
)
def test_another_picture_is_noticed(old, new):
    same, other = run(DRAW, "draw")[1], run(DRAW.replace(old, new), "draw")[1]
    assert same_figures(same, run(DRAW, "draw")[1])
    assert not same_figures(same, other)


def test_other_texts_and_numbers_are_noticed():
    assert same_text("off by 3.1e-16,  at 0.25", "off by 1.0e-17, at 0.26")
    assert not same_text("at 0.25", "at 0.27")
    assert not same_text("at 12", "at 14")
    assert not same_text("at 12", "near 12")
    cells = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    text = "## 7.7\nAt $r = 0.9$ after 1,000 steps it is 37 % in 2024, by (11): `55`, $a_{12}$, 5, [x](77.md)."
    given = [cells[0](text), cells[1]("r = 0.9\nassert f(1_000) == 0.37")]
    assert numbers_without_code(given) == []
    assert numbers_without_code([cells[0](text + " 0.38 of 12"), given[1]]) == ["0.38", "12"]
    assert numbers_without_code([cells[0](text.replace("0.9", "0.8")), given[1]]) == ["0.8"]
