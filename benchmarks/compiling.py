"""Seconds that the first use of each learner takes: with an empty folder of compiled code, and with a full one.

    python benchmarks/compiling.py
    python benchmarks/compiling.py --package . ../older     two checkouts, in turn; the first is the one measured
    python benchmarks/compiling.py --table ActorCritic      of one case: seconds by kind of work, and by function
    python benchmarks/compiling.py --page docs/results/speed/compiling.json docs/speed.md    writes the page's tables

Seconds are those of the processor, user and system, so other work on the machine counts little. Each case has
processes of its own (first_use.py), and a folder of compiled code of its own. A ratio is to the seconds of a fixed job
for Numba, which is compiled before and after each case, so that machines can be compared.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from first_use import CASES, JOB, KINDS
from tqdm import tqdm

from experiments.engine import results
from rtu_np import files
from rtu_np.timing.machine import processor

HERE = Path(__file__).resolve().parent
README = "the README's first command"
ALL = [*CASES, README]


class FailedError(Exception):
    """A process that is to be measured failed; the message has its last line."""


def run(command: Sequence[str], package: Path, cache: str) -> tuple[str, float]:
    """(what a process prints, its CPU seconds with those of its own processes)"""
    names = ("NUMBA_DISABLE_JIT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "RTU_NP_PLAIN_NUMBA")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(package.resolve()), "OMP_NUM_THREADS": "1"}
    began = os.times()
    done = subprocess.run(
        [sys.executable, *command], cwd=cache, env=environment, capture_output=True, text=True, check=False
    )
    ended = os.times()
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise FailedError(f"{' '.join(command)} with the package of {package} failed: {said[-1]}")
    seconds = sum(getattr(ended, each) - getattr(began, each) for each in ("children_user", "children_system"))
    return done.stdout, seconds


def first_use(case: str, package: Path, cache: str, *options: str) -> dict[str, Any]:
    return json.loads(run([str(HERE / "first_use.py"), case, *options], package, cache)[0])


def job(package: Path) -> float:
    """Seconds of the fixed job. It does not depend on the package."""
    with tempfile.TemporaryDirectory() as cache:
        return first_use(JOB, package, cache)["first use"]


def measured(case: str, package: Path) -> dict[str, float]:
    """Seconds of a case with an empty folder (cold) and with a full one (warm)."""
    with tempfile.TemporaryDirectory() as cache:
        if case == README:
            command = ["-m", "experiments", "trace-conditioning", "--preset", "smoke", "--jobs", "1", "--output"]
            cold, warm = (run([*command, f"{cache}/{name}"], package, cache)[1] for name in ("one", "two"))
            return {"cold": cold - warm}
        cold, warm = (first_use(case, package, cache) for _ in range(2))
    return {"cold": cold["first use"], "warm": warm["first use"], "imports": cold["imports"]}


def rounds(packages: Sequence[Path], cases: Sequence[str], n: int) -> Iterator[tuple[str, Path, dict[str, float]]]:
    """(case, package, seconds and the job's seconds) of each measurement; packages take turns."""
    earlier = job(packages[0])
    for _ in range(n):
        for case in cases:
            for package in packages:
                found = measured(case, package)
                later = job(packages[0])
                yield case, package, found | {JOB: (earlier + later) / 2}
                earlier = later


def row(case: str, found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The least seconds of a case over the rounds, and the median of the ratios to the job of the same round."""
    of_case: dict[str, Any] = {"case": case}
    for name in ("cold", "warm", "imports"):
        if name in found[0]:
            of_case[f"{name}, s"] = min(each[name] for each in found)
            of_case[f"{name} / job"] = statistics.median(each[name] / each[JOB] for each in found)
    return of_case | {"job, s": min(each[JOB] for each in found)}


def commit(package: Path) -> str:
    """The commit of a checkout, with a mark if its code has changed since; empty without git."""
    asked = ["git", "-C", str(package), "describe", "--always", "--exclude=*", "--dirty= and changes"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def collect(packages: Sequence[Path], cases: Sequence[str], n: int) -> list[dict[str, Any]]:
    """[{commit, rows}] of each package. A bar is shown on stderr."""
    found: dict[tuple[Path, str], list[dict[str, float]]] = {}
    bar = tqdm(rounds(packages, cases, n), total=n * len(cases) * len(packages), desc="compiling", disable=None)
    for case, package, seconds in bar:
        bar.set_postfix_str(case)
        found.setdefault((package, case), []).append(seconds)
    return [
        {"commit": commit(package), "rows": [row(case, found[package, case]) for case in cases]} for package in packages
    ]


# -------------------------------------------------------------------------------------------------------------- text


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def form(value: Any) -> str:
        if not isinstance(value, float):
            return str(value)
        return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"

    lines = [heads, ["---"] * len(heads), *([form(value) for value in line] for line in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page_of_seconds(page: dict[str, Any]) -> str:
    """The table of all cases; with a second package, what it was there."""
    now, *others = page["packages"]
    heads = ["first use", "cold, s", "/ job", "warm, s", "/ job"]
    for other in others:
        heads += [f"cold, s, at {other['commit']}", "/ job", "now / then"]
    lines = []
    for k, each in enumerate(now["rows"]):
        line = [each["case"], *(each.get(name, "") for name in ("cold, s", "cold / job", "warm, s", "warm / job"))]
        for other in others:
            then = other["rows"][k]
            line += [then["cold, s"], then["cold / job"], each["cold / job"] / then["cold / job"]]
        lines.append(line)
    return table(heads, lines)


def page_of_work(profile: dict[str, Any]) -> str:
    """Two tables of one case: seconds by kind of work, and by function."""
    kinds, functions = profile["by kind"], profile["by function"]
    total = sum(kinds.values())
    shares = [[kind, kinds[kind], f"{100 * kinds[kind] / total:.0f}"] for kind in KINDS]
    return (
        table(["work", "s", "%"], [*shares, ["all", total, "100"]])
        + "\n\n"
        + table(["function", "s"], [[f"`{name}`", seconds] for name, seconds in functions.items()])
    )


def pages(page: dict[str, Any]) -> str:
    """All tables of docs/speed.md that come from compiling.json."""
    parts = [page_of_seconds(page)]
    for case, profile in page["profiles"].items():
        parts.append(f"{case}:\n\n{page_of_work(profile)}")
    return "\n\n".join(parts)


def replaced(text: str, page: dict[str, Any]) -> str:
    """A page's text with its tables replaced by those of a run. A table is known by the first words of its head."""
    blocks = text.split("\n\n")
    for new in pages(page).split("\n\n"):
        if new.startswith("|"):
            (at,) = (k for k, block in enumerate(blocks) if block.split("|")[:2] == new.split("|")[:2])
            blocks[at] = new
    return "\n\n".join(blocks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=Path, nargs="+", default=[HERE.parent], help="folders that hold rtu_np")
    parser.add_argument("--cases", nargs="+", choices=ALL, default=ALL, metavar="CASE", help=f"some of {ALL}")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--table", choices=list(CASES), metavar="CASE", help="profile one case, and measure nothing else"
    )
    parser.add_argument("--page", type=Path, nargs=2, metavar=("JSON", "PAGE"), help="write an earlier run's tables")
    parser.add_argument("--output", type=Path, default=Path("runs/compiling.json"), help="the JSON file to write")
    arguments = parser.parse_args()
    if arguments.page:
        numbers, page = arguments.page
        text = replaced(page.read_text(), json.loads(numbers.read_text()))
        with files.replacing(page) as part:
            part.write_text(text)
        return 0
    for package in arguments.package:
        if not (package / "rtu_np" / "__init__.py").exists():
            print(f"--package {package}: expected a folder that holds rtu_np", file=sys.stderr)
            return 2
    try:
        if arguments.table:
            print(page_of_work(profiled(arguments.table, arguments.package[0])))
        else:
            write(arguments)
    except FailedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write(arguments: argparse.Namespace) -> None:
    """Measure, write the JSON file, and print its tables."""
    arguments.output.parent.mkdir(parents=True, exist_ok=True)  # an error now costs less than one at the end
    page = {
        "command": shlex.join(["python", "benchmarks/compiling.py", *sys.argv[1:]]),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "python": sys.version.split()[0]},
        "packages": collect(arguments.package, arguments.cases, arguments.rounds),
        "profiles": {case: profiled(case, arguments.package[0]) for case in arguments.cases if case == "ActorCritic"},
    }
    results.write(arguments.output, page)
    print(f"{pages(page)}\n\n{arguments.output}")


def profiled(case: str, package: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        return first_use(case, package, cache, "--profile")


if __name__ == "__main__":
    sys.exit(main())
