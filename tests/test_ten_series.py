"""The table of ten real series: the page shows the committed numbers, and the command makes them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import COMPILED

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import ten_series  # noqa: E402  a script beside the package, not a part of it

FOUND = json.loads((ROOT / "docs" / "results" / "ten-series" / "ten-series.json").read_text())


def test_the_page_shows_the_committed_numbers():
    assert ten_series.table(FOUND["series"]) in (ROOT / "docs" / "own_stream.md").read_text()
    assert list(FOUND["series"]) == list(ten_series.SERIES)


def test_the_defaults_are_below_the_last_value_on_nine_of_ten():
    assert FOUND["seeds"] == [0, 1, 2, 3, 4]
    assert all(len(one["learner"]) == 5 for one in FOUND["series"].values())
    assert ten_series.won(FOUND["series"]) >= 9


@pytest.mark.skipif(not COMPILED, reason="compiled, it takes a second")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["Seattle, maximum of each day (same)", "sunspots, yearly (same)"])
def test_the_command_makes_the_committed_numbers(name):
    """To the digits that the page shows: another processor rounds otherwise."""
    pytest.importorskip("vega_datasets", reason="extra data")
    pytest.importorskip("statsmodels", reason="extra data")
    found = ten_series.measure(ten_series.SERIES[name][1]())
    for key, value in found.items():
        assert np.allclose(value, FOUND["series"][name][key], rtol=1e-3), key
