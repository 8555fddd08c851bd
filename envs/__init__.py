"""Gymnasium environments. Importing this package registers them under `rtu_np/`."""

import gymnasium

from envs.conditioning import TraceConditioning, returns
from envs.patterning import NoisyPatterning, TracePatterning

__all__ = ["NoisyPatterning", "TraceConditioning", "TracePatterning", "returns"]

for _environment in (TraceConditioning, TracePatterning, NoisyPatterning):
    gymnasium.register(
        id=f"rtu_np/{_environment.__name__}-v0", entry_point=f"{_environment.__module__}:{_environment.__name__}"
    )
