"""What a step costs: exact and truncated gradients, against the window's length and against the number of units.

Elelimy et al. 2024, Fig. 3, has two cases. On every step: temporal-difference learning, TD(lambda), on a stream, with
one update per step. In batches: proximal policy optimisation (PPO) on Ant without velocities. The gradients are
real-time recurrent learning (RTRL) and truncated backpropagation through time (T-BPTT). The cells are a recurrent trace
unit (RTU), a linear recurrent unit (LRU) and a gated recurrent unit (GRU).

Claim: on every step, the time of RTRL of an RTU does not depend on the length of the past, and the time of T-BPTT grows
with its window T. RTRL of a diagonal cell grows with n as its forward pass does. RTRL of a dense cell grows with the
fourth power of n. In batches, T-BPTT is slightly cheaper than RTRL.

Chosen here, since the paper does not give them: 32 inputs, 64 units if T varies, a window of 16 if n varies, float32,
stochastic gradient descent (SGD), a linear readout. The stream is noise, since the time does not depend on the learned
values. Each seed times every setting again, in ten stretches, and takes their median. Runs go one at a time, on one
core.

In batches, the agents are those of `experiments.ppo_agents`. A minibatch of 64 steps is divided into sequences of T
steps. The number is the time of an update, 4 epochs over 2048 steps, divided by these steps. The number does not
include the time of acting and of the robot.

`slope` against T is the microseconds that each step of the window adds (a straight line by least squares). `slope`
against n is the exponent over the three largest sizes.

Minutes on two cores: smoke 1, laptop 5, overnight 16 (estimated), paper 50 (estimated).
"""

from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np

import envs  # noqa: F401   registers the environments
from experiments import ppo_agents
from experiments.engine import plotting
from experiments.engine.curves import Shown, band
from experiments.engine.results import Config, Results
from rtu_np import GRU, LRU, PPO, RTRL, SGD, TBPTT, LinearRTU, TDLambda, ppo_network
from rtu_np.cells.layer import Cell, GradientMethod
from rtu_np.plot import COLOURS
from rtu_np.timing import seconds_per_step

CELLS = {"RTU": LinearRTU, "LRU": LRU, "GRU": GRU}
JOBS = 1  # a timed run runs alone
STRETCHES = 10
UNITS, INPUTS, WINDOW = 64, 32, 16
EXACT = 0  # stands for RTRL, which has no window
PANELS = {  # name of the axis, title
    "T": ("steps T of the window", f"on every step: {UNITS} units, {INPUTS} inputs"),
    "n": ("units n", f"on every step: {INPUTS} inputs; exponents over the three largest n"),
    "T in batches": ("steps T of a sequence", "PPO on Ant-P: time of an update by its steps"),
}


def _settings(
    windows: list[int],
    sizes: list[int],
    dense: list[int],
    steps: int,
    batch: list[dict[str, Any]],
    cells: Iterable[str] = CELLS,
) -> list[dict[str, Any]]:
    """All settings of a preset. RTRL of a GRU is timed at the sizes `dense` only, since larger ones take too long."""

    def setting(cell: str, against: str, n: int = UNITS, window: int = WINDOW) -> dict[str, Any]:
        # A setting with long steps has fewer of them.
        longer = n**4 / 2e4 if cell == "GRU" and window == EXACT else max(window, 1) * n / UNITS
        stretch = max(int(steps / longer), 2)
        return {"cell": cell, "against": against, "n": n, "d": INPUTS, "window": window, "steps": STRETCHES * stretch}

    against_T = [setting(cell, "T", window=window) for cell in cells for window in (EXACT, *windows)]
    against_n = [
        setting(cell, "n", n=n, window=window)
        for cell in cells
        for window in (EXACT, WINDOW)
        for n in (dense if cell == "GRU" and window == EXACT else sizes)
    ]
    return against_T + against_n + batch


def _batch(windows: list[int], updates: int, sizes: dict[str, int], rollout: int) -> list[dict[str, Any]]:
    """The settings of PPO. They omit RTRL of a GRU, which would store 13 GB."""
    # The name of a run's folder is a hash of its settings, so these words stay if PPO renames an argument.
    return [
        {"cell": cell, "against": "T in batches", "n": n, "window": window, "updates": updates, "rollout": rollout}
        for cell, n in sizes.items()
        for window in ([EXACT] if cell != "GRU" else []) + windows
    ]


_LAPTOP = _settings(
    [2**k for k in range(9)],
    [2**k for k in range(3, 10)],
    [8, 16, 32, 64],
    2000,
    _batch([2**k for k in range(7)], 3, ppo_agents.UNITS, 2048),
)
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        # Few networks, since each is compiled. PPO learns by T-BPTT here, and by RTRL in `smoke` of fig04 to fig06.
        "settings": _settings([1, 4], [4, 8, 16], [4, 8, 16], 20, _batch([4], 1, {"RTU": 8}, 256)[1:], ["RTU", "GRU"]),
        "seeds": range(1),
    },
    "laptop": {"settings": _LAPTOP, "seeds": range(3)},
    "overnight": {"settings": _LAPTOP, "seeds": range(10)},
    "paper": {"settings": _LAPTOP, "seeds": range(30)},
}


