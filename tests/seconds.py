"""Where the seconds of the tests go: CPU seconds of each file, and how many of them Numba compiles.

RTU_NP_SECONDS=FOLDER python -m pytest ...   writes a line for each test, also from workers and from other modes
python tests/seconds.py FOLDER               prints the files, the most expensive first

Seconds of processes that a test starts count as its own; what those compile does not count as compiling.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import pytest
from numba.core import event

FOLDER = os.environ.get("RTU_NP_SECONDS", "")


class _Compiling(event.Listener):
    """CPU seconds in which Numba compiles, or reads what was compiled; its events are nested."""

    def __init__(self) -> None:
        self.seconds, self._depth, self._began = 0.0, 0, 0.0

    def on_start(self, event):
        if not self._depth:
            self._began = time.process_time()
        self._depth += 1

    def on_end(self, event):
        self._depth -= 1
        if not self._depth:
            self.seconds += time.process_time() - self._began


class Seconds:
    """A plugin of pytest; conftest.py registers it if the environment names a folder."""

    def __init__(self) -> None:
        self._compiling = _Compiling()
        event.register("numba:compiler_lock", self._compiling)
        Path(FOLDER).mkdir(parents=True, exist_ok=True)

    def _now(self) -> tuple[float, float, float]:
        below = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time(), below.ru_utime + below.ru_stime, self._compiling.seconds

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        then = self._now()
        outcome = yield
        own, below, compiling = (now - before for now, before in zip(self._now(), then, strict=True))
        file = item.nodeid.partition("::")[0]
        if file != "tests/test_modes.py":  # whose tests write their own lines
            mode = "uncompiled" if os.environ.get("NUMBA_DISABLE_JIT") else ""
            with (Path(FOLDER) / f"{os.getpid()}.jsonl").open("a") as lines:
                lines.write(json.dumps([file, mode, own + below, compiling]) + "\n")
        return outcome


def table(folder: Path) -> str:
    files: dict[tuple[str, str], list[float]] = {}
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            file, mode, seconds, compiling = json.loads(line)
            row = files.setdefault((file, mode), [0, 0, 0])
            row[:] = row[0] + 1, row[1] + seconds, row[2] + compiling
    total = [sum(column) for column in zip(*files.values(), strict=True)]
    rows = [(("all", ""), total), *sorted(files.items(), key=lambda each: -each[1][1])]
    head = f"{'tests':>6}{'seconds':>10}{'compiling':>10}\n"
    return head + "\n".join(f"{n:6}{all_:10.1f}{c:10.1f}  {name} {mode}" for (name, mode), (n, all_, c) in rows)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
