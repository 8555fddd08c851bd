"""The streaming actor-critics that the figures on streaming control share, with memory and without.

The encoder has two layers of 128 (sparse, normalised, leaky). Above the encoder stand 192 linear recurrent trace units
(RTUs), or a gated recurrent unit (GRU) layer of 80, or a feedforward layer of 384. All have about 49,400 parameters.
RTUs learn by real-time recurrent learning (RTRL), or like the GRU by truncated backpropagation through time over one
step, T-BPTT(1).

Unless a figure says otherwise, lambda is .99, entropy .01, and these agents learn with overshooting-bounded gradient
descent (ObGD), with one bound for a whole network and kappa 3 (actor) and 2 (critic), as in Elsayed et al. 2024. Other
settings are defaults of `ActorCritic`: gamma .99, float32.
"""

from typing import Any

from experiments import control
from experiments.engine.results import Config
from rtu_np import GRU, TBPTT, Dense, LinearRTU, ObGD, streaming_network

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
ONE_BOUND: dict[str, Any] = {
    "lambda_": 0.99,
    "entropy_coef": 0.01,
    "actor_optimizer": ObGD(kappa=3.0),
    "critic_optimizer": ObGD(kappa=2.0),
}
SMALL: Methods = {"small RTU": {"cell": LinearRTU(8)}}  # compiles in seconds


def streaming(task: str, steps: int, methods: Methods, **parts: Any) -> list[Config]:
    """A streaming actor-critic with each of these methods. All agents have the arguments `parts`."""
    shared = ONE_BOUND | parts
    return [control.setting(task, name, steps, "ActorCritic", **shared | method) for name, method in methods.items()]
