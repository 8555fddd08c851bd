"""Rows at irregular times: a discount for each, and what is learned with it."""

import datetime

import numpy as np
import pandas as pd
import pytest
from cases import COMPILED
from td_cases import everything, learner
from tolerances import PLAIN, assert_close

from rtu_np import SGD, LinearRTU, TDLambda, discounts_of

MINUTES = np.array([0, 5, 10, 30, 30, 31])
EXPECTED = 0.9 ** np.array([1, 1, 1, 4, 0, 0.2])
START = pd.Timestamp("2026-10-25T00:45", tz="UTC").tz_convert("Europe/Berlin")  # summer time ends after 15 minutes
INDEX = START + pd.to_timedelta(MINUTES, "min")
FIVE = {"numpy": np.timedelta64(300, "s"), "datetime": datetime.timedelta(minutes=5), "pandas": pd.Timedelta("5min")}


@pytest.mark.parametrize("unit", FIVE)
@pytest.mark.parametrize(
    "times",
    [
        INDEX,
        pd.Series(INDEX),
        pd.DataFrame({"x": range(6)}, index=INDEX),
        INDEX.tz_convert(None).to_numpy(),
        list(INDEX.tz_convert(None).to_pydatetime()),
        list(INDEX.tz_convert(None).to_numpy()),
    ],
    ids=["index", "series", "frame", "array", "datetimes", "list"],
)
def test_dates_of_any_kind(times, unit):
    assert_close(discounts_of(times, 0.9, FIVE[unit]), EXPECTED, PLAIN)


def test_numbers_and_many_discounts():
    assert_close(discounts_of(MINUTES, 0.9, 5), EXPECTED, PLAIN)
    several = discounts_of(MINUTES.tolist(), [0.9, 0.0, 1.0], 5)
    assert several.shape == (6, 3)
    assert_close(several[:, 0], EXPECTED, PLAIN)
    assert several[:, 1].tolist() == [0, 0, 0, 0, 1, 0]
    assert np.all(several[:, 2] == 1)


def test_a_stream_in_two_parts():
    whole = discounts_of(MINUTES, 0.9, 5)
    rest = discounts_of(MINUTES[3:], 0.9, 5, previous=MINUTES[2])
    assert np.array_equal(rest, whole[3:])
    assert np.array_equal(discounts_of(INDEX[3:], 0.9, FIVE["numpy"], previous=INDEX[2].tz_convert(None)), whole[3:])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((([0, 2, 1]), 0.9), ValueError, r"times\[2\] is 1.0, before times\[1\], 2.0: .* Sort the rows"),
        (
            (INDEX[[0, 2, 1]], 0.9, FIVE["pandas"]),
            ValueError,
            r"times\[2\] is 2026-10-25T00:50, before times\[1\], 2026",
        ),
        ((INDEX.tz_localize(None), 0.9, FIVE["numpy"]), ValueError, r"times\[3\] is 2026-10-25T02:15, .* daylight"),
        (([5, 6], 0.9, 1, 7), ValueError, r"times\[0\] is 5.0, before the row before, at 7.0"),
        ((pd.DatetimeIndex(["2026-01-01", None]), 0.9, FIVE["numpy"]), ValueError, r"times\[1\] is NaT"),
        (([0, np.nan], 0.9), ValueError, r"times\[1\] is nan"),
        (([[0, 1]], 0.9), ValueError, r"times has shape \(1, 2\)"),
        ((["2026-01-01"], 0.9), TypeError, "times has dtype"),
        ((INDEX, 0.9), TypeError, "unit is 1.0, and times are dates: expected a duration"),
        ((INDEX, 0.9, np.timedelta64(1, "M")), TypeError, r"unit is .*: expected a duration"),
        ((INDEX, 0.9, np.timedelta64(0, "s")), ValueError, r"unit is .*: expected a positive duration"),
        (([0, 1], 0.9, np.timedelta64(1, "s")), TypeError, r"unit is .*, and times are numbers"),
        (([0, 1], 0.9, 0), ValueError, "unit is 0"),
        ((INDEX, 0.9, FIVE["numpy"], 3), TypeError, "previous is 3, and times have dtype datetime64"),
        (([0, 1], 1.1), ValueError, "gamma is 1.1: expected numbers in"),
        (([0, 1], [0.9, np.nan]), ValueError, r"gamma\[1\] is nan"),
    ],
)
def test_bad_times_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        discounts_of(*arguments)


@pytest.mark.skipif(not COMPILED, reason="takes minutes in plain Python")
def test_predictions_at_random_times_are_those_at_regular_times():
    """A bell rings at each hour. A prediction says how near it is, in minutes, whenever one looks."""

    def hands(times):
        angle = 2 * np.pi * times / 60
        return np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle), np.ones(len(times))], 1)

    def learned(times, discounts):
        rings = np.diff(np.floor(times / 60), prepend=0).astype(float)
        agent = TDLambda(LinearRTU(8), 5, gamma=0.98, seed=0, optimizer=SGD(0.01))
        agent.run(hands(times), rings, discounts, progress=False)
        return agent.predict(hands(np.arange(0.0, 60.0)))

    def error(times, discounts):
        return np.abs(learned(times, discounts) - exact).mean() / exact.mean()

    exact = 0.98 ** (60 - np.arange(60.0)) / (1 - 0.98**60)
    random = np.sort(np.random.default_rng(0).uniform(0, 120_000, 60_000))
    assert error(np.arange(60_000.0), None) < 0.25  # relative; measured .13
    assert error(random, discounts_of(random, 0.98)) < 0.25  # .08
    assert error(random, np.full(len(random), 0.98)) > 0.5  # .81: rows come every two minutes


def test_a_learner_takes_them():
    x, c = np.ones((6, 2)), np.arange(6.0)
    one, other = learner(), learner()
    one.run(x, c, discounts_of(MINUTES, 0.9, 5), progress=False)
    for row, cumulant, discount in zip(x, c, EXPECTED, strict=True):
        other.step(row, cumulant, discount)
    assert_close(one._flat, other._flat, 1e-12)
    assert everything(one) != everything(learner())
