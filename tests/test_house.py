"""The rules of docs/design.md that no linter knows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rtu_np

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "rtu_np").rglob("*.py"))
OTHERS = [
    path
    for top in ("envs", "experiments", "benchmarks", "lectures", "docs/site")
    for path in (ROOT / top).rglob("*.py")
]
SOURCES = [*LIBRARY, *OTHERS, *ROOT.glob("*.py")]
# Arrays of unlike numbers. Their slots have names (rtu_np/learning/outcomes.py, rtu_np/control/inputs.py, ...).
SLOTTED = {
    *("clock", "signal", "signals", "ring", "statistics", "td_errors", "loss_terms", "summary", "moments"),
    *("bias_correction", "_clock", "_signal", "_episode", "_moments"),
}
MOST = 8


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def crowded(source: str) -> list[str]:
    """Functions with too many arguments. A public class may have as many settings as it needs."""
    tree = ast.parse(source)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    constructors = {part for kind in classes for part in kind.body if getattr(part, "name", "") == "__init__"}
    return [
        f"line {node.lineno}: {node.name} has {n}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node not in constructors
        if (n := sum(arg.arg not in ("self", "cls") for arg in _arguments(node))) > MOST
    ]


def _arguments(node: ast.FunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def read_by_number(source: str) -> list[str]:
    """Places that read a slot by its number."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript):
            name = getattr(node.value, "attr", getattr(node.value, "id", ""))
            if name in SLOTTED and any(isinstance(index, int) for index in _indices(node.slice)):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def _indices(index: ast.expr) -> Iterator[object]:
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    yield from (part.value for part in parts if isinstance(part, ast.Constant))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_function_has_more_arguments_than_a_reader_can_hold(path):
    assert not crowded(path.read_text())


@pytest.mark.parametrize("path", LIBRARY, ids=relative)
def test_slots_are_read_by_name(path):
    assert not read_by_number(path.read_text())


def test_private_numba_stands_in_two_files():
    """Numba's public names are those of `numba` and `numba.extending`."""
    private = ("numba.core", "_nrt", "forceinline", "no_cpython_wrapper", "pipeline_class")
    named = {relative(path) for path in LIBRARY for word in private if word in path.read_text()}
    assert named == {"rtu_np/numba_compiler.py", "rtu_np/lean_numba.py"}


def test_bars_are_made_in_one_place():
    """So that all of them are shown in notebooks, too, and none on a pipe."""
    others = [path for path in (*LIBRARY, *OTHERS) if "benchmarks" not in path.parts]
    named = {
        relative(path) for path in others if "tqdm import" in path.read_text() or "import tqdm" in path.read_text()
    }
    assert named == {"rtu_np/progress.py"}


def test_environments_see_three_modules_of_the_library():
    """How to compile, how to check, and what a compiled environment is.

    A contract cannot say so: it would have to forbid the root package, too.
    """
    imported = {
        (node.module or "") if node.module != "rtu_np" else f"rtu_np.{alias.name}"
        for path in (ROOT / "envs").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    allowed = {"rtu_np.compiled_environment", "rtu_np.jit", "rtu_np.validation"}
    assert {name for name in imported if name.startswith("rtu_np")} <= allowed


def test_planted_faults_are_found():
    many = ", ".join("abcdefghi")
    assert crowded(f"def f({many}): pass") == ["line 1: f has 9"]
    assert crowded(f"class A:\n    def __init__(self, {many}): pass") == []
    assert crowded(f"class _A:\n    def __init__(self, {many}): pass") == ["line 2: __init__ has 9"]
    assert read_by_number("self.clock[0] += signals[t, 2]") == ["line 1: self.clock[0]", "line 1: signals[t, 2]"]
    assert read_by_number("clock[STEPS] += x[0]") == []


def test_the_version_is_written_once_for_code_and_once_for_citations():
    assert f"\nversion: {rtu_np.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {rtu_np.__version__}" in (ROOT / "CHANGELOG.md").read_text()
