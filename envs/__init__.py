"""Gymnasium environments. Importing this package registers them under `rtu_np/`."""

import gymnasium

from envs.conditioning import TraceConditioning, returns
from envs.masked import TASKS
from envs.memory_chain import KMemoryChain, MemoryChain
from envs.patterning import NoisyPatterning, TracePatterning
from envs.three_state import ThreeState

__all__ = [
    "KMemoryChain",
    "MemoryChain",
    "NoisyPatterning",
    "ThreeState",
    "TraceConditioning",
    "TracePatterning",
    "returns",
]

for _environment in (TraceConditioning, TracePatterning, NoisyPatterning, ThreeState, MemoryChain, KMemoryChain):
    gymnasium.register(
        id=f"rtu_np/{_environment.__name__}-v0", entry_point=f"{_environment.__module__}:{_environment.__name__}"
    )
# MuJoCo and POPGym are imported by whoever makes one of theirs.
for _name, _task in TASKS.items():
    for _keep in _task.keep:
        gymnasium.register(
            id=f"rtu_np/{_name}-{_keep}-v0",
            entry_point="envs.masked:make",
            max_episode_steps=gymnasium.spec(_task.base).max_episode_steps,
            kwargs={"base": _task.base, "keep": _keep, **_task.settings},
        )
