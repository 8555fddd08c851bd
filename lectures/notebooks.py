"""Lectures as notebooks: each NN_name.py here is the source, and NN_name.ipynb next to it is made from it.

    python lectures/notebooks.py             make all notebooks, with their outputs
    python lectures/notebooks.py 01 03       make some

The sources are in jupytext's percent format. A notebook is executed from its first cell to its last in a kernel of its
own, and replaced only if no cell failed. Each figure stores the arrays that it draws in the metadata of its output, as
a few sums. tests/test_lectures.py compares them with those of the source, so that a picture cannot outlive its code.

It needs `pip install -e ".[lectures]"`.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
LECTURES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
MOST_BYTES = 300_000
_MINUTES = 10
# The kernel starts in the folder of the lectures, so it finds this file.
_FIRST = "import notebooks\nnotebooks.store_what_figures_draw(get_ipython())"
_DRAWN = "application/json"


def read(path: Path) -> Any:
    """The notebook that a source describes, without outputs."""
    import jupytext
    import nbformat

    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    cells = []
    for k, cell in enumerate(notebook.cells):
        new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        cells.append(new(cell.source, id=f"cell-{k}"))  # ids are random otherwise, and every line would change
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def execute(path: Path) -> Any:
    """The notebook of a source, with the outputs of its cells.

    Raises
    ------
    nbclient.exceptions.CellExecutionError : if a cell fails; the message shows the cell
    """
    import nbclient
    import nbformat

    notebook = read(path)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_FIRST))
    client = nbclient.NotebookClient(
        notebook,
        timeout=60 * _MINUTES,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    paths = [str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    client.execute(env={**environment, "PYTHONPATH": os.pathsep.join(paths)})
    del notebook.cells[0]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for k, cell in enumerate(code, start=1):
        cell.execution_count = k
        # bars, and the line that says what is compiled, which differ from run to run
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = k
            if _DRAWN in output.get("data", {}):
                output["metadata"] = {"drawn": output["data"].pop(_DRAWN)}
    return notebook


def make(path: Path) -> Path:
    """Write the notebook of a source next to it.

    Raises
    ------
    ValueError : if the notebook is larger than MOST_BYTES; the notebook that was there stays
    """
    import nbformat

    from rtu_np.files import replacing

    text = nbformat.writes(execute(path)) + "\n"
    if len(text.encode()) > MOST_BYTES:
        expected = f"expected at most {MOST_BYTES:,}; are the figures too many, or their dpi too high?"
        raise ValueError(f"the notebook of {path.name} has {len(text.encode()):,} bytes: {expected}")
    made = path.with_suffix(".ipynb")
    with replacing(made) as part:
        part.write_text(text, encoding="utf-8")
    return made


def store_what_figures_draw(shell: Any) -> None:
    """From now on, this kernel sends with each figure what the figure draws."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    plt.close(plt.figure())  # the first figure sets up Jupyter's backend, which removes what is registered before
    shell.display_formatter.formatters[_DRAWN].for_type(Figure, drawn)


def drawn(figure: Any) -> list[dict[str, Any]]:
    """What a figure draws: for each array its axes, its kind, its shape, and three sums that any change would change.

    The sums are the mean, the root of the mean square, and the mean of the product with a cosine, which sees the order.
    x and y have sums of their own, since numbers of steps would hide all that is small.
    """
    return [
        {"axes": k, "kind": kind, "shape": list(array.shape), "sums": [*map(_sums, _parts(kind, array))]}
        for k, axes in enumerate(figure.axes)
        for kind, array in _arrays(axes)
    ]


def _arrays(axes: Any) -> Iterator[tuple[str, np.ndarray]]:
    """(kind, numbers) of lines, images, bars and other shapes, and collections."""
    for line in axes.lines:
        yield "line", np.asarray(line.get_xydata(), float)
    for image in axes.images:
        yield "image", np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
    for patch in axes.patches:
        yield "patch", np.asarray(patch.get_patch_transform().transform(patch.get_path().vertices), float)
    for collection in axes.collections:
        paths = [path.vertices for path in collection.get_paths()]
        yield "collection", np.concatenate([np.asarray(collection.get_offsets(), float), *paths])


def _parts(kind: str, array: np.ndarray) -> list[np.ndarray]:
    """An image, or x and y of points."""
    return [array] if kind == "image" else [array[:, 0], array[:, 1]]


def _sums(array: np.ndarray) -> list[float]:
    flat = np.nan_to_num(array.ravel())
    sums = (flat.mean(), np.sqrt(np.mean(flat**2)), np.mean(flat * np.cos(np.arange(flat.size))))
    return [float(f"{number:.9g}") for number in sums]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the notebooks of the lectures, with their outputs.")
    parser.add_argument("lectures", nargs="*", metavar="NN", help="numbers, such as 01 03; all if not given")
    asked = parser.parse_args(arguments).lectures
    numbers = {path.name[:2] for path in LECTURES}
    unknown = [name for name in asked if name not in numbers]
    if unknown:
        parser.error(f"no lecture has the number {', '.join(unknown)}: expected some of {', '.join(sorted(numbers))}")
    for path in LECTURES:
        if not asked or path.name[:2] in asked:
            try:
                made = make(path)
            except ModuleNotFoundError as error:
                parser.error(f'{error.name} is missing: python -m pip install -e ".[lectures]" installs it')
            print(f"{made.name}: {made.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
