"""Trace and noisy patterning: learned memory next to the fixed representations of the benchmark.

Rafiee et al. 2022; the streams of Elelimy et al. 2024 are the same benchmark's. In each trial three of six stimuli are
on together. Their pattern decides whether the unconditioned stimulus (US) comes. In trace patterning the US comes some
10 steps later. In noisy patterning the US comes at once, but wrongly in one trial of ten (`envs.patterning`).

Claim: a learner that builds its own state is closer to the Bayes prediction than any fixed representation of the
stimuli, with a linear readout or with a hidden layer (`experiments.representations`).

Chosen here, since the papers do not give them: the constants of the representations; phases of recurrent trace units
(RTUs) from (0, 1]; a gated recurrent unit (GRU) with truncated backpropagation through time (T-BPTT), whose T = 16
covers the longest inter-stimulus interval (ISI); a hidden layer of 32 tanh units (`laptop`: 16); temporal-difference
learning, TD(.9); Adam with beta2 .9999; float32. The step size of each point is chosen on seeds that are not reported.

Minutes on two cores: smoke 0.5, laptop 14, overnight 70 (estimated), paper 180 (estimated).
"""

from typing import Any

from experiments import prediction
from experiments.engine.results import Config
from experiments.prediction import Table, describe, label, run, score
from rtu_np import GRU, RTRL, TBPTT, HiddenReadout, Identity, LinearRTU, NonlinearRTU

__all__ = ["PRESETS", "describe", "draw", "label", "run", "score"]

PANELS = {"TracePatterning": "trace patterning, ISI 10", "NoisyPatterning": "noisy patterning"}


def settings(sizes: list[int], gru_sizes: list[int], steps: int, hidden: int = 32) -> list[Config]:
    out: list[Config] = []
    learned: dict[str, Any] = {
        "linear RTU": (lambda n: LinearRTU(n, "tanh", max_phase=1.0), RTRL(), sizes),
        "nonlinear RTU": (lambda n: NonlinearRTU(n, "tanh", max_phase=1.0), RTRL(), sizes),
        "GRU, T-BPTT(16)": (GRU, TBPTT(16), gru_sizes),
    }
    for task, panel in PANELS.items():
        common: dict[str, Any] = {
            "task": task,
            "isi": 10 if task == "TracePatterning" else None,
            "steps": steps,
            "panel": panel,
        }
        for method, (make, gradient, each) in learned.items():
            out += [prediction.setting(make(n), gradient, **common, method=method, x=n) for n in each]
        for representation in ("presence", "tile-coded traces", "microstimuli"):
            fixed: dict[str, Any] = {**common, "representation": representation, "x": None}
            out.append(prediction.setting(Identity(), method=representation, **fixed))
            if representation != "presence":
                readout = HiddenReadout(hidden, "tanh")
                method = f"{representation}, hidden layer"
                out.append(prediction.setting(Identity(), readout=readout, method=method, **fixed))
    return out


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "settings": settings([4], [4], 1000, 4),
        "tuning": {"step_sizes": [1e-3], "seeds": range(1000, 1001)},
        "seeds": range(2),
    },
    "laptop": {
        "settings": settings([4, 8, 16], [4, 8], 300_000, 16),
        "tuning": {"step_sizes": [3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(6),
    },
    "overnight": {
        "settings": settings([4, 8, 16, 32, 64], [4, 8, 16, 32], 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1002)},
        "seeds": range(10),
    },
    "paper": {
        "settings": settings([4, 8, 16, 32, 64], [4, 8, 16, 32], 2_000_000),
        "tuning": {"step_sizes": [1e-4, 3e-4, 1e-3, 3e-3], "seeds": range(1000, 1004)},
        "seeds": range(30),
    },
}


def draw(settings: list[Config], table: Table) -> Any:
    """Mean squared return error against units, with a panel for each task. Fixed representations are lines across."""
    return prediction.draw(settings, table, "units n of the learned state", "Patterning")
