"""An agent in an environment: the common part of the experiments on control.

A setting is plain data: the environment, the agent's class and arguments, and the number of steps. If step sizes are
tuned (`experiments.engine.selection`), a setting also has a `step_size`, which the agent's optimisers get. A run stores
the return of every episode, and the time per step of agent and environment together. The score is the mean return of
the episodes that ended in the last tenth of the steps. If a setting has the number of `greedy` episodes, the agent then
plays so many without exploring and without learning.
"""

import shutil
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import rtu_np
from envs import snapshot
from experiments.engine import plotting
from experiments.engine.curves import Shown, band
from experiments.engine.results import Config, Results
from rtu_np import archive, checkpoint
from rtu_np.control.agent import Agent
from rtu_np.control.loop import Episodes
from rtu_np.intervals import curve, final, interval
from rtu_np.plot import curve_style, step_axis
from rtu_np.progress import seconds_compiling

BINS = 50  # points of a learning curve
SCORES = ("curve", "final", "microseconds", "diverged")  # what tables, figures and the choice of a step size need
EVERY = 300.0  # seconds after which an unfinished run saves its state

# The name of a run's folder is a hash of its settings, so the words of settings stay. If an agent renames an argument,
# the left side of these tables changes, and the right side stays. An argument in no table is its own word.
WORDS = {  # {argument: word in settings}
    "n_steps": "rollout",
    "n_minibatches": "minibatches",
    "n_epochs": "epochs",
    "refresh": "fresh",
    "previous_action_reward": "previous",
}
TUNED = ("optimizer", "actor_optimizer", "critic_optimizer")  # the arguments that a setting's step size goes into
VALUES = {"fresh": {"none": "nothing"}}  # {word of an argument: {value: word of the value}}


def setting(task: str, method: str, steps: int, agent: str, env: dict[str, Any] | None = None, **parts: Any) -> Config:
    """One agent in one environment, as plain data.

    task : the environment's id without "rtu_np/" and version. agent : the class's name; `parts` are its arguments.
    """
    described = {}
    for argument, part in parts.items():
        word = WORDS.get(argument, argument)
        described[word] = VALUES[word].get(part, part) if word in VALUES else checkpoint.describe(part)
    return {"task": task, "env": env or {}, "method": method, "steps": steps, "agent": agent, "parts": described}


def arguments(config: Config) -> dict[str, Any]:
    """The arguments of the agent, from their words in a setting."""
    argument_of = {word: argument for argument, word in WORDS.items()}
    value_of = {word: {written: value for value, written in table.items()} for word, table in VALUES.items()}
    parts = {}
    for word, written in config["parts"].items():
        part = checkpoint.build(word, written) if isinstance(written, dict) else written
        parts[argument_of.get(word, word)] = value_of[word].get(part, part) if word in VALUES else part
    return parts | _tuned(parts, config["step_size"]) if "step_size" in config else parts


def _tuned(parts: dict[str, Any], step_size: float) -> dict[str, Any]:
    """The optimisers of a setting, each with this step size. The other numbers of an optimiser stay."""
    optimizers = {name: parts[name] for name in TUNED if name in parts}
    if not optimizers:
        raise ValueError(
            f"step_size is {step_size!r}, and the setting has no optimiser: expected {', '.join(TUNED[:-1])} or "
            f"{TUNED[-1]} among the agent's arguments; the default optimiser of an agent is not tuned"
        )
    for name, optimizer in optimizers.items():
        if not hasattr(optimizer, "step_size"):
            raise ValueError(f"{name} is {optimizer!r}: expected an optimiser with a step_size, since it is tuned")
    return {name: replace(optimizer, step_size=step_size) for name, optimizer in optimizers.items()}


def make_env(config: Config) -> gymnasium.Env:
    return gymnasium.make(f"rtu_np/{config['task']}-v0", disable_env_checker=True, **config["env"])


def make_agent(config: Config, env: gymnasium.Env, seed: int) -> Agent:
    return getattr(rtu_np, config["agent"])(env, seed=seed, **arguments(config))


