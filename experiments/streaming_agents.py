"""The streaming actor-critics that the figures on streaming control share, with memory and without.

There are two networks. In the newer one, `ARMS`, a recurrent layer reads the observation, and a hidden layer of 128 is
behind it (`rtu_np.recurrent_network`): 64 recurrent trace units (RTUs), 64 minGRUs or 16 gated recurrent units (GRUs).
In a network without memory a feedforward layer of 64 stands in their place. The rule is `blocks`, the default of
`ActorCritic`: Adam in the recurrent layer, and overshooting-bounded gradient descent (ObGD) in each other block.
`stages` chooses Adam's step size and lambda for each task and method, on seeds that are not reported.

The older one, `EARLIER`, has an encoder of two layers of 128 (sparse, normalised, leaky) and 192 RTUs above it, with
RTRL. It is what `ActorCritic` was by default: lambda .99, and one ObGD bound for a whole network, with kappa 3 (actor)
and 2 (critic), as in Elsayed et al. 2024.

Entropy is .01 in all of them. Other settings are defaults of `ActorCritic`: gamma .99, float32.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from experiments import control
from experiments.engine.results import Config, Results
from experiments.engine.selection import Preset, Stage, rank
from rtu_np import (
    GRU,
    RTRL,
    TBPTT,
    Adam,
    Blocks,
    Dense,
    LinearRTU,
    MinGRU,
    ObGD,
    SparseUniform,
    recurrent_network,
    streaming_network,
)

# ------------------------------------------------------------------------------------------- cell on the observation

KAPPA = {"actor": 3.0, "critic": 2.0}
Arm = tuple[str, str]  # (cell, gradient)
Rule = Callable[[float, str], Any]  # an optimiser, from a step size and from whose it is: "actor" or "critic"
CELLS = {
    "RTU": recurrent_network(LinearRTU(64, max_phase=1.0)),
    "MinGRU": recurrent_network(MinGRU(64, gate_bias=-3.0)),
    "GRU": recurrent_network(GRU(16)),
    "feedforward": recurrent_network(Dense(64, init=SparseUniform())),
}
GRADIENTS = {"RTRL": RTRL(), "T-BPTT(1)": TBPTT(1), "T-BPTT(8)": TBPTT(8)}
FEEDFORWARD = ("feedforward", "RTRL")  # which gradient does not matter: there is no memory
ARMS: list[Arm] = [("RTU", "RTRL"), ("RTU", "T-BPTT(1)"), FEEDFORWARD]
GRUS: list[Arm] = [("GRU", "RTRL"), ("GRU", "T-BPTT(1)")]


def blocks(step_size: float, role: str, kappa: dict[str, float] = KAPPA) -> Blocks:
    return Blocks(cell=Adam(step_size), others=ObGD(kappa=kappa[role]))


def method(arm: Arm) -> str:
    """What tables and legends call it."""
    return arm[0] if arm == FEEDFORWARD else ", ".join(arm)


def arguments(arm: Arm, rule: Rule, step_size: float, lambda_: float) -> dict[str, Any]:
    """The arguments of an agent."""
    cell, gradient = arm
    return {
        "cell": CELLS[cell],
        "gradient": GRADIENTS[gradient],
        "lambda_": lambda_,
        "entropy_coef": 0.01,
        "actor_optimizer": _for_cell(cell, rule(step_size, "actor")),
        "critic_optimizer": _for_cell(cell, rule(step_size, "critic")),
    }


def _for_cell(cell: str, rule: Any) -> Any:
    """The rule for a network with this cell: one without a recurrent layer has no block for it."""
    return replace(rule, cell=None) if cell == "feedforward" and isinstance(rule, Blocks) else rule


def tuned(tasks: list[str], arms: list[Arm], steps: int, tuning_steps: int, seeds: range) -> Preset:
    """A preset for `stages`."""
    tuning = {"step_sizes": [1e-4, 3e-4], "lambdas": [0.9, 0.95], "steps": tuning_steps, "seeds": range(1000, 1002)}
    return {"tasks": tasks, "arms": arms, "steps": steps, "tuning": tuning, "seeds": seeds}


def stages(preset: Preset, **more: Any) -> list[Stage]:
    """Two: `trials` on the tuning seeds, then the best of each task and method on the preset's `seeds`."""
    return [
        (lambda _: trials(preset, **more), list(preset["tuning"]["seeds"])),
        (lambda earlier: reported(preset, earlier[0]), list(preset["seeds"])),
    ]


def trials(preset: Preset, **more: Any) -> list[Config]:
    """Each task and arm with each step size and lambda. All agents have the arguments `more`.

    If the preset has an `actor_kappa`, it stands in place of the actor's kappa.

    A network without a recurrent layer has no use for the step size, so lambda alone is chosen for it, and its `size`
    is 0.
    """
    tuning = preset["tuning"]

    rule = partial(blocks, kappa=KAPPA | {"actor": preset.get("actor_kappa", KAPPA["actor"])})

    def trial(task: str, arm: Arm, step_size: float, lambda_: float) -> Config:
        parts = arguments(arm, rule, step_size, lambda_) | more
        config = control.setting(task, method(arm), tuning["steps"], "ActorCritic", **parts)
        return {**config, "size": 0.0 if arm == FEEDFORWARD else step_size}

    return [
        trial(task, arm, step_size, lambda_)
        for task in preset["tasks"]
        for arm in preset["arms"]
        for step_size in tuning["step_sizes"][: 1 if arm == FEEDFORWARD else None]
        for lambda_ in tuning["lambdas"]
    ]


def reported(preset: Preset, tried: Results) -> list[Config]:
    """The best trial of each task and method, with the preset's number of steps."""
    groups: dict[tuple[str, str], list] = {}
    for config, runs in tried:
        groups.setdefault((config["task"], config["method"]), []).append((config, runs))
    best = [min(group, key=lambda trial: rank(trial[1]))[0] for group in groups.values()]
    return [{**config, "steps": preset["steps"]} for config in best]


def score(results: Results, ceilings: dict[str, dict[str, float]] | None = None) -> dict[str, dict[str, float]]:
    """{setting: numbers}: as `control.score`, with what was chosen, and `ceilings`: {task: {name: return}}."""
    table = control.score(results)
    for config, _ in results:
        chosen = {"step size": config["size"], "lambda": config["parts"]["lambda_"]}
        table[control.label(config)] |= chosen | (ceilings or {}).get(config["task"], {})
    return table


# ------------------------------------------------------------------------------------------- cell behind an encoder

EARLIER: dict[str, Any] = {
    "cell": streaming_network(LinearRTU(192)),
    "lambda_": 0.99,
    "entropy_coef": 0.01,
    "actor_optimizer": ObGD(kappa=3.0),
    "critic_optimizer": ObGD(kappa=2.0),
}
