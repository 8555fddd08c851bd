"""How r and theta are stored: the sensitivity of four parameterisations to the step size.

Elelimy et al. 2024, Fig. 9, trace conditioning with 80 recurrent trace units (RTUs): r = exp(-exp(nu_log)) or exp(-nu)
or r itself, theta = exp(theta_log) or theta itself (`rtu_np.cells.eigenvalues`).

Claim: the parameterisation with both logarithms learns over the widest range of step sizes. At its best step size, it
learns as well as any other.

Chosen here, since the paper does not give them: inter-stimulus interval (ISI) 10, linear RTU with tanh; phases from (0,
1]; temporal-difference learning, TD(.9); Adam with beta2 .9999; float32. Nothing is tuned: the step size varies, and
every seed is reported.

Minutes on two cores: smoke 0.3, laptop 5, overnight 22 (estimated), paper 66 (estimated).
"""

from typing import Any

from experiments import prediction
from experiments.engine.results import Config
from experiments.prediction import Table, describe, label, run, score
from rtu_np import LinearRTU
from rtu_np.cells.eigenvalues import PARAMETERIZATIONS

__all__ = ["PRESETS", "describe", "draw", "label", "run", "score"]

PANEL = "linear RTU, 80 units"


def settings(step_sizes: list[float], steps: int, forms: list[str], n: int = 80) -> list[Config]:
    return [
        prediction.setting(
            LinearRTU(n, "tanh", max_phase=1.0, parameterization=form),
            steps=steps,
            panel=PANEL,
            method=form,
            x=step_size,
            step_size=step_size,
        )
        for form in forms
        for step_size in step_sizes
    ]


STEP_SIZES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings([1e-4, 1e-3], 1000, ["nu_log/theta_log", "r/theta"], 4), "seeds": range(2)},
    "laptop": {"settings": settings(STEP_SIZES, 300_000, list(PARAMETERIZATIONS)), "seeds": range(6)},
    "overnight": {"settings": settings(STEP_SIZES, 2_000_000, list(PARAMETERIZATIONS)), "seeds": range(10)},
    "paper": {"settings": settings(STEP_SIZES, 2_000_000, list(PARAMETERIZATIONS)), "seeds": range(30)},
}


def draw(settings: list[Config], table: Table) -> Any:
    """Mean squared return error against the step size, with a curve for each parameterisation."""
    return prediction.draw(settings, table, "step size of Adam", "Trace conditioning, ISI 10")
