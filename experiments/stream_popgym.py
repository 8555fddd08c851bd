"""POPGym's memory tasks: streaming actor-critic(lambda) with a memory, and without.

The five tasks of Elelimy et al. 2024, Fig. 6, in their easy versions (Morad et al. 2023), which are compiled here
(envs/cards.py, envs/card_tables.py). The sixth, RepeatPrevious, is in `stream-memory`. The input includes the previous
action and the previous reward, as in the paper. So an action can carry a note to the next step.

Claim: if a task rewards memory, a recurrent trace unit (RTU) with real-time recurrent learning (RTRL) is above the same
network with truncated backpropagation through time over one step, T-BPTT(1), and above a feedforward network.

Expect, intervals apart: RTUs with RTRL above the feedforward network on RepeatFirst, CountRecall and Autoencode, and
above T-BPTT(1) on Concentration and HigherLower, by little. No agent gets far on CountRecall, Concentration and
Autoencode in a million steps. RepeatFirst is learned with either gradient.

The table, and dashed lines in the figure, have three returns of `envs.card_ceilings`: the best of a policy that has the
observation alone (*reactive*), of one that has the previous action and reward as well (*previous*), and of a perfect
memory (*perfect*). docs/tasks.md says which of them are lower bounds.

Chosen here: the recurrent layer on the observation, and its rule (`experiments.streaming_agents`). For each task and
method, Adam's step size in the recurrent layer and lambda are chosen on seeds 1000 and 1001, from 200,000 steps.
For a feedforward network, which has no recurrent layer, lambda alone is chosen.

Minutes on two cores: smoke 0.5, laptop 90 (3 core hours, next to other work), overnight 70 (estimated), paper 270
(estimated). A step of game and agent takes 5 to 17 us, of Concentration 13 to 45.
"""

from typing import Any

from envs.card_ceilings import CEILINGS
from experiments import control, streaming_agents
from experiments.control import SCORES, curves, describe, label, run
from experiments.engine.curves import Shown
from experiments.engine.results import Results
from experiments.engine.selection import Preset, Stage
from experiments.streaming_agents import ARMS, GRUS, tuned
from experiments.tasks import POPGYM

__all__ = ["PRESETS", "SCORES", "curves", "describe", "draw_curves", "label", "run", "score", "stages"]

REACHABLE = {
    task: {name: getattr(CEILINGS[task], name) for name in ("reactive", "previous", "perfect")} for task in POPGYM
}


def stages(preset: Preset) -> list[Stage]:
    """The agents see the previous action and reward."""
    return streaming_agents.stages(preset, previous_action_reward=True)


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": tuned(["RepeatFirstEasy"], ARMS[:1], 1000, 500, range(1)),
    "laptop": tuned(POPGYM, ARMS, 1_000_000, 200_000, range(5)),
    "overnight": tuned(POPGYM, ARMS + GRUS, 2_000_000, 500_000, range(5)),
    "paper": tuned(POPGYM, ARMS + GRUS, 5_000_000, 500_000, range(10)),
}


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: as `control.score`, with what was chosen, and the returns that bound a task's."""
    return streaming_agents.score(results, REACHABLE)


def draw_curves(shown: Shown) -> Any:
    """Learning curves, a panel for each task. Dashed: the ceilings of the task."""
    return control.draw(shown, "Streaming actor-critic(lambda) on POPGym", columns=3, ceilings=REACHABLE)
