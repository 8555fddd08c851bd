"""Where the nonlinearity goes: five architectures of two recurrent cells, against the number of units.

Elelimy et al. 2024, Fig. 1, trace conditioning. The cells are the recurrent trace unit (RTU) and the linear recurrent
unit (LRU), both with exact real-time recurrent learning (RTRL). The five architectures are: a linear recurrence alone;
a linear recurrence with a nonlinear output; a nonlinear recurrence; a linear recurrence with a nonlinear projection; a
linear recurrence with a linear projection.

Claim: the RTU's error is below the LRU's, or tied with it, in each of the five. The published LRU had an error in its
gradient (`experiments.released_lru`). The third curve is an LRU with that gradient. The curve shows what the error did
to the baseline.

Chosen here, since the paper does not give them: inter-stimulus interval (ISI) 10; tanh; projections as wide as there
are units (the LRU has its own complex C, the RTU a real matrix with bias); phases of both cells from (0, 1];
temporal-difference learning, TD(.9); Adam with beta2 .9999; float32. The step size of each point is chosen on seeds
that are not reported.

Minutes on two cores: smoke 0.5, laptop 5, overnight 80 (estimated), paper 160 (estimated).
"""

from typing import Any

import numpy as np

from experiments import prediction
from experiments.engine.results import Config
from experiments.prediction import Table, describe, label, score
from experiments.released_lru import ReleasedRTRL
from rtu_np import LRU, Dense, LinearRTU, NonlinearRTU, Stack
from rtu_np.cells.layer import Cell

__all__ = ["PRESETS", "describe", "draw", "label", "run", "score"]

PHASE = 1.0
RELEASED = "LRU, published gradient"


def architectures(n: int) -> dict[str, tuple[Cell, Cell]]:
    """{name: (RTU, LRU)} of n units."""

    def lru(**parts: Any) -> Cell:
        return LRU(n, max_phase=PHASE, **parts)

    linear = LinearRTU(n, "identity", max_phase=PHASE)
    nonlinear_output = LinearRTU(n, "tanh", max_phase=PHASE), lru(projection=False, activation="tanh")
    nonlinear_recurrence = NonlinearRTU(n, "tanh", max_phase=PHASE), lru(projection=False, recurrence="tanh")
    return {
        "linear recurrence": (linear, lru(projection=False)),
        "nonlinear output": nonlinear_output,
        "nonlinear recurrence": nonlinear_recurrence,
        "nonlinear projection": (Stack((linear, Dense(n, "tanh"))), lru(activation="tanh")),
        "linear projection": (Stack((linear, Dense(n))), lru()),
    }


def settings(sizes: list[int], steps: int, among: tuple[str, ...] = ()) -> list[Config]:
    """The settings of all architectures, or of those in `among`."""
    return [
        prediction.setting(cell, steps=steps, panel=panel, method=method, x=n)
        for n in sizes
        for panel, (rtu, lru) in architectures(n).items()
        if panel in among or not among
        for method, cell in (("RTU", rtu), ("LRU", lru), (RELEASED, lru))
    ]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "settings": settings([2, 4], 1000, ("nonlinear output",)),
        "tuning": {"step_sizes": [1e-3], "seeds": range(1000, 1001)},
        "seeds": range(2),
    },
    "laptop": {
        "settings": settings([1, 4, 16], 300_000),
        "tuning": {"step_sizes": [3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(5),
    },
    "overnight": {
        "settings": settings([1, 2, 4, 8, 16, 32, 64], 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1003)},
        "seeds": range(10),
    },
    "paper": {
        "settings": settings([1, 2, 4, 8, 16, 32, 64], 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1004)},
        "seeds": range(30),
    },
}


def run(config: Config, seed: int) -> dict[str, np.ndarray]:
    """One run, with the published gradient if the setting's method is RELEASED."""
    gradient = ReleasedRTRL() if config["method"] == RELEASED else None
    return prediction.summary(prediction.follow(config, seed, gradient))


def draw(settings: list[Config], table: Table) -> Any:
    """Mean squared return error against the number of units, with a panel for each architecture."""
    return prediction.draw(settings, table, "units n", "Trace conditioning, ISI 10")
