"""Gymnasium environments. Importing this package registers them under `rtu_np/`."""

import gymnasium

from envs.conditioning import TraceConditioning, returns
from envs.patterning import NoisyPatterning, TracePatterning
from envs.three_state import ThreeState

__all__ = ["NoisyPatterning", "ThreeState", "TraceConditioning", "TracePatterning", "returns"]

for _environment in (TraceConditioning, TracePatterning, NoisyPatterning, ThreeState):
    gymnasium.register(
        id=f"rtu_np/{_environment.__name__}-v0", entry_point=f"{_environment.__module__}:{_environment.__name__}"
    )
