"""Ctrl-C between steps, so that a step is done or it is not.

Python raises KeyboardInterrupt wherever the main thread is, for example after the environment's step and before the
agent's. In the context `held`, Ctrl-C is noted, and the loop in the context raises it between two steps:

>>> import os, signal
>>> done = []
>>> try:
...     with held(lambda: done) as ctrl_c:
...         for k in range(5):
...             if ctrl_c.asked:
...                 ctrl_c.stop()
...             if k == 2:
...                 os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does
...             done.append(k)
... except KeyboardInterrupt as interrupt:
...     print(interrupt.result)
[0, 1, 2]

Contexts may be nested. Only the main thread gets signals; in other threads nothing is held and nothing is raised.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Held:
    """What `held` knows about Ctrl-C.

    Attributes
    ----------
    asked : whether Ctrl-C was pressed. Code in other threads may read it, too
    released : set it to True while code runs that may be interrupted anywhere, such as a callback
    """

    def __init__(self, insists: bool) -> None:
        self.asked, self.released = False, False
        self._insists, self._raised = insists, False
        self._previous: Any = None

    def begin(self) -> None:
        previous = signal.getsignal(signal.SIGINT)
        if not callable(previous):  # Ctrl-C is ignored, or ends the process
            return
        try:
            signal.signal(signal.SIGINT, self._note)
        except ValueError:  # this is not the main thread
            return
        self._previous = previous
        outer = getattr(previous, "__self__", None)
        if isinstance(outer, Held) and outer.released and outer.asked:
            self.asked, outer.asked = True, False  # pressed just before a callback began this context

    def end(self) -> None:
        if self._previous is not None and signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self._previous)
        if self.asked and not self._raised:
            self.stop()

    def stop(self) -> None:
        """Do what Ctrl-C does outside of this context: raise KeyboardInterrupt. Call it between steps, if `asked`."""
        self._raised = True
        self._previous(signal.SIGINT, None)
        self.asked, self._raised = False, False  # a handler of the user's own may return

    def _note(self, _number: int, _frame: Any) -> None:
        if self.released or (self.asked and self._insists):
            self.stop()
        else:
            self.asked = True


@contextmanager
def held(result: Callable[[], Any] | None = None, insists: bool = False) -> Iterator[Held]:
    """Note Ctrl-C instead of raising KeyboardInterrupt. It is raised by `stop`, or at the end of the context.

    Parameters
    ----------
    result : what has been made so far. An exception that leaves the context carries `result()` as its `result`
    insists : whether a second Ctrl-C raises at once, since code of others runs in the context and may never return
    """
    ctrl_c = Held(insists)
    try:
        try:
            ctrl_c.begin()
            yield ctrl_c
        finally:
            ctrl_c.end()
    except BaseException as error:
        if result is not None:
            with suppress(AttributeError):  # an exception of another package may have a `result` of its own
                error.result = result()  # type: ignore[attr-defined]
        raise
