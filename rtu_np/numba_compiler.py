"""The private parts of Numba that `rtu_np.jit` uses. No other file names any of them.

Four things make kernels fast that Numba has no public option for:

without runtime   `_nrt=False`: kernels allocate nothing, so reading an array out of a NamedTuple need not count
                  references. A step of 10 units takes half the time.
inlined           `forceinline`, and no wrappers for Python and C: a loop with a call in it does not vectorise.
inlined only      `InlineOnlyLibrary`: Numba optimises each function alone, and again in its caller. For functions that
                  are always inlined we skip the first, which halves compile time.
noalias           arrays among the arguments do not overlap, so loops need no test for overlap at run time.

A release of Numba may rename any of these. Then, or if the environment has RTU_NP_PLAIN_NUMBA=1, this file uses public
options only: the same values within the tests' tolerances, slower to compile, possibly slower to run. One warning says
so.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any

import numba

SWITCH = "RTU_NP_PLAIN_NUMBA"
_NEEDED_OPTIONS = ("_nrt", "forceinline", "no_cpython_wrapper", "no_cfunc_wrapper")
_NEEDED_METHODS = ("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals", "_ensure_finalized")


def _private_numba() -> tuple[Any, Any]:
    """(JITCodeLibrary, Compiler) of this Numba; ImportError if any private name that is used here is missing."""
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler
    from numba.core.options import DefaultOptions

    missing = [name for name in _NEEDED_OPTIONS if not hasattr(DefaultOptions, name)]
    missing += [name for name in _NEEDED_METHODS if not hasattr(JITCodeLibrary, name)]
    missing += [name for name in ("define_pipelines",) if not hasattr(Compiler, name)]
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
        "compiling takes longer, and steps may take longer.",
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


# Options added to the public ones: ENTRY for functions that Python calls, the others for functions that only compiled
# code calls. CALLED needs `forceinline=False`: without it, a function inherits the option from its caller.
ENTRY: dict[str, Any] = {} if PLAIN else {"_nrt": False}
_INNER = ENTRY if PLAIN else {**ENTRY, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
CALLED: dict[str, Any] = _INNER if PLAIN else {**_INNER, "forceinline": False, "pipeline_class": InnerCompiler}
INLINED: dict[str, Any] = _INNER if PLAIN else {**_INNER, "forceinline": True, "pipeline_class": InnerCompiler}
INLINED_NOALIAS: dict[str, Any] = _INNER if PLAIN else {**INLINED, "pipeline_class": NoAliasCompiler}


def entry_point(function: Any, types: tuple) -> Callable:
    """The machine code of the compiled `function` for arguments of these types; with plain Numba, its dispatcher."""
    found = getattr(function.overloads[types], "entry_point", None)
    return function if PLAIN or found is None else found
