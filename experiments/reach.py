"""Reach: where two gradients do equally well, did the recurrent layer move, and did the task need the past's gradient?

Real-time recurrent learning (RTRL) has the whole gradient, truncated backpropagation through time over one step,
T-BPTT(1), its last term. On some tasks both learn, on others neither does. Four numbers say why. The first is the
return, next to that of a third agent whose recurrent layer stays as it was drawn ("frozen": its Adam has a step size of
1e-12). If that one does as well, the task needs a memory but no gradient through time. The second is the length of the
change of the recurrent layer, relative to its length at the start: did it move? The third is the median half-life of
its units after learning. The fourth is the weight by lag: what the input k steps ago adds to the gradient of the
policy's first number by the parameters of the layer, at the last steps of greedy episodes, relative to lag 0.

Claim: T-BPTT(1) learns where a drawn layer already remembers enough, so that the layers behind it have only to read.

The claim holds: on two memory chains and the T-maze a layer that stays as it was drawn has the returns of T-BPTT(1).
Their cues are bits that come 10 to 32 steps before they count, and units with a median half-life of 2 steps keep enough
of them for a readout. RTRL gives old inputs more weight, on KMemoryChain and the T-maze it moves the layer more, and on
the T-maze it is above both. On ReacherPOMDP both gradients move the layer by half of its length, and nothing is
learned: from single steps, RTUs do not learn to keep the goal. MinGRUs do (`stream-memory`, preset reacher), and RTUs
do from large batches (`fig05-reacher`, preset large).

`robots` asks the same of the four robots of `stream-mujoco` on which intervals overlap. `apart` asks it of the one on
which RTRL is farthest above: HalfCheetah without velocities, with as many steps as there. Its layer moves by half with
either gradient, and old inputs weigh the same: RTRL does not win by looking farther back. A layer that stays as it was
drawn lies between the two, and is apart from neither.

Chosen here: the streaming actor-critic of `stream-memory`, 64 recurrent trace units (RTUs), rules per block (Adam in
the recurrent layer, ObGD elsewhere), with the step size and lambda that were chosen there; on ReacherPOMDP, where RTUs
learn with none of those, 3e-4 and .9. On robots they are those of `stream-mujoco`, and in `robots` 60,000 steps have to
do for its million. Of an episode, the last 100 steps count.

Minutes on two cores: smoke 0.5, laptop 29, robots 9, apart 14.
"""

import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from experiments import control, lags, streaming_agents
from experiments.control import describe, label
from experiments.engine import plotting
from experiments.engine.results import Config, Results
from experiments.engine.rows import short
from experiments.tasks import MEMORY
from rtu_np import checkpoint
from rtu_np.control.agent import Agent
from rtu_np.control.inputs import input_statistics
from rtu_np.intervals import interval
from rtu_np.learning import normalizers
from rtu_np.plot import band, curve_style

__all__ = ["PRESETS", "SCORES", "describe", "label", "plot", "run", "score"]

SCORES = (*control.SCORES, "moved", "half_life", "weight")
LAGS, EPISODES = 20, 20  # lags of the weight; greedy episodes whose last steps are looked at
LAST = 100  # these last steps of an episode: units forget what was before, or nearly
FROZEN = 1e-12
# {task: {gradient: (step size, lambda)}}
Chosen = dict[str, dict[str, tuple[float, float]]]
CHOSEN: Chosen = {
    "KMemoryChain": {"RTRL": (1e-3, 0.8), "T-BPTT(1)": (1e-3, 0.8)},
    "TMaze": {"RTRL": (1e-3, 0.8), "T-BPTT(1)": (3e-4, 0.8)},
    "ReacherPOMDP": {"RTRL": (3e-4, 0.9), "T-BPTT(1)": (3e-4, 0.9)},
    "MemoryChain": {"RTRL": (3e-4, 0.8), "T-BPTT(1)": (3e-4, 0.8)},
}
ROBOTS: Chosen = {
    "HalfCheetah-V": {"RTRL": (1e-4, 0.95), "T-BPTT(1)": (3e-4, 0.9)},
    "InvertedPendulum-V": {"RTRL": (3e-4, 0.95), "T-BPTT(1)": (1e-4, 0.9)},
    "Hopper-V": {"RTRL": (1e-4, 0.9), "T-BPTT(1)": (3e-4, 0.95)},
    "Hopper-P": {"RTRL": (1e-4, 0.9), "T-BPTT(1)": (1e-4, 0.95)},
}
APART: Chosen = {"HalfCheetah-P": {"RTRL": (3e-4, 0.9), "T-BPTT(1)": (3e-4, 0.95)}}


def settings(chosen: Chosen, steps: int) -> list[Config]:
    """Each task with RTRL, T-BPTT(1), and a recurrent layer that stays as it was drawn."""
    configs = []
    for task, numbers in chosen.items():
        arms = {method: (method, *pair) for method, pair in numbers.items()}
        arms["frozen"] = ("T-BPTT(1)", FROZEN, numbers["T-BPTT(1)"][1])
        for method, (gradient, step_size, lambda_) in arms.items():
            parts = streaming_agents.arguments(("RTU", gradient), streaming_agents.blocks, step_size, lambda_)
            configs.append(control.setting(task, method, steps, "ActorCritic", env=MEMORY.get(task), **parts))
    return configs


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"settings": settings(CHOSEN, 1000)[:2], "seeds": range(1)},
    "laptop": {"settings": settings(CHOSEN, 300_000), "seeds": range(10)},
    "robots": {"settings": settings(ROBOTS, 60_000), "seeds": range(5)},
    "apart": {"settings": settings(APART, 1_000_000), "seeds": range(5)},
}


