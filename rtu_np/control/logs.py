"""The logs of an agent that learns, in a folder of their own.

    settings.json   what the run is, and how to make it again (`rtu_np.control.runs`)
    episodes.csv    a row per episode: step, episode, return, length, steps per second
    learning.csv    a row every `log_every` steps: the agent's `diagnostics`. With 10,000, the first row is of step
                    9,999, since episodes often end at round numbers, and traces are cleared then
    events.out...   the same numbers for TensorBoard, if TensorBoard is installed

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
from rtu_np.control import runs
from rtu_np.progress import seconds_compiling

EVERY = 10_000
_EPISODES = ("step", "episode", "return", "length", "steps_per_second")
# TensorBoard's tags of the diagnostics that CleanRL's agents have, too; others are in the group `learning`.
_TAGS = {
    "policy_loss": "losses/policy_loss",
    "value_loss": "losses/value_loss",
    "entropy": "losses/entropy",
    "approximate_kl": "losses/approx_kl",
    "clip_fraction": "losses/clipfrac",
}
_NAMED: set[str] = set()  # folders that this process has printed


def _clock() -> float:
    """Seconds of this process without those of compiling, so that a speed is that of steps."""
    return time.perf_counter() - seconds_compiling()


class Log:
    """The tables of one agent in one folder. If `folder` is None, nothing is written, and `writes` is False.

    If `folder` is called "runs", the tables are in a new folder within it (`rtu_np.control.runs.run_name`).
    """

    def __init__(self, folder: str | os.PathLike | None, agent: Any, env: Any, steps: int, every: int = EVERY) -> None:
        if not (folder is None or (isinstance(folder, str | os.PathLike) and os.fspath(folder))):
            raise TypeError(f"log is {folder!r}: expected the path of a folder, or None, which writes nothing")
        self._agent, self._env, self._asked, self._every = agent, env, steps, every
        self.folder = None if folder is None else Path(folder).expanduser()
        self.writes = self.folder is not None
        self._at, self._since = agent.steps, _clock()
        self._episodes: Any = None
        self._learning: Any = None
        self._board: Any = None

    def __enter__(self) -> "Log":
        if self.folder is not None:
            files.check_folder("log", self.folder)
            if self.folder.name == "runs" and not (self.folder / "episodes.csv").exists():
                self.folder = runs.new_folder(self.folder, runs.run_name(self._agent, self._env))
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                page = runs.settings_page(self.folder, self._agent, self._env, self._asked)  # refused before rows go
                self._episodes = Table(self.folder / "episodes.csv", _EPISODES, self._agent.steps)
                self._learning = Table(self.folder / "learning.csv", _columns(self._agent), self._agent.steps)
                runs.write_settings(self.folder, page)
                self._board = _board(self.folder, self._agent.steps)
            except BaseException:
                self.__exit__()
                raise
        return self

    def name_folder(self) -> None:
        """Print the folder, once in a process."""
        if self.folder is not None and os.fspath(self.folder) not in _NAMED:
            _NAMED.add(os.fspath(self.folder))
            print(f"log: {self.folder}", file=sys.stderr)

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
            self.show(step, {"charts/episodic_return": total, "charts/episodic_length": length, "charts/SPS": speed})

    def until_row(self, step: int) -> int:
        """Steps from `step` to the next one that `step` below writes a row for."""
        return sys.maxsize if self._learning is None else self._every - (step + 1) % self._every

    def step(self, step: int) -> None:
        if self._learning is None or (step + 1) % self._every:
            return
        numbers = self._agent.diagnostics()
        self._learning.write([(step, *(f"{value:.6g}" for value in numbers.values()))])
        shown = {_TAGS.get(name, f"learning/{name}"): value for name, value in numbers.items()}
        if "rms_delta" in numbers:
            shown["losses/td_loss"] = numbers["rms_delta"] ** 2
        self.show(step, shown)

    def show(self, step: int, numbers: dict[str, float]) -> None:
        """Let TensorBoard show numbers, if it is installed."""
        if self._board is not None:
            self._board.show(step, numbers)


def _columns(agent: Any) -> tuple[str, ...]:
    """The names of the diagnostics. Asking for them would begin another row, so what they count is put back."""
    counted = agent._buffers.statistics.copy()
    names = tuple(agent.diagnostics())
    agent._buffers.statistics[:] = counted
    return ("step", *names)


class Table:
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
        self.path, self.rows = path, kept
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


class _Board:
    """TensorBoard's file, with plain scalars, which all of its readers know; `Writer.add_scalar` writes tensors."""

    def __init__(self, writer: Any, event: Any, summary: Any) -> None:
        self._writer, self._event, self._summary = writer, event, summary

    def show(self, step: int, numbers: dict[str, float]) -> None:
        """One event for all numbers: it costs nearly as little as for one of them."""
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=self._summary(value=values)))

    def close(self) -> None:
        self._writer.close()


def _board(folder: Path, steps: int) -> _Board | None:
    """None without TensorBoard. It forgets numbers of steps that an agent of so many steps has yet to make."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer import event_file_writer
    except (ImportError, AttributeError):  # the second of a TensorBoard that is older than NumPy 2
        return None
    # Looked up now: Weights & Biases replaces this class once `wandb.init(sync_tensorboard=True)` was called.
    writer = event_file_writer.EventFileWriter(os.fspath(folder))
    if steps:
        began = SessionLog(status=SessionLog.START)
        writer.add_event(Event(wall_time=time.time(), step=steps + 1, session_log=began))
    return _Board(writer, Event, Summary)
