"""Committed scores: a text file for git with the few numbers of each finished run that a sweep goes on from.

A run's folder is large and stays on the machine that made the run. With `--scores FOLDER`, each finished run leaves a
line in FOLDER/NAME/PRESET.scores.jsonl: its settings and seed, the commit and the digest of its code, its seconds and
versions, the arrays that the experiment names in SCORES, and a check sum of all this. A run whose line stands there is
finished, whatever code made it. So another machine, which has the file and no folder of a run, plans the next stage,
makes the runs that are left, and draws the figure.

There is one run per line, so git shows which runs were added, and can take the lines of two machines together. Lines
are written in the order of settings and seeds, and are read in any order. A file is replaced whole, while a lock keeps
other processes out. A line that is not as it was written is an error, and the file stays as it is.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.engine import results, sources
from experiments.engine.sweep import Task, folder_of
from rtu_np import files

Run = tuple[dict[str, np.ndarray], dict[str, Any]]  # arrays and manifest
CHECK = "check"
FROM_MANIFEST = ("commit", "seconds", "versions", "python", "machine")
NAMES = {"settings", "seed", "code", *FROM_MANIFEST, "arrays", CHECK}
MEND = "take the line from git again, or delete it, and its run is made again"
_PLAIN = ("bool", "int64", "float64")  # types that a list in JSON has by itself
_NOT_FINITE = {"inf": np.inf, "-inf": -np.inf}


class ScoresError(Exception):
    """A file of scores is damaged, or was edited by hand."""


class _Line(NamedTuple):
    text: str
    order: tuple[str, int]  # settings and seed
    run: Run
    number: int  # its place in the file, from 1


class Scores:
    """The committed scores of one preset, in the file `path`. `names` are the arrays of a line; None stands for all."""

    def __init__(self, path: Path, names: tuple[str, ...] | None = None) -> None:
        self.path, self.names = path, names
        self._lines: dict[str, _Line] = {}
        self.read()

    def read(self) -> None:
        """Read the file again: other processes may have added lines. ScoresError if a line is not whole."""
        try:
            if (kind := files.kind_of(self.path)) != "a file":  # a pipe would be read for ever
                raise ScoresError(f"{self.path} is {kind}: expected a file of scores, or a name that is free")
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        except UnicodeDecodeError as error:
            raise ScoresError(f"{self.path} is not a text ({error}): take the file from git again") from error
        lines: dict[str, _Line] = {}
        for number, content in enumerate(text.split("\n"), 1):
            if not content.strip():
                continue
            try:
                line = _parsed(content.strip(), self.names, number)
            except ValueError as error:
                raise ScoresError(f"{self.path}, line {number}: {error}") from error
            key = _key(line.run[1]["settings"], line.run[1]["seed"])
            other = lines.setdefault(key, line)
            if other.text != line.text:
                raise ScoresError(
                    f"{self.path}, lines {other.number} and {number}: both are of the same settings and seed, and they "
                    "differ; did two machines make this run? Delete one of the lines"
                )
        self._lines = lines

    def find(self, task: Task) -> Run | None:
        """(arrays, manifest) of a run whose line was there when the file was last read."""
        line = self._lines.get(_key(task.settings, task.seed))
        return line.run if line else None

    def add(self, task: Task, run: Run) -> Run:
        """Write the line of a finished run, unless the file has one. Return what stands in the file."""
        text = _written(task, run, self.names)
        with _alone(self.path):
            self.read()
            key = _key(task.settings, task.seed)
            if key not in self._lines:
                self._lines[key] = _parsed(text, self.names, 0)
                ordered = sorted(self._lines.values(), key=lambda line: line.order)
                with files.replacing(self.path) as part:
                    part.write_text("".join(f"{line.text}\n" for line in ordered), encoding="utf-8", newline="\n")
        return self._lines[key].run

    def without(self, planned: list[Task]) -> str:
        """A line that counts the scores of no run among `planned`; empty if each is of a run."""
        keys = {_key(task.settings, task.seed) for task in planned}
        numbers = sorted(line.number for key, line in self._lines.items() if key not in keys)
        shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
        if not numbers:
            return ""
        place = f"{self.path}, {'line' if len(numbers) == 1 else 'lines'} {shown}"
        return f"{len(numbers)} committed scores are of no run of this plan, and do not count: {place}"


def origins(manifests: list[dict[str, Any]], code: str) -> list[dict[str, Any]]:
    """How many runs each commit and each code made, as read from scores. `code` is the digest of the present code.

    Examples
    --------
    >>> origins([{"commit": "abc", "code": "1"}, {"commit": "abc", "code": "1"}], "1")
    [{'runs': 2, 'commit': 'abc', 'code': '1', 'present code': True}]
    """
    counted = Counter((manifest["commit"], manifest["code"]) for manifest in manifests)
    return [
        {"runs": n, "commit": commit, "code": made, "present code": made == code}
        for (commit, made), n in sorted(counted.items())
    ]


def said(found: list[dict[str, Any]]) -> Iterator[str]:
    """`origins` as lines.

    Examples
    --------
    >>> list(said([{"runs": 2, "commit": "abc", "code": "1", "present code": False}]))
    ['2 of 2 runs: committed scores of commit abc, code 1, which is not the present code']
    """
    total = sum(origin["runs"] for origin in found)
    for origin in found:
        code = "the present code" if origin["present code"] else f"code {origin['code']}, which is not the present code"
        yield f"{origin['runs']} of {total} runs: committed scores of commit {origin['commit'][:10]}, {code}"


def _key(settings: dict[str, Any], seed: int) -> str:
    return folder_of(Path(), settings, seed).as_posix()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process is inside, and keep others out. If a process dies, the system lets the next in."""
    with path.with_name(f".{path.name}.lock").open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file unlocks it