def run(config: Config, seed: int, unfinished: Path | None = None) -> dict[str, np.ndarray]:
    """As `control.run`, with how far the actor's recurrent layer moved, its half-lives, and the weight by lag."""
    return control.run(config, seed, unfinished, examine=lambda agent: examine(agent, config, seed))


def examine(agent: Agent, config: Config, seed: int) -> dict[str, np.ndarray]:
    """Three numbers about the recurrent layer of the actor, after learning."""
    env = control.make_env(config)
    before, after = (_cell(each.parameters) for each in (control.make_agent(config, env, seed), agent))
    found = {
        "moved": np.array(np.linalg.norm(after - before) / np.linalg.norm(before)),
        "half_life": np.array(agent.diagnostics()["actor.cell.half_life.median"]),
        "weight": weight(agent, env),
    }
    env.close()
    return found


def _cell(parameters: dict[str, np.ndarray]) -> np.ndarray:
    """The parameters of the actor's recurrent layer, in one row."""
    return np.concatenate([view.ravel() for name, view in parameters.items() if name.startswith("actor.cell.")])


def weight(agent: Any, env: gymnasium.Env) -> np.ndarray:
    """(LAGS,) the weight of an input by its lag at the last step of an episode, relative to lag 0.

    It is that of the gradient of the policy's first number by the recurrent layer (`experiments.lags`).
    """
    parameters = {name.removeprefix("actor."): view for name, view in agent.parameters.items()}
    direction = next(view for name, view in parameters.items() if name.startswith("policy."))[0]
    body = [view for name, view in parameters.items() if name.startswith(("cell.", "hidden."))]
    weights = []
    for stream in _episodes(agent, env):
        layer_terms = lags.terms(agent.cell, body, direction, stream, LAGS, layers=("0.",))
        weights.append(np.linalg.norm(layer_terms[-1], axis=1))
    mean = np.mean(weights, axis=0)
    return mean / mean[0]


def _episodes(agent: Agent, env: gymnasium.Env) -> list[np.ndarray]:
    """The inputs of the networks, (steps, n_inputs) for each of a few greedy episodes."""
    with tempfile.TemporaryDirectory() as folder:
        _, arrays = checkpoint.load(agent.save(Path(folder) / "agent.npz"))
    n = int(np.prod(env.observation_space.shape or (1,)))
    statistics = input_statistics(agent.inputs.spec(n, 0, agent.gamma), arrays["statistics"])[0].observation
    streams = []
    for episode in range(EPISODES):
        seen, done = [], False
        observation, _ = env.reset(seed=episode)
        while not done:
            seen.append(np.zeros(n))
            normalizers.normalize(statistics, np.asarray(observation, float).ravel(), seen[-1])
            action = agent.act(observation, deterministic=True, episode_start=len(seen) == 1)
            observation, _, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
        streams.append(np.array(seen[-LAST:]))
    return streams


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: as `control.score`, with means over seeds."""
    table = control.score(results)
    for config, runs in results:
        curves = np.array([r["weight"] for r in runs])
        low, high = interval(np.array([r["moved"] for r in runs]))
        table[label(config)] |= {
            "moved": float(np.mean([r["moved"] for r in runs])),
            "moved, low": float(low),
            "moved, high": float(high),
            "half-life": float(np.mean([r["half_life"] for r in runs])),
            **{f"weight at lag {k}": float(curves[:, k].mean()) for k in (1, 4, 10, 15) if k < curves.shape[1]},
        }
    return table


def plot(results: Results) -> Any:
    """Weight against lag, with a panel for each task; the titles have the returns."""
    tasks = list(dict.fromkeys(config["task"] for config, _ in results))
    figure, axes = plotting.panels(len(tasks), 2 if len(tasks) == 4 else 3, 2.7, sharey=True)
    for ax, task in zip(axes.flat, tasks, strict=False):
        of_task = [(config, runs) for config, runs in results if config["task"] == task]
        for k, (config, runs) in enumerate(of_task):
            curves = np.array([r["weight"] for r in runs])
            shown = curves.mean(0) > 0.01  # behind the length of most episodes there is next to nothing
            line = {"label": config["method"], "markevery": (k, 3), **curve_style(k)}
            band(ax, np.flatnonzero(shown), curves[:, shown], **line)
        returns = " / ".join(short(float(np.mean([r["final"] for r in runs]))) for _, runs in of_task)
        moved = " / ".join(f"{np.mean([r['moved'] for r in runs]):.2f}" for _, runs in of_task)
        ax.set(title=f"{task}\nreturn {returns}\nmoved {moved}", xlabel="lag of the input, steps")
        ax.set(yscale="log", ylim=(1e-2, 2), xlim=(-1, LAGS))
        ax.set_xticks(range(0, LAGS + 1, 5))
    axes[0, 0].set_ylabel("weight, relative to lag 0")
    plotting.legend_below(figure)
    title = "How far back the gradient reaches, and how far the layer moved (numbers in the order of the legend)"
    plotting.headline(figure, title, len(results[0][1]))
    return figure
