"""How kernels are compiled, dispatched and cached. Three things here are unusual.

**Private Numba.** Kernels of this package write in place, allocate nothing and return no array. So they need no
reference counting, and we switch Numba's off: reading an array out of a NamedTuple then costs nothing, and an
allocation in a kernel is a compile error. The option for this, and three others that make kernels fast, are private to
Numba. `rtu_np.numba_compiler` alone names them, and does without them if a release of Numba lacks one.

**Dispatch.** Learners are written once and compiled for each cell, but a NamedTuple has no methods in Numba, and Numba
does not cache a kernel that takes functions as arguments. So a `generic` function is empty, and its implementations are
registered by the NamedTuple type of its first argument:

>>> from typing import NamedTuple
>>> class Twice(NamedTuple):
...     pass
>>> @generic
... def apply(kind, x):
...     "Apply an activation."
>>> @apply.register(Twice)
... def apply_twice(kind, x):
...     return 2 * x
>>> apply(Twice(), 21)
42

Numba chooses the implementation while it compiles the caller, so the choice costs nothing at run time. Python reads the
same table at each call, also with Numba switched off (NUMBA_DISABLE_JIT=1).

**Cache.** Numba checks only the file of the cached function for changes. After an edit to a function that the cached
one *calls*, in another file, it would still run the old machine code. So the name of our cache folder is a hash of
every source that the function could reach, of Numba's version and of its options: a changed source means a new folder.
"""

import functools
import hashlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload as _overload
from numba.extending import register_jitable

from rtu_np import numba_compiler

ANNOUNCE_AFTER = 3.0  # seconds of compiling before a message says so
_PUBLIC: Any = {
    "nogil": True,
    "error_model": "numpy",  # Python's checks each division for zero: a branch that stops loops from vectorising
    "fastmath": {"contract"},  # fused multiply-add; NaN and infinity keep their meaning
}
OPTIONS: Any = {**_PUBLIC, **numba_compiler.ENTRY}
# Options of functions that only compiled code calls. Most are compiled into their caller: a loop with a call in it does
# not vectorise, and a call passes a NamedTuple array by array, each as seven numbers (a fifth of the step of 10 units).
_CALLED: Any = {**_PUBLIC, **numba_compiler.CALLED}
_INLINED: Any = {**_PUBLIC, **numba_compiler.INLINED}
_INLINED_NOALIAS: Any = {**_PUBLIC, **numba_compiler.INLINED_NOALIAS}
_HOME = Path(__file__).parent
config: Any = numba.config  # its attributes are set from the environment, where no type checker sees them


def _sources(file: Path) -> Iterator[Path]:
    """Every Python source of the top-level package that contains `file`; only `file` if it is in no package."""
    root = file
    while (root.parent / "__init__.py").exists():
        root = root.parent
    return iter(sorted(root.rglob("*.py"))) if root.is_dir() else iter([file])


@functools.cache
def _fingerprint(file: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in _sources(file))).hexdigest()


def cache_folder(*files: str | Path) -> Path:
    """The folder for the machine code of kernels that call functions in the packages of `files`, and in this package.

    It is in NUMBA_CACHE_DIR if that is set, else in this package's `__pycache__`, else (if the installation is
    read-only) in the user's cache folder. Deleting it is always safe.
    """
    parts = sorted(_fingerprint(Path(file).resolve()) for file in {__file__, *map(str, files)})
    flags = [
        numba.__version__,
        sys.implementation.cache_tag,
        str(config.BOUNDSCHECK),
        str(sorted(OPTIONS.items(), key=str)),
        str(numba_compiler.PLAIN),
    ]
    name = hashlib.sha256("\n".join(parts + flags).encode()).hexdigest()[:16]
    if base := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(base) / f"rtu_np-{name}"
    if os.access(_HOME, os.W_OK):
        return _HOME / "__pycache__" / f"kernels-{name}"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rtu_np" / f"kernels-{name}"


@contextmanager
def _cache_at(folder: Path) -> Iterator[None]:
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = previous


def njit(function: Callable | None = None, *, reaches: tuple[str, ...] = (), **options: Any) -> Any:
    """Compile `function` at its first call, cached on disk across processes.

    Parameters
    ----------
    function : the kernel; it allocates nothing, and returns scalars or nothing
    reaches : modules of other packages whose functions it calls through a `generic` function
    options : Numba options that differ from this package's

    A function is compiled but not cached if its source is in no file (it was typed at a prompt), or if it is in
    `__main__`, since Numba cannot distinguish two versions of a type there.
    """
    if function is None:
        return functools.partial(njit, reaches=reaches, **options)
    modules = (function.__module__, *reaches)
    files = [getattr(sys.modules.get(module), "__file__", None) for module in modules]
    cached = "__main__" not in modules and all(file is not None for file in files)
    with _cache_at(cache_folder(*(file for file in files if file is not None))):
        return numba.njit(**{**OPTIONS, "cache": cached, **options})(function)


def compile_for(function: Callable, *specs: Any) -> Any:
    """`function` of a learner, compiled, with a cache that also notices changes in the sources of `specs`.

    All cells of this package share one compiled function. A cell from elsewhere gets one of its own, whose cache
    follows the source of that cell.
    """
    home = function.__module__.partition(".")[0]
    modules = {module for spec in specs for module in _modules(spec) if module.partition(".")[0] != home}
    return _compile_with(function, tuple(sorted(modules)))