def _learn(agent: Agent, env: gymnasium.Env, steps: int) -> Episodes:
    """Learn for a part of a run. It may be shorter than PPO's rollout, which the next parts complete."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "steps is .* this call learns nothing", RuntimeWarning)
        return agent.learn(env, steps, progress=False, log=None)


def run(
    config: Config,
    seed: int,
    unfinished: Path | None = None,
    watched: tuple[str, ...] = (),
    examine: Callable[[Agent], dict[str, np.ndarray]] = lambda agent: {},
) -> dict[str, np.ndarray]:
    """Learn for the setting's number of steps.

    watched : names of diagnostics of the agent; the run stores their curves
    examine : makes more arrays of a run from the agent that has learned

    A long run saves its state to the folder `unfinished` from time to time. If the folder has a state, the run
    continues from there. Its bits are those of a run without interruption.
    """
    whole = config["steps"]
    if whole < BINS:
        raise ValueError(f"steps is {whole}: expected {BINS} or more, since a learning curve has so many parts")
    env = make_env(config)
    found = _latest(unfinished, config, env) if unfinished else None
    if found:
        agent, course = found
    else:
        agent = make_agent(config, env, seed)
        _learn(agent, env, 1)  # compiles
        course = {"episodes": np.zeros((0, 3)), "parts": np.array(0), "seconds": np.array(0.0)}
        course |= {name: np.full(BINS, np.nan) for name in watched}
    diverged, written = False, time.perf_counter()
    while course["parts"] < BINS:
        began = time.perf_counter() - seconds_compiling()  # of what later steps need
        try:
            part = int(course["parts"])
            ended = _learn(agent, env, (part + 1) * whole // BINS - part * whole // BINS)
        except FloatingPointError:
            diverged = True  # if in the first part, the run has no curve; tables count it
            break
        finally:
            course["seconds"] += time.perf_counter() - seconds_compiling() - began
        course["episodes"] = np.concatenate([course["episodes"], np.stack(ended, axis=1)])
        for name in watched:
            course[name][course["parts"]] = agent.diagnostics()[name]
        course["parts"] += 1
        if unfinished and time.perf_counter() - written > EVERY:
            _leave(unfinished, agent, env, course)
            written = time.perf_counter()
    env.close()
    greedy = _play(agent, config) if "greedy" in config and not diverged else np.zeros(0)
    steps, returns, lengths = course["episodes"].T
    return {
        "steps": steps.astype(int),
        "returns": returns,
        "lengths": lengths.astype(int),
        "curve": curve(steps, returns, whole, BINS),
        "final": np.array(final(steps, returns, whole)),
        "microseconds": course["seconds"] / agent.steps * 1e6,
        "diverged": np.array(diverged),
        **({"greedy": greedy} if "greedy" in config else {}),
        **{name: course[name] for name in watched},
        **examine(agent),
    }


def _play(agent: Agent, config: Config) -> np.ndarray:
    """The returns of the setting's greedy episodes."""
    env = make_env(config)
    returns = agent.evaluate(env, config["greedy"], progress=False)
    env.close()
    return returns


def _leave(unfinished: Path, agent: Agent, env: gymnasium.Env, course: dict[str, np.ndarray]) -> None:
    """Save the state of an unfinished run completely, or not at all. Then delete its older states."""
    older = list(unfinished.glob("*")) if unfinished.exists() else []
    place = unfinished / f"{course['parts']:02d}"
    part = place.with_name(f".{place.name}")
    part.mkdir(parents=True, exist_ok=True)
    agent.save(part / "agent.npz")
    checkpoint.save(part / "env.npz", *snapshot.capture(env))
    archive.write(part / "course.npz", course)
    part.rename(place)
    for folder in older:  # also the temporary folder of a process that was killed while it saved this part
        shutil.rmtree(folder, ignore_errors=True)


