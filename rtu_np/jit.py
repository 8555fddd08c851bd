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

**Cache.** Compiled code is stored on disk, a file for each kernel and types of its arguments. The promise: *what runs
was compiled from the code that is in memory*. Numba's own cache does not hold it: it looks for changes only in the file
of the function that Python calls. Here the name of a file ends in a hash of everything that a kernel is compiled from,
as it is in memory at that time (rtu_np/fingerprint.py): all functions that can be reached, the constants that they
name, the types of the arguments, options, versions and the processor. So it does not matter what was edited, in which
file, when, or how often. Two versions that come and go are both stored. What cannot be hashed, or belongs to
`__main__`, is compiled by each process. `python -m rtu_np cache` shows the files, and `--clear` removes them.

Within a process, `compile_for` compares the same hash when a learner is made; it is remembered as long as the same
objects stand at all places that were read (`fingerprint.text_of`). After `importlib.reload`, or autoreload in a
notebook, a new learner runs the new code, and learners made before go on with theirs. A function that is decorated with
`njit` is compiled once for each type, as any decorated function: reload its module, too.
"""

import functools
import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types
from numba.extending import overload as _overload
from numba.extending import register_jitable

from rtu_np import fingerprint, kernel_files, numba_compiler, progress, subnormals
from rtu_np.fingerprint import Fingerprint, code_text, digest

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
config: Any = numba.config  # its attributes are set from the environment, where no type checker sees them
# Of Numba's settings, those that change machine code; its processor's name and features are compared apart from these.
_SETTINGS = (
    "BOUNDSCHECK",
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "DEBUGINFO_DEFAULT",
    "DISABLE_INTEL_SVML",
    "USING_SVML",
)


FLUSHES = numba_compiler.FLUSHES and not config.DISABLE_JIT  # compiled code makes no subnormal number


def versions() -> str:
    """What all kernels depend on: versions, settings of Numba, and how this package compiles."""
    settings = [f"{name}={getattr(config, name, None)}" for name in _SETTINGS]
    codes = [code_text(code) for code in (CODE, *numba_compiler.CODES, fingerprint.CODE, subnormals.CODE)]
    named = (numba.__version__, llvmlite.__version__, np.__version__, sys.implementation.cache_tag)
    return repr((named, settings, codes, numba_compiler.PLAIN))


def njit(function: Callable | None = None, **options: Any) -> Any:
    """Compile `function` at its first call, stored on disk for other processes.

    Parameters
    ----------
    function : the kernel; it allocates nothing, and returns scalars or nothing
    options : Numba options that differ from this package's

    A function that reaches functions or types of `__main__` is compiled but not stored: another process has another
    `__main__`.
    """
    if function is None:
        return functools.partial(njit, **options)
    compiled = numba.njit(**{**OPTIONS, **options})(function)
    if not config.DISABLE_JIT:
        name_of = functools.partial(_file_name, compiled)
        numba_compiler.store_with(compiled, numba_compiler.KernelCache(name_of, kernel_files.read, kernel_files.write))
    return compiled


_compiled_from: dict[tuple[int, str], Any] = {}  # what stood at each place that code of this process was compiled from
_compiled_for: dict[tuple[Callable, str], Any] = {}
_held: list[Fingerprint] = []  # which hold what `_compiled_from` names by its id


def compile_for(function: Callable, *specs: Any) -> Any:
    """`function` of a learner, compiled for specs of these types, from the code that is in memory now.

    A cell that was changed and loaded again (`importlib.reload`, or autoreload in a notebook) gets a compiled function
    of its own. Learners made before go on with theirs.
    """
    if config.DISABLE_JIT:
        return function
    with progress.part(function.__name__, counts=False):
        key = function, fingerprint.text_of(function, tuple(kind for spec in specs for kind in _kinds(spec)))
    if key not in _compiled_for:
        _compiled_for[key] = njit(function)
    return _compiled_for[key]


def _kinds(spec: Any) -> Iterator[type]:
    """The types of a spec and of the specs in it."""
    if isinstance(spec, tuple):
        yield type(spec)
        for part in spec:
            yield from _kinds(part)


_addresses: dict[tuple[str, str], int] = {}


def c_address(function: Callable, signature: Any) -> int:
    """The address of `function`, compiled with the arguments and the result of C in `signature`, for compiled callers.

    A caller that gets an address as data is compiled once for all functions there (`rtu_np.learning.passes`).
    """
    key = fingerprint.text_of(function), str(signature)
    if key not in _addresses:
        name_of = functools.partial(_file_name, function)
        cache = numba_compiler.KernelCache(name_of, kernel_files.read, kernel_files.write)
        options = {name: value for name, value in OPTIONS.items() if name != "nogil"}
        with progress.part(f"a pass of an optimiser, {signature.return_type}"), _without_collecting():
            _addresses[key] = numba_compiler.c_address(function, signature, options, cache)
    return _addresses[key]


def _file_name(compiled: Any, argument_types: tuple, processor: tuple) -> str | None:
    """The name of the file for the machine code of a function; None if it cannot be stored.

    It is called before each compilation. So it also looks for code that has changed since this process compiled it.
    """
    found = Fingerprint(compiled, argument_types)
    if any(_compiled_from.get(place, now) != now for place, now in found.read.items()):
        reached = {each for known in (*_held, found) for each in known.dispatchers}
        numba_compiler.forget(reached.difference(_compiled_for.values()))
        _compiled_from.clear()
        _held.clear()
    _compiled_from.update(found.read)
    _held.append(found)
    function = getattr(compiled, "py_func", compiled)
    if found.in_main:
        return None
    if found.obstacles:
        kernel_files.say_once(f"{function.__qualname__} depends on {found.obstacles[0]}, whose changes cannot be seen")
        return None
    readable = "".join(c for c in f"{function.__module__}.{function.__qualname__}" if c.isalnum() or c in "._")[-60:]
    return f"{readable}-{digest(found.text + repr(processor) + versions())[:32]}"


def entry(function: Any, *arguments: Any) -> Callable:
    """The machine code of `function` for arguments of these types; call it with no others.

    Numba's dispatcher reads every part of a nested tuple on each call, to find the version to run. With a learner's
    spec that takes 3.4 of 4.5 microseconds of a call; the machine code is called without it. With Numba switched off,
    the function itself is returned.
    """
    if config.DISABLE_JIT:
        return function
    with progress.part(getattr(function, "py_func", function).__name__):
        types_of = tuple(numba.typeof(argument) for argument in arguments)
        with _without_collecting():
            function.compile(types_of)
        return numba_compiler.entry_point(function, types_of)


def address(function: Any, *arguments: Any) -> Any:
    """What `call_at` calls: the machine code that `entry` returns for the same arguments.

    It is in memory as long as the function is. With Numba switched off, it is the function itself.
    """
    if config.DISABLE_JIT:
        return function
    entry(function, *arguments)
    return numba_compiler.address_of(function, tuple(numba.typeof(argument) for argument in arguments))


def call_at(address: Any, arguments: tuple) -> int:
    """The integer that a function returns. Compiled code calls it by its address, so its bits are those of `entry`.

    A function that is compiled into its caller would be compiled twice, and may have other bits there.
    """
    return address(*arguments)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Compiling makes a million objects that live. Looking for garbage among them takes a twentieth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def overload(function: Callable, **options: Any) -> Any:
    """Numba's `overload`, compiled into the caller."""
    return _overload(function, jit_options=_INLINED, **options)


