"""The private parts of Numba that `rtu_np.jit` uses. Only this file and lean_numba.py name any of them.

Five things make kernels fast that Numba has no public option for, one keeps them true, and two serve environments:

without runtime   `_nrt=False`: kernels allocate nothing, so reading an array out of a NamedTuple need not count
                  references. A step of 10 units takes half the time.
inlined           `forceinline`, and no wrappers for Python and C: a loop with a call in it does not vectorise.
lean              functions that only compiled code calls are compiled with less effort (rtu_np/lean_numba.py).
noalias           arrays among the arguments do not overlap, so loops need no test for overlap at run time.
flushing          subnormal numbers are zero while compiled code runs (rtu_np/subnormals.py).
stored            `KernelCache` in place of Numba's cache. That looks for changes in one file only, mixes up processes
                  that compile a function for several types at once, and fails on a damaged file or without a home.
by address        `call_at`: a kernel calls another that is compiled already, and so has the same bits.
integers          `bounded_integer` and `random_interval`: what `Generator.integers` and `Generator.shuffle` draw, which
                  in Numba allocate arrays.

A release of Numba may rename any of these. Then, or if the environment has RTU_NP_PLAIN_NUMBA=1, this file uses public
options only: the same values within the tests' tolerances, slower to compile, possibly slower to run. Nothing is
stored, so each process compiles. One warning says so.
"""

import contextlib
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numba
from numba.extending import intrinsic, register_jitable

from rtu_np import subnormals

SWITCH = "RTU_NP_PLAIN_NUMBA"
_NEEDED_OPTIONS = ("_nrt", "forceinline", "no_cpython_wrapper", "no_cfunc_wrapper")
_NEEDED_RESULTS = ("_reduce", "_rebuild")
_NEEDED_DISPATCHERS = ("_reset_overloads",)
_NEEDED_TEMPLATES = ("_get_impl", "_build_impl")
_NEEDED_BUILDERS = ("_pass_builder",)
_NEEDED_METHODS = (
    *("_finalize_dynamic_globals", "_ensure_finalized", "_raise_if_finalized", "add_linking_library"),
    *("add_ir_module", "enable_object_caching"),
)


def _private_numba() -> Any:
    """The module lean_numba; ImportError if any private name of Numba that we use is missing."""
    from numba.core.codegen import CPUCodegen, JITCodeLibrary
    from numba.core.compiler import CompileResult
    from numba.core.dispatcher import Dispatcher
    from numba.core.options import DefaultOptions
    from numba.core.serialize import dumps  # noqa: F401
    from numba.core.typing.templates import _OverloadFunctionTemplate, builtin_registry
    from numba.np.random.random_methods import buffered_bounded_lemire_uint32, random_interval  # noqa: F401

    missing = [name for name in _NEEDED_OPTIONS if not hasattr(DefaultOptions, name)]
    missing += [name for name in _NEEDED_METHODS if not hasattr(JITCodeLibrary, name)]
    missing += [name for name in _NEEDED_BUILDERS if not hasattr(CPUCodegen, name)]
    missing += [name for name in _NEEDED_RESULTS if not hasattr(CompileResult, name)]
    missing += [name for name in _NEEDED_DISPATCHERS if not hasattr(Dispatcher, name)]
    missing += [name for name in _NEEDED_TEMPLATES if not hasattr(_OverloadFunctionTemplate, name)]
    missing += [name for name in ("globals",) if not hasattr(builtin_registry, name)]
    if missing:
        raise ImportError(f"no {', '.join(missing)}")
    from rtu_np import lean_numba

    return lean_numba


def _find() -> tuple[Any, str]:
    """(lean_numba, ""), or (None, why plain Numba is used)."""
    if os.environ.get(SWITCH, "") not in ("", "0"):
        return None, f"{SWITCH} is set"
    try:
        return _private_numba(), ""
    except (ImportError, AttributeError, KeyError) as error:
        return None, f"Numba {numba.__version__} lacks a private name that rtu_np uses: {error}"


_lean, _WHY_PLAIN = _find()
PLAIN = bool(_WHY_PLAIN)
if PLAIN:
    warnings.warn(
        f"rtu_np compiles with Numba's public options only, since {_WHY_PLAIN}. Values are the same to rounding; "
        "compiling takes longer, each process compiles, and steps may take longer.",
        RuntimeWarning,
        stacklevel=2,
    )
else:
    from numba.np.random.random_methods import buffered_bounded_lemire_uint32 as bounded_integer  # noqa: F401
    from numba.np.random.random_methods import random_interval  # noqa: F401

FLUSHES = subnormals.SUPPORTED and not PLAIN  # whether subnormal numbers are zero while compiled code runs
# Options added to the public ones: ENTRY for functions that Python calls, the others for functions that only compiled
# code calls. CALLED needs `forceinline=False`: without it, a function inherits the option from its caller.
ENTRY: dict[str, Any] = {} if PLAIN else {"_nrt": False, "pipeline_class": _lean.EntryCompiler}
_INNER: dict[str, Any] = (
    {}
    if PLAIN
    else {
        "_nrt": False,
        "no_cpython_wrapper": True,
        "no_cfunc_wrapper": True,
        "pipeline_class": _lean.InnerCompiler,
    }
)
CALLED: dict[str, Any] = _INNER if PLAIN else {**_INNER, "forceinline": False}
INLINED: dict[str, Any] = _INNER if PLAIN else {**_INNER, "forceinline": True}


def entry_point(function: Any, types: tuple) -> Callable:
    """The machine code of the compiled `function` for arguments of these types; with plain Numba, its dispatcher."""
    found = getattr(function.overloads[types], "entry_point", None)
    return function if PLAIN or found is None else found


