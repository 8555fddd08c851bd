"""Claims, and whether they hold by the committed results: *holds*, *does not*, or *open*, by a rule.

A claim is a list of comparisons. A comparison names two rows of a table in docs/results/EXPERIMENT/PRESET.json, or a
row and a number. Each comparison is for the claim, against it, or undecided:

- "above" and "below": for, if the two 95 % intervals lie apart as claimed; against, if they lie apart the other way;
  undecided, if they overlap;
- "not above" and "not below": against, if the intervals lie apart the other way; otherwise for;
- "level with": for, if each mean lies in the interval of the other; against, if the intervals lie apart; otherwise
  undecided.

A row of fewer seeds than a measure asks for, MIN_SEEDS if it does not say, decides nothing. A claim holds if every
comparison is for it. It does not hold if any comparison is against it. It is open otherwise, and if its results are of
an earlier task or agent. A claim about "most" cases holds if more than half of its comparisons are for it, and does not
if at least half are against it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

MIN_SEEDS = 5
FOR, AGAINST, UNDECIDED = "for", "against", "undecided"
HOLDS, DOES_NOT, OPEN = "holds", "does not", "open"
PRESETS = ("paper", "overnight", "long", "laptop")  # the first whose results are there is taken
Relation = Literal["above", "below", "not above", "not below", "level with"]


class ResultsError(Exception):
    """The results of a claim are missing, or their table has another shape."""


class Measure(NamedTuple):
    """The columns that hold a number and its interval. Without an interval, the number is compared as it is."""

    mean: str
    low: str | None = "low"
    high: str | None = "high"
    min_seeds: int = MIN_SEEDS


class Best(NamedTuple):
    """The row with the smallest mean among those that match."""

    row: str


class Comparison(NamedTuple):
    """`left` RELATION `times` `right`. In a row, {name} stands for any text without commas and colons.

    A name that stands on both sides has the same text on both. A row with names stands for all rows that match.
    """

    left: str | Best
    relation: Relation
    right: str | Best | float
    measure: Measure
    times: float = 1.0


def compare(measure: Measure, *comparisons: tuple[Any, ...]) -> list[Comparison]:
    """Comparisons of one column: (left, relation, right), and a fourth number if `right` is multiplied by it.

    Examples
    --------
    >>> compare(Measure("return"), ("{task}: a", "above", "{task}: b"))[0].relation
    'above'
    """
    return [Comparison(left, relation, right, measure, *times) for left, relation, right, *times in comparisons]


@dataclass(frozen=True)
class Claim:
    """What somebody claims, and the comparisons that decide it.

    source : who claims it, and in which figure. results : the experiment's name
    most : whether the claim is about most cases. remark : what else a reader should know
    preset : the preset that decides; if it is not named, the first of PRESETS whose results are there
    """

    text: str
    source: str
    results: str
    comparisons: list[Comparison]
    most: bool = False
    remark: str = ""
    preset: str = ""


class Number(NamedTuple):
    name: str  # the row, or "" for a number of the claim
    mean: float
    low: float
    high: float
    seeds: int
    diverged: int


class Vote(NamedTuple):
    left: Number
    relation: str
    right: Number
    times: float
    vote: str
    reason: str


class Verdict(NamedTuple):
    claim: Claim
    preset: str
    verdict: str
    reason: str
    votes: list[Vote]


def decide(claim: Claim, folder: Path, earlier: dict[tuple[str, str], tuple[str, str]]) -> Verdict:
    """The verdict on a claim by the results in `folder`.

    earlier : {(experiment, preset): (commit, reason)}: results of this commit are of an earlier task or agent

    Raises
    ------
    ResultsError : it names the file that is missing or has another shape, and what was expected

    Examples
    --------
    >>> import tempfile
    >>> rows = {f"hare{k}": {"seeds": 5, "return": k, "low": k - 0.4, "high": k + 0.4} for k in (1, 2)}
    >>> claim = Claim("faster", "a fable", "race", compare(Measure("return"), ("hare2", "above", "hare1")))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "race").mkdir()
    ...     (Path(folder) / "race" / "laptop.png").touch()
    ...     _ = (Path(folder) / "race" / "laptop.json").write_text(json.dumps({"scores": rows}))
    ...     decide(claim, Path(folder), {}).verdict
    'holds'
    """
    preset, file, page = _page(claim, folder)
    commit, reason = earlier.get((claim.results, preset), ("", ""))
    is_earlier = commit and any(each.startswith(commit) for each in _commits(page))
    try:
        votes = [vote for comparison in claim.comparisons for vote in _votes(comparison, page["scores"], file)]
    except ResultsError:
        if not is_earlier:
            raise
        votes = []  # an earlier agent's table need not have the rows of today's
    if is_earlier:
        return Verdict(claim, preset, OPEN, reason, votes)
    if not votes:
        raise ResultsError(f"{file}: no two rows are compared by {claim.text!r}: expected rows that differ")
    counted = Counter(vote.vote for vote in votes)
    if counted[FOR] == len(votes) or (claim.most and 2 * counted[FOR] > len(votes)):
        return Verdict(claim, preset, HOLDS, "", votes)
    if 2 * counted[AGAINST] >= len(votes) if claim.most else counted[AGAINST] > 0:
        return Verdict(claim, preset, DOES_NOT, "", votes)
    reasons = list(dict.fromkeys(vote.reason for vote in votes if vote.vote == UNDECIDED))
    return Verdict(claim, preset, OPEN, "; ".join(reasons), votes)


def commits(folder: Path, experiment: str, preset: str) -> list[str]:
    """The commits that made the results, if there are any."""
    file = folder / experiment / f"{preset}.json"
    return _commits(_read(file)) if file.exists() else []


def _commits(page: dict[str, Any]) -> list[str]:
    commit = page.get("commit", [])
    return commit if isinstance(commit, list) else [commit]


def _page(claim: Claim, folder: Path) -> tuple[str, Path, dict[str, Any]]:
    presets = (claim.preset,) if claim.preset else PRESETS
    for preset in presets:
        file = folder / claim.results / f"{preset}.json"
        if file.exists():
            if not file.with_suffix(".png").exists():
                raise ResultsError(f"{file.with_suffix('.png')} is missing: expected the figure next to {file.name}")
            return preset, file, _read(file)
    raise ResultsError(
        f"{folder / claim.results} has no results of a preset ({', '.join(presets)}): expected the JSON that "
        f"`python -m experiments {claim.results}{claim.preset and f' --preset {claim.preset}'}` writes, and the figure "
        "next to it"
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        page = json.loads(file.read_text(encoding="utf-8"))
        rows = page["scores"].values()
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise ValueError("its scores have no rows")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"{file}: expected a page with scores, as `python -m experiments` writes it ({error!r})"
        raise ResultsError(message) from error
    return page


def _votes(comparison: Comparison, table: dict[str, dict[str, Any]], file: Path) -> Iterator[Vote]:
    relation, measure, times = comparison.relation, comparison.measure, comparison.times
    for row, names in _rows(comparison.left, {}, comparison, table, file):
        left = _number(row, measure, table, file)
        if isinstance(comparison.right, int | float):
            number = float(comparison.right)
            right = Number("", number, number, number, left.seeds, 0)
            yield Vote(left, relation, right, times, *_vote(left, relation, right, times, measure))
            continue
        for other, _ in _rows(comparison.right, names, comparison, table, file):
            if other != row or isinstance(comparison.right, Best):  # the row itself may be the best
                right = _number(other, measure, table, file)
                yield Vote(left, relation, right, times, *_vote(left, relation, right, times, measure))


def _rows(
    wanted: str | Best, names: dict[str, str], comparison: Comparison, table: dict[str, dict[str, Any]], file: Path
) -> list[tuple[str, dict[str, str]]]:
    """(row, its names) of each row that is wanted. `names` are known from the other side."""
    text = wanted.row if isinstance(wanted, Best) else wanted
    parts = re.split(r"\{(\w+)\}", text)
    pattern, seen = "", set()
    for k, part in enumerate(parts):
        known = names.get(part) if k % 2 else part
        if known is not None:
            pattern += re.escape(known)
        else:
            pattern += f"(?P={part})" if part in seen else f"(?P<{part}>[^,:]+)"
            seen.add(part)
    found = [(row, names | match.groupdict()) for row in table if (match := re.fullmatch(pattern, row))]
    if not found:
        shown = "; ".join(list(table)[:3])
        raise ResultsError(f"{file} has no row {text!r}{f' with {names}' if names else ''}: it has {shown}, ...")
    if isinstance(wanted, Best):
        return [min(found, key=lambda each: _number(each[0], comparison.measure, table, file).mean)]
    return found


def _number(row: str, measure: Measure, table: dict[str, dict[str, Any]], file: Path) -> Number:
    def value(column: str) -> float:
        found = table[row].get(column)
        if not isinstance(found, int | float):
            raise ResultsError(f"{file}, row {row!r}: expected a number {column!r}, and it is {found!r}")
        return found

    mean, low, high = (value(column or measure.mean) for column in (measure.mean, measure.low, measure.high))
    return Number(row, mean, low, high, int(value("seeds")), int(table[row].get("diverged", 0)))


def _vote(left: Number, relation: str, right: Number, times: float, measure: Measure) -> tuple[str, str]:
    """(vote, the reason if it is undecided)"""
    seeds = min(left.seeds, right.seeds)
    if seeds < measure.min_seeds:
        return UNDECIDED, f"{seeds} seeds, and a verdict takes {measure.min_seeds}"
    if not all(np.isfinite([left.mean, left.low, left.high, right.mean, right.low, right.high])):
        return UNDECIDED, "a mean is not a number"
    low, high = right.low * times, right.high * times
    is_above, is_below = left.low > high, left.high < low
    if relation == "level with":
        inside = low <= left.mean <= high and left.low <= right.mean * times <= left.high
        vote = AGAINST if is_above or is_below else FOR if inside else UNDECIDED
    elif relation.startswith("not "):
        vote = AGAINST if (is_above if relation == "not above" else is_below) else FOR
    else:
        wanted, other = (is_above, is_below) if relation == "above" else (is_below, is_above)
        vote = FOR if wanted else AGAINST if other else UNDECIDED
    return vote, "intervals overlap" if vote == UNDECIDED else ""
