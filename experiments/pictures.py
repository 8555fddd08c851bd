"""The pictures of docs/derivations.md: python -m experiments.pictures [--output FOLDER]

Numbers in a picture are the package's own, of a layer in plain Python. They stand in the file, too, as JSON in its
description, so a test can compare them. Text is drawn as paths, on white, so a picture looks the same on any page.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiments.engine import plotting
from rtu_np import RTRL, TBPTT, Dense, LinearRTU, Stack, VanillaRNN, files, protocol
from rtu_np.cells.layer import Cell, GradientMethod, Layer
from rtu_np.commands import exit_code
from rtu_np.gradcheck.layers import plain_python
from rtu_np.numerics.buffers import leaves, size
from rtu_np.plot import COLOURS

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
BLUE, ORANGE, FAINT = COLOURS[0], COLOURS[6], "0.72"
Picture = tuple[Any, dict[str, Any]]  # the figure, and the numbers in it


class PlainLayer(Layer):
    """A layer of which nothing is compiled."""

    compiled = staticmethod(plain_python)


def run(cell: Cell, inputs: np.ndarray, gradient: GradientMethod, **parameters: Any) -> Layer:
    """A layer after these inputs (steps, d), with some parameters set."""
    layer = PlainLayer(cell, inputs.shape[1], gradient, 0, "float64")
    for name, values in parameters.items():
        layer.parameters[name][:] = values
    for x in inputs:
        layer.advance(x)
    return layer


def noise(steps: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((steps, d))


def arrow(ax: Any, start: tuple[float, float], end: tuple[float, float], colour: str = "0.3", **line: Any) -> None:
    """An arrow that ends short of what stands at its ends."""
    gap = line.pop("gap", 9)
    shape = {"arrowstyle": "-|>", "color": colour, "shrinkA": gap, "shrinkB": gap, "linewidth": 1.3, **line}
    ax.annotate("", end, start, arrowprops=shape)


def blank(ax: Any, width: float, height: float) -> None:
    """An empty place to draw on, from (0, 0) to (width, height)."""
    ax.set_axis_off()
    ax.set(xlim=(0, width), ylim=(0, height))


# ---------------------------------------------------------------------------------------------------- the pictures


def plane() -> Picture:
    """A unit without input: its state in the complex plane, and the same step as a real 2 x 2 matrix."""
    r, theta, steps = 0.9, 0.5, 24
    start = {"nu_log": np.log(-np.log(r)), "theta_log": np.log(theta), "W1": 1.0, "W2": 0.0}
    states = []
    for n in range(1, steps + 1):
        layer = run(LinearRTU(1, "identity"), np.eye(steps)[:n, :1], RTRL(dense=True), **start)
        states.append(np.concatenate([*layer.state.values()]))
    J = protocol.memory(layer.spec, layer._memory)[0].J[:2, :2]  # behind them is padding
    c = np.array(states) / np.hypot(*states[0])
    figure, ((left, right),) = plotting.panels(2, 2, 3.4, foot=0.2)
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200))
    for ax, name in ((left, "complex: times $\\lambda = r\\,e^{i\\theta}$"), (right, "real: times a 2 x 2 matrix")):
        ax.plot(circle.real, circle.imag, color=FAINT, linewidth=0.8)
        ax.axhline(0, color=FAINT, linewidth=0.6)
        ax.axvline(0, color=FAINT, linewidth=0.6)
        ax.set(aspect="equal", xlim=(-1.2, 1.35), ylim=(-1.2, 1.2), title=name)
        ax.set_xticks([-1, 0, 1])
        ax.set_yticks([-1, 0, 1])
    left.plot(*c.T, "o-", color=BLUE, markersize=3.5, linewidth=0.8)
    for k in range(3):
        left.annotate(f"$c_{k}$", c[k], xytext=(5, 4), textcoords="offset points", fontsize=9)
    turn = 0.35 * np.exp(1j * np.linspace(0, theta, 30))
    left.plot(turn.real, turn.imag, color=ORANGE)
    left.text(0.4, 0.05, "$\\theta$", color=ORANGE)
    left.plot([0, c[1, 0]], [0, c[1, 1]], color=ORANGE, linewidth=0.8)
    left.text(*(0.6 * c[1] + [-0.1, 0.06]), "$r$", color=ORANGE)
    left.set(xlabel="real part, $c_1$", ylabel="imaginary part, $c_2$")
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) / np.sqrt(2)
    right.plot(*square.T, color="0.4", linestyle="--", linewidth=1)
    right.fill(*(square @ J.T).T, color=BLUE, alpha=0.25)
    right.plot(*(square @ J.T).T, color=BLUE)
    for row, sign in zip(J, (0.34, 0.1), strict=True):
        text = f"( {row[0]:.2f}  {row[1]:.2f} )".replace("-", "\N{MINUS SIGN}")
        right.text(-1.12, -1.1 + sign, text, fontsize=9, family="monospace")
    right.text(-1.12, -0.52, "rows (g, \N{MINUS SIGN}p) and (p, g):", fontsize=8)
    right.set(xlabel="$c_1$", ylabel="$c_2$")
    return figure, {"r": r, "theta": theta, "J": J.tolist(), "states": c.tolist()}


def step() -> Picture:
    """One step of TD(lambda), line by line: what each reads, and what it leaves for the next step."""
    figure, ((ax,),) = plotting.panels(1, height=3.9, foot=0.1)
    blank(ax, 10, 6)
    boxes = {
        "x": (0.9, 5.3, "$x_t$"),
        "c": (0.9, 4.2, "$c_{t-1}$"),
        "e": (0.9, 3.1, "$e_{t-1}$"),
        "y": (5.4, 5.75, "$y_{t-1}$"),
        "z": (0.9, 0.9, "$z_{t-1}$"),
        "1c": (3.0, 4.75, "1  $c_t$, $y_t$  (4)"),
        "1e": (3.0, 3.1, "1  $e_t$  (11)"),
        "2v": (5.4, 4.75, "2  $v_t$, $v_{t-1}$"),
        "2d": (8.2, 4.75, "2  $\\delta_t$  (18)"),
        "3": (5.4, 3.1, "3  $\\partial v_t / \\partial y_t$"),
        "4": (8.2, 2.55, "4  $w \\leftarrow w + \\eta(\\delta_t)\\, z_{t-1}$  (19)"),
        "5": (8.2, 0.9, "5  $z_t = \\gamma_t \\lambda\\, z_{t-1} + \\nabla v_t$  (20)"),
        "C": (8.2, 5.75, "$C_t$, $\\gamma_t$"),
    }
    for name, (x, y, text) in boxes.items():
        stored = name in "xceyzC"
        edge = {"facecolor": "#eef3f8" if not stored else "white", "edgecolor": "0.4", "linewidth": 0.9}
        ax.text(x, y, text, ha="center", va="center", fontsize=9, bbox={"boxstyle": "round,pad=0.35", **edge})
    reads = {
        "1c": "xc",
        "1e": "ce",
        "2v": ("1c", "y"),
        "2d": ("2v", "C"),
        "3": ("2v",),
        "4": ("2d", "z"),
        "5": ("z", "1e", "3"),
    }
    sides = {"2v": 0.58, "1c": 0.66, "1e": 0.58, "3": 0.55, "4": 1.24, "5": 1.24, "2d": 0.6}  # half a box's width
    for end, starts in reads.items():
        for begin in starts:
            (x0, y0, _), (x1, y1, _) = boxes[begin], boxes[end]
            late = begin == "z" and end == "4"
            if abs(x1 - x0) < 0.1:
                arrow(ax, (x0, y0), (x1, y1), gap=14)
                continue
            start = (x0, y0 - 0.25) if begin == "3" else (x0 + sides.get(begin, 0.3), y0)
            arrow(ax, start, (x1 - sides[end], y1), ORANGE if late else "0.3", gap=2, linewidth=2 if late else 1.2)
    ax.text(0.1, 0.1, "white: what is there; blue: the five lines", fontsize=8, color="0.35")
    why = "4 comes before 5: $\\delta_t$ is the error of $v_{t-1}$, so it meets the traces up to $t-1$"
    ax.text(9.9, 0.1, why, ha="right", fontsize=8, color=ORANGE)
    return figure, {}


def sensitivities() -> Picture:
    """S of full RTRL after some steps: of a vanilla RNN, and of an RTU with as many numbers in its state."""
    d, steps = 3, 20
    figure, axes = plotting.panels(2, 1, 1.65, foot=0.5)
    numbers: dict[str, Any] = {}
    cells: dict[str, Cell] = {"vanilla RNN, 8 units": VanillaRNN(8), "linear RTU, 4 units": LinearRTU(4, "tanh")}
    for ax, (name, cell) in zip(axes.flat, cells.items(), strict=True):
        layer = run(cell, noise(steps, d), RTRL(dense=True))
        places = leaves(protocol.parameters(layer.spec, np.arange(layer._params.size, dtype=float))[0])
        n = cell.spec(d).n_hidden
        of_unit = [np.concatenate([v.reshape(-1, n)[:, k] for v in places.values()]) for k in range(n)]
        order = np.concatenate(of_unit).astype(int)
        S = np.abs(protocol.memory(layer.spec, layer._memory)[0].S[:, order])
        rows = np.argsort(np.tile(np.arange(n), len(S) // n), kind="stable")  # a unit's two numbers are neighbours
        S = S[rows]
        shown = np.where(S > 0, np.log10(np.maximum(S, 1e-4)), np.nan)
        drawn = ax.imshow(shown, aspect="auto", cmap="viridis", vmin=-4, vmax=0.5, interpolation="nearest")
        nonzero = int((S > 0).sum())
        ax.set(ylabel="state", xlabel="parameters, unit by unit", xticks=[], yticks=[])
        text = f"{name}: {nonzero} of {S.size} sensitivities differ from zero"
        if isinstance(cell, LinearRTU):  # it stores one complex number for each pair of weights, (14)
            spec = cell.spec(d)
            flat = np.zeros(size(protocol.stored_sensitivities, spec))
            stored = sum(v.size for v in leaves(protocol.stored_sensitivities(spec, flat)[0]).values())
            text += f", and {stored} are stored"
            numbers["stored"] = stored
        ax.set_title(text)
        for edge in range(1, n):
            ax.axvline(edge * len(order) / n - 0.5, color="0.8", linewidth=0.6)
        numbers[name] = {
            "shape": S.shape,
            "nonzero": nonzero,
            "log10": np.nan_to_num(shown, nan=-9.0).round(3).tolist(),
        }
    figure.colorbar(drawn, ax=axes.ravel().tolist(), label="log10 of the magnitude; white is zero", pad=0.02)
    return figure, numbers


def both_ways() -> Picture:
    """The same gradient forward and backward: the arrows, and T-BPTT(T) as T grows."""
    steps, dy = 24, [1.0, 0.0]
    settings = {"nu_log": np.log(-np.log(0.9)), "theta_log": np.log(0.3)}
    exact = run(LinearRTU(1, "identity"), noise(steps, 1), RTRL(), **settings).gradient(dy)["nu_log"][0]
    truncated = [
        run(LinearRTU(1, "identity"), noise(steps, 1), TBPTT(T), **settings).gradient(dy)["nu_log"][0]
        for T in range(1, steps + 1)
    ]
    figure, ((top,), (below,)) = plotting.panels(2, 1, 2.0, foot=0.2)
    blank(top, 10, 3)
    for k in range(6):
        x = 1.6 + 1.35 * k
        late = "$c_t$" if k == 5 else f"$c_{{t-{5 - k}}}$"
        top.text(x, 1.5, late, ha="center", va="center", fontsize=9)
        if k < 5:
            arrow(top, (x, 1.5), (x + 1.35, 1.5), "0.5", gap=13)
            arrow(top, (x, 2.35), (x + 1.35, 2.35), BLUE, gap=3, linewidth=1.8)
            arrow(top, (x + 1.35, 0.65), (x, 0.65), ORANGE, gap=3, linewidth=1.8)
    top.text(9.0, 1.5, "$v_t$", ha="center", va="center", fontsize=9)
    arrow(top, (8.35, 1.5), (9.0, 1.5), "0.5", gap=9)
    top.text(0.1, 2.72, "RTRL: $e$ goes forward with the state; the past is not stored", color=BLUE, fontsize=9)
    top.text(0.1, 0.08, "BPTT: $a$ goes back from $v_t$ over steps that were stored", color=ORANGE, fontsize=9)
    windows = np.arange(1, steps + 1)
    below.step(windows, truncated, where="mid", color=ORANGE, label="backward over the last T steps, T-BPTT(T)")
    below.axhline(exact, color=BLUE, label="forward, RTRL")
    below.axhline(0, color=FAINT, linewidth=0.6)
    below.set(xlabel="steps T that are gone back", ylabel="$d c_1 / d \\nu^{\\log}$", xlim=(0.5, steps + 0.5))
    below.set_title(f"one unit after {steps} inputs, r = 0.9: backward over all steps is forward")
    below.legend(loc="upper right")
    return figure, {"RTRL": exact, "T-BPTT": truncated}


def labels() -> Picture:
    """What each kind of gradient carries, in two layers over four steps."""
    off = _errors()
    figure, axes = plotting.panels(6, 3, 2.2, foot=0.1)
    for ax, (name, (text, carried, left_out)) in zip(axes.flat, _KINDS.items(), strict=False):
        blank(ax, 5.6, 4.6)
        for one, other in _ARROWS:
            style = (BLUE, "-", 2.0) if (one, other) in carried else (ORANGE, ":", 1.6)
            if (one, other) not in carried and (one, other) not in left_out:
                style = (FAINT, "-", 0.8)
            arrow(ax, _place(one), _place(other), style[0], linestyle=style[1], linewidth=style[2], gap=5.5)
        for name_of, colour in _NODES.items():
            ax.plot(*_place(name_of), "o", color=colour, markersize=6)
        ax.text(*np.add(_place("v"), (0.2, 0.05)), "$v_t$", fontsize=8.5)
        error = f"; off by {100 * off[name]:.0f} %" if name in off else ""
        ax.set_title(name)
        ax.text(0, -0.1, text + error, fontsize=8, va="top")
    last = axes.flat[5]
    blank(last, 5.6, 4.6)
    lines = ((BLUE, "-", "carried"), (ORANGE, ":", "left out"), (FAINT, "-", "not the way of these parameters"))
    for k, (colour, dash, text) in enumerate(lines):
        last.plot([0, 0.8], [3.6 - 0.7 * k] * 2, color=colour, linestyle=dash, linewidth=2)
        last.text(1.0, 3.6 - 0.7 * k, text, va="center", fontsize=8)
    for k, text in enumerate(
        ("from below: input, lower layer,", "upper layer; from left: steps", "t - 3 to t. Off: from full RTRL")
    ):
        last.text(0, 1.5 - 0.5 * k, text, fontsize=8)
    return figure, off


def _place(node: str) -> tuple[float, float]:
    """Where a node stands: x3 is the input three steps ago, l0 the lower layer now, u0 the upper one, v the value."""
    if node == "v":
        return 4.6, 4.2
    return 0.4 + 1.3 * (3 - int(node[1])), {"x": 0.5, "l": 1.8, "u": 3.1}[node[0]]


_STEPS = (3, 2, 1, 0)
_NODES = {f"{layer}{k}": "0.35" for layer in "xlu" for k in _STEPS} | {"v": "0.35"}
_IN = {(f"x{k}", f"l{k}") for k in _STEPS}
_UP = {(f"l{k}", f"u{k}") for k in _STEPS}
_LOW = {(f"l{k}", f"l{k - 1}") for k in (3, 2, 1)}
_HIGH = {(f"u{k}", f"u{k - 1}") for k in (3, 2, 1)}
_OUT = {("u0", "v")}
_ARROWS = sorted(_IN | _UP | _LOW | _HIGH | _OUT)
_KINDS: dict[str, tuple[str, set, set]] = {  # {label: (whose gradient, arrows carried, arrows left out)}
    "exact": ("readout: no past", _OUT, set()),
    "exact for fixed parameters": ("recurrent layer, RTRL", _OUT | _HIGH, set()),
    "truncated": ("recurrent layer, T-BPTT(2)", _OUT | {("u1", "u0")}, _HIGH - {("u1", "u0")}),
    "layer-local": ("layer below, RTRL", _OUT | _LOW | {("l0", "u0")}, _HIGH | (_UP - {("l0", "u0")})),
    "one-step": (
        "encoder",
        _OUT | {("x0", "l0"), ("l0", "u0")},
        _HIGH | (_UP - {("l0", "u0")}) | (_IN - {("x0", "l0")}),
    ),
}


def _errors() -> dict[str, float]:
    """{label: distance to full RTRL, relative to it} of the gradient by the parameters that the label is about."""
    inputs = noise(30, 3)
    layers: dict[str, tuple[Cell, GradientMethod, str]] = {
        "exact for fixed parameters": (Stack((Dense(4, "tanh"), LinearRTU(4, "tanh"))), RTRL(), "1."),
        "truncated": (Stack((Dense(4, "tanh"), LinearRTU(4, "tanh"))), TBPTT(2), "1."),
        "layer-local": (Stack((LinearRTU(4, "tanh"), LinearRTU(4, "tanh"))), RTRL(), "0."),
        "one-step": (Stack((Dense(4, "tanh"), LinearRTU(4, "tanh"))), RTRL(), "0."),
    }
    found = {}
    for label, (cell, gradient, block) in layers.items():
        both = []
        for method in (gradient, RTRL(dense=True)):
            by_name = run(cell, inputs, method).gradient(np.ones(8))
            both.append(np.concatenate([v.ravel() for name, v in by_name.items() if name.startswith(block)]))
        found[label] = float(np.linalg.norm(both[0] - both[1]) / np.linalg.norm(both[1]))
    return found


PICTURES: dict[str, Callable[[], Picture]] = {
    "plane": plane,
    "step": step,
    "sensitivities": sensitivities,
    "both-ways": both_ways,
    "labels": labels,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib in the style of figures, with text as paths and the same bytes each time."""
    import matplotlib as mpl

    with plotting.style(), mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "rtu_np"}):
        yield


def save(picture: Picture, path: Path) -> None:
    """Write a picture as SVG, with its numbers in the description."""
    import matplotlib.pyplot as plt

    figure, numbers = picture
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None, "Description": json.dumps(numbers)})
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="python -m experiments.pictures", description=__doc__)
    top.add_argument("--output", type=Path, default=FOLDER, help="the folder of the pictures")
    arguments = top.parse_args(argv)
    with style():
        for name, draw in PICTURES.items():
            save(draw(), arguments.output / f"{name}.svg")
            print(arguments.output / f"{name}.svg")
    return 0


if __name__ == "__main__":
    plotting.without_display()
    sys.exit(exit_code(main))
