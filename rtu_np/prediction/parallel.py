"""Many learners at once, on threads: compiled code lets other threads run."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from joblib import cpu_count

from rtu_np.interrupts import HoldCtrlC
from rtu_np.prediction.frames import like
from rtu_np.prediction.td import TDLambda
from rtu_np.progress import compiling, progress_bar, silent_unless
from rtu_np.validation import check_count, count_dimensions


def run_many(
    learners: Sequence[TDLambda],
    observations: Any,
    cumulants: Any,
    discounts: Any = None,
    terminated: Any = None,
    truncated: Any = None,
    n_threads: int | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """`TDLambda.run` of several learners, which differ in seed or in any setting. The bits are those of single runs.

    Parameters
    ----------
    learners : k learners, all different
    observations : (T, n_inputs) one stream for all; or one for each, (k, T, n_inputs) or a list of k
    cumulants, discounts, terminated, truncated : (T,) for all; or one for each, (k, T) or a list of k. If learners have
        many predictions, cumulants are (T, m) or (k, T, m), and discounts (T,), (T, m) or (k, T, m)
    n_threads : how many learners run at a time; by default one per core
    progress : whether a run of more than a second shows a bar, on a terminal or in a notebook

    Returns
    -------
    list of k arrays (T,), or (T, m) : the predictions of each learner; Series, or DataFrames, for DataFrames

    Raises
    ------
    ValueError, TypeError : before any learner learns; the message names the learner and the argument
    FloatingPointError : if a learner diverged, after all others are done
    KeyboardInterrupt : after Ctrl-C, within about a second. Its `result` has the predictions of each learner so far,
        and `run_many` with the rest of each stream continues, to the bit. FloatingPointError carries them, too

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> learners = [TDLambda(LinearRTU(4), n_inputs=2, seed=seed) for seed in range(3)]
    >>> [len(v) for v in run_many(learners, np.ones((50, 2)), np.ones(50))]
    [50, 50, 50]
    """
    learners = list(learners)
    for k, learner in enumerate(learners):
        if not isinstance(learner, TDLambda):
            raise TypeError(f"learners[{k}] is {learner!r}: expected a TDLambda")
    different = len(set(map(id, learners)))
    if not learners or different < len(learners):
        raise ValueError(
            f"learners holds {len(learners)} learners, {different} different ones: expected one or more, all different"
        )
    n_threads = cpu_count() if n_threads is None else check_count("n_threads", n_threads)

    ndim = max(learner.empty(0).ndim for learner in learners)
    given = {"observations": (observations, 2), "cumulants": (cumulants, ndim), "discounts": (discounts, ndim)}
    given |= {"terminated": (terminated, 1), "truncated": (truncated, 1)}
    each = {name: _one_each(name, value, most, len(learners)) for name, (value, most) in given.items()}
    streams = []
    for k, learner in enumerate(learners):
        try:
            streams.append(learner.check_stream(**{name: values[k] for name, values in each.items()}))
        except (TypeError, ValueError) as error:
            raise type(error)(f"learners[{k}]: {error}") from error

    with silent_unless(progress), compiling(f"{len(learners)} learners", len(learners)):
        for learner, given in zip(learners, each["observations"], strict=True):
            learner.compile()
            learner._inputs.remember(given)
    predictions = [learner.empty(len(stream[0])) for learner, stream in zip(learners, streams, strict=True)]
    began = [learner.steps for learner in learners]

    def so_far() -> list[np.ndarray]:
        made = [v[: learner.steps - n] for v, learner, n in zip(predictions, learners, began, strict=True)]
        return list(map(like, each["observations"], made, each["cumulants"]))

    with HoldCtrlC(so_far) as ctrl_c:
        total = sum(map(len, predictions))
        bar = progress_bar(total, progress, delay=1, unit="step", unit_scale=True)
        with bar, ThreadPoolExecutor(min(n_threads, len(learners))) as pool:
            runs = [
                pool.submit(_learn, learner, stream, v, bar, ctrl_c)
                for learner, stream, v in zip(learners, streams, predictions, strict=True)
            ]
        for k, run in enumerate(runs):
            try:
                run.result()
            except FloatingPointError as error:
                raise FloatingPointError(f"learners[{k}]: {error}") from error
    return list(map(like, each["observations"], predictions, each["cumulants"]))


def _learn(
    learner: TDLambda, stream: tuple[np.ndarray, ...], predictions: np.ndarray, bar: Any, ctrl_c: HoldCtrlC
) -> None:
    """Learn from `stream`, until Ctrl-C."""
    if not ctrl_c.asked:
        for n in learner.learn_from(stream, predictions):
            bar.update(n)
            if ctrl_c.asked:
                break


def _one_each(name: str, value: Any, ndim: int, k: int) -> Sequence[Any]:
    """`value` for each of k learners: the same for all if `value` has `ndim` dimensions."""
    if value is None:
        return [None] * k
    nested = isinstance(value, list | tuple) and len(value) > 0 and count_dimensions(name, value[0]) >= ndim
    if not nested and count_dimensions(name, value) <= ndim:
        return [value] * k
    if len(value) != k:
        raise ValueError(
            f"{name} has length {len(value)}: expected one for each of {k} learners, or a single one for all"
        )
    return value