def c_address(function: Callable, signature: Any, options: dict[str, Any], cache: Any) -> int:
    """The address of the machine code of `function` with the arguments and the result of C in `signature`.

    The code lives as long as the process. `cache` is a `KernelCache`.
    """
    if PLAIN:
        callback: Any = numba.cfunc(signature, **options)(function)
    else:
        from numba.core.ccallback import CFunc

        options = dict(options)
        kind = options.pop("pipeline_class")
        arguments = signature.args, signature.return_type
        callback = CFunc(function, arguments, locals={}, options=options, pipeline_class=kind)
        callback._cache = cache
        callback.compile()
    _callbacks.append(callback)
    return callback.address


_callbacks: list[Any] = []


def address_of(function: Any, types: tuple) -> int:
    """Where the machine code of the compiled `function` for arguments of these types is in memory, for `call_at`."""
    compiled = function.overloads[types]
    if compiled.signature.return_type != numba.types.int64:
        raise TypeError(f"{function.py_func.__qualname__} returns {compiled.signature.return_type}: expected int64")
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


@intrinsic
def call_at(typingctx: Any, address: Any, arguments: Any) -> Any:
    """The int64 that the compiled function at `address` returns for a tuple of arguments of its types."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        convention, kinds = context.call_conv, signature.args[1].types
        parts = [builder.extract_value(values[1], k) for k in range(len(kinds))]
        kind = convention.get_function_type(signature.return_type, kinds)
        function = builder.inttoptr(values[0], kind.as_pointer())
        status, result = convention.call_function(builder, function, signature.return_type, kinds, parts)
        with builder.if_then(status.is_error, likely=False):  # with NUMBA_BOUNDSCHECK=1, an index out of range
            convention.return_status_propagate(builder, status)
        return result

    return numba.types.int64(address, arguments), generate


class KernelCache:
    """What a dispatcher asks for compiled code before it compiles, and gives compiled code to.

    `name_of(argument types, processor)` names the file of a kernel; None if it cannot be stored. It is called before
    each compilation. `read(name)` and `write(name, bytes)` are those of rtu_np/kernel_files.py.
    """

    cache_path = None

    def __init__(self, name_of: Callable, read: Callable, write: Callable) -> None:
        self.name_of, self.read, self.write = name_of, read, write
        self._names: dict[Any, str | None] = {}

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled code for a signature; None if it has to be compiled."""
        from numba.core.compiler import CompileResult

        target_context.refresh()
        arguments = tuple(getattr(signature, "args", signature))
        processor = (*target_context.codegen().magic_tuple(), str(getattr(signature, "return_type", None)))
        name = self.name_of(arguments, processor)
        data = None if name is None else self.read(name)
        if data is not None:
            # Whatever is wrong with what was pickled, for example a module that is gone: compile.
            with contextlib.suppress(Exception):
                result = CompileResult._rebuild(target_context, *pickle.loads(data))
                if result.signature.args == arguments:
                    return result
        self._names[signature] = name
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        from numba.core.serialize import dumps

        name = self._names.pop(signature, None)
        if name is None or result.library.has_dynamic_globals or any(not each.can_cache for each in result.lifted):
            return
        with contextlib.suppress(Exception):  # an object that cannot be pickled
            self.write(name, dumps(result._reduce()))

    def flush(self) -> None:
        """Do nothing: a file that is there is right."""


def register_view(function: Callable, n_lengths: int) -> None:
    """Compile `function(array, start, *lengths)` to a view without tests of bounds; plain Numba takes it as it is."""
    if PLAIN:
        register_jitable(function)
    else:
        _lean.register_view(function, n_lengths)


def store_with(function: Any, cache: KernelCache) -> None:
    """Let a compiled function read and write its code with `cache`; with plain Numba, let it compile."""
    if not PLAIN:
        function._cache = cache


def _templates(start: int = 0) -> Iterator[tuple[Any, Any]]:
    """(function, template) of every overload that Numba knows, without the first `start` entries of its list."""
    from numba.core.typing.templates import builtin_registry

    for function, kind in builtin_registry.globals[start:]:
        for template in getattr(kind, "templates", ()):
            if hasattr(template, "_overload_func"):
                yield function, template


def _count() -> int:
    from numba.core.typing.templates import builtin_registry

    return len(builtin_registry.globals)


def overloads(start: int) -> tuple[list[tuple[Any, dict, Callable]], int]:
    """([(function, options, what makes its implementation)] of overloads, how long Numba's list of them is).

    The first `start` entries of the list are left out: it only grows, so it can be read piece by piece.
    """
    if PLAIN:
        return [], 0
    found = [(function, template._jit_options, template._overload_func) for function, template in _templates(start)]
    return found, _count()


def definition(value: Any) -> Callable | None:
    """The function that defines an `intrinsic` of Numba; None if `value` is anything else."""
    return getattr(value, "_defn", None) if type(value).__name__ == "_Intrinsic" else None


def forget(dispatchers: Iterable[Any]) -> None:
    """Let the next compilation compile all inner functions again, and `dispatchers`, since code has changed.

    Numba holds what it compiled by types of arguments alone. Learners that run keep their machine code.
    """
    if PLAIN:
        return
    for _, template in _templates():
        template._impl_cache.clear()
    for dispatcher in dispatchers:
        dispatcher._reset_overloads()


CODES = (sys._getframe().f_code, *([] if PLAIN else [_lean.CODE]))  # of this file and lean_numba.py, as they run
