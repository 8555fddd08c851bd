"""What a cell from one function costs next to the same cell written by hand.

    python benchmarks/own_cell.py --json docs/results/own-cell/own-cell.json --page docs/own_cell.md

Three cells of the package, once as they are, once as `from_step` makes them of their equations. `TDLambda` with the
defaults, float64, learns from one stream of random numbers: microseconds of a step, and the seconds that a new process
takes to make the learner and compile its first step, with nothing on disk. Seconds are those of this thread's CPU, so
that other jobs count little. Both kinds take turns in one process, in runs of five milliseconds or of one step, and the
shortest counts. Writes the numbers, and their table into the page. Takes a few minutes.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.engine import results
from rtu_np import GRU, RTRL, TBPTT, MinGRU, TDLambda, VanillaRNN, from_step
from rtu_np.cells.layer import Cell, GradientMethod
from rtu_np.files import replacing

SIZES = ((8, 4), (64, 32))  # units, inputs
_HEAD = "| cell | gradient |"


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rnn(params, h, x):
    h = np.tanh(x @ params["W_input"] + h @ params["W_recurrent"] + params["b"])
    return h, h


def init_rnn(d, n, rng):
    W = rng.standard_normal((d, n)) / np.sqrt(d)
    return {"W_input": W, "W_recurrent": np.linalg.qr(rng.standard_normal((n, n)))[0], "b": np.zeros(n)}


def gru(params, h, x):
    r_x, z_x, n_x = np.split(x @ params["W_input"] + params["b_input"], 3)
    r_h, z_h, n_h = np.split(h @ params["W_recurrent"] + params["b_recurrent"], 3)
    z = sigmoid(z_x + z_h)
    h = (1 - z) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h) + z * h
    return h, h


def init_gru(d, n, rng):
    shapes = {"W_input": (d, 3 * n), "W_recurrent": (n, 3 * n), "b_input": 3 * n, "b_recurrent": 3 * n}
    return {name: rng.uniform(-1, 1, shape) / np.sqrt(n) for name, shape in shapes.items()}


def min_gru(params, h, x):
    u, a = sigmoid(x @ params["W_z"] + params["b_z"]), x @ params["W_h"] + params["b_h"]
    h = (1 - u) * h + u * np.where(a >= 0, a + 0.5, sigmoid(a))
    return h, h


def init_min_gru(d, n, rng):
    W_z, W_h = rng.standard_normal((2, d, n)) / np.sqrt(d)
    return {"W_z": W_z, "W_h": W_h, "b_z": np.zeros(n), "b_h": np.zeros(n)}


def cells(name: str, n: int) -> tuple[Cell, Cell]:
    """(by hand, from one function)"""
    return {
        "MinGRU": lambda: (MinGRU(n), from_step(min_gru, n, None, init_min_gru, elementwise=True)),
        "VanillaRNN": lambda: (VanillaRNN(n), from_step(rnn, n, None, init_rnn)),
        "GRU": lambda: (GRU(n), from_step(gru, n, None, init_gru)),
    }[name]()


ROWS: tuple[tuple[str, str, GradientMethod], ...] = (
    ("MinGRU", "RTRL, `elementwise=True`", RTRL()),
    ("VanillaRNN", "RTRL", RTRL()),
    ("GRU", "RTRL", RTRL()),
    ("VanillaRNN", "T-BPTT(10)", TBPTT(10)),
    ("GRU", "T-BPTT(10)", TBPTT(10)),
)


def microseconds(name: str, gradient: GradientMethod, size: tuple[int, int], rounds: int) -> dict[str, float]:
    n, d = size
    rng = np.random.default_rng(0)
    learners = [TDLambda(cell, d, gradient=gradient, seed=0) for cell in cells(name, n)]
    x, c = rng.standard_normal((20_000, d)), rng.standard_normal(20_000)

    def seconds(learner: TDLambda, steps: int) -> float:
        start = time.thread_time()
        learner.run(x[:steps], c[:steps], progress=False)
        return (time.thread_time() - start) / steps

    for learner in learners:
        learner.run(x[:2], c[:2], progress=False)
    steps, one = 5, 0.0
    for _ in range(3):  # a call takes as long as some hundred small steps
        one = min(seconds(learners[0], steps) for _ in range(3))
        steps = int(np.clip(0.005 / one, 1, x.shape[0]))
    rounds = int(np.clip(5 / (one * steps), 10, rounds))
    pairs = [[1e6 * seconds(learner, steps) for learner in learners] for _ in range(rounds)]
    hand, own = (min(column) for column in zip(*pairs, strict=True))
    return {"by hand": hand, "from one function": own, "ratio": own / hand}


def first_step(name: str, which: int) -> None:
    """Print the seconds of CPU of a learner's first step in this process."""
    start = time.process_time()
    learner = TDLambda(cells(name, 8)[which], 4)
    learner.step(np.zeros(4), 0.0)
    print(time.process_time() - start)


def cold_seconds(name: str, which: int) -> float:
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--first", name, str(which)]
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout)


def measured(rounds: int) -> list[dict[str, Any]]:
    cold = {
        name: [min(cold_seconds(name, k) for _ in range(3)) for k in (0, 1)] for name in ("MinGRU", "VanillaRNN", "GRU")
    }
    rows = []
    for name, method, gradient in ROWS:
        row: dict[str, Any] = {"cell": name, "gradient": method}
        for size in SIZES:
            row[f"{size[0]} x {size[1]}"] = microseconds(name, gradient, size, rounds)
            print(row, file=sys.stderr, flush=True)
        if gradient == RTRL():
            row["cold"] = dict(zip(("by hand", "from one function"), cold[name], strict=True))
        rows.append(row)
    return rows


def _form(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    sizes = [f"{n} x {d}" for n, d in SIZES]
    heads = [f"{size}: by hand | from one function | ratio" for size in sizes]
    lines = [f"{_HEAD} {' | '.join(heads)} | first step: by hand | from one function |", "|---|---|" + "---|" * 8]
    for row in rows:
        times = [
            f"{_form(row[s]['by hand'])} | {_form(row[s]['from one function'])} | {row[s]['ratio']:.1f}" for s in sizes
        ]
        cold = [f"{row['cold'][k]:.1f} s" if "cold" in row else "" for k in ("by hand", "from one function")]
        lines.append(f"| {row['cell']} | {row['gradient']} | {' | '.join(times)} | {' | '.join(cold)} |")
    return "\n".join(lines)


def replaced(page: str, rows: list[dict[str, Any]]) -> str:
    """The page with this table in the place of the one that it has."""
    start = page.index(_HEAD)
    return page[:start] + table(rows) + page[page.index("\n\n", start) :]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", type=Path, help="write the numbers into this file")
    parser.add_argument("--page", type=Path, help="write the table into this page")
    parser.add_argument("--measured", type=Path, help="numbers to write, in place of measuring")
    parser.add_argument("--first", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.first:
        first_step(given.first[0], int(given.first[1]))
        return
    rows = json.loads(given.measured.read_text())["rows"] if given.measured else measured(given.rounds)
    print(table(rows))
    if given.json:
        page = {"command": shlex.join(["python", "benchmarks/own_cell.py", *arguments]), "seed": 0, "rows": rows}
        results.write(given.json, page)
    if given.page:
        text = replaced(given.page.read_text(encoding="utf-8"), rows)
        with replacing(given.page) as part:
            part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
