"""A stream goes into compiled code in stretches of about a tenth of a second, so that Ctrl-C is heard."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rtu_np.interrupts import HoldCtrlC
from rtu_np.learning.outcomes import LOOK_EVERY, PAUSED
from rtu_np.prediction.td_kernels import paused
from rtu_np.progress import progress_bar, silent_unless

_FIRST, _BRIEF = 16, 0.1  # steps of the first compiled call; seconds of a call, after which the next call is not longer


def in_stretches(learner: Any, n_steps: int, capacity: int, learn: Callable[[slice], int]) -> Iterator[int]:
    """Learn from `n_steps` rows. Yields the number of steps of each stretch.

    capacity : the most rows of a stretch
    learn : learns from these rows in one compiled call, and returns what that returned
    """
    start, most = 0, _FIRST
    while start < n_steps:
        n = min(most, n_steps - start, LOOK_EVERY - learner.steps % LOOK_EVERY)
        began = time.perf_counter()
        done = learn(slice(start, start + n))
        most = min(2 * most, capacity) if time.perf_counter() - began < _BRIEF else -(-most // 2)
        made = paused(done) if done <= PAUSED else done
        if done <= PAUSED:
            learner._between_steps()
        elif done < n:
            learner._explain(done)
        start += made
        yield made


def to_the_end(
    learner: Any, stretches: Iterator[int], predictions: np.ndarray, like: Callable[[np.ndarray], Any], progress: bool
) -> Any:
    """Compile, and learn from all stretches, which fill `predictions`; returns these. Ctrl-C stops between stretches.

    like : makes of predictions what the caller gets
    progress : whether a run of more than a second shows a bar, and compiling a line, on a terminal or in a notebook
    """
    with silent_unless(progress):
        learner.compile()
    began = learner.steps
    with (
        HoldCtrlC(lambda: like(predictions[: learner.steps - began])) as ctrl_c,
        progress_bar(len(predictions), progress, delay=1, unit="step", unit_scale=True) as bar,
    ):
        for n in stretches:
            bar.update(n)
            if ctrl_c.asked:
                ctrl_c.stop()
    return like(predictions)
