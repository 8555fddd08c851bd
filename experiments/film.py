"""A moving picture of a trained agent: python -m experiments.film [--task HalfCheetah-P] [--steps 300000]

A streaming actor-critic with a recurrent trace unit learns the task. If an earlier call left an agent in the same
folder, that agent continues to learn. Then the agent acts for one episode, and its frames are written as a GIF.
Rendering needs no screen if MuJoCo has EGL, an interface for rendering without a window. The command sets MUJOCO_GL=egl
unless MUJOCO_GL is set. If rendering fails, the command says so and keeps the agent.
"""

import argparse
import os
import sys
from pathlib import Path

import gymnasium
import numpy as np

import envs  # noqa: F401   registers the environments
from rtu_np import ActorCritic, files
from rtu_np.commands import what_hides

FPS, WIDTH, HEIGHT = 20, 240, 160


def trained(task: str, steps: int, folder: Path, seed: int) -> ActorCritic:
    """An agent that has learned for at least `steps` steps. The agent is saved after each tenth of them."""
    path = folder / f"{task}-seed-{seed}.npz"
    env = gymnasium.make(f"rtu_np/{task}-v0")
    agent = ActorCritic.load(path) if path.exists() else ActorCritic(env, seed=seed)
    while agent.steps < steps:
        agent.learn(env, min(max(steps // 10, 1), steps - agent.steps), log=folder / f"{task}-seed-{seed}")
        agent.save(path)
    return agent


def film(agent: ActorCritic, task: str, seconds: float, seed: int) -> tuple[np.ndarray, float]:
    """One episode, or its first `seconds` of film: (frames (n, HEIGHT, WIDTH, 3), the sum of its rewards)."""
    env = gymnasium.make(f"rtu_np/{task}-v0", render_mode="rgb_array", width=WIDTH, height=HEIGHT)
    every = max(round(env.metadata["render_fps"] / FPS), 1)
    observation, _ = env.reset(seed=seed)
    frames: list[np.ndarray] = []
    total, over, t = 0.0, False, 0
    while not over and len(frames) < seconds * FPS:
        if t % every == 0:
            frames.append(np.asarray(env.render()))
        action = agent.act(observation, deterministic=True, episode_start=t == 0)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over, t = total + float(reward), terminated or truncated, t + 1
    env.close()
    return np.array(frames), total


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="python -m experiments.film", description=__doc__)
    top.add_argument("--task", default="HalfCheetah-P", help="an environment's id without rtu_np/ and version")
    top.add_argument("--steps", type=int, default=300_000, help="the number of training steps")
    top.add_argument("--seconds", type=float, default=6.0, help="the length of the film")
    top.add_argument("--seed", type=int, default=0, help="the seed of the agent; the film has the next one")
    top.add_argument("--output", type=Path, default=Path("runs/film"), help="the folder of agent and film")
    arguments = top.parse_args(argv)
    if said := what_hides("envs"):
        print(said, file=sys.stderr)
        return 2
    os.environ.setdefault("MUJOCO_GL", "egl")
    arguments.output.mkdir(parents=True, exist_ok=True)
    agent = trained(arguments.task, arguments.steps, arguments.output, arguments.seed)
    try:
        frames, total = film(agent, arguments.task, arguments.seconds, arguments.seed + 1)
    except Exception as error:  # a driver may raise any error; the agent is saved
        print(f"rendering failed ({error}); the agent is saved; MUJOCO_GL=glfw renders on a screen", file=sys.stderr)
        return 1
    import imageio

    path = arguments.output / f"{arguments.task}.gif"
    with files.replacing(path) as part:
        imageio.mimwrite(part, list(frames), duration=1000 / FPS, loop=0)
    print(f"{arguments.task} after {agent.steps} steps: return {total:.4g} in {len(frames) / FPS:g} s of film: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
