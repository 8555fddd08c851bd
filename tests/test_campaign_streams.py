"""A campaign at the doors for raw streams: gaps in any form, levels and scales, frames, chunks (campaign_cases.py)."""

import copy
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from campaign_cases import door, refuses
from cases import COMPILED
from hypothesis import given
from hypothesis import strategies as st
from td_cases import everything

from rtu_np import GRU, SGD, Adam, Blocks, Intentional, LinearRTU, Normalize, TDLambda, run_many

# Uncompiled, NumPy warns of what a compiled kernel meets without a word. Levels and scales are drawn at random.
pytestmark = [pytest.mark.filterwarnings("ignore::RuntimeWarning"), pytest.mark.filterwarnings("ignore:in its first")]
SIZES = st.integers(1, 3)
HALF_LIVES, CLIPS = st.sampled_from([None, 1.0, 7, np.float64(1e6)]), st.sampled_from([None, 1, 3.0, 1e300])
LEARNERS = st.fixed_dictionaries(
    {
        "cell": SIZES.map(LinearRTU) if COMPILED else st.one_of(SIZES.map(LinearRTU), SIZES.map(GRU)),
        "n_inputs": SIZES,
        "optimizer": st.sampled_from(
            [Adam(0.003), SGD(0.01)] + [Intentional(), Blocks(others=SGD(0.01))] * (not COMPILED)
        ),
        "normalize": st.one_of(st.sampled_from([True, False]), st.builds(Normalize, HALF_LIVES, CLIPS)),
        "missing": st.sampled_from(["hold", "zero", None]),
        "dtype": st.sampled_from(["float64", "float32"]),
    }
)
NUMBERS = st.one_of(st.floats(-1e30, 1e30), st.integers(-3, 3).map(float), st.sampled_from([0.0, 1e-300, -0.0, 5e-324]))


def again(agent: TDLambda, how: str) -> TDLambda:
    if how == "saved":
        with tempfile.TemporaryDirectory() as folder:
            return TDLambda.load(agent.save(Path(folder) / "learner"))
    return {"same": lambda x: x, "pickled": lambda x: pickle.loads(pickle.dumps(x)), "copied": copy.deepcopy}[how](
        agent
    )


def rows_of(draw, d: int, gaps: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(observations, cumulants, truncated), with NaN if there may be gaps."""
    n = draw(st.integers(1, 12))
    numbers = st.one_of(NUMBERS, st.just(np.nan)) if gaps else NUMBERS
    x = draw(st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=n, max_size=n))
    c = draw(
        st.lists(st.one_of(st.floats(-3, 3), st.just(np.nan)) if gaps else st.floats(-3, 3), min_size=n, max_size=n)
    )
    return np.array(x), np.array(c), np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))


def with_gaps_as(draw, array: np.ndarray) -> object:
    """NaN in another form."""
    gaps = np.isnan(array)
    form = draw(st.sampled_from(["nan", "objects", "list", "masked", "frame", "nullable"]))
    if form == "objects":
        return np.where(gaps, draw(st.sampled_from([None, pd.NA, pd.NaT])), array.astype(object))
    if form == "list":
        return np.where(gaps, None, array.astype(object)).tolist()
    if form == "masked":
        return np.ma.masked_array(np.where(gaps, draw(st.sampled_from([0.0, np.inf, -9999.0])), array), mask=gaps)
    if form in ("frame", "nullable"):
        table = (pd.DataFrame if array.ndim == 2 else pd.Series)(array)
        return table.astype("Float64") if form == "nullable" else table
    return array


@door(60)
@given(LEARNERS, st.data())
def test_any_way_through_a_raw_stream(settings, data):
    """Steps, runs, chunks, masks and copies give the bits of one run; predictions and refused calls change nothing."""
    draw, gaps, d = data.draw, settings["missing"] is not None, settings["n_inputs"]
    x, c, cut = rows_of(draw, d, gaps)
    agent, reference = TDLambda(**settings), TDLambda(**settings)
    expected, n = reference.run(x, c, truncated=cut, progress=False), len(x)
    t, made = 0, []
    while t < n:
        agent = again(agent, draw(st.sampled_from(["same", "saved", "pickled", "copied"])))
        how, stop = draw(st.sampled_from(["step", "run", "mask", "chunks", "rows"])), draw(st.integers(t + 1, n))
        part = slice(t, t + 1) if how == "step" else slice(t, stop)
        if how == "step":
            cumulant = draw(st.sampled_from([c[t], np.array(c[t])]))
            made.append(agent.step(with_gaps_as(draw, x[t]), cumulant, None, False, cut[t]))
        elif how == "run":
            signals = with_gaps_as(draw, c[part])
            made += np.asarray(
                agent.run(with_gaps_as(draw, x[part]), signals, truncated=cut[part], progress=False)
            ).tolist()
        elif how == "mask" and gaps:
            seen = ~np.isnan(x[part])
            filled = np.where(seen, x[part], draw(st.sampled_from([np.nan, 0.0, np.inf, 1e300])))
            made += agent.run(filled, c[part], truncated=cut[part], observed=seen, progress=False).tolist()
        else:
            whole = {"observations": x[part], "cumulants": c[part], "truncated": cut[part]}
            rows = ((*row, None, None, flag) for *row, flag in zip(x[part], c[part], cut[part], strict=True))
            items = [whole] if how == "chunks" else rows
            made += np.concatenate(list(agent.run_stream(items, draw(st.integers(1, 5))))).tolist()
        t = part.stop
    assert np.array(made, settings["dtype"]).tobytes() == expected.tobytes()
    assert everything(agent) == everything(reference)
    assert np.isfinite(expected).all()
    (many,) = run_many([last := TDLambda(**settings)], x, c, truncated=cut, progress=False)
    assert many.tobytes() == expected.tobytes()
    assert everything(last) == everything(reference)


@door(60)
@given(LEARNERS, st.data())
def test_bad_raw_streams(settings, data):
    draw, d = data.draw, settings["n_inputs"]
    agent = TDLambda(**settings)
    x, c, _ = rows_of(draw, d, settings["missing"] is not None)
    agent.run(x, c, progress=False)
    bad, infinite = x.copy(), draw(st.sampled_from([np.inf, -np.inf, 1e200, np.nan]))
    at = draw(st.integers(0, len(x) - 1)), draw(st.integers(0, d - 1))
    bad[at] = infinite
    refused = np.isinf(infinite) or (np.isnan(infinite) and settings["missing"] is None)
    refused |= infinite == 1e200 and (settings["normalize"] is not False or settings["dtype"] == "float32")

    def state() -> bytes:
        return everything(agent)

    if refused:
        refuses(lambda: agent.run(bad, c, progress=False), r"observations\[", state)
        refuses(lambda: agent.step(bad[at[0]], 0.0), r"x\[", state)
        refuses(lambda: agent.predict(bad), r"x\[", state)
        refuses(lambda: list(agent.run_stream([(bad, c)])), "rows 0 to", state)
    n = len(x)
    masks = [np.ones((n, d + 1)), np.ones(d), 1.0, "x", [[None] * d] * n, np.ones((n + 1, d)), np.full((n, d), np.nan)]
    mask = draw(st.sampled_from(masks))
    refuses(lambda: agent.run(x, c, observed=mask, progress=False), "observed", state)
