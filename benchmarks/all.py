"""All benchmarks in one run, and what got slower since the committed numbers.

    python benchmarks/all.py --against docs/results/speed/speed.json
    python benchmarks/all.py --against docs/results/speed/speed.json --quick     a minute
    python benchmarks/all.py --against then.json --measured now.json             compare two earlier runs

Machines differ and are busy, so seconds are not compared. Ratios are: of a time per step to that of the same step in C
(yardstick.c; 192 units and 64 inputs in float32 for agents), of seconds of compiling to those of a fixed Numba job, of
`run_many` to the same learners one after another. Each is taken within one run. What seems slower is measured once
more, and the better ratio counts. Prints what is slower by more than the tolerance; the exit code is then 1.

--output writes the numbers. Parts that were not measured stay as they are in the file, so that one part of the
committed numbers can be replaced.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import agents
import compiling
import numpy as np
import ppo
import speed
from tqdm import tqdm

from experiments.engine import results
from rtu_np.timing.machine import processor

HERE = Path(__file__).resolve().parent
Rows = list[dict[str, Any]]


class Settings(NamedTuple):
    """How much is measured."""

    rounds: int
    sizes: list[tuple[int, int]]
    cases: Sequence[str]  # of compiling.py
    updates: int  # of PPO


FULL = Settings(15, speed.SIZES, compiling.ALL, 5)
QUICK = Settings(3, [speed.SMALL, speed.MIDDLE], ["TDLambda"], 1)


class BadPageError(Exception):
    """A file of numbers that cannot be compared with; the message says which, and why."""


# --------------------------------------------------------------------------------------------------------- measuring


def beside_c(rounds: int, contenders: dict[str, Callable[[], float]]) -> Iterator[dict[str, Any]]:
    """Rows of contenders, which return seconds per step, in turn with the yardstick at the middle size in float32."""
    n, d = speed.MIDDLE
    with tempfile.TemporaryDirectory() as folder:
        in_c = speed.c_program(speed.yardsticks(Path(folder))["float32"], n, d, 2000)
        times = speed.race(rounds, {**contenders, "C": in_c})
    for name in contenders:
        ratio = np.median(times[name] / times["C"])
        yield {"what": name, "us": times[name].min(), "us in C": times["C"].min(), "ours / C": ratio}


def of_agents(how: Settings) -> Iterator[dict[str, Any]]:
    def seconds(steps: int, run: Callable[[], object]) -> Callable[[], float]:
        run()  # compiles

        def timed() -> float:
            began = time.perf_counter()
            run()
            return (time.perf_counter() - began) / steps

        return timed

    yield from beside_c(how.rounds, {name: seconds(*contender) for name, contender in agents.contenders().items()})


def of_ppo(how: Settings) -> Iterator[dict[str, Any]]:
    name, n_steps = next(iter(ppo.CASES)), 2048

    def measured(part: int) -> Callable[[], float]:
        """Seconds per step of the environment: of the updates, or of acting."""

        def seconds() -> float:
            updates, acting = ppo.costs(*ppo.CASES[name], 1, how.updates)
            return (min(updates) / n_steps, float(np.median(acting)))[part]

        return seconds

    rounds = -(-how.rounds // 5)
    yield from beside_c(rounds, {f"PPO, {name}: update": measured(0), f"PPO, {name}: acting": measured(1)})


def of_compiling(how: Settings) -> Iterator[dict[str, Any]]:
    for case in how.cases:  # one by one, for the bar
        yield from compiling.collect([HERE.parent], [case], 1)[0]["rows"]


PARTS: dict[str, Callable[[Settings], Iterator[dict[str, Any]]]] = {
    "grid": lambda how: speed.grid(how.rounds, how.sizes),
    "optimizers": lambda how: speed.optimizers(how.rounds),
    "from Python": lambda how: speed.from_python(how.rounds, how.sizes),
    "threads": lambda how: speed.threads(min(how.rounds, 7)),
    "agents": of_agents,
    "PPO": of_ppo,
    "compiling": of_compiling,
}
ON_ALL_CORES = ("threads", "compiling")
IN_QUICK = ("grid", "optimizers", "from Python", "agents", "compiling")


def measure(part: str, how: Settings) -> Rows:
    """The rows of a part, as plain numbers. Progress goes to stderr."""
    print(f"measuring: {part}", file=sys.stderr, flush=True)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if cores and part not in ON_ALL_CORES:
        os.sched_setaffinity(0, {max(cores)})
    try:
        bar = tqdm(PARTS[part](how), desc=part, disable=None, leave=False)
        return [{k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()} for row in bar]
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


# --------------------------------------------------------------------------------------------------------- comparing


def ratios(page: dict[str, Any]) -> dict[str, float]:
    """{what: ratio, less is faster} of all parts of a page.

    KeyError, TypeError or ValueError if a part is not as this version writes it.
    """
    if not isinstance(page, dict):
        raise TypeError("it is not a table of parts")
    found: dict[str, float] = {}

    def add(part: str, what: str, ratio: Any) -> None:
        if not (isinstance(ratio, float | int) and math.isfinite(ratio) and ratio > 0):
            raise ValueError(f"{part}, {what}, is {ratio!r}: expected a positive number")
        found[f"{part}: {what}"] = float(ratio)

    in_c, linear = {}, {}
    for row in page.get("grid", []):
        size = row["dtype"], row["n"], row["d"]
        in_c[size], linear[size] = row["us in C"], row["ours / C"]
        add("grid", "{}, {} x {}, linear RTU / C".format(*size), row["ours / C"])
        add("grid", "{}, {} x {}, nonlinear RTU / C".format(*size), row["nonlinear / linear"] * row["ours / C"])
    for row in page.get("optimizers", []):
        size = row["dtype"], *speed.MIDDLE
        if row["optimiser"] != "SGD" and size in linear:  # SGD is the grid's
            add("optimizers", f"{row['optimiser']}, {row['dtype']} / C", row["ratio to SGD"] * linear[size])
    for row in page.get("from Python", []):
        size = row["dtype"], row["n"], row["d"]
        if size in in_c:
            add("from Python", "{}, {} x {}, step / C".format(*size), row["us of step"] / in_c[size])
    for row in page.get("threads", []):
        add("threads", f"{row['n']} x {row['d']}, run_many / one by one", 1 / row["times as fast"])
    for part in ("agents", "PPO"):
        for row in page.get(part, []):
            add(part, f"{row['what']} / C", row["ours / C"])
    for row in page.get("compiling", []):
        for start in ("cold", "warm"):
            if f"{start} / job" in row or start == "cold":
                add("compiling", f"{row['case']}, {start} / job", row[f"{start} / job"])
    return found


def read(name: str, path: Path) -> dict[str, Any]:
    """The page of a file. BadPageError says in one line what is wrong with it."""
    again = f"python benchmarks/all.py --output {path} writes another"
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadPageError(f"{name} {path} cannot be read: {error.strerror}; {again}") from None
    except ValueError as error:
        raise BadPageError(f"{name} {path} is damaged: {str(error).splitlines()[0]}; {again}") from None
    try:
        if not ratios(page):
            raise KeyError("grid")
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BadPageError(f"{name} {path} is not of this version of benchmarks/all.py: {what}; {again}") from None
    return page


def slower(now: dict[str, float], then: dict[str, float], tolerance: float) -> list[str]:
    """The names of what is slower by more than the tolerance, the worst first."""
    worse = {name: now[name] / then[name] for name in now if name in then}
    return sorted((name for name in worse if worse[name] > 1 + tolerance), key=lambda name: -worse[name])


def better(one: Rows, other: Rows, part: str, page: dict[str, Any]) -> Rows:
    """Two measurements of a part as one: of each row the one with the smaller ratios."""

    def total(row: dict[str, Any]) -> float:
        return sum(ratios({**page, part: [row]} if part != "grid" else {part: [row]}).values())

    return [min(pair, key=total) for pair in zip(one, other, strict=True)]


def measure_all(parts: Sequence[str], how: Settings, then: dict[str, float], tolerance: float) -> dict[str, Any]:
    """The page of some parts; a part with something slower is measured once more."""
    page: dict[str, Any] = {}
    for part in parts:
        page[part] = measure(part, how)
        if any(name.startswith(f"{part}: ") for name in slower(ratios(page), then, tolerance)):
            page[part] = better(page[part], measure(part, how), part, page)
    return page


def write(page: dict[str, Any], path: Path, command: str) -> None:
    """Write the parts of a page, and keep what else the file has."""
    held = json.loads(path.read_text()) if path.exists() else {}
    how = {"command": command, "commit": compiling.commit(HERE.parent), "processor": processor()}
    measured = held.get("measured", {}) | dict.fromkeys(page, how)
    results.write(path, {**held, **page, "measured": measured})


def report(now: dict[str, float], then: dict[str, float], tolerance: float) -> tuple[str, int]:
    """(what is slower, as text; the exit code)"""
    common = [name for name in now if name in then]
    missing = sorted({name.split(":")[0] for name in now if name not in then})
    lines = [f"The committed numbers lack some of {', '.join(missing)}, which are not compared."] if missing else []
    worse = slower(now, then, tolerance)
    if worse:
        numbers = ({"then": then[name], "now": now[name], "now / then": now[name] / then[name]} for name in worse)
        lines.append(speed.markdown([{"slower": name} | row for name, row in zip(worse, numbers, strict=True)]))
    lines.append(f"{len(worse)} of {len(common)} ratios are larger by more than {100 * tolerance:g} %.")
    return "\n\n".join(lines), 1 if worse else 0


def main(typed: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, metavar="JSON", help="the numbers to compare with")
    parser.add_argument("--tolerance", type=float, default=0.1, help="0.1 is ten percent")
    parser.add_argument("--parts", nargs="+", choices=PARTS, metavar="PART", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a minute's subset")
    parser.add_argument("--measured", type=Path, metavar="JSON", help="compare an earlier run, and measure nothing")
    parser.add_argument("--output", type=Path, metavar="JSON", help="the file to write")
    arguments = parser.parse_args(typed)
    if not (math.isfinite(arguments.tolerance) and arguments.tolerance >= 0):
        print(f"--tolerance is {arguments.tolerance}: expected at least 0; 0.1 is ten percent", file=sys.stderr)
        return 2
    try:
        then = ratios(read("--against", arguments.against)) if arguments.against else {}
        if arguments.measured:
            page = read("--measured", arguments.measured)
        elif speed.shutil.which("cc") is None and speed.shutil.which("gcc") is None:
            raise BadPageError("there is no C compiler (cc or gcc), and so no yardstick to compare with")
        else:
            if arguments.output and arguments.output.exists():
                read("--output", arguments.output)
            parts = arguments.parts or (IN_QUICK if arguments.quick else list(PARTS))
            page = measure_all(parts, QUICK if arguments.quick else FULL, then, arguments.tolerance)
        if arguments.output:
            write({part: page[part] for part in PARTS if part in page}, arguments.output, _command(typed))
        now = ratios(page)
        if then and not now.keys() & then.keys():
            raise BadPageError(f"--against {arguments.against} has nothing in common with what was measured")
    except (BadPageError, compiling.FailedError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if not then:
        print(speed.markdown([{"what": name, "ratio": ratio} for name, ratio in now.items()]))
        return 0
    text, code = report(now, then, arguments.tolerance)
    print(text)
    return code


def _command(typed: list[str] | None) -> str:
    return " ".join(["python benchmarks/all.py", *(sys.argv[1:] if typed is None else typed)])


if __name__ == "__main__":
    sys.exit(main())
