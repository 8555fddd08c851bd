"""Step sizes: the sensitivity of linear and nonlinear cells to them, at several sizes.

Elelimy et al. 2024, Fig. 16 (linear) and 17 (nonlinear), trace conditioning with recurrent trace units (RTUs).

Claim: both learn well over about a decade of step sizes, and the best step size hardly depends on the number of units.

Chosen here, since the paper does not give them: inter-stimulus interval (ISI) 10; tanh; 8, 32 and 128 units; phases
from (0, 1]; temporal-difference learning, TD(.9); Adam with beta2 .9999; float32. Nothing is tuned: the step size
varies, and every seed is reported.

Minutes on two cores: smoke 0.3, laptop 7, overnight 28 (estimated), paper 83 (estimated).
"""

from typing import Any

from experiments import prediction
from experiments.engine.results import Config
from experiments.prediction import Table, describe, label, run, score
from rtu_np import LinearRTU, NonlinearRTU

__all__ = ["PRESETS", "describe", "draw", "label", "run", "score"]

CELLS = {"linear RTU": LinearRTU, "nonlinear RTU": NonlinearRTU}


def settings(sizes: list[int], step_sizes: list[float], steps: int) -> list[Config]:
    return [
        prediction.setting(
            kind(n, "tanh", max_phase=1.0),
            steps=steps,
            panel=panel,
            method=f"{n} units",
            x=step_size,
            step_size=step_size,
        )
        for panel, kind in CELLS.items()
        for n in sizes
        for step_size in step_sizes
    ]


STEP_SIZES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings([2, 4], [1e-3, 1e-2], 1000), "seeds": range(2)},
    "laptop": {"settings": settings([8, 32, 128], STEP_SIZES, 300_000), "seeds": range(5)},
    "overnight": {"settings": settings([8, 32, 128], STEP_SIZES, 2_000_000), "seeds": range(10)},
    "paper": {"settings": settings([8, 32, 128], STEP_SIZES, 2_000_000), "seeds": range(30)},
}


def draw(settings: list[Config], table: Table) -> Any:
    """Mean squared return error against the step size, with a curve for each size."""
    return prediction.draw(settings, table, "step size of Adam", "Trace conditioning, ISI 10")