def _latest(unfinished: Path, config: Config, env: gymnasium.Env) -> tuple[Agent, dict[str, np.ndarray]] | None:
    """(agent, its course so far) of the newest saved state, or None. `env` is restored to the same moment."""
    for place in sorted(unfinished.glob("[0-9]*"), reverse=True):
        try:
            agent = getattr(rtu_np, config["agent"]).load(place / "agent.npz")
            course = archive.read(place / "course.npz")
            snapshot.restore(env, snapshot.Snapshot(*checkpoint.load(place / "env.npz")))
        except (ValueError, FileNotFoundError) as error:
            print(f"{place} cannot be loaded ({error}): the run starts without this state", file=sys.stderr)
            shutil.rmtree(place, ignore_errors=True)
            continue
        agent.resume(env)
        return agent, course
    return None


def label(config: Config) -> str:
    return f"{config['task']}: {config['method']}"


def describe(arrays: dict[str, np.ndarray]) -> str:
    """One finished run in a few words."""
    where = "before it diverged" if arrays["diverged"] else "in the last tenth"
    return f"return {arrays['final']:.4g} {where}, {arrays['microseconds']:.0f} us per step"


def score(results: Results, label: Callable[[Config], str] = label) -> dict[str, dict[str, float]]:
    """{setting: numbers}: mean return over seeds in the last tenth, with a 95 % bootstrap interval."""
    table = {}
    for config, runs in results:
        finals = np.array([r["final"] for r in runs])
        low, high = interval(finals)
        table[label(config)] = {
            "seeds": len(runs),
            **({"step size": config["step_size"]} if "step_size" in config else {}),
            "return": float(finals.mean()),
            "low": float(low),
            "high": float(high),
            "smallest": float(finals.min()),
            "largest": float(finals.max()),
            "diverged": float(sum(r["diverged"] for r in runs)),
            "us per step": float(np.median([r["microseconds"] for r in runs])),
        }
    return table


def greedy_returns(runs: list[dict[str, np.ndarray]], diverged: float) -> np.ndarray:
    """The mean greedy return of each run; a run that diverged has none, and counts as `diverged`."""
    return np.array([run["greedy"].mean() if run["greedy"].size else diverged for run in runs])


def curves(results: Results) -> Shown:
    """What `draw` shows: the returns of episodes."""
    return [
        {name: config[name] for name in ("task", "method", "steps")} | {"return": band([r["curve"] for r in runs])}
        for config, runs in results
    ]


def draw(
    shown: Shown,
    title: str,
    columns: int = 3,
    published: str = "",
    ceilings: dict[str, dict[str, float]] | None = None,
) -> Any:
    """Learning curves, a panel for each task, a curve for each method, with 95 % intervals.

    published : the length or the number of the paper's runs
    ceilings : {task: {name: return}}, dashed lines
    """
    tasks = list(dict.fromkeys(each["task"] for each in shown))
    methods = list(dict.fromkeys(each["method"] for each in shown))
    figure, axes = plotting.panels(len(tasks), columns)
    for ax, task in zip(axes.flat, tasks, strict=False):
        for each in shown:
            if each["task"] == task:
                k = methods.index(each["method"])
                line = {**curve_style(k), "label": each["method"], "markevery": (1 + 2 * k % 9, 9)}  # not on another
                plotting.curve(ax, ends(each), each["return"], **line)
        step_axis(ax)
        bounds = (ceilings or {}).get(task, {})
        for k, ceiling in enumerate(bounds.values()):
            text = "best possible returns" if k == 0 else None
            ax.axhline(ceiling, color="0.6", linestyle="--", linewidth=0.8, zorder=0, label=text)
        ax.set(title=task, xlabel="step")
    for ax in axes[:, 0]:
        ax.set_ylabel("return of an episode")
    plotting.legend_below(figure)
    plotting.headline(figure, title, shown[0]["seeds"], published)
    return figure


def ends(shown: dict[str, Any]) -> np.ndarray:
    """The steps at which the parts of a run ended."""
    return np.linspace(0, shown["steps"], BINS + 1)[1:]
