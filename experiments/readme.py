"""The made parts of README.md: every measured number on it, from the committed results in docs/results.

`python -m experiments.readme` writes each part between the comments `<!-- NAME: ... -->` and `<!-- end of NAME -->`. A
test makes the parts again and compares. A number is formatted once, as it stands in the JSON.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import claims
from experiments.engine import marks, verdicts
from experiments.engine.rows import short
from rtu_np import files
from rtu_np.commands import exit_code

ROOT = Path(__file__).parent.parent
PAPER = "Elelimy et al. 2024, "  # how the source of a claim of the paper begins
BEGIN, END = "<!-- {}: made by python -m experiments.readme -->", "<!-- end of {} -->"


def page(text: str, results: Path) -> str:
    """The page with all parts made from `results`.

    Raises
    ------
    MarkError : the page does not have the comments of each part once
    ResultsError : a JSON is missing, or of another shape
    """
    for name, make in PARTS.items():
        text = marks.replaced(text, BEGIN.format(name), END.format(name), f"\n{make(results)}\n")
    return text


def _first(results: Path) -> str:
    file = results / "trace-conditioning" / "laptop.json"
    row = _read(file, lambda page: page["scores"]["linear RTU, ISI 10, phases to 1"])
    ratio, low, high, seeds = (_number(file, row, name) for name in ("ratio", "low", "high", "seeds"))
    soak = results / "soak" / "TDLambda.json"
    run = _read(soak, lambda page: {name: page[name] for name in ("steps", "minutes", "peak, MB")})
    steps, minutes, peak = (_number(soak, run, name) for name in run)
    times = [row for row in _speed(results, "grid") if row["dtype"] == "float32"]
    small, large = (_one(times, n=n) for n in (10, 192))
    return f"""Left: the error of prediction falls to {short(ratio)} [{short(low)}, {short(high)}] times the smallest \
possible, that of Bayes ({seeds} seeds, 95 % interval).
Right: a stimulus (CS) announces another (US); before learning, the prediction does not know, and after it, it does.

