"""Ctrl-C between steps, so that a step is done or it is not.

Python raises KeyboardInterrupt wherever the main thread is, for example after the environment's step and before the
agent's. `HoldCtrlC` only notes Ctrl-C, and the loop in its context raises it between two steps:

>>> import os
>>> done = []
>>> try:
...     with HoldCtrlC(lambda: done) as ctrl_c:
...         for k in range(5):
...             if ctrl_c.asked:
...                 ctrl_c.stop()
...             if k == 2:
...                 os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does
...             done.append(k)
... except KeyboardInterrupt as interrupt:
...     print(interrupt.result)
[0, 1, 2]
"""

import math
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_PAUSE = 1.0  # seconds after a KeyboardInterrupt without another, so that nothing interrupts what cleans up


class HoldCtrlC:
    """A context that notes Ctrl-C. It is raised by `stop`, or at the end of the context.

    Contexts may be nested. Only the main thread gets signals: in another thread, nothing is held and nothing raised.

    Parameters
    ----------
    result : what has been made so far. An exception that leaves the context carries `result()` as its `result`
    insists : whether a second Ctrl-C raises at once, since code of others runs in the context and may never return

    Attributes
    ----------
    asked : whether Ctrl-C was pressed; code in other threads may read it, too
    released : True while code runs that may be interrupted anywhere, such as a callback
    """

    def __init__(self, result: Callable[[], Any] | None = None, insists: bool = False) -> None:
        self.asked, self.released = False, False
        self._result, self._insists, self._over = result, insists, False
        self._raised_at = -math.inf
        self._previous: Any = None

    def stop(self) -> None:
        """Do what Ctrl-C does outside of this context: raise KeyboardInterrupt. Call it between steps, if `asked`."""
        asked, self.asked, self._raised_at = self.asked, False, time.monotonic()
        try:
            self._previous(signal.SIGINT, None)
        except BaseException:
            self.asked |= asked  # code of others may catch it; the loop will not
            raise
        self._raised_at = -math.inf  # a handler of the user's own may return, and all goes on

    def _note(self, _number: int, _frame: Any) -> None:
        at_once = self.released or (self.asked and self._insists)
        if at_once and not self._over and time.monotonic() - self._raised_at > _PAUSE:
            self.stop()
        else:
            self.asked = True

    def __enter__(self) -> "HoldCtrlC":
        previous = signal.getsignal(signal.SIGINT)
        if callable(previous):  # else Ctrl-C is ignored, or ends the process
            with suppress(ValueError):  # this is not the main thread
                signal.signal(signal.SIGINT, self._note)
                self._previous = previous
                outer = getattr(previous, "__self__", None)
                if isinstance(outer, HoldCtrlC) and outer.released and outer.asked:
                    self.asked, outer.asked = True, False  # pressed just before the callback that began this context
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _traceback: Any) -> None:
        self._over = True
        if error is not None:
            self._give_result(error)
        if self._previous is not None and signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self._previous)
        if self.asked and not isinstance(error, KeyboardInterrupt):  # asked up to the line above
            try:
                self.stop()
            except BaseException as interrupt:
                self._give_result(interrupt)
                raise

    def _give_result(self, error: BaseException) -> None:
        if self._result is not None:
            with suppress(AttributeError):  # an exception of another package may have a `result` of its own
                error.result = self._result()  # type: ignore[attr-defined]
