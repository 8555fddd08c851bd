"""POPGym's memory tasks: streaming actor-critic(lambda) with a memory, and without.

The five tasks of Elelimy et al. 2024, Fig. 6, in their easy versions, and RepeatPrevious (Morad et al. 2023), which are
compiled here (envs/cards.py). docs/tasks.md says what can be reached in them without a memory. The input includes the
previous action and the previous reward, as in the paper.

Claim: if a task rewards memory, a recurrent trace unit (RTU) with real-time recurrent learning (RTRL) is above the same
network with truncated backpropagation through time over one step, T-BPTT(1), and above a feedforward network.

Chosen here: the agents of `experiments.streaming_agents`, with gamma .99 and lambda .95. Rewards are not scaled, since
the return of an episode is within -1 and 1. Nothing is tuned. These agents learn with overshooting-bounded gradient
descent (ObGD), which hardly moves the recurrent layer (docs/agents.md). So the same agents learn with Adam as well. Two
of its step sizes were tried: 3e-5 on seed 1000, and 1e-4, with which one run of three lost what it had learned.

Minutes on two cores: smoke 0.5, laptop 14, overnight 450 (estimated), paper 2200 (estimated).
"""

from typing import Any

from experiments import control
from experiments.control import SCORES, describe, label, run, score
from experiments.engine.results import Config, Results
from experiments.streaming_agents import METHODS, RTUS, SMALL, Methods, streaming
from experiments.tasks import POPGYM, REPEAT_PREVIOUS
from rtu_np import Adam

__all__ = ["PRESETS", "SCORES", "describe", "label", "plot", "run", "score"]

TASKS = [REPEAT_PREVIOUS, *POPGYM]
ADAM: dict[str, Any] = {"actor_optimizer": Adam(3e-5), "critic_optimizer": Adam(3e-5)}
WITH_ADAM: Methods = {f"{name}, Adam": method | ADAM for name, method in RTUS.items()}


def settings(steps: int, tasks: list[str], methods: Methods) -> list[Config]:
    more: dict[str, Any] = {"lambda_": 0.95, "previous_action_reward": True, "scale_rewards": False}
    return [config for task in tasks for config in streaming(task, steps, methods, **more)]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(1000, TASKS[:1], SMALL), "seeds": range(1)},
    "laptop": {
        "settings": settings(200_000, TASKS, RTUS) + settings(200_000, TASKS[:1], WITH_ADAM),
        "seeds": range(3),
    },
    "overnight": {"settings": settings(2_000_000, TASKS, METHODS | WITH_ADAM), "seeds": range(5)},
    "paper": {"settings": settings(5_000_000, TASKS, METHODS | WITH_ADAM), "seeds": range(10)},
}


def plot(results: Results) -> Any:
    """Learning curves, a panel for each task."""
    return control.plot(results, "Streaming actor-critic(lambda) on POPGym", columns=3)
