"""Truncation alone: the same cell with a truncated gradient, as the window T grows, and with an exact gradient.

Elelimy et al. 2024, Fig. 12, trace conditioning. The cell is a recurrent trace unit (RTU). The gradients are truncated
backpropagation through time (T-BPTT) and real-time recurrent learning (RTRL).

Claim: with T-BPTT the RTU's error falls as T grows, towards the error with RTRL. The two errors are equal once T covers
the inter-stimulus interval (ISI).

Chosen here, since the paper does not give them: ISI 10; 8 units; tanh; phases from (0, 1]; temporal-difference
learning, TD(.9); Adam with beta2 .9999; float32. With ISI 10 an unconditioned stimulus (US) comes at most 13 steps
after its conditioned stimulus (CS). With T = 1 the readout still learns, from recurrent features that one-step
gradients alone have moved. The step size of each point is chosen on seeds that are not reported.

Minutes on two cores: smoke 0.3, laptop 3, overnight 24 (estimated), paper 62 (estimated).
"""

from typing import Any

from experiments import prediction
from experiments.engine.results import Config
from experiments.prediction import Table, describe, label, run, score
from rtu_np import RTRL, TBPTT, LinearRTU, NonlinearRTU

__all__ = ["PRESETS", "describe", "draw", "label", "run", "score"]

CELLS = {"linear RTU": LinearRTU, "nonlinear RTU": NonlinearRTU}


def settings(windows: list[int], n: int, steps: int, panels: tuple[str, ...] = tuple(CELLS)) -> list[Config]:
    out = []
    for panel in panels:
        cell = CELLS[panel](n, "tanh", max_phase=1.0)
        gradients: list[tuple[str, Any, Any]] = [("RTRL", None, RTRL()), *(("T-BPTT", T, TBPTT(T)) for T in windows)]
        for method, x, gradient in gradients:
            out.append(prediction.setting(cell, gradient, steps=steps, panel=panel, method=method, x=x))
    return out


WINDOWS = [1, 2, 4, 8, 12, 16, 24, 32]
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "settings": settings([1, 4], 4, 1000, ("linear RTU",)),
        "tuning": {"step_sizes": [1e-3], "seeds": range(1000, 1001)},
        "seeds": range(2),
    },
    "laptop": {
        "settings": settings(WINDOWS, 8, 300_000),
        "tuning": {"step_sizes": [3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(10),
    },
    "overnight": {
        "settings": settings(WINDOWS, 16, 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(10),
    },
    "paper": {
        "settings": settings(WINDOWS, 16, 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1004)},
        "seeds": range(30),
    },
}


def draw(settings: list[Config], table: Table) -> Any:
    """Mean squared return error against T, with a panel for each RTU."""
    return prediction.draw(settings, table, "steps T of the window", "Trace conditioning, ISI 10, 8 units")
