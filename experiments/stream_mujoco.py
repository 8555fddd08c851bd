"""Robots without positions, or without velocities: streaming actor-critic(lambda), with memory and without.

The agent learns from each step once, when the step is made, without replay and without batches. -V hides positions and
angles, which have to be summed up from velocities. -P hides velocities, which are differences of two observations
(Elelimy et al. 2024, Fig. 4; the streaming agent after Elsayed et al. 2024 and Farr et al. 2026).

Claim: with the same agent on the same steps, a recurrent trace unit (RTU) with real-time recurrent learning (RTRL) is
above the same network with truncated backpropagation through time over one step, T-BPTT(1), and above a feedforward
network, on most of the tasks. The gradient of T-BPTT(1) does not reach the past.

RTRL is above T-BPTT(1) on two of six robots, HalfCheetah-P and Walker2d-V, intervals apart, and below on none. It is
above a feedforward network on the two Hoppers.

Chosen here: the recurrent layer on the observation, and its rule (`experiments.streaming_agents`). For each task and
method, Adam's step size in the recurrent layer and lambda are chosen on seeds 1000 and 1001, from 200,000 steps. For
a feedforward network, which has no recurrent layer, lambda alone is chosen. The tasks are Gymnasium's MuJoCo v5. The
published returns are of other physics.

`arm` is another robot: MuJoCo's Reacher, which sees its target once (`ReacherPOMDP-MuJoCo`). The target is no sum and
no difference of what is seen later, so it has to be remembered for the 50 steps of an episode. The layer has 64 minGRUs
with gate bias -3, and gamma is .95. Step size and lambda, .5 or .9, are chosen for each arm from 100,000 steps. There
is no reward for entropy, and the actor's kappa is 10: with .01 and 3 the arm learned less on a tuning seed. The seeds
0 to 4 were run with 100,000 steps, then 5 to 9 with 300,000. Ten more seeds, said beforehand, decide.

Minutes on two cores: smoke 0.5, laptop 195, arm 6, overnight 600 (estimated), paper 2400 (estimated). A step of robot
and agent takes 40 to 170 us.
"""

from typing import Any

from experiments import control, streaming_agents
from experiments.control import SCORES, curves, describe, label, run
from experiments.engine.curves import Shown
from experiments.engine.selection import Preset, Stage
from experiments.streaming_agents import ARMS, GRUS, score, tuned
from experiments.tasks import ROBOTS

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score", "stages"]

# Four without positions, and two without velocities.
FOUR = [f"{robot}-V" for robot in ("HalfCheetah", "Hopper", "Walker2d", "InvertedPendulum")]
SIX = [*FOUR, "HalfCheetah-P", "Hopper-P"]
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": tuned(["Hopper-P"], ARMS[:1], 1000, 500, range(1)),
    "laptop": tuned(SIX, ARMS, 1_000_000, 200_000, range(5)),
    "arm": {
        "tasks": ["ReacherPOMDP-MuJoCo"],
        "arms": [("MinGRU", "RTRL"), ("MinGRU", "T-BPTT(1)")],
        "actor_kappa": 10.0,
        "arguments": {"gamma": 0.95, "entropy_coef": 0.0},
        "steps": 300_000,
        "tuning": {"step_sizes": [3e-4, 1e-3], "lambdas": [0.5, 0.9], "steps": 100_000, "seeds": range(1000, 1002)},
        "seeds": range(10, 20),
    },
    "overnight": tuned([*ROBOTS, "InvertedPendulum-V"], ARMS + GRUS, 2_000_000, 500_000, range(5)),
    "paper": tuned([*ROBOTS, "InvertedPendulum-V"], ARMS + GRUS, 5_000_000, 500_000, range(10)),
}


def stages(preset: Preset) -> list[Stage]:
    return streaming_agents.stages(preset, **preset.get("arguments", {}))


def draw_curves(shown: Shown) -> Any:
    """Learning curves, a panel for each task."""
    return control.draw(shown, "Streaming actor-critic(lambda) on masked MuJoCo", columns=3)