@overload(call_at, strict=False)
def _compile_call_at(address: Any, arguments: Any) -> Callable:
    return lambda address, arguments: numba_compiler.call_at(address, arguments)  # type: ignore[call-arg]


def kernel(function: Callable | None = None, *, inline: bool = True, fused: bool = True) -> Any:
    """A function for compiled code to call. Called from Python, it stays plain Python.

    It is compiled into its caller, unless `inline` is False. That is for layout functions, which cut one flat array
    into views: LLVM must not see in their callers that the views are parts of one array. If it does, its loop strength
    reduction tries every way to write an address as another plus an offset: ten seconds, for no gain.

    With `fused=False`, no product is fused with a sum, so its bits are those of plain Python. That is for what runs
    both ways: environments.
    """
    if function is None:
        return functools.partial(kernel, inline=inline, fused=fused)
    return register_jitable(**_options(inline, fused))(function)


def _options(inline: bool, fused: bool) -> Any:
    """Options of a function that only compiled code calls."""
    options = _INLINED if inline else _CALLED
    return options if fused else {**options, "fastmath": False}


def view(n_lengths: int) -> Callable[[Callable], Callable]:
    """Mark `function(flat, start, *lengths)`, which returns a view on a part of a vector; see `rtu_np.lean_numba`."""

    def mark(function: Callable) -> Callable:
        numba_compiler.register_view(function, n_lengths)
        return function

    return mark


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


def like(x: Any, value: float) -> Any:
    """`value` in the precision of the scalar `x`. A bare literal would lift float32 arithmetic to float64."""
    return type(x)(value)


@overload(like, strict=False)
def _compile_like(x: Any, value: Any) -> Callable | None:
    real = np.float32 if x == types.float32 else np.float64
    return lambda x, value: real(value)


def generic(stub: Callable | None = None, *, inline: bool = True, fused: bool = True) -> Any:
    """A function whose implementation is chosen by the NamedTuple type of its first argument (docstring of the module).

    `function.register(kind)` decorates the implementation for a type, `function.otherwise` that for all types without
    one. `inline` and `fused` are as in `kernel`.

    Raises
    ------
    TypeError : at the call, if the type has no implementation
    """
    if stub is None:
        return functools.partial(generic, inline=inline, fused=fused)
    table: dict[type | None, Callable] = {}
    call = _dispatching(stub, table, _options(inline, fused))
    # The same, compiled into its caller: for a layout in a layout, which would copy the views once more.
    call.inlined = call if inline else _dispatching(stub, table, _INLINED)

    def register(kind: type | None) -> Callable[[Callable], Callable]:
        def add(implementation: Callable) -> Callable:
            table[kind] = implementation
            return implementation

        return add

    call.register = register
    call.otherwise = register(None)
    return call


def _dispatching(stub: Callable, table: dict[type | None, Callable], options: Any) -> Any:
    """The function that a `generic` one is, compiled with these options."""

    @functools.wraps(stub)
    def call(*arguments: Any) -> Any:
        implementation = table.get(type(arguments[0])) or table.get(None)
        if implementation is None:
            known = ", ".join(kind.__name__ for kind in table if kind) or "none"
            raise TypeError(
                f"{stub.__name__}: no implementation for {type(arguments[0]).__name__}; registered: {known}"
            )
        return implementation(*arguments)

    @_overload(call, strict=False, jit_options=options)
    def _compile(*arguments: Any) -> Callable | None:
        return table.get(getattr(arguments[0], "instance_class", type(None))) or table.get(None)

    call.table = table  # type: ignore[attr-defined]
    return call


CODE = sys._getframe().f_code  # of this file, as it runs
