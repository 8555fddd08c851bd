"""Gymnasium environments. Importing this package registers them under `rtu_np/`."""

import gymnasium

from envs.conditioning import NoisyPatterning, TraceConditioning, TracePatterning, returns

__all__ = ["NoisyPatterning", "TraceConditioning", "TracePatterning", "returns"]

for _environment in (TraceConditioning, TracePatterning, NoisyPatterning):
    gymnasium.register(
        id=f"rtu_np/{_environment.__name__}-v0", entry_point=f"envs.conditioning:{_environment.__name__}"
    )
