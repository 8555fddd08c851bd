"""Constrained or not: cells with cheap exact gradients, at equal numbers of parameters.

Elelimy et al. 2024, Fig. 11, trace conditioning. The recurrence of a recurrent trace unit (RTU) is a rotation that
shrinks the state. A block-diagonal recurrent neural network (RNN) has any 2 x 2 matrix in place of the rotation. The
third cell is the online linear recurrent unit (LRU). All three have exact real-time recurrent learning (RTRL) at the
cost of a forward pass.

Claim: the RTU's error is below those of the block-diagonal RNN and of the online LRU.

Chosen here, since the paper does not give them: inter-stimulus intervals (ISI) 10 and 20; tanh in all cells; the right
gradient for the LRU; phases from (0, 1]; temporal-difference learning, TD(.9); Adam with beta2 .9999; float32. The tanh
stands in the recurrence of the block-diagonal RNN and of the nonlinear RTU, after the recurrence in the linear RTU, and
on the LRU's projection, which is as wide as its units. Sizes are the largest with no more parameters than the linear
RTU of n units. The step size of each point is chosen on seeds that are not reported.

Minutes on two cores: smoke 0.5, laptop 6, overnight 40 (estimated), paper 100 (estimated).
"""

from typing import Any

from experiments import prediction
from experiments.engine.results import Config
from experiments.prediction import Table, describe, label, largest, parameters, run, score
from rtu_np import LRU, BlockDiagonalRNN, LinearRTU, NonlinearRTU

__all__ = ["PRESETS", "describe", "draw", "label", "run", "score"]

INPUTS = 12
PHASE = 1.0


def settings(sizes: list[int], isis: list[int], steps: int) -> list[Config]:
    out = []
    for n in sizes:
        budget = parameters(LinearRTU(n), INPUTS)
        makers: dict[str, Any] = {
            "linear RTU": (lambda n: LinearRTU(n, "tanh", max_phase=PHASE), 1),
            "nonlinear RTU": (lambda n: NonlinearRTU(n, "tanh", max_phase=PHASE), 1),
            "LRU": (lambda n: LRU(n, activation="tanh", max_phase=PHASE), 1),
            "block-diagonal RNN": (lambda n: BlockDiagonalRNN(n, "tanh"), 2),
        }
        for method, (make, step) in makers.items():
            cell = largest(make, budget, lambda cell: parameters(cell, INPUTS), step)
            place: dict[str, Any] = {"method": method, "x": budget}
            out += [prediction.setting(cell, steps=steps, isi=isi, panel=f"ISI {isi}", **place) for isi in isis]
    return out


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "settings": settings([2, 4], [10], 1000),
        "tuning": {"step_sizes": [1e-3], "seeds": range(1000, 1001)},
        "seeds": range(2),
    },
    "laptop": {
        "settings": settings([2, 4, 8, 16, 32, 64], [10, 20], 300_000),
        "tuning": {"step_sizes": [3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(6),
    },
    "overnight": {
        "settings": settings([2, 4, 8, 16, 32, 64, 128], [10, 20], 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(10),
    },
    "paper": {
        "settings": settings([2, 4, 8, 16, 32, 64, 128], [10, 20], 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1004)},
        "seeds": range(30),
    },
}


def draw(settings: list[Config], table: Table) -> Any:
    """Mean squared return error against the number of parameters, with a panel for each ISI."""
    return prediction.draw(settings, table, "parameters of the cell", "Trace conditioning")