def run(config: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Microseconds per step of each stretch, or of each update."""
    gradient = TBPTT(config["window"]) if config["window"] else RTRL()
    cell = CELLS[config["cell"]](config["n"])
    if config["against"] == "T in batches":
        return {"microseconds": _updates(cell, gradient, config["rollout"], config["updates"], seed)}
    learner = TDLambda(cell, config["d"], optimizer=SGD(1e-6), gradient=gradient, seed=seed, dtype="float32")
    n_steps = config["steps"] // STRETCHES
    seconds_per_step(learner, config["window"] + 1)  # compiles the learner, and fills its window
    microseconds = []
    for _ in range(STRETCHES):
        microseconds.append(seconds_per_step(learner, n_steps) * 1e6)
    return {"microseconds": np.array(microseconds)}


def _updates(cell: Cell, gradient: GradientMethod, rollout: int, updates: int, seed: int) -> np.ndarray:
    """Microseconds of each update, divided by its rollout's steps. The first update waits for memory and is omitted."""
    env = gymnasium.make("rtu_np/Ant-P-v0", disable_env_checker=True)
    agent = PPO(
        env, ppo_network(cell), gradient=gradient, n_steps=rollout, n_minibatches=rollout // 64, threads=1, seed=seed
    )
    seconds = []
    for _ in range(updates + 1):
        agent.learn(env, rollout, progress=False, log=None)
        seconds.append(agent.diagnostics()["seconds"])
    env.close()
    return np.array(seconds[1:]) / rollout * 1e6


def _method(config: dict[str, Any]) -> str:
    if config["window"] == EXACT:
        return f"{config['cell']}, RTRL"
    return f"{config['cell']}, T-BPTT" + (f"({config['window']})" if config["against"] == "n" else "")


def label(config: dict[str, Any]) -> str:
    return f"{_method(config)}, {config['n']} units, T = {config['window']}, against {config['against']}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    return f"{np.median(arrays['microseconds']):.2f} us per step"


def _x(config: Config) -> int:
    """Where the point of a setting stands on its axis. RTRL has one number for all T, and stands at T = 0."""
    return config["n"] if config["against"] == "n" else config["window"]


def _medians(runs: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The microseconds of each seed."""
    return np.array([np.median(arrays["microseconds"]) for arrays in runs])


def _lines(points: list[tuple[str, str, int, Any]]) -> dict[tuple[str, str], dict[int, Any]]:
    """{(against, method): {x: point}} of points (against, method, x, point)."""
    out: dict[tuple[str, str], dict[int, Any]] = {}
    for against, method, x, point in points:
        out.setdefault((against, method), {})[x] = point
    return out


def _slope(against: str, x: np.ndarray, y: np.ndarray) -> float:
    if x.size == 1:
        return 0.0
    if against == "n":
        return float(np.polyfit(np.log(x[-3:]), np.log(y[-3:]), 1)[0])
    return float(np.polyfit(x, y, 1)[0])


def score(results: Results) -> dict[str, dict[str, float]]:
    """{curve: numbers}: microseconds at the smallest and the largest T or n, and the slope between."""
    table = {}
    measured = [(config["against"], _method(config), _x(config), _medians(runs)) for config, runs in results]
    for (against, method), points in _lines(measured).items():
        x, y = np.array(list(points)), np.array([samples.mean() for samples in points.values()])
        table[f"{method}, against {against}"] = {
            "from": float(x[0]),
            "to": float(x[-1]),
            "us, smallest": float(y[0]),
            "us, largest": float(y[-1]),
            "slope": _slope(against, x, y),
            "seeds": len(results[0][1]),
        }
    return table


def curves(results: Results) -> Shown:
    """What the figure shows."""
    return [_shown(config, runs) for config, runs in results]


def _shown(config: Config, runs: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """What the figure shows of a setting: a point."""
    place = {"against": config["against"], "method": _method(config), "x": _x(config)}
    return {**place, "us per step": band(_medians(runs))}


def draw_curves(shown: Shown) -> Any:
    """Time per step against T, against n, and against T in batches."""
    drawn = _lines([(each["against"], each["method"], each["x"], each["us per step"]) for each in shown])
    panels = list(dict.fromkeys(against for against, _ in drawn))
    figure, axes = plotting.panels(len(panels), 1, 2.3, foot=0.3)
    ax_of = dict(zip(panels, axes.flat, strict=True))
    colour, marker = dict(zip(CELLS, COLOURS, strict=False)), dict(zip(CELLS, "os^", strict=True))
    windows = {
        against: sorted({x for (a, _), points in drawn.items() if a == against for x in points}) for against in panels
    }
    for (against, method), points in drawn.items():
        cell, ax = method.split(",")[0], ax_of[against]
        x, bands = list(points), list(points.values())
        exact = method.endswith("RTRL")
        flat = exact and against != "n"
        if flat:
            x = [T for T in windows[against] if T != EXACT]
            bands = bands * len(x)
        slope = _slope(against, np.array(list(points)), np.array([each.mean[0] for each in points.values()]))
        text = f"{method}: " + (f"n^{slope:.2f}" if against == "n" else "flat" if flat else f"{slope:.2f} us per T")
        line: dict[str, Any] = {
            "color": colour[cell],
            "marker": marker[cell],
            "markersize": 4,
            "linestyle": "-" if exact else "--",
        }
        plotting.band_points(ax, x, bands, label=text, **line)
    for against, ax in ax_of.items():
        name, title = PANELS[against]
        ax.set(xscale="log", yscale="log", xlabel=name, ylabel="us per step", title=title)
        ax.set_xscale("log", base=2)
        plotting.plain_numbers(ax)
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    plotting.headline(figure, "What a step of learning costs, float32", shown[0]["seeds"])
    return figure
