"""Bugs planted in the package in memory, for tests that run it uncompiled: a copy takes a second, this milliseconds."""

import contextlib
import gc
import importlib
import inspect
from types import CodeType, FunctionType

import pytest

Replacements = list[tuple[str, str]]


@contextlib.contextmanager
def planted(file: str, replacements: Replacements):
    """While it lasts, the functions of a file of the package run with parts of its source replaced."""
    module = importlib.import_module("rtu_np." + file.removesuffix(".py").replace("/", "."))
    source = inspect.getsource(module)
    right = _codes(compile(source, module.__file__, "exec"))
    for old, new in replacements:
        assert old in source, f"nothing to plant the bug in: {old!r}"
        source = source.replace(old, new)
    wrong = _codes(compile(source, module.__file__, "exec"))
    changed = {
        where: code
        for where, code in wrong.items()
        if code.co_code != right[where].co_code or _differ(code, right[where])
    }
    lines = {(right[where].co_qualname, right[where].co_firstlineno): code for where, code in changed.items()}
    functions = []
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename == module.__file__:
            code = each.__code__
            if (code.co_qualname, code.co_firstlineno) in lines:
                functions.append((each, code))
    assert functions, f"nothing to plant the bug in: {replacements}"
    try:
        for function, code in functions:
            function.__code__ = lines[code.co_qualname, code.co_firstlineno]
        yield
    finally:
        for function, code in functions:
            function.__code__ = code


@pytest.fixture
def plant():
    """A function that plants a bug, as `planted` does, until the test ends."""
    with contextlib.ExitStack() as until_the_end:
        yield lambda file, replacements: until_the_end.enter_context(planted(file, replacements))


def _differ(one: CodeType, other: CodeType) -> bool:
    """Whether names or constants differ, but for the functions within."""
    constants = [tuple(c for c in code.co_consts if not isinstance(c, CodeType)) for code in (one, other)]
    return constants[0] != constants[1] or one.co_names != other.co_names


def _codes(module: CodeType) -> dict[tuple[str, int], CodeType]:
    """{(name, which of this name): code} of all functions of a module."""
    found: dict[tuple[str, int], CodeType] = {}

    def walk(code: CodeType) -> None:
        for part in code.co_consts:
            if isinstance(part, CodeType):
                k = sum(name == part.co_qualname for name, _ in found)
                found[part.co_qualname, k] = part
                walk(part)

    walk(module)
    return found