# ------------------------------------------------------------------------------------------------------ one line


def _written(task: Task, run: Run, names: tuple[str, ...] | None) -> str:
    arrays, manifest = run
    if missing := [name for name in names or () if name not in arrays]:
        raise ValueError(f"SCORES of {task.experiment} names {missing[0]!r}, and a run has {', '.join(arrays)}")
    page: dict[str, Any] = {
        "settings": json.loads(json.dumps(task.settings, sort_keys=True)),
        "seed": task.seed,
        "code": sources.digest(results.code_of(manifest)),
        **{name: manifest[name] for name in FROM_MANIFEST},
        "arrays": {name: _values(name, arrays[name]) for name in sorted(names or arrays)},
    }
    return json.dumps({**page, CHECK: _check(page)}, separators=(",", ":"))


def _check(page: dict[str, Any]) -> str:
    text = json.dumps({name: value for name, value in page.items() if name != CHECK}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _parsed(text: str, names: tuple[str, ...] | None, number: int) -> _Line:
    """A line, read. ValueError if it is not as `_written` wrote it."""
    if text.startswith(("<<<<<<<", "=======", ">>>>>>>")):
        raise ValueError("git has left the mark of a conflict: delete the marks, and keep the lines of both sides")
    try:
        page = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error}); was it cut short? {MEND.capitalize()}") from error
    if not isinstance(page, dict) or page.keys() != NAMES:
        given = ", ".join(page) if isinstance(page, dict) else f"a {type(page).__name__}"
        raise ValueError(f"it has {given}: expected {', '.join(sorted(NAMES))}; {MEND}")
    if page[CHECK] != _check(page):
        raise ValueError(
            f"its check sum is {page[CHECK]!r}: expected {_check(page)!r}; was it edited by hand? {MEND.capitalize()}"
        )
    if missing := [name for name in names or () if name not in page["arrays"]]:
        raise ValueError(f"it lacks {missing[0]!r}, which the experiment's SCORES names now; {MEND}")
    arrays = {name: _array(page["arrays"][name]) for name in names or page["arrays"]}
    manifest = {name: page[name] for name in ("settings", "seed", "code", *FROM_MANIFEST)}
    return _Line(text, (json.dumps(page["settings"], sort_keys=True), page["seed"]), (arrays, manifest), number)


def _values(name: str, array: np.ndarray) -> Any:
    """An array as JSON that `_array` reads to the same bits. NaN is null."""
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise ValueError(f"the array {name!r} has dtype {array.dtype}: scores hold booleans, integers and floats")
    flat = array.ravel().tolist()
    values = flat if array.dtype.kind != "f" else [v if np.isfinite(v) else _of_not_finite(v) for v in flat]
    if array.dtype.name not in _PLAIN or array.ndim > 1 or array.size == 0:
        return {"dtype": array.dtype.name, "shape": array.shape, "values": values}
    return values if array.ndim else values[0]


def _of_not_finite(value: float) -> str | None:
    return None if np.isnan(value) else "inf" if value > 0 else "-inf"


def _array(written: Any) -> np.ndarray:
    if isinstance(written, dict):
        return np.array(_floats(written["values"]), written["dtype"]).reshape(written["shape"])
    return np.array(_floats(written) if isinstance(written, list) else _floats([written])[0])


def _floats(values: list[Any]) -> list[Any]:
    return [np.nan if value is None else _NOT_FINITE.get(value, value) for value in values]
