"""The counters of this machine, from /proc: a stream that no one has recorded."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# What a row has, each per second, except the memory in use.
SIGNALS = (
    "processor, user",
    "processor, system",
    "processor, waiting for disks",
    "context switches",
    "interrupts",
    "network, received",
    "network, sent",
    "memory in use",
)
PROC = Path("/proc")


def counters() -> np.ndarray:
    """The counters' present values: seconds, counts, bytes; the last is the memory in use, in bytes.

    OSError : if this machine has no /proc
    """
    stat = dict(line.split(" ", 1) for line in (PROC / "stat").read_text().splitlines() if " " in line)
    user, nice, system, _, waiting = map(int, stat["cpu"].split()[:5])
    received = sent = 0
    for line in (PROC / "net" / "dev").read_text().splitlines()[2:]:
        numbers = line.partition(":")[2].split()
        received, sent = received + int(numbers[0]), sent + int(numbers[8])
    memory = {line.split(":")[0]: int(line.split()[1]) for line in (PROC / "meminfo").read_text().splitlines()}
    used = 1024 * (memory["MemTotal"] - memory["MemAvailable"])
    ticks = np.array([user + nice, system, waiting]) / 100  # a tick is a hundredth of a second
    return np.array([*ticks, int(stat["ctxt"]), int(stat["intr"].split()[0]), received, sent, used], float)


def rows(seconds: float, every: float) -> Iterator[np.ndarray]:
    """A row of `SIGNALS` each `every` seconds, for `seconds`: it waits for the time of each.

    Counts of events are as log(1 + rate), since they burst. Memory is in GiB.
    """
    before, then = counters(), time.perf_counter()
    start = then
    for k in range(1, round(seconds / every) + 1):
        time.sleep(max(0.0, start + k * every - time.perf_counter()))
        present, now = counters(), time.perf_counter()
        rates = (present - before) / (now - then)
        yield np.concatenate([rates[:3], np.log1p(np.maximum(rates[3:-1], 0)), present[-1:] / 2**30])
        before, then = present, now