def _modules(spec: Any) -> Iterator[str]:
    """The modules of a spec and of the specs in it."""
    if isinstance(spec, tuple):
        yield type(spec).__module__
        for part in spec:
            yield from _modules(part)


@functools.cache
def _compile_with(function: Callable, modules: tuple[str, ...]) -> Any:
    return njit(function, reaches=modules)


def entry(function: Any, *arguments: Any) -> Callable:
    """The machine code of `function` for arguments of these types; call it with no others.

    Numba's dispatcher reads every part of a nested tuple on each call, to find the version to run. With a learner's
    spec that takes 3.4 of 4.5 microseconds of a call; the machine code is called without it. With Numba switched off,
    the function itself is returned.
    """
    if config.DISABLE_JIT:
        return function
    types_of = tuple(numba.typeof(argument) for argument in arguments)
    with announce_compiling():
        function.compile(types_of)
    return numba_compiler.entry_point(function, types_of)


@contextmanager
def announce_compiling() -> Iterator[None]:
    """On a terminal, print a message if the code in this context compiles for long."""
    text = "rtu_np: compiling for a network of this kind, up to a minute; later processes find it compiled"
    timer = threading.Timer(ANNOUNCE_AFTER, print, (text,), {"file": sys.stderr})
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def overload(function: Callable, **options: Any) -> Any:
    """Numba's `overload`, compiled into the caller."""
    return _overload(function, jit_options=_INLINED, **options)


def kernel(function: Callable | None = None, *, inline: bool = True) -> Any:
    """A function for compiled code to call. Called from Python, it stays plain Python.

    It is compiled into its caller, unless `inline` is False. That is for layout functions, which cut one flat array
    into views: LLVM must not see in their callers that the views are parts of one array. If it does, its loop strength
    reduction tries every way to write an address as another plus an offset: ten seconds, for no gain.
    """
    if function is None:
        return functools.partial(kernel, inline=inline)
    return register_jitable(**(_options_of(function) if inline else _CALLED))(function)


def noalias(function: Callable) -> Callable:
    """Promise that no two arrays among the arguments overlap, in parameters, traces, memory or elsewhere.

    Without the promise, a vectorised loop tests at run time whether any two of its arrays overlap. At 32 units in
    float64 the tests cost more than vectorising gains, and LLVM leaves the loop scalar. With Numba switched off, as
    when tests run all cells, every call checks the promise. Write it below `kernel` and `register`.
    """
    if not config.DISABLE_JIT:
        function.noalias = True  # type: ignore[attr-defined]
        return function

    @functools.wraps(function)
    def checked(*arguments: Any) -> Any:
        for (_, stop), (start, _) in itertools.pairwise(sorted(extents(arguments))):
            if start < stop:
                raise ValueError(f"{function.__name__}: two of its arrays overlap, but `noalias` promises none do")
        return function(*arguments)

    return checked


def extents(arguments: tuple) -> Iterator[tuple[int, int]]:
    """(first address, address behind the last) of each array in nested tuples; empty arrays are left out."""
    for part in arguments:
        if isinstance(part, tuple):
            yield from extents(part)
        elif isinstance(part, np.ndarray) and part.size:
            start = part.__array_interface__["data"][0]
            yield start, start + part.nbytes


def _options_of(function: Callable) -> Any:
    return _INLINED_NOALIAS if hasattr(function, "noalias") else _INLINED


def like(x: Any, value: float) -> Any:
    """`value` in the precision of the scalar `x`. A bare literal would lift float32 arithmetic to float64."""
    return type(x)(value)


@overload(like, strict=False)
def _compile_like(x: Any, value: Any) -> Callable | None:
    real = np.float32 if x == types.float32 else np.float64
    return lambda x, value: real(value)


def generic(stub: Callable | None = None, *, inline: bool = True) -> Any:
    """A function whose implementation is chosen by the NamedTuple type of its first argument (docstring of the module).

    `function.register(kind)` decorates the implementation for a type, `function.otherwise` that for all types without
    one. `inline` is as in `kernel`.

    Raises
    ------
    TypeError : at the call, if the type has no implementation
    """
    if stub is None:
        return functools.partial(generic, inline=inline)
    table: dict[type | None, Callable] = {}

    @functools.wraps(stub)
    def call(*arguments: Any) -> Any:
        implementation = table.get(type(arguments[0])) or table.get(None)
        if implementation is None:
            known = ", ".join(kind.__name__ for kind in table if kind) or "none"
            raise TypeError(
                f"{stub.__name__}: no implementation for {type(arguments[0]).__name__}; registered: {known}"
            )
        return implementation(*arguments)

    def compile_with(options: Any) -> None:
        @_overload(call, strict=False, jit_options=options)
        def _compile(*arguments: Any) -> Callable | None:
            implementation = table.get(getattr(arguments[0], "instance_class", type(None))) or table.get(None)
            fits = implementation and (options is _CALLED or _options_of(implementation) is options)
            return implementation if fits else None

    for options in (_INLINED, _INLINED_NOALIAS) if inline else (_CALLED,):
        compile_with(options)

    def register(kind: type | None) -> Callable[[Callable], Callable]:
        def add(implementation: Callable) -> Callable:
            table[kind] = implementation
            return implementation

        return add

    call.register = register  # type: ignore[attr-defined]
    call.otherwise = register(None)  # type: ignore[attr-defined]
    call.table = table  # type: ignore[attr-defined]
    return call
