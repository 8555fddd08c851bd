"""Error under limits on time and size: an exact gradient next to truncated ones.

Elelimy et al. 2024, Fig. 2, trace conditioning. A recurrent trace unit (RTU) with exact real-time recurrent learning
(RTRL) is compared with a linear recurrent unit (LRU) and a gated recurrent unit (GRU) with truncated backpropagation
through time (T-BPTT).

    a   the window T grows; the number of units shrinks, so that the operations per step stay those of the RTU
    b   all cells have the same number of units, so that the operations grow with T
    c   T is fixed, and longer than any inter-stimulus interval (ISI); sizes grow; the operations per step are the RTU's
    d   T is the same as in c; all cells have the same number of parameters; operations have no limit

Claim: at equal compute the RTU's error is below those of LRU and GRU at every T. If compute is free, the LRU catches up
in the end, and the GRU does not. The LRU with RTRL is an addition: it separates the effect of the cell from the effect
of the gradient.

Chosen here, since the paper does not give them: ISI 10; linear RTU with tanh; LRU with a tanh projection as wide as its
units; phases of both from (0, 1]; temporal-difference learning, TD(.9); Adam with beta2 .9999; float32. With ISI 10 an
unconditioned stimulus (US) comes at most 13 steps after its conditioned stimulus (CS), so T = 16 reaches the CS.

`rtu_np.flops` counts the operations of the cell. The readout has few operations, and about as many for each cell. Sizes
are the largest that do not exceed the RTU's operations or, in d, its parameters, and at least one unit. An LRU with
T-BPTT is counted with its output at each step of the window, as it was computed when the sizes were chosen. It is now
computed once, so at equal operations an LRU could be larger than here. The step size of each point is chosen on seeds
that are not reported. `laptop` has at most 64 units in c and d, and 300,000 steps.

Minutes on two cores: smoke 0.5, laptop 26, overnight 150 (estimated), paper 390 (estimated).
"""

from collections.abc import Callable
from typing import Any

from experiments import prediction
from experiments.engine.results import Config
from experiments.prediction import Table, describe, label, largest, parameters, run, score
from rtu_np import GRU, LRU, RTRL, TBPTT, LinearRTU, flops, protocol
from rtu_np.cells.layer import Cell

__all__ = ["PRESETS", "describe", "draw", "label", "run", "score"]

INPUTS = 12
WINDOW = 16  # longer than the longest ISI, 13 steps
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


def operations(cell: Cell, gradient: Any) -> int:
    """Operations with every output of a window: a setting stays what it is, and so its runs keep their folder."""
    left_out = 0
    if isinstance(gradient, TBPTT):
        counted = protocol.flops(cell.spec(INPUTS))
        left_out = (gradient.steps - 1) * (counted.output_forward + counted.output_backward)
    return flops(cell, INPUTS, gradient) + left_out


def settings(rtu_units: int, equal_units: int, sizes: list[int], windows: list[int], steps: int) -> list[Config]:
    """`rtu_units`: units of the RTU in a. `equal_units`: of every cell in b. `sizes`: of the RTU in c and d."""
    budget = flops(rtu(rtu_units), INPUTS)
    truncated = {"LRU, T-BPTT": lru, "GRU, T-BPTT": GRU}
    out: list[Config] = []

    def add(panel: str, method: str, x: Any, cell: Cell, gradient: Any) -> None:
        place = {"panel": panel, "method": method, "x": x}
        out.append(prediction.setting(cell, gradient, steps=steps, **place))

    def n_parameters(cell: Cell) -> int:
        return parameters(cell, INPUTS)

    def within(make: Callable[[int], Cell], budget: int, gradient: Any) -> Cell:
        return largest(make, budget, lambda cell: operations(cell, gradient))

    add(A, "RTU, RTRL", None, rtu(rtu_units), RTRL())
    add(A, "LRU, RTRL", None, within(lru, budget, RTRL()), RTRL())
    add(B, "RTU, RTRL", None, rtu(equal_units), RTRL())
    add(B, "LRU, RTRL", None, lru(equal_units), RTRL())
    for T in windows:
        for method, make in truncated.items():
            add(A, method, T, within(make, budget, TBPTT(T)), TBPTT(T))
            add(B, method, T, make(equal_units), TBPTT(T))
    for n in sizes:
        budget, size = flops(rtu(n), INPUTS), parameters(rtu(n), INPUTS)
        add(C, "RTU, RTRL", budget, rtu(n), RTRL())
        add(C, "LRU, RTRL", budget, within(lru, budget, RTRL()), RTRL())
        add(D, "RTU, RTRL", size, rtu(n), RTRL())
        add(D, "LRU, RTRL", size, largest(lru, size, n_parameters), RTRL())
        for method, make in truncated.items():
            if operations(make(1), TBPTT(WINDOW)) <= budget:
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


def draw(settings: list[Config], table: Table) -> Any:
    """Mean squared return error against T, operations and parameters, in four panels."""
    return prediction.draw(settings, table, X_LABELS, "Trace conditioning, ISI 10")
