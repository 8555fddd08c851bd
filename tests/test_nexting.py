"""Nexting: the glucose stream and its truth, and the page whose table is made from results."""

from pathlib import Path

import numpy as np
import pytest

from experiments import glucose, machine

ROOT = Path(__file__).parent.parent


def test_the_stream_is_the_sensors_rows_on_a_grid():
    pytest.importorskip("bokeh_sampledata")
    stream = glucose.read()
    assert (len(stream.glucose), int(np.isnan(stream.glucose).sum())) == (57_770, 5_687)
    assert np.nanmin(stream.glucose) >= 40
    assert np.nanmax(stream.glucose) <= 400
    assert np.isfinite(stream.last).all()
    seen = ~np.isnan(stream.glucose)
    assert np.array_equal(stream.last[seen], stream.glucose[seen])


def test_values_ahead():
    ahead = glucose.ahead(np.arange(40.0))
    assert np.array_equal(ahead[0], glucose.AHEAD)
    assert np.array_equal(np.isnan(ahead).sum(0), glucose.AHEAD)


def test_a_discounted_mean_is_the_mean_over_what_was_seen():
    values, gammas = np.full(400, 100.0), np.array([0.5, 0.97])
    values[7] = np.nan
    mean = glucose.discounted_mean(values, gammas)
    early = mean[:200]
    assert np.allclose(early[np.isfinite(early)], 100.0, rtol=1e-12)
    assert np.isnan(mean[6, 0])
    assert np.isfinite(mean[6, 1])
    ramp = np.arange(2000.0)
    assert np.allclose(glucose.discounted_mean(ramp, gammas)[0], 1 / (1 - gammas), rtol=1e-10)


def test_the_machines_counters_grow():
    if not (machine.PROC / "stat").exists():
        pytest.skip("this system has no /proc")
    before, after = machine.counters(), machine.counters()
    assert np.all(after[:-1] >= before[:-1])
    assert after[-1] > 0
    rows = list(machine.rows(0.3, 0.1))
    assert len(rows) == 3
    assert np.isfinite(rows).all()
