"""What the network sees of a stream with gaps, levels and scales, and what is learned from it."""

import numpy as np
import pytest
import stream_oracle
from tolerances import assert_close

from rtu_np import SGD, LinearRTU, Normalize, TDLambda

D = 2
SETTINGS = {
    "normalize": {"normalize": True},
    "forget": {"normalize": Normalize(half_life=7.0)},
    "clip": {"normalize": Normalize(clip=2.0)},
    "hold": {"missing": "hold"},
    "zero": {"missing": "zero"},
    "all": {"normalize": Normalize(half_life=20.0, clip=3.0), "missing": "hold"},
    "zero, normalized": {"normalize": True, "missing": "zero"},
}


def gappy(n=80, seed=0, gaps=True):
    """(observations, cumulants, truncated) of unlike levels and scales, with spikes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, D)) * [1e-6, 40.0] + [3e-5, -1e3]
    x[rng.random(n) < 0.05] *= 30
    c = rng.standard_normal(n)
    if gaps:
        x[rng.random((n, D)) < 0.3] = np.nan
        x[:2, 1] = np.nan  # nothing to hold yet
        c[rng.random(n) < 0.2] = np.nan
    return x, c, rng.random(n) < 0.05


def learner(**settings):
    return TDLambda(LinearRTU(3), D, **{"optimizer": SGD(0.01), "seed": 1, **settings})


def seen_by_the_network(agent, x, c, truncated):
    """(T, width) the input of the network at each step."""
    rows = []
    for row, cumulant, cut in zip(x, c, truncated, strict=True):
        agent.step(row, cumulant, truncated=cut)
        rows.append(agent._inputs._x.copy())
    return np.array(rows)


def by_definition(x, truncated, settings):
    starts = np.concatenate([[True], truncated[:-1]])
    normalize = settings.get("normalize")
    normalize = Normalize() if normalize is True else normalize
    pair = None if normalize is None else (normalize.half_life, normalize.clip)
    return stream_oracle.stage(x, starts, pair, settings.get("missing"))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_network_sees(name, dtype):
    settings = SETTINGS[name]
    x, c, truncated = gappy(gaps="missing" in settings)
    found = seen_by_the_network(learner(dtype=dtype, **settings), x, c, truncated)
    expected = by_definition(x, truncated, settings)
    for column, other in zip(found.T, expected.T, strict=True):
        assert_close(column, other, 1e-9 if dtype == "float64" else 1e-5)
