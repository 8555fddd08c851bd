"""The one place with Numba: how kernels are compiled, dispatched and cached.

Every kernel of this package allocates nothing, returns no array and writes in place. That is what lets `njit` switch
Numba's reference counting off (`_nrt=False`): an allocation in a kernel is then a compile error, and reading arrays out
of NamedTuples costs nothing. The option is private to Numba, so it is named here alone.

Two mechanisms live here.

**Dispatch.** Learners are written once and compiled for each cell. A `generic` function is an empty one whose
implementations are registered by the NamedTuple type of its first argument:

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

Compiled code resolves the call while it compiles; with Numba switched off (NUMBA_DISABLE_JIT=1), and when Python itself
calls, the same table is read.

**Cache.** Numba looks for a change in the file of the cached function only: after an edit to a function which that one
*calls*, in another file, it would go on running the old machine code. So the cache folder is named by a hash of every
source the function could reach, of Numba's version and of its flags, and a changed source means a new folder.
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

ANNOUNCE_AFTER = 3.0  # seconds of compiling after which a user is told
_PUBLIC: Any = {
    "nogil": True,
    "error_model": "numpy",  # Python's raises on division by zero: a branch that stops loops from vectorising
    "fastmath": {"contract"},  # fused multiply-add; NaN and infinity keep their meaning
}
OPTIONS: Any = {**_PUBLIC, **numba_compiler.ENTRY}
# Python cannot call these. Most are compiled into their caller: a loop with a call in it does not vectorise, and a call
# passes a NamedTuple array by array, each as seven numbers (a fifth of the step of 10 units).
_CALLED: Any = {**_PUBLIC, **numba_compiler.CALLED}
_INLINED: Any = {**_PUBLIC, **numba_compiler.INLINED}
_INLINED_NOALIAS: Any = {**_PUBLIC, **numba_compiler.INLINED_NOALIAS}
_HOME = Path(__file__).parent
config: Any = numba.config  # its attributes are set from the environment, where no type checker sees them


def _sources(file: Path) -> Iterator[Path]:
    """Every Python source of the top-level package that holds `file`, or the file alone where it is in no package."""
    root = file
    while (root.parent / "__init__.py").exists():
        root = root.parent
    return iter(sorted(root.rglob("*.py"))) if root.is_dir() else iter([file])


@functools.cache
def _fingerprint(file: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in _sources(file))).hexdigest()


def cache_folder(*files: str | Path) -> Path:
    """The folder that holds the machine code of kernels reaching into the packages of `files` (and into this one).

    It lies under NUMBA_CACHE_DIR where that is set, else in this package's `__pycache__`, else (a read-only
    installation) in the user's cache folder. Deleting it is always safe.
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
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


def njit(function: Callable | None = None, *, reaches: tuple[str, ...] = (), **options: Any) -> Any:
    """Compile `function` at its first call, cached on disk across processes.

    Parameters
    ----------
    function : the kernel: allocates nothing, returns scalars or nothing.
    reaches : modules of other packages whose kernels it calls through a `generic` function, beside its own package.
    options : departures from the package's Numba options, for the rare function that needs one.

    Functions whose source is not in a file (typed at a prompt, or in `__main__`, where Numba cannot tell two versions
    of a type apart) are compiled but not cached.
    """
    if function is None:
        return functools.partial(njit, reaches=reaches, **options)
    modules = (function.__module__, *reaches)
    files = [getattr(sys.modules.get(module), "__file__", None) for module in modules]
    cached = "__main__" not in modules and all(file is not None for file in files)
    with _cache_at(cache_folder(*(file for file in files if file is not None))):
        return numba.njit(**{**OPTIONS, "cache": cached, **options})(function)


def compile_for(function: Callable, *specs: Any) -> Any:
    """The learner's function `function`, with a cache that follows the given specs' sources too.

    For the cells of this package that is one compiled function for all; a cell from elsewhere gets one whose cache
    notices when that cell's source changes.
    """
    home = function.__module__.partition(".")[0]
    modules = {module for spec in specs for module in _modules(spec) if module.partition(".")[0] != home}
    return _compile_with(function, tuple(sorted(modules)))


def _modules(spec: Any) -> Iterator[str]:
    """The modules of a spec and of the specs it holds."""
    if isinstance(spec, tuple):
        yield type(spec).__module__
        for part in spec:
            yield from _modules(part)


@functools.cache
def _compile_with(function: Callable, modules: tuple[str, ...]) -> Any:
    return njit(function, reaches=modules)


def entry(function: Any, *arguments: Any) -> Callable:
    """The compiled code of `function` for arguments of these types, to be called with no others.

    It leaves out the dispatcher, which on each call looks at every part of a nested tuple to find the version to run:
    3.4 of 4.5 microseconds for a call with a learner's spec. With Numba switched off, the function itself.
    """
    if config.DISABLE_JIT:
        return function
    types_of = tuple(numba.typeof(argument) for argument in arguments)
    with announce_compiling():
        function.compile(types_of)
    return numba_compiler.entry_point(function, types_of)


@contextmanager
def announce_compiling() -> Iterator[None]:
    """On a terminal, say what it is that takes so long."""
    text = "rtu_np: compiling for a network of this kind, up to a minute; the next process finds it compiled"
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
    """A function that compiled code may call; called from Python it stays plain Python.

    It is compiled into its caller, unless `inline` is False. That is for functions that cut one flat array into views:
    their callers then see arrays, and no longer that these are parts of one. If LLVM sees that, its loop strength
    reduction tries every way to write an address as another plus an offset: ten seconds, for no gain.
    """
    if function is None:
        return functools.partial(kernel, inline=inline)
    return register_jitable(**(_options_of(function) if inline else _CALLED))(function)


def noalias(function: Callable) -> Callable:
    """Promise that no two arrays among the arguments overlap, in parameters, traces, memory or elsewhere.

    A compiler that cannot know must test it at run time, for every pair of arrays in a loop: at 32 units in float64
    that costs more than vectorising gains, and LLVM leaves such a loop scalar. With Numba switched off, where tests run
    all cells, the promise is checked at every call. Stands below `kernel` and `register`.
    """
    if not config.DISABLE_JIT:
        function.noalias = True  # type: ignore[attr-defined]
        return function

    @functools.wraps(function)
    def checked(*arguments: Any) -> Any:
        for (_, stop), (start, _) in itertools.pairwise(sorted(extents(arguments))):
            if start < stop:
                raise ValueError(f"{function.__name__}: two of its arrays overlap, but noalias promises that none do")
        return function(*arguments)

    return checked


def extents(arguments: tuple) -> Iterator[tuple[int, int]]:
    """First and last address of each array in nested tuples."""
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
    """A function whose implementation is chosen by the NamedTuple type of its first argument; see the module's page.

    `otherwise` names an implementation for the types that have none of their own. `inline` is as in `kernel`.
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
