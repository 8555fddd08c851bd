"""Many predictions with settings, streams and gaps drawn at random: `step` equals `run`, copies equal what they copy.

`RTU_NP_FUZZ` says how many are drawn, and draws others each time.
"""

import copy
import os

import numpy as np
import pytest
from cases import in_plain_python

from rtu_np import (
    GRU,
    LRU,
    RTRL,
    SGD,
    TBPTT,
    Adam,
    Dense,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    ObGD,
    RMSProp,
    Stack,
    TDLambda,
)

CELLS = [LinearRTU(3), NonlinearRTU(2), MinGRU(4), GRU(2), LRU(3), Stack([Dense(3), LinearRTU(2)])]
RULES = [SGD(0.01), Adam(), RMSProp(), ObGD()]
EXAMPLES = int(os.environ.get("RTU_NP_FUZZ", "60"))
BLOCKS = 6


def one_of(rng, choices):
    return choices[int(rng.integers(len(choices)))]


def settings_of(rng, m: int) -> dict:
    body = one_of(rng, ["traces", "shared", "lambda0", "frozen"])
    settings = {
        "gamma": np.full(m, 0.9) if body == "shared" else rng.choice([0.0, 0.5, 0.9, 1.0], m),
        "body": body,
        "optimizer": one_of(rng, RULES),
        "lambda_": one_of(rng, [0.0, 0.5, 1.0]),
        "dtype": one_of(rng, ["float32", "float64"]),
        "missing": one_of(rng, [None, None, "hold", "zero"]),
        "normalize": one_of(rng, [False, True]),
    }
    return settings | one_of(rng, [{}, {}, {"gradient": TBPTT(2)}, {"gradient": RTRL(dense=True)}])


def stream_of(rng, settings: dict, d: int) -> dict:
    m, n_steps = len(settings["gamma"]), int(rng.integers(1, 60))
    x, c = rng.standard_normal((n_steps, d)), rng.standard_normal((n_steps, m))
    if settings["missing"]:
        x[rng.random(x.shape) < 0.2] = np.nan
        c[rng.random(c.shape) < 0.2] = np.nan
    kinds = ["none", "one"] if settings["body"] == "shared" else ["none", "one", "each"]
    made = {"none": lambda: None, "one": lambda: rng.random(n_steps), "each": lambda: rng.random((n_steps, m))}
    ends = rng.random((2, n_steps)) < 0.05
    signals = {name: made[one_of(rng, kinds)]() for name in ("discounts", "ratios")}
    return {"observations": x, "cumulants": c, **signals, "terminated": ends[0], "truncated": ends[1]}


def step_by_step(agent, s: dict) -> np.ndarray:
    def row(name, t):
        return None if s[name] is None else s[name][t]

    names = "observations", "cumulants", "discounts", "terminated", "truncated", "ratios"
    return np.array([agent.step(*(row(name, t) for name in names)) for t in range(len(s["cumulants"]))])


@in_plain_python
@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_learners(block):
    rng = np.random.default_rng(None if "RTU_NP_FUZZ" in os.environ else block)
    refused = []
    for _ in range(EXAMPLES // BLOCKS):
        m, d = int(rng.integers(1, 9)), int(rng.integers(1, 4))
        settings, cell = settings_of(rng, m), one_of(rng, CELLS)
        try:
            agent = TDLambda(cell, d, **settings)
        except ValueError as error:
            refused.append(str(error))
            continue
        twin, s = copy.deepcopy(agent), stream_of(rng, settings, d)
        with np.errstate(all="ignore"):
            assert np.array_equal(agent.run(**s, progress=False), step_by_step(twin, s)), (agent, s)
        for name, view in agent.parameters.items():
            assert np.array_equal(view, twin.parameters[name]), (name, agent, s)
        for name, view in agent.traces.items():
            assert np.array_equal(view, twin.traces[name]), (name, agent, s)
        other = copy.deepcopy(agent)
        assert np.array_equal(other.predict(s["observations"]), agent.predict(s["observations"]))
        assert agent.diagnostics() == other.diagnostics()
    assert len(refused) < EXAMPLES // BLOCKS
    assert all("expected" in message for message in refused)
