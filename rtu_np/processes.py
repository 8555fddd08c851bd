"""One function on many items at once: in processes of this machine, or on a Dask cluster.

Both ways give (item, answer) as soon as an item ends, in whatever order that is. An answer is what the function
returned. If it raised, or if its process died, the answer is an exception that says so: one item does not stop the
others. Processes are sent the function and the items by pickle.
"""

import signal
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from multiprocessing import resource_tracker
from typing import TypeVar

from joblib import cpu_count

from rtu_np.validation import check_count

CONNECT = 10  # seconds to wait for a scheduler

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class ProcessDiedError(Exception):
    """The process that worked on an item died: it was killed, or it crashed."""


class SchedulerError(Exception):
    """A Dask cluster that cannot be used: Dask is not installed, or the scheduler does not answer."""


def in_processes(
    work: Callable[[Item], Answer],
    items: Sequence[Item],
    n_processes: int | None = None,
    has_begun: Callable[[Item], bool] = lambda item: True,
    hear_ctrl_c: bool = True,
) -> Generator[tuple[Item, Answer | Exception]]:
    """`work` on every item, in processes of this machine.

    If a process dies, all processes of its pool end with it, and nobody says which item was at fault. So each item that
    had begun is done again in a process of its own: only the one at fault dies again. An item may therefore be done
    twice.

    Parameters
    ----------
    work : a function of one item; what it returns can be pickled
    items : what to work on
    n_processes : how many work at a time, by default one for each core. If it is 1, this process does the work itself
    has_begun : whether work on an item has begun and has not ended, so far as the caller can tell. It is asked after a
        process died. By default every item that is left counts as begun
    hear_ctrl_c : whether Ctrl-C in a terminal, which reaches all processes of a group, interrupts those that work.
        If it does not, `work` has to end by itself; not on Windows

    Yields
    ------
    (item, answer) : as items end

    Raises
    ------
    ValueError, TypeError : if `n_processes` is not a whole number of at least 1

    Examples
    --------
    >>> list(in_processes(abs, [-3, 2], n_processes=1))
    [(-3, 3), (2, 2)]
    """
    workers = cpu_count() if n_processes is None else check_count("n_processes", n_processes)
    if workers == 1:
        yield from ((item, _answer(work, item)) for item in items)
        return
    left = dict(enumerate(items))
    while left:
        died = False
        with closing(_in_pool(work, left, workers, hear_ctrl_c)) as answers:
            for k, answer in answers:
                died = isinstance(answer, ProcessDiedError)
                if died:
                    break
                yield left.pop(k), answer
        if died:
            suspects = [k for k, item in left.items() if has_begun(item)]
            # A process may die before any item begins. The first item is then done alone, so that this loop ends.
            for k in suspects or list(left)[:1]:
                ((_, answer),) = _in_pool(work, {k: left[k]}, 1, hear_ctrl_c)
                yield left.pop(k), answer


def _answer(work: Callable[[Item], Answer], item: Item) -> Answer | Exception:
    try:
        return work(item)
    except Exception as error:
        return error


def _in_pool(
    work: Callable[[Item], Answer], items: dict[int, Item], workers: int, hear_ctrl_c: bool
) -> Generator[tuple[int, Answer | Exception]]:
    """(key, answer) as items end. If a process dies, its answer says so and is the last one."""
    from concurrent.futures import as_completed
    from concurrent.futures.process import BrokenProcessPool

    from joblib.externals.loky import ProcessPoolExecutor

    # If psutil is installed, loky replaces a process that has grown by 300 MB. Its warning comes from the thread that
    # hands out items: as an error it would end this thread, and the caller would wait for ever.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    # Processes that have nothing to do leave after 10 seconds, so that none stay behind if this process is killed.
    with ProcessPoolExecutor(min(workers, len(items)), timeout=10) as pool:
        with nullcontext() if hear_ctrl_c else _blocking_ctrl_c():
            futures = {pool.submit(work, item): k for k, item in items.items()}
        try:
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    yield futures[future], ProcessDiedError("the process that ran it died")
                    return
                yield futures[future], error if isinstance(error, Exception) else future.result()
        finally:
            for future in futures:  # if nobody asks for more, what has not begun does not begin
                future.cancel()


@contextmanager
def _blocking_ctrl_c() -> Iterator[None]:
    """Processes that begin in this context never hear Ctrl-C, not even while they start. This one hears it later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first lock starts it, and in Python 3.11 its start ends the blocking
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def on_dask(
    work: Callable[[Item], Answer], items: Sequence[Item], scheduler: str
) -> Generator[tuple[Item, Answer | Exception]]:
    """`work` on every item, on a Dask cluster. Its workers have installed what `work` needs.

    Parameters
    ----------
    work : a function of one item; what it returns can be pickled
    items : what to work on
    scheduler : the address of the cluster's scheduler, such as "tcp://host:8786"

    Yields
    ------
    (item, answer) : as items end

    Raises
    ------
    SchedulerError : before any work, if Dask is not installed or the scheduler does not answer within 10 seconds
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise SchedulerError("a cluster needs Dask: pip install -e '.[cluster]'") from error
    try:
        client = Client(scheduler, timeout=CONNECT)
    except (OSError, TimeoutError, ValueError) as error:
        raise SchedulerError(f"{scheduler} cannot be reached ({error}); is it running?") from error
    with client:
        futures = dict(zip(client.map(work, items, pure=False), items, strict=True))
        for future in as_completed(futures):
            yield futures[future], future.result() if future.status == "finished" else future.exception()
