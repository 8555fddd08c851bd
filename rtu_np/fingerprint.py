"""What compiled code depends on: the code and the constants in memory that it is compiled from, as one hash.

Compiled code is made of a function, of all functions that it calls, and of the constants that they name. `Fingerprint`
finds them as the compiler does: through globals, closures, attributes of modules, functions that Numba has compiled
already, and the tables of `generic` functions (rtu_np/jit.py). No file is read. So it does not matter what files say
now, which package they are in, or when they changed.

>>> def double(x):
...     return 2 * x
>>> def triple(x):
...     return 3 * x
>>> Fingerprint(double).text == Fingerprint(double).text
True
>>> Fingerprint(double).text == Fingerprint(triple).text
False

A function of a generic table counts if its type can occur: in the arguments, or by name in the code. So a cell that is
imported but not used changes nothing.

What the hash leaves out: comments, line numbers and annotations, which are not compiled (the traceback of an error in
compiled code may show lines of an earlier version); the code of NumPy, Numba and Python's own library, whose versions
count instead; and new methods of Numba's own types (`numba.extending.overload_method`).
"""

import dis
import enum
import hashlib
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import types
from numba.extending import is_jitted

from rtu_np import numba_compiler

_MAIN = {"__main__", "__mp_main__"}  # the second in processes that were spawned
_VERSIONED = {*sys.stdlib_module_names, "numpy", "numba", "llvmlite"} - _MAIN
_SCALARS = (type(None), bool, int, float, complex, str, bytes, type(...))
_ABSENT = object()
_OVERLOADS: dict[int, list[tuple[str, Callable]]] = {}  # {id of a function: [(options, what makes its implementation)]}
_CODES: dict[int, tuple[CodeType, str, tuple[str, ...], tuple[str, ...]]] = {}
_n_read = 0  # of Numba's list of overloads
_LOAD_GLOBAL, _EXTENDED_ARG = dis.opmap["LOAD_GLOBAL"], dis.opmap["EXTENDED_ARG"]
_LARGEST = 2**20  # bytes of a constant array; Numba stores no code with a larger one
_KEPT = 100  # fingerprints that `text_of` remembers, the latest
_known: dict[tuple, tuple[str, Callable[[], bool]]] = {}


def options_text(options: dict[str, Any]) -> str:
    """Options of a compilation, in one order."""
    return repr(sorted((name, _unordered(value)) for name, value in options.items()))


def _unordered(value: Any) -> str:
    return repr(sorted(value)) if isinstance(value, set | frozenset) else repr(value)


def _update_overloads() -> None:
    """Read what was registered since the last time. Numba removes nothing, so ids stay."""
    global _n_read
    found, _n_read = numba_compiler.overloads(_n_read)
    for function, options, make in found:
        # Numba's own for functions of NumPy are registered as it starts; its version counts instead.
        if not (_is_versioned(_module_of(make)) and _is_versioned(_module_of(function))):
            _OVERLOADS.setdefault(id(function), []).append((options_text(options), make))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def code_text(code: CodeType) -> str:
    """A hash of what a code object does; the names of files and the numbers of lines do not count."""
    return _read(code)[0]


