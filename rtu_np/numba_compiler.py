"""The private parts of Numba that `rtu_np.jit` uses. No other file names any of them.

Five things make kernels fast that Numba has no public option for, and one keeps them true:

without runtime   `_nrt=False`: kernels allocate nothing, so reading an array out of a NamedTuple need not count
                  references. A step of 10 units takes half the time.
inlined           `forceinline`, and no wrappers for Python and C: a loop with a call in it does not vectorise.
inlined only      `InlineOnlyLibrary`: Numba optimises each function alone, and again in its caller. For functions that
                  are always inlined we skip the first, which halves compile time.
noalias           arrays among the arguments do not overlap, so loops need no test for overlap at run time.
flushing          `EntryLibrary`: subnormal numbers are zero while compiled code runs (rtu_np/subnormals.py).
stored            `KernelCache` in place of Numba's cache. That looks for changes in one file only, mixes up processes
                  that compile a function for several types at once, and fails on a damaged file or without a home.

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

from rtu_np import subnormals

SWITCH = "RTU_NP_PLAIN_NUMBA"
_NEEDED_OPTIONS = ("_nrt", "forceinline", "no_cpython_wrapper", "no_cfunc_wrapper")
_NEEDED_RESULTS = ("_reduce", "_rebuild")
_NEEDED_DISPATCHERS = ("_reset_overloads",)
_NEEDED_TEMPLATES = ("_get_impl", "_build_impl")
_NEEDED_METHODS = (
    *("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals", "_ensure_finalized"),
    *("add_ir_module", "enable_object_caching"),
)


def _private_numba() -> tuple[Any, Any]:
    """(JITCodeLibrary, Compiler) of this Numba; ImportError if any private name that is used here is missing."""
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler, CompileResult
    from numba.core.dispatcher import Dispatcher
    from numba.core.options import DefaultOptions
    from numba.core.serialize import dumps  # noqa: F401
    from numba.core.typing.templates import _OverloadFunctionTemplate, builtin_registry

    missing = [name for name in _NEEDED_OPTIONS if not hasattr(DefaultOptions, name)]
    missing += [name for name in _NEEDED_METHODS if not hasattr(JITCodeLibrary, name)]
    missing += [name for name in ("define_pipelines",) if not hasattr(Compiler, name)]
    missing += [name for name in _NEEDED_RESULTS if not hasattr(CompileResult, name)]
    missing += [name for name in _NEEDED_DISPATCHERS if not hasattr(Dispatcher, name)]
    missing += [name for name in _NEEDED_TEMPLATES if not hasattr(_OverloadFunctionTemplate, name)]
    missing += [name for name in ("globals",) if not hasattr(builtin_registry, name)]
    if missing:
        raise ImportError(f"no {', '.join(missing)}")
    return JITCodeLibrary, Compiler


def _find() -> tuple[Any, Any, str]:
    """(JITCodeLibrary, Compiler, ""), or (object, object, why plain Numba is used)."""
    if os.environ.get(SWITCH, "") not in ("", "0"):
        return object, object, f"{SWITCH} is set"
    try:
        return *_private_numba(), ""
    except ImportError as error:
        return object, object, f"Numba {numba.__version__} lacks a private name that rtu_np uses: {error}"


_JITCodeLibrary: Any
_Compiler: Any
_JITCodeLibrary, _Compiler, _WHY_PLAIN = _find()
PLAIN = bool(_WHY_PLAIN)
if PLAIN:
    warnings.warn(
        f"rtu_np compiles with Numba's public options only, since {_WHY_PLAIN}. Values are the same to rounding; "
        "compiling takes longer, each process compiles, and steps may take longer.",
        RuntimeWarning,
        stacklevel=2,
    )


class InlineOnlyLibrary(_JITCodeLibrary):
    """The code of functions that are always inlined. Compiling each alone is skipped, which halves compile time.

    Only their LLVM code is needed, to be copied into callers. So the methods below do less than Numba's, or nothing.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        if hasattr(self, "_verify_declare_only_symbols"):
            self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # Python cannot enter it

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing: only a function that Python enters needs an environment of exceptions and objects."""


class EntryLibrary(_JITCodeLibrary):
    """The code of functions that Python enters, through a wrapper that Numba makes as a module of its own."""

    def add_ir_module(self, module: Any) -> None:
        if module.name == "wrapper":
            subnormals.flush_in(module)
        super().add_ir_module(module)


class EntryCompiler(_Compiler):
    """Numba's compiler, for functions that Python enters."""

    def define_pipelines(self) -> Any:
        library = EntryLibrary(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        library.enable_object_caching()  # so that it can be stored
        self.state["library"] = library
        return super().define_pipelines()


class InnerCompiler(_Compiler):
    """Numba's compiler, for functions that Python never calls."""

    def define_pipelines(self) -> Any:
        self.state["library"] = InlineOnlyLibrary(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super().define_pipelines()


class NoAliasCompiler(InnerCompiler):
    """`InnerCompiler`, for functions whose arrays do not overlap."""

    def define_pipelines(self) -> Any:
        self.state.flags.noalias = True
        return super().define_pipelines()


FLUSHES = subnormals.SUPPORTED and not PLAIN  # whether subnormal numbers are zero while compiled code runs
# Options added to the public ones: ENTRY for functions that Python calls, the others for functions that only compiled
# code calls. CALLED needs `forceinline=False`: without it, a function inherits the option from its caller.
_NO_RUNTIME: dict[str, Any] = {} if PLAIN else {"_nrt": False}
ENTRY: dict[str, Any] = {**_NO_RUNTIME, "pipeline_class": EntryCompiler} if FLUSHES else _NO_RUNTIME
_INNER = {} if PLAIN else {**_NO_RUNTIME, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
CALLED: dict[str, Any] = _INNER if PLAIN else {**_INNER, "forceinline": False, "pipeline_class": InnerCompiler}
INLINED: dict[str, Any] = _INNER if PLAIN else {**_INNER, "forceinline": True, "pipeline_class": InnerCompiler}
INLINED_NOALIAS: dict[str, Any] = _INNER if PLAIN else {**INLINED, "pipeline_class": NoAliasCompiler}


def entry_point(function: Any, types: tuple) -> Callable:
    """The machine code of the compiled `function` for arguments of these types; with plain Numba, its dispatcher."""
    found = getattr(function.overloads[types], "entry_point", None)
    return function if PLAIN or found is None else found


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


CODE = sys._getframe().f_code  # of this file, as it runs
