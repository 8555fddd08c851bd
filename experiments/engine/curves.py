"""What a figure of curves shows of many runs, in a file that is small enough for git: PRESET.curves.json.

Such a figure needs more than its table has, and much less than its runs have: some curves of each setting, each with
its mean over seeds and the 95 % interval. An experiment says by `curves(results)` what its figure shows of each
setting, and draws this by `draw_curves`. The command that made the runs draws from the same rounded numbers
that it writes, so whoever has the file draws the same figure. The file also has the table of these runs, so that a
reader of both knows whether they belong together.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rtu_np import files
from rtu_np.intervals import interval

Table = dict[str, dict[str, float]]
Shown = list[dict[str, Any]]  # for each setting, what the figure shows of it: words, numbers, arrays, bands
DIGITS = 4
TIMES = ("us per step", "steps per s", "us per row")  # columns of a table that differ when the same runs are made again


class Band(NamedTuple):
    """A curve: means over seeds, and the ends of their 95 % intervals."""

    mean: np.ndarray  # (points,)
    low: np.ndarray  # (points,)
    high: np.ndarray  # (points,)


def band(samples: Any) -> Band:
    """The curve of samples (seeds, points), or the one point of samples (seeds,).

    Examples
    --------
    >>> band([[1.0, 2.0], [3.0, 2.0]])
    Band(mean=array([2., 2.]), low=array([1., 2.]), high=array([3., 2.]))
    """
    array = np.asarray(samples, float)
    array = array.reshape(len(array), -1)
    return Band(rounded(array.mean(0)), *map(rounded, interval(array)))


def rounded(numbers: Any, digits: int = DIGITS) -> np.ndarray:
    """An array whose numbers have few digits.

    Examples
    --------
    >>> rounded([0.0123456, 98765.4, np.nan]).tolist()
    [0.01235, 98770.0, nan]
    """
    array = np.asarray(numbers, float)
    return np.array([float(f"{number:.{digits}g}") for number in array.flat]).reshape(array.shape)


def with_intervals(row: dict[str, float]) -> dict[str, tuple[float, float, float]]:
    """{name: (number, low, high)} of a row's numbers with an interval: those before two names that end so.

    Examples
    --------
    >>> with_intervals({"seeds": 3, "return": 1.5, "low": 1.0, "high": 2.0})
    {'return': (1.5, 1.0, 2.0)}
    """
    keys = list(row)
    found = zip(keys, keys[1:], keys[2:], strict=False)
    return {
        name: (row[name], row[low], row[high])
        for name, low, high in found
        if low.endswith("low") and high.endswith("high")
    }


def agree(table: Table, later: Table) -> bool:
    """Whether runs with the table `later` show what `table` says: the same runs, or made again by other code.

    Each number with an interval has to be in that of `table`. A row without one has to have the same numbers, but for
    times. (Learning makes more of rounding errors, so code that computes in another order moves the last digits.)

    Examples
    --------
    >>> table = {"RTU": {"seeds": 3, "return": 1.5, "low": 1.0, "high": 2.0}}
    >>> agree(table, {"RTU, 8 units": {"seeds": 3, "return": 1.6, "low": 1.1, "high": 2.1}})
    True
    >>> agree(table, {"RTU, 8 units": {"seeds": 3, "return": 2.1, "low": 1.9, "high": 2.2}})
    False
    """
    return len(table) == len(later) and all(map(_row_agrees, table.values(), later.values()))


def _row_agrees(row: dict[str, float], later: dict[str, float]) -> bool:
    names, ends = [name for name in row if name not in TIMES], with_intervals(row)
    if names != [name for name in later if name not in TIMES] or row.get("seeds") != later.get("seeds"):
        return False
    if ends:
        return all(low - _slack(low) <= later[name] <= high + _slack(high) for name, (_, low, high) in ends.items())
    return np.allclose([row[name] for name in names], [later[name] for name in names], 1e-5, 0, equal_nan=True)


def _slack(number: float) -> float:
    return 1e-5 * abs(number)  # tables of curves have six digits


def write(path: Path, head: dict[str, Any], scores: Table, shown: Shown) -> Path:
    """Write what a figure shows, a line for each setting. `head` and `scores`: of which runs, and their table."""
    rows = {row: {name: float(f"{number:.6g}") for name, number in row_of.items()} for row, row_of in scores.items()}
    page = json.dumps({**head, "scores": "SCORES", "curves": "CURVES"}, indent=1)
    with files.replacing(path) as part:
        text = page.replace('"SCORES"', _lines(rows, "{}")).replace('"CURVES"', _lines(shown, "[]"))
        part.write_text(f"{text}\n", encoding="utf-8")
    return path


def _lines(parts: Any, ends: str) -> str:
    """JSON with a line for each part of a dict or list."""
    names = [f"{json.dumps(name)}: " for name in parts] if isinstance(parts, dict) else [""] * len(parts)
    values = parts.values() if isinstance(parts, dict) else parts
    texts = [json.dumps(_plain(each), separators=(",", ":"), allow_nan=False) for each in values]
    made = ",\n".join(f"  {name}{text}" for name, text in zip(names, texts, strict=True))
    return f"{ends[0]}\n{made}\n {ends[1]}"


def read(path: Path) -> tuple[Table, Shown]:
    """(the table of the runs, what the figure shows) of a file that `write` wrote."""
    page = json.loads(path.read_text(encoding="utf-8"))
    nan = {row: {k: np.nan if v is None else v for k, v in numbers.items()} for row, numbers in page["scores"].items()}
    return nan, [_built(each) for each in page["curves"]]


def _plain(value: Any) -> Any:
    """As JSON has it. A number that is not finite is null: strict readers of JSON have no NaN."""
    if isinstance(value, Band):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return None if not np.isfinite(value) else int(value) if value == int(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value


def _built(value: Any) -> Any:
    """What `_plain` was given; lists of numbers are arrays."""
    if isinstance(value, dict):
        parts = {name: _built(part) for name, part in value.items()}
        return Band(**parts) if tuple(parts) == Band._fields else parts
    if isinstance(value, list) and all(part is None or isinstance(part, int | float | list) for part in value):
        return np.array(value, float)
    return value
