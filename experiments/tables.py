"""The tables of docs/*.md that show committed results: what of each table in docs/results stands on a page, and how.

`python -m experiments.pages` writes them. A table stands between `<!-- table: EXPERIMENT/PRESET -->` and `<!-- end of
table -->`; a name after the preset, as in `<!-- table: approximations/laptop angles -->`, tells two of one file apart.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from experiments.engine.layouts import CORNER, as_rows, by_method, by_task
from experiments.engine.rows import Table
from experiments.nexting_glucose import by_horizon

RESULTS = Path(__file__).parent.parent / "docs" / "results"
WITHOUT = {"without memory": "without memory, at best"}
PERFECT = {"perfect memory": "perfect memory"}
TIMES = {"numbers": "numbers for each weight"} | {
    f"{size}: {what}": f"{size}: {what}" for size in ("64 x 32", "192 x 64") for what in ("us", "ratio")
}
REACH = {"return": "return", "moved": "moved", "weight at lag 10": "weight at lag 10"}


def _solved(task: str, name: str) -> Callable[[Table], str]:
    """The seeds of one task of benchmarks/ppo_solves.py."""
    columns = {"solved at": "solved at", "at the end": "at the end", "evaluated": "evaluated"}
    return partial(as_rows, start=f"{task}: ", corner=f"{name}: seed", columns=columns)


TABLES: dict[str, Callable[[Table], str]] = {
    "trace-conditioning/paper": partial(
        as_rows,
        start="linear RTU, ",
        corner="linear RTU",
        columns={
            "MSRE": "MSRE",
            "Bayes floor": "Bayes floor",
            "ratio": "ratio",
            "smallest": "smallest",
            "largest": "largest",
            "us per step": "us per step",
        },
    ),
    "two-layers/laptop": partial(
        as_rows,
        columns={
            "MSRE": "error",
            "Bayes floor": "Bayes floor",
            "above exact": "above exact, same streams",
            "seeds above exact": "on seeds",
        },
    ),
    "approximations/laptop angles": partial(
        as_rows,
        start="angle: ",
        corner="degrees to the exact gradient",
        columns={f"degrees, {way}": way for way in ("SnAp-1", "RFLO", "UORO", "T-BPTT(1)", "T-BPTT(16)")},
    ),
    "approximations/laptop": partial(
        as_rows,
        start="learning: ",
        corner="16 units, TD(0)",
        columns={"steps": "steps for 3e9 operations", "ratio to floor": "error / Bayes floor"},
    ),
    "nexting-glucose/laptop": by_horizon,
    "stream-memory/long": partial(by_method, first=WITHOUT, last=PERFECT),
    "stream-memory/reacher": partial(by_task, first=WITHOUT, last=PERFECT),
    "defaults/memory": partial(
        as_rows,
        corner="no further arguments",
        columns={
            "greedy": "greedy return",
            "smallest greedy": "of the worst seed",
            "seeds that learn": "seeds of 20 that learn",
        },
    ),
    "defaults/robots": partial(
        as_rows,
        columns={
            "return": CORNER,
            "change, %": "above earlier defaults, same seed, %",
            "greedy change, %": "greedy: above, same seed, %",
        },
    ),
    "reach/laptop": partial(as_rows, columns=REACH),
    "reach/robots": partial(as_rows, columns=REACH),
    "reach/apart": partial(as_rows, columns=REACH),
    "stream-pendulum/laptop": by_task,
    "stream-mujoco/laptop": by_task,
    "stream-mujoco/arm": by_task,
    "stream-popgym/laptop": partial(by_task, first={"previous": "without memory, at best"}),
    "fig04-mujoco/long": by_method,
    "fig05-reacher/large": partial(
        as_rows,
        start="ReacherPOMDP: ",
        corner="ReacherPOMDP",
        columns={"step size": "step size", "return": CORNER},
    ),
    "fig06-popgym/long": by_task,
    "fig18-staleness/long": partial(
        as_rows,
        start="Ant-P: ",
        corner="Ant-P",
        columns={"step size": "step size", "return": CORNER, "KL": "KL divergence of an update"},
    ),
    "rules/timing": partial(as_rows, corner="rule", columns=TIMES),
    "blocks/HalfCheetah-P": partial(
        as_rows,
        corner="rule",
        columns={
            f"actor.{block}: {what}, %": f"{block}: {what}, %"
            for block in ("encoder", "cell", "policy")
            for what in ("share", "moved")
        },
    ),
    "ppo-solves/solves cartpole": _solved("cartpole", "CartPole-P"),
    "ppo-solves/solves repeat-previous": _solved("repeat-previous", "RepeatPreviousEasy"),
    "ppo-storage/cartpole": partial(
        as_rows, corner="steps", columns={"float32": "float32, 95 % interval", "bfloat16": "bfloat16"}
    ),
    "ppo-costs/costs": partial(
        as_rows,
        columns={
            "update": "update, s",
            "two threads": "two threads, s",
            "acting": "acting, us per step from Python",
            "slowest 1 %": "its slowest 1 %, us",
            "arrays": "arrays, MB",
        },
    ),
}


class TableError(Exception):
    """A page asks for a table that is not planned, or whose results are missing or of another shape."""


def table(name: str, results: Path = RESULTS) -> str:
    """The table `name`, "EXPERIMENT/PRESET" or "EXPERIMENT/PRESET WHICH", as Markdown.

    Raises
    ------
    TableError : if TABLES has no such name, or if the file in `results` is missing or has other rows
    """
    if name not in TABLES:
        raise TableError(f"{name} has no table: expected one of {', '.join(TABLES)} (experiments/tables.py)")
    file = results / f"{name.partition(' ')[0]}.json"
    try:
        return TABLES[name](json.loads(file.read_text(encoding="utf-8"))["scores"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError(f"{file}: expected results with the rows of the table {name!r} ({error!r})") from error
