"""Error under limits on time and size: exact RTRL of an RTU beside truncated BPTT of LRU and GRU.

Elelimy et al. 2024, Fig. 2, trace conditioning. a: the window T grows, and the number of units is cut so that the
operations per step stay those of the RTU. b: the same number of units for all, so that the operations grow with T.
c: T is fixed beyond the ISI, sizes grow, operations per step are the RTU's. d: the same T, equal numbers of parameters,
operations as they come.

Claim: at equal compute the RTU's error is below those of LRU and GRU at every T; where compute is free, the LRU catches
up in the end and the GRU does not. The LRU with RTRL is extra here: it tells what the cell does from what the gradient
does.

Not published, and chosen here: ISI 10, so that a US comes at most 13 steps after its CS and T = 16 sees it all; linear
RTU with tanh; LRU with a tanh projection of its own width; phases of both from (0, 1]; TD(.9), Adam with beta2 .9999,
float32. Operations are counted by `rtu_np.flops` for the cell (the readout's are few, and alike); sizes are the largest
that do not exceed the RTU's operations or, in d, its parameters, and at least one unit. Step sizes are chosen for each
point, on seeds of their own. `laptop` has at most 64 units in c and d, and 300,000 steps.

Minutes on two cores: smoke 0.5, laptop 26, overnight 150 (estimated), paper 390 (estimated).
"""

from collections.abc import Callable
from typing import Any

from experiments import prediction
from experiments.engine.results import Config, Results
from experiments.prediction import describe, label, largest, parameters, run, score
from rtu_np import GRU, LRU, RTRL, TBPTT, LinearRTU, flops
from rtu_np.cells.layer import Cell

__all__ = ["PRESETS", "describe", "label", "plot", "run", "score"]

INPUTS = 12
WINDOW = 16  # beyond the longest ISI of 13
A, B, C, D = "a: equal operations", "b: equal units", "c: equal operations, T = 16", "d: equal parameters, T = 16"
X_LABELS = {
    A: "steps T of the window",
    B: "steps T of the window",
    C: "operations per step",
    D: "parameters of the cell",
}


def rtu(n: int) -> Cell:
    return LinearRTU(n, "tanh", max_phase=1.0)


def lru(n: int) -> Cell:
    return LRU(n, activation="tanh", max_phase=1.0)


def settings(units: int, same: int, sizes: list[int], windows: list[int], steps: int) -> list[Config]:
    """units: of the RTU in a. same: of all cells in b. sizes: of the RTU in c and d."""
    budget = flops(rtu(units), INPUTS)
    against = {"LRU, T-BPTT": lru, "GRU, T-BPTT": GRU}
    out: list[Config] = []

    def add(panel: str, method: str, x: Any, cell: Cell, gradient: Any) -> None:
        place = {"panel": panel, "method": method, "x": x}
        out.append(prediction.setting(cell, gradient, steps=steps, **place))

    def n_parameters(cell: Cell) -> int:
        return parameters(cell, INPUTS)

    def within(make: Callable[[int], Cell], budget: int, gradient: Any) -> Cell:
        return largest(make, budget, lambda cell: flops(cell, INPUTS, gradient))

    add(A, "RTU, RTRL", None, rtu(units), RTRL())
    add(A, "LRU, RTRL", None, within(lru, budget, RTRL()), RTRL())
    add(B, "RTU, RTRL", None, rtu(same), RTRL())
    add(B, "LRU, RTRL", None, lru(same), RTRL())
    for T in windows:
        for method, make in against.items():
            add(A, method, T, within(make, budget, TBPTT(T)), TBPTT(T))
            add(B, method, T, make(same), TBPTT(T))
    for n in sizes:
        budget, size = flops(rtu(n), INPUTS), parameters(rtu(n), INPUTS)
        add(C, "RTU, RTRL", budget, rtu(n), RTRL())
        add(C, "LRU, RTRL", budget, within(lru, budget, RTRL()), RTRL())
        add(D, "RTU, RTRL", size, rtu(n), RTRL())
        add(D, "LRU, RTRL", size, largest(lru, size, n_parameters), RTRL())
        for method, make in against.items():
            if flops(make(1), INPUTS, TBPTT(WINDOW)) <= budget:
                add(C, method, budget, within(make, budget, TBPTT(WINDOW)), TBPTT(WINDOW))
            add(D, method, size, largest(make, size, n_parameters), TBPTT(WINDOW))
    return out


_WINDOWS = [1, 2, 4, 8, 12, 16, 24, 32]
_SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "settings": settings(4, 2, [4], [1, 4], 2000),
        "tuning": {"step_sizes": [1e-3, 3e-3], "seeds": range(1000, 1001)},
        "seeds": range(2),
    },
    "laptop": {
        "settings": settings(64, 8, _SIZES[:-1], _WINDOWS, 300_000),
        "tuning": {"step_sizes": [3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(6),
    },
    "overnight": {
        "settings": settings(64, 16, _SIZES, _WINDOWS, 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(10),
    },
    "paper": {
        "settings": settings(64, 16, _SIZES, _WINDOWS, 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1004)},
        "seeds": range(30),
    },
}


def plot(results: Results) -> Any:
    """Four panels: MSRE against T, operations and parameters."""
    return prediction.plot(results, X_LABELS, "Trace conditioning, ISI 10", columns=2)
