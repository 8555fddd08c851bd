"""Control tasks that show positions only or velocities only, so that acting well takes memory.

One wrapper, `Masked`, and one table of tasks make them all.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs

from rtu_np.validation import check_choice

log = logging.getLogger("mujoco")


class Task(NamedTuple):
    """A task of Gymnasium, and the settings with which its observation is positions and velocities only."""

    base: str
    settings: dict[str, Any]
    keep: str = "PV"  # a task is registered for each letter: -P, -V


TASKS = {
    "Ant": Task("Ant-v5", {"include_cfrc_ext_in_observation": False}),
    "HalfCheetah": Task("HalfCheetah-v5", {}),
    "Hopper": Task("Hopper-v5", {}),
    "Walker2d": Task("Walker2d-v5", {}),
    "Humanoid": Task(
        "Humanoid-v5",
        {f"include_{part}_in_observation": False for part in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")},
    ),
    "Reacher": Task("Reacher-v5", {}),
    "InvertedPendulum": Task("InvertedPendulum-v5", {}),
    "CartPole": Task("CartPole-v1", {}, "P"),
    "Pendulum": Task("Pendulum-v1", {}, "P"),
}
# Environments without an `observation_structure`. Reacher's last two entries are the fingertip's position from the
# target.
LAYOUTS: dict[str, dict[str, Sequence[int]]] = {
    "Reacher-v5": {"qpos": [0, 1, 2, 3, 4, 5, 8, 9], "qvel": [6, 7]},
    "CartPole-v1": {"qpos": [0, 2], "qvel": [1, 3]},
    "Pendulum-v1": {"qpos": [0, 1], "qvel": [2]},
}
PARTS = {"P": "qpos", "V": "qvel"}
MASKS = {"exact": False, "published": True}


class Masked(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A task that shows positions and hides velocities (-P), or shows velocities and hides positions (-V).

    ## Description
    The partially observable MuJoCo tasks of Elelimy et al. 2024 (Fig. 4), on the robots of Gymnasium's v5, and two
    classic tasks. `rtu_np/Ant-P-v0` shows an Ant's positions and angles, `rtu_np/Ant-V-v0` its velocities; so do
    HalfCheetah, Hopper, Walker2d, Humanoid, Reacher and InvertedPendulum. `rtu_np/CartPole-P-v0` and
    `rtu_np/Pendulum-P-v0` exist as -P only. Dynamics, rewards and time limits are Gymnasium's.

    A reward for going forward is nearly a velocity: an agent that gets its previous reward undoes -P.

    ## Action Space
    As in the task.

    ## Observation Space
    | task | entries of the task's own observation kept by -P | by -V | units |
    |---|---|---|---|
    | Ant | 0-12 of 27 | 13-26 | m, unit quaternion, rad; m/s, rad/s |
    | HalfCheetah | 0-7 of 17 | 8-16 | m, rad; m/s, rad/s |
    | Hopper | 0-4 of 11 | 5-10 | m, rad; m/s, rad/s |
    | Walker2d | 0-7 of 17 | 8-16 | m, rad; m/s, rad/s |
    | Humanoid | 0-21 of 45 | 22-44 | m, unit quaternion, rad; m/s, rad/s |
    | Reacher | 0-5, 8, 9 of 10 | 6, 7 | cos, sin, m; rad/s |
    | InvertedPendulum | 0, 1 of 4 | 2, 3 | m, rad; m/s, rad/s |
    | CartPole | 0, 2 of 4 | | m, rad |
    | Pendulum | 0, 1 of 3 | | cos, sin |

    Ant and Humanoid are without contact forces, inertias and actuator forces, from which velocities can be inferred.
    Reacher-V never sees its target.

    ## Rewards
    As in the task.

    ## Starting State
    As in the task.

    ## Episode End
    As in the task, and truncation after the task's number of steps.

    ## Arguments
    - `mask`: "exact", or "published" for HalfCheetah. The published code counts nine positions instead of eight:
      its HalfCheetah-P keeps the forward velocity, which the reward pays for, and its HalfCheetah-V drops it.
    - All others go to `gymnasium.make` of the task: `gymnasium.make("rtu_np/Ant-P-v0", reset_noise_scale=0.0)`.

    MuJoCo's warnings go to Python's logger "mujoco", not to MUJOCO_LOG.TXT in the working directory.

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> import envs
    >>> env = gymnasium.make("rtu_np/HalfCheetah-P-v0")
    >>> env.observation_space.shape, env.get_wrapper_attr("indices").tolist()
    ((8,), [0, 1, 2, 3, 4, 5, 6, 7])
    """

    def __init__(self, env: gymnasium.Env, indices: Sequence[int]) -> None:
        RecordConstructorArgs.__init__(self, indices=indices)
        super().__init__(env)
        self.indices = np.array(indices)
        space = env.observation_space
        assert isinstance(space, Box)  # true of every task in the table
        self.observation_space = Box(space.low[self.indices], space.high[self.indices], dtype=space.dtype.type)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation.take(self.indices)


def make(base: str, keep: str, mask: str = "exact", **settings: Any) -> Masked:
    """The entry point of all masked tasks."""
    part = check_choice("keep", keep, PARTS)
    published = check_choice("mask", mask, MASKS)
    if published and base != "HalfCheetah-v5":
        raise ValueError(f"mask is {mask!r}: expected 'exact'; the published masks differ for HalfCheetah only")
    if base.endswith("-v5"):
        log_warnings()
    env = gymnasium.make(base, **settings).unwrapped
    layout = LAYOUTS[base] if base in LAYOUTS else _layout(env.observation_structure)  # type: ignore[attr-defined]
    if published:
        forward, *others = layout["qvel"]
        layout = {"qpos": [*layout["qpos"], forward], "qvel": others}
    return Masked(env, list(layout[part]))


def _layout(structure: dict[str, int]) -> dict[str, Sequence[int]]:
    """{part: its entries}, from the `observation_structure` of a MuJoCo environment: lengths of parts, in order."""
    layout: dict[str, Sequence[int]] = {}
    start = 0
    for part, size in structure.items():
        if not part.startswith("skipped"):
            layout[part] = range(start, start + size)
            start += size
    return layout


def log_warnings() -> None:
    """Send MuJoCo's warnings to the logger "mujoco", unless the process has set another handler.

    By default MuJoCo writes a file into the working directory. We log, and do not warn: a Python warning may be turned
    into an exception, and an exception in MuJoCo's callback ends the process.
    """
    import mujoco

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log)


def _log(message: str) -> None:
    # Gymnasium's own model files use deprecated attributes, which users cannot change.
    log.log(logging.DEBUG if "deprecated" in message else logging.WARNING, message)
