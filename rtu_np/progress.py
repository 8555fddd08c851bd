"""What a command or a notebook shows of long work: bars, and one line while code is compiled.

Both stand on standard error, and both are for a reader who waits: on a terminal and in a notebook. A pipe, a file and
the log of a continuous-integration run get neither.
"""

import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

ANNOUNCE_AFTER = 1.0  # seconds of compiling before a line says so
_REFRESH = 0.5  # seconds between two versions of the line


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows standard error below a cell."""
    return "ipykernel" in sys.modules and type(sys.stderr).__module__.partition(".")[0] == "ipykernel"


def is_watched() -> bool:
    """Whether somebody sees standard error as it is written: on a terminal or in a notebook.

    Examples
    --------
    >>> import contextlib, io
    >>> with contextlib.redirect_stderr(io.StringIO()):
    ...     is_watched()
    False
    """
    isatty = getattr(sys.stderr, "isatty", None)  # a program without a console has no standard error
    return is_notebook() or (isatty is not None and isatty())


class NoBar:
    """Stands in for a bar that nobody sees."""

    disable = True

    def __enter__(self) -> "NoBar":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, n: float | None = 1) -> None:
        pass

    def set_postfix_str(self, text: str = "", refresh: bool = True) -> None:
        pass

    def close(self) -> None:
        pass

    @contextmanager
    def external_write_mode(self, file: Any = None, nolock: bool = False) -> Iterator[None]:
        yield


def progress_bar(total: int | None = None, progress: bool = True, **how: Any) -> Any:
    """A bar of tqdm, on a terminal or in a notebook; `how` are tqdm's other arguments.

    In a notebook it is a widget. Without the package ipywidgets it is a line of text.

    Examples
    --------
    >>> with progress_bar(3, progress=False) as bar:
    ...     bar.update(3)
    """
    if not progress or not is_watched():
        return NoBar()
    if not is_notebook():
        from tqdm import tqdm

        return tqdm(total=total, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "IProgress not found": then the bar is text
        from tqdm.auto import tqdm
    return tqdm(total=total, **how)


def write_line(text: str) -> None:
    """Print a line on standard output, above the bars that are shown."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(text)
    else:
        print(text)
    sys.stdout.flush()


# ---------------------------------------------------------------------------------------------------------- compiling

_seconds = 0.0


def seconds_compiling() -> float:
    """How long this process has compiled, or read compiled code, so far. Subtract it from a time that has some of it.

    Examples
    --------
    >>> seconds_compiling() >= 0
    True
    """
    return _seconds


class _Compilation:
    """What is compiled for one purpose, in `n` parts, and the line that says so."""

    def __init__(self, what: str, n: int, silent: bool = False) -> None:
        self.what, self.n, self.silent = what, n, silent
        self.k, self.seconds, self.began = 0, 0.0, 0.0
        self.shown = 0  # characters of the line that is there now
        self.ended = threading.Event()
        self.stream = sys.stderr
        self.thread: threading.Thread | None = None

    def begin(self, counts: bool) -> None:
        self.k += counts
        self.n = max(self.n, self.k)
        self.began = time.perf_counter()
        if self.thread is None and not self.silent and is_watched():
            self.thread = threading.Thread(target=self._show, daemon=True)
            self.thread.start()

    def pause(self) -> None:
        """The end of a part."""
        global _seconds
        took = time.perf_counter() - self.began
        self.seconds, self.began = self.seconds + took, 0.0
        _seconds += took

    def end(self) -> None:
        if self.thread is not None:
            self.ended.set()
            self.thread.join()
            if self.shown:
                parts = f" ({self.k} parts)" if self.k > 1 else ""
                self._write(f"rtu_np: compiled {self.what}{parts} in {self.seconds:.1f} s", "\n")

    def _show(self) -> None:
        while not self.ended.wait(_REFRESH if self.shown else ANNOUNCE_AFTER):
            began = self.began
            if began:  # and not between two parts
                seconds = self.seconds + time.perf_counter() - began
                self._write(f"rtu_np: compiling {self.what}, {max(self.k, 1)} of {self.n}, {seconds:.0f} s")

    def _write(self, text: str, end: str = "") -> None:
        self.stream.write(f"\r{text.ljust(self.shown)}{end}")
        self.stream.flush()
        self.shown = len(text)


_present: ContextVar[_Compilation | None] = ContextVar("compilation", default=None)


@contextmanager
def compiling(what: str, n: int = 1) -> Iterator[None]:
    """Name what is compiled in this context, and in how many parts. The outer of two such contexts names it.

    Examples
    --------
    >>> with compiling("a learner", n=2):
    ...     with part("its step"):
    ...         pass
    """
    if _present.get() is not None:
        yield
        return
    compilation = _Compilation(what, n)
    token = _present.set(compilation)
    try:
        yield
    finally:
        _present.reset(token)
        compilation.end()


@contextmanager
def part(name: str, counts: bool = True) -> Iterator[None]:
    """The compilation of one part of what `compiling` names. Without such a context, the part has a name of its own.

    What only prepares a part takes time, and does not count as another.
    """
    with compiling(name):
        compilation = _present.get()
        assert compilation is not None
        if compilation.began:  # a part within a part
            yield
            return
        compilation.begin(counts)
        try:
            yield
        finally:
            compilation.pause()


@contextmanager
def silent_unless(progress: bool) -> Iterator[None]:
    """Show no line while code is compiled in this context, unless `progress` is true.

    Examples
    --------
    >>> with silent_unless(False), compiling("a learner"):
    ...     pass
    """
    if progress:
        yield
        return
    token = _present.set(_Compilation("", 1, silent=True))
    try:
        yield
    finally:
        _present.reset(token)
