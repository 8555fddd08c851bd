"""The logs of an agent that learns: two tables as CSV, and TensorBoard's files if TensorBoard is installed.

    episodes.csv    a row per episode: step, episode, return, length, steps per second
    learning.csv    a row every 10,000 steps: the agent's `diagnostics`. The first row is of step 9,999, since episodes
                    often end at round numbers, and traces are cleared then

An agent that was saved and loaded continues in its folder. Rows of steps after the save are removed: the agent will
write these rows again.
"""

import csv
import os
import sys
import time
from pathlib import Path
from typing import Any

from rtu_np import files
from rtu_np.progress import seconds_compiling

EVERY = 10_000
_EPISODES = ("step", "episode", "return", "length", "steps_per_second")


def _clock() -> float:
    """Seconds of this process without those of compiling, so that a speed is that of steps."""
    return time.perf_counter() - seconds_compiling()


class Log:
    """The tables of one agent in one folder. If `folder` is None, nothing is written, and `writes` is False.

    If `folder` is called "runs", the tables are in a new folder within it, named by `name` and the time.
    """

    def __init__(self, folder: str | os.PathLike | None, name: str, agent: Any) -> None:
        if not (folder is None or (isinstance(folder, str | os.PathLike) and os.fspath(folder))):
            raise TypeError(f"log is {folder!r}: expected the path of a folder, or None, which writes nothing")
        self._agent, self._folder = agent, None if folder is None else _folder(Path(folder).expanduser(), name)
        self.writes = self._folder is not None
        self._at, self._since = agent.steps, _clock()
        self._episodes: Any = None
        self._learning: Any = None
        self._board: Any = None

    def __enter__(self) -> "Log":
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._episodes = _Table(self._folder / "episodes.csv", _EPISODES, self._agent.steps)
            columns = ("step", *self._agent.diagnostics())
            self._learning = _Table(self._folder / "learning.csv", columns, self._agent.steps)
            self._board = _tensorboard(self._folder)
        return self

    def __exit__(self, *_: Any) -> None:
        for part in (self._episodes, self._learning, self._board):
            if part is not None:
                part.close()

    def episodes(self, first: int, ended: list[tuple[int, float, int]]) -> None:
        """Rows of episodes, (step, return, length), that ended since the last row; `first` is the number of the first.

        All get the speed of the steps since then: nobody looked at the clock between them.
        """
        if self._episodes is None or not ended:
            return
        now, last = _clock(), ended[-1][0]
        speed = (last - self._at) / max(now - self._since, 1e-9)
        self._at, self._since = last, now
        rows = [
            (step, first + k, repr(float(total)), length, f"{speed:.1f}")
            for k, (step, total, length) in enumerate(ended)
        ]
        self._episodes.write(rows)
        for step, total, length in ended:
            self._show(step, {"charts/episodic_return": total, "charts/episodic_length": length, "charts/SPS": speed})

    def until_row(self, step: int) -> int:
        """Steps from `step` to the next one that `step` below writes a row for."""
        return sys.maxsize if self._learning is None else EVERY - (step + 1) % EVERY

    def step(self, step: int) -> None:
        if self._learning is None or (step + 1) % EVERY:
            return
        numbers = self._agent.diagnostics()
        self._learning.write([(step, *(f"{value:.6g}" for value in numbers.values()))])
        self._show(step, {f"learning/{name}": value for name, value in numbers.items()})

    def _show(self, step: int, numbers: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step=step)


def _folder(folder: Path, name: str) -> Path:
    if (folder / "episodes.csv").exists() or folder.name != "runs":
        return folder
    stem = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = (stem if k == 0 else Path(f"{stem}-{k}") for k in range(1000))
    return next(path for path in candidates if not path.exists())


class _Table:
    """A CSV file that grows by rows."""

    def __init__(self, path: Path, columns: tuple[str, ...], steps: int) -> None:
        kept = []
        if path.exists():
            rows = _rows(path)
            if rows and not set(rows[0]) <= set(columns):
                raise ValueError(
                    f"log {os.fspath(path)!r} has other columns: expected a folder that this agent wrote, "
                    "or an empty one"
                )
            if steps == 0 and len(rows) > 1:
                raise ValueError(
                    f"log {os.fspath(path)!r} belongs to another run: expected an empty folder for a new agent"
                )
            whole = [row for row in rows[1:] if len(row) == len(rows[0])]  # the last one may have been cut short
            if damaged := [row[0] for row in whole if not row[0].isdecimal()]:
                raise ValueError(f"log {os.fspath(path)!r} has a row of step {damaged[0]!r}: expected a number")
            # If an earlier version of rtu_np logged fewer numbers, their cells stay empty.
            kept = [
                [dict(zip(rows[0], row, strict=True)).get(name, "") for name in columns]
                for row in whole
                if int(row[0]) <= steps
            ]
        # If the process is killed here, no row is lost.
        with files.replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *kept])
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)

    def write(self, rows: list[tuple]) -> None:
        self._writer.writerows(rows)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _rows(path: Path) -> list[list[str]]:
    """The rows of a table. ValueError if it is not a table."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"log {os.fspath(path)!r} is damaged ({error}): expected a table that this agent wrote"
        ) from error


def _tensorboard(folder: Path) -> Any:
    try:
        from tensorboard.summary import Writer
    except ImportError:
        return None
    return Writer(os.fspath(folder))
