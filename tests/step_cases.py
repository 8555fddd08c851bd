"""Steps for `from_step`: those of the benchmark, which the package also has by hand, and others with all operations."""

import sys
from pathlib import Path

import numpy as np

from rtu_np import from_step

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import own_cell
from own_cell import sigmoid


def lstm(params, state, x):
    """Two arrays in the state, an output of another width, and all units seeing all others."""
    i, f, g, o = np.split(x @ params.W + state.h @ params.V + params.b, 4)
    c = state.c / (1 + np.exp(-f)) + sigmoid(i) * np.tanh(g)
    h = np.tanh(c) * sigmoid(o)
    return {"h": h, "c": c}, h @ params.C


def init_lstm(d, n, rng):
    if n > 4:
        raise ValueError("no larger one")  # full RTRL in plain Python takes long
    W, V = rng.standard_normal((d, 4 * n)), rng.standard_normal((n, 4 * n)) / n
    return {"W": W, "V": V, "b": rng.standard_normal(4 * n) / 9, "C": rng.standard_normal((n, 2))}


def own_lstm(params, state, x):
    """Two arrays in the state of units that do not see one another; the output mixes them."""
    i, f, g = np.split(x @ params["W"] + params["b"], 3)
    c = state["c"] * sigmoid(f + params["w"] * state["h"]) + sigmoid(i) * np.tanh(g)
    h = np.tanh(c) * params["o"] + 0.2 * state["h"]
    return (h, c), np.tanh(h @ params["C"])


def init_own_lstm(d, n, rng):
    W, C = rng.standard_normal((d, 3 * n)), rng.standard_normal((n, 5))
    return {"W": W, "b": rng.standard_normal(3 * n), "w": rng.standard_normal(n), "o": rng.standard_normal(n), "C": C}


MASK = np.tri(4)


def mixed(params, h, x, h_next, y):
    """In place. Kinks, sums, parts, joined vectors, a number for all units, rows, constants, both ways to multiply."""
    m = np.maximum(h, 0.1 * h) * params.a
    q = np.where(x[0] > 0.1, params.W.T @ x, np.abs(m)).mean()
    z = np.concatenate([x[:2], h]) @ params.E
    z += h @ MASK
    part = np.zeros_like(h)
    part[:2] = np.clip(h[2:], -0.5, 2.0)
    part[2:] = np.logaddexp(h[:2], x[:2]) ** 3
    h_next[:] = np.tanh(z * q - m / (2 + h**2) + params.W[1] + params.u @ params.W * part)
    y[0] = (h_next * z).sum() + params.a**2
    y[1:] = x[:2] * h_next[0] + np.sign(h[1]) * np.log1p(np.square(h[:2]))


def init_mixed(d, n, rng):
    if n != 4:
        raise ValueError("four units alone")
    W, E = rng.standard_normal((d, n)), rng.standard_normal((2 + n, n)) / 2
    return {"a": 0.7, "W": W, "E": E, "u": rng.standard_normal(d)}


def loops(params, h, x, h_next, y):
    """Number by number."""
    for i in range(len(h)):
        z = params.b[i]
        for j in range(len(x)):
            z += x[j] * params.W[j, i]
        h_next[i] = np.tanh(z + params.b[i] * h[i])
        y[i] = h_next[i]


def init_loops(d, n, rng):
    return {"W": rng.standard_normal((d, n)), "b": rng.standard_normal(n)}


CELLS = {
    "MinGRU": own_cell.cells("MinGRU", 4)[1],
    "VanillaRNN": own_cell.cells("VanillaRNN", 4)[1],
    "lstm": from_step(lstm, 3, 2, init_lstm, state=("h", "c")),
    "own lstm": from_step(own_lstm, 4, 5, init_own_lstm, elementwise=True, state=("h", "c")),
    "mixed": from_step(mixed, 4, 3, init_mixed),
    "loops": from_step(loops, 3, init=init_loops, elementwise=True),
}
