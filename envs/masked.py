"""Control tasks of which a part is hidden, so that acting well takes memory: velocities only, or everything but them.

All are one wrapper, `Masked`, and one table of which entry is what.
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
    """What is masked: a task of Gymnasium's, and the settings with which it shows positions and velocities alone."""

    base: str
    settings: dict[str, Any]
    keep: str = "PV"  # which of the two halves there are


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
# Where the environment does not say itself. Reacher's last two entries are the fingertip's position from the target.
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

    Rewards for going forward nearly are a velocity. An agent that is shown its previous reward undoes -P.

    ## Action Space
    As of the task.

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
    As of the task.

    ## Starting State
    As of the task.

    ## Episode End
    As of the task, and truncation after its number of steps.

    ## Arguments
    - `mask`: "exact", or "published" for HalfCheetah. The published code counts nine positions where there are eight:
      its HalfCheetah-P keeps the forward velocity, for which the reward pays, and its HalfCheetah-V drops it.
    - All others go to `gymnasium.make` of the task: `gymnasium.make("rtu_np/Ant-P-v0", reset_noise_scale=0.0)`.

    What MuJoCo warns of goes to Python's logger "mujoco", not to MUJOCO_LOG.TXT in the working directory.

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> import envs
    >>> env = gymnasium.make("rtu_np/HalfCheetah-P-v0")
    >>> env.observation_space.shape, env.get_wrapper_attr("kept").tolist()
    ((8,), [0, 1, 2, 3, 4, 5, 6, 7])
    """

    def __init__(self, env: gymnasium.Env, kept: Sequence[int]) -> None:
        RecordConstructorArgs.__init__(self, kept=kept)
        super().__init__(env)
        self.kept = np.array(kept)
        space = env.observation_space
        assert isinstance(space, Box)  # of every task in the table
        self.observation_space = Box(space.low[self.kept], space.high[self.kept], dtype=space.dtype.type)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation.take(self.kept)


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
    """The entries of each part, from MuJoCo environments' `observation_structure`: how long each is, in order."""
    layout: dict[str, Sequence[int]] = {}
    start = 0
    for part, size in structure.items():
        if not part.startswith("skipped"):
            layout[part] = range(start, start + size)
            start += size
    return layout


def log_warnings() -> None:
    """Send MuJoCo's warnings to the logger "mujoco" where nobody has asked for them yet.

    By itself MuJoCo writes a file into the working directory. A logger never raises: an exception in this callback,
    which is what a Python warning may become, would end the process.
    """
    import mujoco

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log)


def _log(message: str) -> None:
    # Gymnasium's own model files use deprecated attributes; nobody who reads this can help it.
    log.log(logging.DEBUG if "deprecated" in message else logging.WARNING, message)
