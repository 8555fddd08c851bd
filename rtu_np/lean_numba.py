"""How Numba compiles functions that only compiled code calls: with private parts of Numba, for a shorter first call.

A learner's step is one entry, which Python calls, and a hundred or two inner functions. Numba compiles each as if it
stood alone. Here five things are done less often:

machine code    Numba optimises each function alone, links in all that it calls, optimises that, and makes machine code.
                An inner function is only made smaller; the entry links and optimises all of them once (`InnerLibrary`,
                `EntryLibrary`).
arguments       Numba passes a NamedTuple of arrays number by number, seven or nine to an array, and takes it apart and
                puts it together in each function: two thirds of all instructions. Inner functions get it as one
                aggregate of LLVM (`_Whole`). If a function promises that its arrays do not overlap (`noalias`), its
                arguments stay apart, since LLVM reads that promise from pointers alone.
conversions     A tuple of numbers and arrays has the same LLVM type as a value, in memory, and as a result. Numba
                rebuilds it member by member wherever one becomes another (`_AsItIs`).
views           Numba's slices test their bounds. A layout cuts its flat array where its sizes say (`register_view`).
passes          A kernel without functions of its own skips the passes of Numba that look for these, for `with`, and for
                array expressions (`_NOT_NEEDED`).

The contexts and tables of Numba itself stay as they are: what the user compiles is not touched. If it calls one of our
kernels, it gets the kernel with all that it reaches, and a function in front that takes arguments as Numba passes them
(`_make_entrance`). numba_compiler.py imports this file, and does without it if Numba lacks one of its names.
"""

import copy
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

import llvmlite.binding
from llvmlite import ir
from llvmlite.binding import Linkage
from numba.core import cgutils, types
from numba.core.callconv import CPUCallConv
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.cpu import CPUContext
from numba.core.datamodel import DataModelManager, default_manager
from numba.core.datamodel.models import DataModel
from numba.core.datamodel.packer import ArgPacker, _flatten, _Unflattener
from numba.extending import lower_builtin, type_callable
from numba.np.arrayobj import make_array, populate_array

from rtu_np import subnormals

# ------------------------------------------------------------------------------------------------------ machine code


