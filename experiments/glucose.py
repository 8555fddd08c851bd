"""The glucose of one person, every five minutes for 200 days, with its gaps (`bokeh-sampledata`, public domain).

The sensor's rows stand on a grid of five minutes, from 24 March to 10 October 2010. A tenth of the grid has no value:
the sensor was off or lost. An observation is the glucose (mg/dl), the sensor's current, and the time of day as a sine
and a cosine; what is missing is NaN. The extra `data` has the package.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROWS_A_DAY = 288
WEEKS_OF_TUNING = 8
AHEAD = (3, 6, 12, 24)  # rows: 15, 30, 60, 120 minutes
N_INPUTS = 4
ENOUGH = 0.95  # the part of a discounted mean's weights that must fall on rows with a value


class Glucose(NamedTuple):
    observations: np.ndarray  # (T, 4)   glucose, current, sine and cosine of the time of day; NaN is missing
    glucose: np.ndarray  # (T,)
    last: np.ndarray  # (T,)   the last value up to each row

    @property
    def days(self) -> np.ndarray:
        """(T,) the number of each row's day since the start."""
        return np.arange(len(self.glucose)) // ROWS_A_DAY


@cache
def read() -> Glucose:
    """The stream. ImportError names the extra."""
    try:
        import bokeh_sampledata
        import pandas
    except ImportError as error:
        raise ImportError(
            f"{error}: the glucose comes with the package bokeh-sampledata; python -m pip install 'rtu_np[data]' has it"
        ) from error
    table = pandas.read_csv(Path(bokeh_sampledata.__file__).parent / "_data" / "CGM.csv.gz")
    times = pandas.to_datetime(table["datetime"])
    rows = np.round((times - times.iloc[0]).dt.total_seconds().to_numpy() / 300).astype(int)
    glucose, current = np.full((2, rows[-1] + 1), np.nan)
    glucose[rows] = table["glucose"]
    current[rows] = pandas.to_numeric(table["isig"], errors="coerce")
    start = (times.iloc[0].hour * 60 + times.iloc[0].minute) / 1440
    angle = 2 * np.pi * (start + np.arange(glucose.size) / ROWS_A_DAY)
    known = np.maximum.accumulate(np.where(np.isnan(glucose), 0, np.arange(glucose.size)))
    return Glucose(np.column_stack([glucose, current, np.sin(angle), np.cos(angle)]), glucose, glucose[known])


def ahead(glucose: np.ndarray) -> np.ndarray:
    """(T, 4) the value that comes `AHEAD` rows later; NaN behind the end."""
    out = np.full((glucose.size, len(AHEAD)), np.nan)
    for j, h in enumerate(AHEAD):
        out[:-h, j] = glucose[h:]
    return out


def discounted_mean(glucose: np.ndarray, gammas: np.ndarray) -> np.ndarray:
    """(T, m) sum_k gamma^k g_{t+1+k} over the rows with a value, divided by the sum of their weights.

    NaN where less than `ENOUGH` of all weights fall on rows with a value.
    """
    seen = ~np.isnan(glucose)
    out = np.full((glucose.size, gammas.size), np.nan)
    total, weight = np.zeros((2, gammas.size))
    for t in range(glucose.size - 1, -1, -1):
        enough = weight >= ENOUGH
        out[t, enough] = total[enough] / weight[enough]
        total, weight = gammas * total, gammas * weight
        if seen[t]:
            total, weight = total + (1 - gammas) * glucose[t], weight + (1 - gammas)
    return out
