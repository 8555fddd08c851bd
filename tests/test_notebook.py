"""A real notebook, executed without a browser: bars, the line of compiling, and figures, before and after a sweep."""

import os
from pathlib import Path

import pytest
from cases import COMPILED

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytestmark = [
    pytest.mark.skipif(not COMPILED, reason="nothing is compiled"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Jupyter's own packages
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROOT = Path(__file__).parent.parent
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
SWEEP = "from experiments.__main__ import main\nmain(['tiny.py', '--jobs', '1'])"
LEARN = """
import numpy as np
from rtu_np import LinearRTU, TDLambda, progress
progress.ANNOUNCE_AFTER = 0.0  # also if the code is compiled already
learner = TDLambda(LinearRTU(64), n_inputs=1)
x = np.ones((2_000_000, 1))
learner.run(x, x[:, 0]){}
"""
SILENT = LEARN.format("").replace("x[:, 0])", "x[:, 0], progress=False);")
WITHOUT_WIDGETS = "import sys\nsys.modules['ipywidgets'] = None"
BACKEND = "import matplotlib\nprint(matplotlib.get_backend())"
TINY = """
import numpy as np
PRESETS = {"p": {"settings": [{"a": 1}, {"a": 2}], "seeds": range(2)}}
def run(config, seed):
    return {"final": config["a"] + seed, "curve": np.arange(9) * config["a"]}
"""


def executed(folder: Path, *cells: str) -> list[list]:
    """The outputs of each cell. An error of a cell is an error here."""
    (folder / "tiny.py").write_text(TINY)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute(env={**environment, "PYTHONPATH": str(ROOT)})
    return [cell.outputs for cell in notebook.cells]


def text(outputs: list, name: str) -> str:
    return "".join(each.text for each in outputs if each.output_type == "stream" and each.name == name)


def images(outputs: list) -> int:
    return sum("image/png" in each.get("data", {}) for each in outputs)


def test_bar_compile_line_and_figures_before_and_after_a_sweep(tmp_path):
    before, backend, learned, sweep, after, same = executed(
        tmp_path, FIGURE, BACKEND, LEARN.format(";"), SWEEP, FIGURE, BACKEND
    )
    assert (images(before), images(after), images(sweep)) == (1, 1, 0)
    assert text(backend, "stdout") == text(same, "stdout") != ""
    assert "rtu_np: compiling TDLambda with LinearRTU, 1 of 1, " in text(learned, "stderr")
    assert "rtu_np: compiled TDLambda with LinearRTU in " in text(learned, "stderr")
    widgets = [each for each in learned if "application/vnd.jupyter.widget-view+json" in each.get("data", {})]
    assert widgets or "step/s" in text(learned, "stderr")
    assert "seed 1: final 3\n" in text(sweep, "stdout")
    assert "figure: runs/tiny/p.png" in text(sweep, "stdout")
    assert (tmp_path / "runs" / "tiny" / "p.png").exists()


def test_a_sweep_first_and_no_widgets(tmp_path):
    _, sweep, figure, learned, silent = executed(tmp_path, WITHOUT_WIDGETS, SWEEP, FIGURE, LEARN.format(";"), SILENT)
    assert "figure: runs/tiny/p.png" in text(sweep, "stdout")
    assert images(figure) == 1
    assert "step/s" in text(learned, "stderr")  # a bar of text
    assert "IProgress" not in text(learned, "stderr") + text(sweep, "stderr")  # tqdm's advice
    assert [each for each in silent if each.output_type == "stream"] == []