class InnerLibrary(JITCodeLibrary):
    """The code of an inner function, for the entry to link in. Python cannot enter it."""

    def _optimize_functions(self, ll_module: Any) -> None:
        """Make the function smaller, so that linking is cheap. The entry optimises it to the full."""
        ll_module.data_layout = self._codegen._data_layout
        passes = self._codegen._pass_builder(opt=1)
        manager = passes.getFunctionPassManager()
        for function in ll_module.functions:
            if not function.is_declaration:
                manager.run(function, passes)

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True

    def reached(self, found: dict[Any, None]) -> None:
        """Add this library and all that it reaches to `found`."""
        if self not in found:
            found[self] = None
            for library in self._linking_libraries:
                _add_reached(library, found)

    def _get_module_for_linking(self) -> Any:
        """The code with all that it reaches, for a function of the user's that plain Numba compiles."""
        if self._shared_module is None:
            found: dict[Any, None] = {}
            self.reached(found)
            module = self._final_module.clone()
            names = _link_all(module, [each for each in found if each is not self])
            names += _defined(self._final_module)
            for entrance in filter(None, (each.entrance for each in found if isinstance(each, InnerLibrary))):
                names.append(entrance.name)
                module.link_in(llvmlite.binding.parse_assembly(str(entrance.module)))
            _let_drop(module, names)
            self._shared_module = module
        return self._shared_module

    @property
    def entrance(self) -> Any:
        """The function that takes the arguments apart, as plain Numba passes them; None if this library's does so."""
        return None if self.described is None else _make_entrance(*self.described)

    described: tuple[Any, Any] | None = None  # context and description of the function, if it gets its arguments whole

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing: only a function that Python enters needs an environment of exceptions and objects."""


class EntryLibrary(JITCodeLibrary):
    """The code of a function that Python calls. It links in all inner functions that it reaches, each once."""

    def add_ir_module(self, module: Any) -> None:
        if module.name == "wrapper" and subnormals.SUPPORTED:  # through which Python enters
            subnormals.flush_in(module)
        super().add_ir_module(module)

    def add_linking_library(self, library: Any) -> None:
        found = dict.fromkeys(self._linking_libraries)
        _add_reached(library, found)
        for each in found:
            each._ensure_finalized()
        self._linking_libraries = list(found)

    def finalize(self) -> None:
        """Link in all inner functions, then do what Numba does.

        Numba marks each function that it links as one that LLVM may drop (`linkonce_odr`), so that none is left once
        it is inlined. We mark them after all are linked: LLVM also drops such a function if nothing calls it *yet*.
        """
        inner = [each for each in self._linking_libraries if isinstance(each, InnerLibrary)]
        self._linking_libraries = [each for each in self._linking_libraries if not isinstance(each, InnerLibrary)]
        for library in inner:
            self._reload_init.update(library._reload_init)
        _let_drop(self._final_module, _link_all(self._final_module, inner))
        super().finalize()


def _link_all(module: Any, libraries: list[Any]) -> list[str]:
    """Link libraries into a module; returns the names of the functions that they define."""
    names: list[str] = []
    for library in libraries:
        if isinstance(library, InnerLibrary):
            names += _defined(library._final_module)
            module.link_in(library._final_module, preserve=True)
        else:
            module.link_in(library._get_module_for_linking(), preserve=True)
    return names


def _let_drop(module: Any, names: list[str]) -> None:
    for function in map(module.get_function, names):
        function.linkage = "linkonce_odr"


def _defined(module: Any) -> list[str]:
    return [each.name for each in module.functions if not each.is_declaration and each.linkage == Linkage.external]


def _add_reached(library: Any, found: dict[Any, None]) -> None:
    if isinstance(library, InnerLibrary):
        library.reached(found)
    else:
        found[library] = None


# -------------------------------------------------------------------------------------------- arguments, conversions


class _AsItIs(DataModel):
    """A data model whose value is not converted if memory and results hold it as the same LLVM type."""

    _is_same: bool | None = None

    def _same(self) -> bool:
        if self._is_same is None:
            self._is_same = self.get_value_type() == self.get_data_type() == self.get_return_type()
        return self._is_same

    def as_data(self, builder: Any, value: Any) -> Any:
        return value if self._same() else super().as_data(builder, value)

    def from_data(self, builder: Any, value: Any) -> Any:
        return value if self._same() else super().from_data(builder, value)

    def as_return(self, builder: Any, value: Any) -> Any:
        return value if self._same() else super().as_return(builder, value)

    def from_return(self, builder: Any, value: Any) -> Any:
        return value if self._same() else super().from_return(builder, value)


def _models() -> Any:
    manager = DataModelManager({}).chain(default_manager)  # which gets more models later
    for kind in (types.Tuple, types.NamedTuple, types.UniTuple, types.NamedUniTuple, types.Array):
        model = default_manager._handlers[kind]
        manager.register(kind, type(model.__name__, (_AsItIs, model), {}))
    return manager


_MODELS = _models()
_STARRED = types.StarArgTuple, types.StarArgUniTuple  # *arguments, which the caller puts together in its own way


class _Whole(ArgPacker):
    """Arguments as they are: a tuple or array is one argument in LLVM."""

    def __init__(self, models: Any, kinds: tuple) -> None:
        self._dmm, self._fe_args, self._nargs = models, kinds, len(kinds)
        self._dm_args = [models.lookup(kind) for kind in kinds]
        parts = [model.get_argument_type() for model in self._dm_args]
        self._is_whole = [
            isinstance(part, tuple) and part != () and not isinstance(kind, _STARRED)
            for part, kind in zip(parts, kinds, strict=True)
        ]
        passed = [
            model.get_value_type() if whole else part
            for model, part, whole in zip(self._dm_args, parts, self._is_whole, strict=True)
        ]
        self._unflattener, self._be_args = _Unflattener(passed), list(_flatten(passed))

    def as_arguments(self, builder: Any, values: Any) -> tuple:
        each = zip(self._dm_args, values, self._is_whole, strict=True)
        return tuple(_flatten([value if whole else model.as_argument(builder, value) for model, value, whole in each]))

    def from_arguments(self, builder: Any, arguments: Any) -> list:
        each = zip(self._dm_args, self._unflattener.unflatten(arguments), self._is_whole, strict=True)
        return [value if whole else model.from_argument(builder, value) for model, value, whole in each]


_WHOLE = ".whole"  # how the name of a function ends, in LLVM, that gets its arguments whole
_whole_names: set[str] = set()  # of these functions, without that end


class _CallConv(CPUCallConv):
    """Numba's convention, but functions of the name above get their arguments whole."""

    def __init__(self, context: Any, whole: bool = False) -> None:
        super().__init__(context)
        self._whole = whole

    def _get_arg_packer(self, kinds: tuple) -> Any:
        return _Whole(self.context.data_model_manager, kinds) if self._whole else super()._get_arg_packer(kinds)

    def decode_arguments(self, builder: Any, kinds: tuple, function: Any) -> Any:
        self._whole = function.name.endswith(_WHOLE)
        return super().decode_arguments(builder, kinds, function)

    def call_function(self, builder: Any, callee: Any, *arguments: Any, **options: Any) -> Any:
        self._whole = callee.name.endswith(_WHOLE)
        return super().call_function(builder, callee, *arguments, **options)


