"""Gymnasium environments. Importing this package registers them under `rtu_np/`."""

import gymnasium

from envs import card_tables, cards, masked, popgym
from envs.conditioning import TraceConditioning
from envs.memory_chain import KMemoryChain, MemoryChain
from envs.patterning import NoisyPatterning, TracePatterning
from envs.reacher_pomdp import ReacherPOMDP
from envs.three_state import ThreeState
from envs.tmaze import TMaze

__all__ = [
    "KMemoryChain",
    "MemoryChain",
    "NoisyPatterning",
    "ReacherPOMDP",
    "TMaze",
    "ThreeState",
    "TraceConditioning",
    "TracePatterning",
]

_STREAMS = (TraceConditioning, TracePatterning, NoisyPatterning, ThreeState)
for _environment in (*_STREAMS, MemoryChain, KMemoryChain, TMaze, ReacherPOMDP):
    gymnasium.register(
        id=f"rtu_np/{_environment.__name__}-v0", entry_point=f"{_environment.__module__}:{_environment.__name__}"
    )
# MuJoCo and POPGym are imported when one of their environments is made, so `import envs` needs neither.
for _name, _task in masked.TASKS.items():
    for _keep in _task.keep:
        gymnasium.register(
            id=f"rtu_np/{_name}-{_keep}-v0",
            entry_point="envs.masked:make",
            max_episode_steps=gymnasium.spec(_task.base).max_episode_steps,
            kwargs={"base": _task.base, "keep": _keep, **_task.settings},
        )
gymnasium.register(id="rtu_np/ReacherPOMDP-MuJoCo-v0", entry_point="envs.reacher_mujoco:make", max_episode_steps=50)
_GAMES = (cards.RepeatPrevious, cards.RepeatFirst, cards.Autoencode, cards.HigherLower)
for _game in (*_GAMES, card_tables.CountRecall, card_tables.Concentration):
    for _level in _game.LEVELS:
        gymnasium.register(
            id=f"rtu_np/{_game.__name__}{_level}-v0",
            entry_point=f"{_game.__module__}:{_game.__name__}",
            kwargs={"level": _level},
        )
for _name in popgym.TASKS:
    if f"rtu_np/{_name}-v0" not in gymnasium.registry:  # cards are compiled, and need no popgym
        gymnasium.register(id=f"rtu_np/{_name}-v0", entry_point="envs.popgym:make", kwargs={"task": _name})
