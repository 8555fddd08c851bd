"""The streaming actor-critics that the figures on streaming control share: a network with memory, and without.

Encoder 128, 128 (sparse, normalised, leaky), then a linear RTU of 192 units, or GRU of 80, or a layer of 384: all with
about 49,400 parameters. Unless a figure says otherwise, everything else is a default of `ActorCritic`: gamma .99,
lambda .99, entropy .01, ObGD with kappa 3 (actor) and 2 (critic), float32.
"""

from typing import Any

from experiments import control
from experiments.engine.results import Config
from rtu_np import GRU, TBPTT, Dense, LinearRTU, streaming_network

Methods = dict[str, dict[str, Any]]  # {name: arguments of the agent}
RTUS: Methods = {
    "RTU, RTRL": {"cell": streaming_network(LinearRTU(192))},
    "RTU, T-BPTT(1)": {"cell": streaming_network(LinearRTU(192)), "gradient": TBPTT(1)},
}
FEEDFORWARD: Methods = {"feedforward": {"cell": streaming_network(Dense(384, "tanh"))}}
METHODS: Methods = {
    **RTUS,
    "GRU, T-BPTT(1)": {"cell": streaming_network(GRU(80)), "gradient": TBPTT(1)},
    **FEEDFORWARD,
}
SMALL: Methods = {"small RTU": {"cell": LinearRTU(8)}}  # compiles in seconds


def streaming(task: str, steps: int, methods: Methods, **parts: Any) -> list[Config]:
    """A streaming actor-critic with each of these methods; `parts` are arguments that all of them have."""
    return [control.setting(task, name, steps, "ActorCritic", **method, **parts) for name, method in methods.items()]