class _Context(CPUContext):
    """Numba's context, with the models and the convention above."""

    defines: Any = None  # the library of the function that gets its arguments whole, until it is declared

    @property
    def call_conv(self) -> Any:
        return _CallConv(self)

    def declare_function(self, module: Any, description: Any) -> Any:
        # Names, not numbers: the number of a function that was read from a file is that of another process.
        if self.defines is not None:  # a function is declared before all that it calls
            self.defines.described, self.defines = (self, description), None
            _whole_names.add(description.mangled_name)
        if description.mangled_name not in _whole_names:
            return super().declare_function(module, description)
        convention, kinds = _CallConv(self, whole=True), description.argtypes
        kind = convention.get_function_type(description.restype, kinds)
        function = cgutils.get_or_insert_function(module, kind, description.mangled_name + _WHOLE)
        convention.decorate_function(function, description.args, kinds)
        if description.inline:
            function.attributes.add("alwaysinline")
        return function


def _make_entrance(context: Any, description: Any) -> Any:
    """The function that a caller outside of this package calls: Numba's convention, and a call with whole arguments."""
    module = context.codegen()._create_empty_module(description.mangled_name)
    convention, kinds = CPUCallConv(context), description.argtypes
    kind = convention.get_function_type(description.restype, kinds)
    function = ir.Function(module, kind, description.mangled_name)
    function.attributes.add("alwaysinline")
    builder = ir.IRBuilder(function.append_basic_block())
    values = convention.decode_arguments(builder, kinds, function)
    passed = _Whole(context.data_model_manager, kinds).as_arguments(builder, values)
    builder.ret(builder.call(context.declare_function(module, description), [*function.args[:2], *passed]))
    return function


def _lean(context: Any) -> Any:
    """A copy of a context of Numba, which lowers as this file says."""
    context = copy.copy(context)
    context.__class__, context.data_model_manager = _Context, _MODELS
    return context


# ------------------------------------------------------------------------------------------------------------- views


def register_view(function: Callable, n_lengths: int) -> None:
    """Compile `function(array, start, *lengths)` to a view in C order; without lengths, of all from `start` on.

    Numba's slices test their bounds, and `reshape` tests the layout: a hundred instructions, a hundred times a learner.
    """
    type_callable(function)(_TYPERS[n_lengths])

    @lower_builtin(function, types.Array, *[types.Integer] * (n_lengths + 1))
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flat = signature.args[0]
        source = make_array(flat)(context, builder, arguments[0])
        view = make_array(signature.return_type)(context, builder)
        start, *lengths = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(arguments[1:], signature.args[1:], strict=True)
        )
        lengths = lengths or [builder.sub(source.nitems, start)]
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(flat.dtype)))
        strides = [itemsize]
        for length in lengths[:0:-1]:
            strides.insert(0, builder.mul(strides[0], length))
        data = builder.gep(source.data, [start])
        populate_array(view, data=data, shape=lengths, strides=strides, itemsize=itemsize, meminfo=None)
        return view._getvalue()


def _view_type(flat: Any, n_lengths: int) -> Any:
    """The type of the view; None, which is an error of types, if `flat` is not contiguous."""
    return flat.copy(ndim=max(n_lengths, 1)) if isinstance(flat, types.Array) and flat.layout == "C" else None


# Numba reads how many arguments a function takes from these.
_TYPERS = (
    lambda context: lambda flat, start: _view_type(flat, 0),
    lambda context: lambda flat, start, n: _view_type(flat, 1),
    lambda context: lambda flat, start, rows, columns: _view_type(flat, 2),
    lambda context: lambda flat, start, pages, rows, columns: _view_type(flat, 3),
)

# ------------------------------------------------------------------------------------------------------------ passes

_NOT_NEEDED = {
    "WithLifting",
    "InlineClosureLikes",
    "MakeFunctionToJitFunction",
    "InlineInlinables",
    "InlineOverloads",
    "FindLiterallyCalls",
    "LiteralUnroll",
    "LiteralPropagationSubPipelinePass",
    "NopythonRewrites",
    "AnnotateTypes",
    "DumpParforDiagnostics",
}
_NEED_THEM = {"literally", "literal_unroll"}  # functions of Numba


def _needs_all(code: CodeType) -> bool:
    return any(isinstance(each, CodeType) for each in code.co_consts) or not _NEED_THEM.isdisjoint(code.co_names)


class EntryCompiler(Compiler):
    """Numba's compiler, for a function that Python calls."""

    def define_pipelines(self) -> Any:
        self.state.targetctx = context = _lean(self.state.targetctx)
        self.state["library"] = EntryLibrary(context.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return super().define_pipelines()


class InnerCompiler(Compiler):
    """Numba's compiler, for a function that only compiled code calls. `rtu_np.jit.noalias` marks some of them."""

    def define_pipelines(self) -> Any:
        function = self.state.func_id
        self.state.targetctx = context = _lean(self.state.targetctx)
        self.state["library"] = InnerLibrary(context.codegen(), function.func_qualname)
        if hasattr(function.func, "noalias"):
            self.state.flags.noalias = True
        else:
            context.defines = self.state.library
        pipelines = super().define_pipelines()
        if _needs_all(function.code):
            return pipelines
        for pipeline in pipelines:
            pipeline.passes[:] = [each for each in pipeline.passes if each[0].__name__ not in _NOT_NEEDED]
        return pipelines


CODE = sys._getframe().f_code  # of this file, as it runs