def _read(code: CodeType) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(hash, names of globals, names of attributes and globals) of a code object and of those inside it."""
    if id(code) not in _CODES:
        inner = [_read(each) for each in code.co_consts if isinstance(each, CodeType)]
        arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_qualname)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        does = (code.co_code, code.co_exceptiontable, [_constant(each) for each in code.co_consts])
        loaded = dict.fromkeys([*_globals(code), *(name for _, names, _ in inner for name in names)])
        reached = dict.fromkeys([*code.co_names, *(name for _, _, names in inner for name in names)])
        _CODES[id(code)] = code, digest(repr((arguments, names, does))), tuple(loaded), tuple(reached)
    return _CODES[id(code)][1:]


def _globals(code: CodeType) -> Iterator[str]:
    """The names of the globals that a code object loads."""
    argument = 0
    for operation, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        argument = argument << 8 | low
        if operation == _LOAD_GLOBAL:
            yield code.co_names[argument >> 1]
        if operation != _EXTENDED_ARG:
            argument = 0


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _read(value)[0]
    if isinstance(value, tuple):
        return [_constant(each) for each in value]
    if isinstance(value, frozenset):  # in any order, which differs from process to process
        return sorted(repr(_constant(each)) for each in value)
    return type(value).__name__, repr(value)


def text_of(function: Callable, kinds: tuple[type, ...] = ()) -> str:
    """`Fingerprint(function, kinds).text`; it is remembered, and made again if anything that it read has changed."""
    key = (function, *kinds)
    text, unchanged = _known.get(key, ("", bool))
    if unchanged():
        return text
    _known.pop(key, None)
    found = Fingerprint(function, kinds)
    if found.seen.all_of_it:
        _known[key] = found.text, Unchanged(found.seen)
        for oldest in list(_known)[:-_KEPT]:
            _known.pop(oldest, None)
    return found.text


class Seen:
    """What a fingerprint has read, and where, for `Unchanged`."""

    def __init__(self) -> None:
        self.all_of_it = True  # False: something was read that may change inside
        self.n_overloads = _n_read
        self.entries: dict[tuple[int, Any], tuple[dict, Any, Any]] = {}
        self.attributes: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self.sizes: list[tuple[dict, int]] = []

    def entry(self, mapping: dict, key: Any) -> None:
        self.entries[id(mapping), key] = mapping, key, mapping.get(key, _ABSENT)

    def whole(self, mapping: dict) -> None:
        self.sizes.append((mapping, len(mapping)))
        for key in mapping:
            self.entry(mapping, key)

    def attribute(self, thing: Any, name: str) -> None:
        self.attributes[id(thing), name] = thing, name, getattr(thing, name, _ABSENT)


class Unchanged:
    """Called, it says whether the same objects still stand at all places that a fingerprint has read.

    That takes a thirtieth of the time of another fingerprint, which is most of what a learner takes to be made.
    """

    def __init__(self, seen: Seen) -> None:
        self.n_overloads, self.sizes = seen.n_overloads, seen.sizes
        self.entries = tuple(zip(*seen.entries.values(), strict=True)) or ((), (), ())
        self.attributes = tuple(zip(*seen.attributes.values(), strict=True)) or ((), (), ())

    def __call__(self) -> bool:
        _update_overloads()
        if self.n_overloads != _n_read or any(len(mapping) != size for mapping, size in self.sizes):
            return False
        mappings, keys, there = self.entries
        if not all(mapping.get(key, _ABSENT) is one for mapping, key, one in zip(mappings, keys, there, strict=True)):
            return False
        things, names, there = self.attributes
        return all(map(operator.is_, (getattr(*each, _ABSENT) for each in zip(things, names, strict=True)), there))


class Fingerprint:
    """The code and the constants that the compiled `function` is made of, for arguments of the types `argument_types`.

    `argument_types` are Numba's types, or NamedTuple classes. `text` is the hash. `in_main` says whether a function or
    a type is defined in `__main__`: another process has another one. `obstacles` names constants whose changes cannot
    be seen. `read` holds every place that was read, {(id of an object, name): what stood there}. `dispatchers` are the
    functions among them that Numba compiles by themselves. `seen` is what `text_of` looks at the next time.
    """

    def __init__(self, function: Any, argument_types: Iterable[Any] = ()) -> None:
        self.in_main = False
        self.obstacles: list[str] = []
        self.read: dict[tuple[int, str], Any] = {}
        self.dispatchers: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._alive: list[Any] = []  # so that no id is given twice
        self._texts: list[str] = []
        self._kinds: list[type] = []
        self._tables: list[tuple[int, dict]] = []
        _update_overloads()
        self.seen = Seen()
        arguments = [self._type(each) for each in argument_types]
        self._texts.append(f"{self._value(function)} {arguments}")
        self.text = digest("\n".join(self._texts))
        self._texts.clear()

    def _visit(self, thing: Any, describe: Callable[[int], str]) -> str:
        """The number of a thing in the order of visits. The first visit describes it."""
        key = thing if isinstance(thing, tuple) else id(thing)
        if key not in self._numbers:
            self._numbers[key] = number = len(self._numbers)
            self._alive.append(thing)
            self._texts.append(f"{number}: {describe(number)}")
        return f"#{self._numbers[key]}"

    def _type(self, kind: Any) -> str:
        if isinstance(kind, type):
            return self._value(kind)
        own = self._value(kind.instance_class) if hasattr(kind, "instance_class") else ""
        parts: Any = kind
        if isinstance(kind, types.BaseTuple):
            return f"{type(kind).__name__} {own} {[self._type(each) for each in parts]}"
        if isinstance(kind, types.Dispatcher):
            return self._value(kind.dispatcher)
        if " at 0x" in str(kind):
            self.obstacles.append(f"an argument of type {kind}")
        return f"{type(kind).__name__} {own} {kind}"

    def _value(self, value: Any) -> str:
        """A constant as text; a function or a type as its number."""
        kind = type(value)
        if kind in _SCALARS:
            return f"{kind.__name__} {value!r}"
        if isinstance(value, enum.Enum):
            return f"{self._value(kind)} {value.name} {self._value(value.value)}"
        if isinstance(value, np.ndarray | list | set):
            self.seen.all_of_it = False
        if isinstance(value, np.generic | np.ndarray) and not value.dtype.hasobject and value.nbytes <= _LARGEST:
            return f"{kind.__name__} {value.dtype.descr} {value.shape} {value.strides} {digest(value.tobytes().hex())}"
        if isinstance(value, tuple | list):
            own = self._value(kind) if hasattr(kind, "_fields") else kind.__name__
            return f"{own} {[self._value(each) for each in value]}"
        if kind in (set, frozenset):
            return f"{kind.__name__} {sorted(self._value(each) for each in value)}"
        if kind is dict:
            self.seen.whole(value)
            return f"dict {[(self._value(key), self._value(each)) for key, each in value.items()]}"
        if isinstance(value, type):
            return self._visit(value, lambda _: self._class(value))
        if isinstance(value, FunctionType):
            return self._visit(value, lambda number: self._function(value, number))
        if is_jitted(value):
            return self._visit(value, lambda _: self._jitted(value))
        if define := numba_compiler.definition(value):
            return f"intrinsic {self._value(define)}"
        return self._other(value)

    def _other(self, value: Any) -> str:
        if isinstance(value, np.dtype | types.Type) and " at 0x" not in repr(value):
            return f"{type(value).__name__} {value!r}"
        module, name = _module_of(value), getattr(value, "__name__", None)
        if isinstance(name, str) and _is_versioned(module) and _is_versioned(type(value).__module__):
            return f"{module}.{name} {self._added(value)}"
        self.seen.all_of_it = False
        self.obstacles.append(f"an object of type {type(value).__module__}.{type(value).__qualname__}")
        self._alive.append(value)
        return f"object {id(value)}"

    def _class(self, kind: type) -> str:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if issubclass(kind, enum.Enum):
            return f"{name} {[(member.name, self._value(member.value)) for member in kind]}"
        if _is_versioned(kind.__module__):
            return name
        if isinstance(kind, types.Type) or type(kind).__module__.startswith("numba") or issubclass(kind, types.Type):
            self.obstacles.append(f"the type {name}")
        if not issubclass(kind, tuple):
            return name
        self.in_main |= kind.__module__ in _MAIN
        self._kinds.append(kind)
        self.seen.attribute(kind, "_fields")
        for number, table in self._tables:
            self._implementation(number, table, kind)
        return f"{name} {getattr(kind, '_fields', ())}"

    def _jitted(self, function: Any) -> str:
        self.dispatchers.append(function)
        self.seen.attribute(function, "py_func")
        self.seen.whole(function.targetoptions)
        self.seen.whole(function.locals)
        options = options_text({**function.targetoptions, "locals": function.locals})
        return f"{options} {self._value(function.py_func)}"

    def _function(self, function: FunctionType, number: int) -> str:
        module = _module_of(function)
        if _is_versioned(module):
            return f"{module}.{function.__qualname__} {self._added(function)}"
        if isinstance(getattr(function, "table", None), dict):
            return self._generic(function, number)
        self.in_main |= module in _MAIN
        if any(not _is_versioned(_module_of(make)) for _, make in _OVERLOADS.get(id(function), ())):
            return f"{module} {self._added(function)}"  # Numba compiles nothing of the function itself
        code, loaded, names = _read(function.__code__)
        self.read[id(function), "__code__"] = code
        for name in ("__code__", "noalias", "__defaults__", "__kwdefaults__"):
            self.seen.attribute(function, name)
        lines = [f"{module} {code} {hasattr(function, 'noalias')}"]
        for name in ("__defaults__", "__kwdefaults__"):
            lines.append(f"{name} {self._place(function, name, getattr(function, name), names)}")
        for name in loaded:
            self.seen.entry(function.__globals__, name)
            if name in function.__globals__:
                found = len(self.obstacles)
                lines.append(f"{name} {self._place(function.__globals__, name, function.__globals__[name], names)}")
                named = f" ({name} in {function.__qualname__})"
                self.obstacles[found:] = [
                    each if each.endswith(")") else each + named for each in self.obstacles[found:]
                ]
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                lines.append(f"{name} {self._place(cell, name, cell.cell_contents, names)}")
                self.seen.attribute(cell, "cell_contents")
            except ValueError:  # it is still empty
                lines.append(name)
                self.seen.all_of_it = False
        return "\n".join([*lines, self._added(function)])

    def _added(self, function: Any) -> str:
        """What Numba compiles in place of a function."""
        return f"{[(options, self._value(make)) for options, make in _OVERLOADS.get(id(function), ())]}"

    def _generic(self, function: Any, number: int) -> str:
        """A function of rtu_np/jit.py with a table of implementations."""
        self._tables.append((number, function.table))
        for kind in (None, *self._kinds):
            self._implementation(number, function.table, kind)
        return f"{function.__qualname__} {[options for options, _ in _OVERLOADS.get(id(function), ())]}"

    def _implementation(self, number: int, table: dict, kind: type | None) -> None:
        self.seen.entry(table, kind)
        if kind not in table:
            self._alive.append(table)
            self.read[id(table), f"{id(kind)}"] = ""  # there may be one later
        else:
            text = self._place(table, f"{id(kind)}", table[kind], ())
            self._texts.append(f"#{number} for {kind and self._value(kind)}: {text}")

    def _place(self, container: Any, name: str, value: Any, names: tuple[str, ...]) -> str:
        """What stands at one place, by name."""
        text = self._module(value, names) if isinstance(value, ModuleType) else self._value(value)
        self._alive.append(container)
        reference = "#" in text  # numbers differ from one fingerprint to another
        self.read[id(container), name] = id(value) if reference else text
        if reference:
            self._alive.append(value)
        return text

    def _module(self, module: ModuleType, names: tuple[str, ...]) -> str:
        """Of a module, only what is named can be reached."""
        if _is_versioned(module.__name__):
            return module.__name__
        attributes = ((name, getattr(module, name, _ABSENT)) for name in names)

        def describe(_: int) -> str:
            for name in names:
                self.seen.attribute(module, name)
            present = [(name, each) for name, each in attributes if each is not _ABSENT]
            return "\n".join(
                [module.__name__, *(f"{name} {self._place(module, name, each, names)}" for name, each in present)]
            )

        return self._visit((id(module), names), describe)


def _module_of(function: Any) -> str:
    """The module that a function was written in; `__module__` is that of another function if it wraps one."""
    if isinstance(function, FunctionType):
        return function.__globals__.get("__name__", "")
    return getattr(function, "__module__", None) or type(function).__module__


def _is_versioned(module: str) -> bool:
    return module.partition(".")[0] in _VERSIONED


CODE = sys._getframe().f_code  # of this file, as it runs