- **Exact gradient**, at every step: no backpropagation through time, no truncation, no growing memory.
- **Microseconds**: a step of learning takes {short(small["us"])} us with {small["n"]} units, \
{short(large["us"])} us with {large["n"]}.
- **Runs on a laptop**: no GPU; {steps:,} steps took {short(minutes)} minutes and {short(peak)} MB, on one core."""


def _how_fast(results: Path) -> str:
    grid = _speed(results, "grid")
    python = [row for row in _speed(results, "from Python") if row["dtype"] == "float32"]
    peers = _speed(results, "peers")
    sizes = ({"n": 10, "d": 2}, {"n": 192, "d": 64})
    columns = []
    for size in sizes:
        fast = _one(grid, dtype="float32", **size)
        columns.append(
            [
                f"{size['n']} units, {size['d']} inputs",
                f"{short(fast['us'])} us; {short(fast['ours / C'])} times as long as C",
                f"{short(_one(python, **size)['us of step'])} us",
                f"{short(_one(peers, what='JAX, RTU, RTRL, scanned', **size)['ratio'])} times `run`",
                f"{short(_one(peers, what='PyTorch, GRUCell, T-BPTT(1)', **size)['ratio'])} times `step`",
            ]
        )
    names = (
        "one learning step",
        "`run`, many steps in compiled code",
        "`step`, called from Python",
        "JAX, the same RTU, scanned in compiled code",
        "PyTorch, GRUCell, truncated to one step",
    )
    rows = [f"| {' | '.join(row)} |" for row in zip(names, *columns, strict=True)]
    ratios = [row["ours / C"] for row in grid]
    machine = _read(results / "speed" / "speed.json", lambda page: page["machine"])
    compiling = {row["case"]: row["cold, s"] for row in _speed(results, "compiling")}
    if missing := {"TDLambda", "ActorCritic", "PPO"} - compiling.keys():
        raise verdicts.ResultsError(f"{results / 'speed' / 'speed.json'}: compiling has no case {', '.join(missing)}")
    return "\n".join(
        [
            rows[0],
            "|---|---|---|",
            *rows[1:],
            "",
            f"TD(lambda), linear RTU, exact RTRL, SGD, float32, one core ({machine['processor']}, Python "
            f"{machine['versions']['python']}, Numba {machine['versions']['numba']}). Over all sizes and",
            f"precisions: {short(min(ratios))} to {short(max(ratios))} times C. The first call compiles once per "
            f"machine: {short(compiling['TDLambda'])} s (`TDLambda`), {short(compiling['ActorCritic'])} s "
            "(`ActorCritic`),",
            f"{short(compiling['PPO'])} s (`PPO`). A gated recurrent unit (GRU) is another network: PyTorch's row "
            "compares what a step costs. [All times](docs/speed.md).",
        ]
    )


def _does_the_paper_hold(results: Path) -> str:
    """A row for each figure of the paper: its first claim, with the verdict, and the verdicts on its other claims."""
    figures: dict[str, list[verdicts.Verdict]] = {}
    for claim in claims.CLAIMS:
        if claim.source.startswith(PAPER):
            figures.setdefault(claim.results, []).append(verdicts.decide(claim, results, claims.EARLIER))
    counted = Counter(each.verdict for judged in figures.values() for each in judged)
    lines = [
        f"**Of the paper's {counted.total()} claims, {counted[verdicts.HOLDS]} hold, {counted[verdicts.DOES_NOT]} "
        f"do not, and {counted[verdicts.OPEN]} are open** (the data do not decide). A rule on intervals over seeds "
        "judges ([all claims](docs/claims.md)).",
        "LRU: linear recurrent unit; T-BPTT: truncated backpropagation through time; PPO: proximal policy "
        "optimisation; RNN: recurrent network; POPGym: memory tasks.",
        "",
        "| figure | its first claim | does it hold? | its other claims |",
        "|---|---|---|---|",
    ]
    for name, (first, *others) in figures.items():
        figure = f"[{first.claim.source.removeprefix(PAPER)}](docs/results/{name}/{first.preset}.png)"
        # of a longer reason the first words; docs/claims.md has all of it
        verdict = f"**{first.verdict}**" + (f": {first.reason.split(',')[0]}" if first.reason else "")
        rest = ", ".join(other.verdict for other in others)
        lines.append(f"| {figure} | {first.claim.text} | {verdict} | {rest} |")
    return "\n".join(lines)


PARTS: dict[str, Callable[[Path], str]] = {
    "first": _first,
    "how fast": _how_fast,
    "does the paper hold": _does_the_paper_hold,
}


def _read(file: Path, part: Callable[[Any], Any]) -> Any:
    try:
        return part(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise verdicts.ResultsError(f"{file}: expected the JSON that its command writes ({error!r})") from error


def _number(file: Path, row: dict[str, Any], name: str) -> Any:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise verdicts.ResultsError(f"{file}: expected a number {name!r}, and it is {value!r}")
    return value


def _speed(results: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a table of docs/results/speed/speed.json."""
    file = results / "speed" / "speed.json"
    rows = _read(file, lambda page: [dict(row) for row in page[table]])
    for row in rows:
        for name in row.keys() - {"dtype", "what", "case"}:
            _number(file, row, name)
    return rows


def _one(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if wanted.items() <= row.items()]
    if len(found) != 1:
        raise verdicts.ResultsError(f"speed.json: expected one row with {wanted}, and it has {len(found)}")
    return found[0]


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(
        prog="python -m experiments.readme",
        description="Write the measured numbers of README.md from committed results.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    top.add_argument("--results", type=Path, default=ROOT / "docs" / "results", help="the folder of committed results")
    top.add_argument("--page", type=Path, default=ROOT / "README.md", help="the page whose parts are written")
    arguments = top.parse_args(argv)
    try:
        text = page(arguments.page.read_text(encoding="utf-8"), arguments.results)
        with files.replacing(arguments.page) as part:
            part.write_text(text, encoding="utf-8")
    except (verdicts.ResultsError, marks.MarkError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"page: {arguments.page}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
