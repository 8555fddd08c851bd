"""Which code makes a run: of every source file, the part that an experiment's `run` can reach.

A run's manifest holds a hash of each such part. If a part has changed since, the run was made by other code. Comments,
docstrings and the layout of lines are left out of the hashes. So are the functions that only draw, score or label: a
new colour makes no run again. The hashes are of syntax trees. Python 3.11, 3.12 and 3.13 give equal hashes for all
files of this repository.

What counts, and why:

- Of an experiment's module, and of every module of this folder or of the user's that it imports: the definitions that
  `run` names, those that they name, and so on; and the statements that do something when the module is imported.
- Of `rtu_np` and `envs`: every file that is imported, whole, since kernels and environments are registered by import;
  except what draws and sums up (`IN_PARTS`), which registers nothing.
- Nothing of the standard library and of installed packages: the manifest has the versions of the most important ones.

This is an approximation. A function that is found by a name made at run time (`getattr(module, text)`) counts only if
something else names it, or if the whole module counts: it does if `run` passes the module on, or reads `globals()`.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.engine import modules

OURS = ("rtu_np", "envs", "experiments")
WHOLE = ("rtu_np", "envs")
IN_PARTS = ("rtu_np.intervals", "rtu_np.plot", "rtu_np.provenance")  # of which a run computes with little or nothing
_INSTALLED = {"site-packages", "dist-packages"}  # folders of installed packages
_READS_ALL = {"globals", "vars", "eval", "exec", "__import__"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_made: dict[str, tuple[list[tuple[str, Any]], dict[str, str]]] = {}  # {experiment: (modules as loaded, fingerprint)}
_parsed: dict[str, tuple[Any, list[ast.stmt]]] = {}  # {module: (what it was loaded from, its statements)}

Target = tuple[str, str | None]  # a module, or a name in it


def fingerprint(experiment: str) -> dict[str, str]:
    """{source file: hash} of the code that `run` of an experiment can reach, as this process has loaded it.

    `experiment` is the dotted name of a module, or the path of a file.

    The files are read right after the first import, and again after a reload: an edit in between changes nothing that
    runs here.

    Examples
    --------
    >>> made = fingerprint("experiments.trace_conditioning")
    >>> [f"{file}.py" in made for file in ("experiments/prediction", "rtu_np/prediction/td", "rtu_np/__main__")]
    [True, True, False]
    """
    experiment = modules.module_of(experiment).__name__
    loaded, found = _made.get(experiment, ([], {}))
    if not found or any(_spec(name) is not spec for name, spec in loaded):
        reach = _Reach(experiment)
        found = reach.hashes()
        _made[experiment] = [(name, _spec(name)) for name in reach.modules if _spec(name)], found
    return found


def digest(made: dict[str, str]) -> str:
    """One hash of a fingerprint; "unknown" for a run without one.

    Examples
    --------
    >>> digest({}), digest({"a.py": "1"}) == digest({"a.py": "2"})
    ('unknown', False)
    """
    text = "\n".join(f"{file} {made[file]}" for file in sorted(made))
    return hashlib.sha256(text.encode()).hexdigest()[:12] if made else "unknown"


def changed(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The files that differ between two fingerprints.

    Examples
    --------
    >>> changed({"a.py": "1", "b.py": "1"}, {"a.py": "1", "b.py": "2", "c.py": "1"})
    ['b.py', 'c.py']
    """
    return sorted(file for file in one.keys() | other.keys() if one.get(file) != other.get(file))


def _spec(name: str) -> Any:
    """What `name` was loaded from, or None; `importlib.reload` makes a new one."""
    return getattr(sys.modules.get(name), "__spec__", None)


def _statements(name: str, path: Path) -> list[ast.stmt]:
    """The statements of a module without its docstring, as a fingerprint first read them after it was loaded."""
    spec, statements = _parsed.get(name, (None, []))
    if spec is None or spec is not _spec(name):
        parsed = ast.parse(path.read_bytes())
        statements = parsed.body[ast.get_docstring(parsed, clean=False) is not None :]
        _parsed[name] = _spec(name), statements
    return statements


def _source(name: str) -> Path | None:
    """The source file of a module, if it is of this package or the user's own. Nothing is imported to find it."""
    root = name.partition(".")[0]
    if not root or root in sys.stdlib_module_names:
        return None
    path = Path(_located(name)[0]).resolve()
    if path.suffix != ".py" or not path.is_file():
        return None
    return path if root in OURS or not _INSTALLED.intersection(path.parts) else None


def _located(name: str) -> tuple[str, list[str]]:
    """(file, folders of its parts) of a module or a package; ("", []) if there is no such thing."""
    parent, _, last = name.rpartition(".")
    if (module := sys.modules.get(name)) is not None:
        return getattr(module, "__file__", None) or "", list(getattr(module, "__path__", ()))
    if not parent:
        spec = importlib.util.find_spec(name)  # which imports the parent of a module, and a package has none
        return (spec.origin or "", list(spec.submodule_search_locations or ())) if spec else ("", [])
    for folder in _located(parent)[1]:
        place = Path(folder) / last
        if (place / "__init__.py").is_file():
            return str(place / "__init__.py"), [str(place)]
        if place.with_name(f"{last}.py").is_file():
            return str(place.with_name(f"{last}.py")), []
        if place.is_dir():
            return "", [str(place)]
    return "", []


@dataclass
class _Module:
    """The top-level statements of a source file, by the names that they bind."""

    name: str
    path: Path
    statements: list[ast.stmt]
    bound: dict[str, list[int]] = field(default_factory=dict)  # {name: the statements that bind or change it}
    imports: dict[str, list[Target]] = field(default_factory=dict)  # {name: what an import binds it to}
    acting: list[int] = field(default_factory=list)  # statements that do something on import
    reached: set[int] = field(default_factory=set)
    names: set[str] = field(default_factory=set)  # that were reached

    @cached_property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def is_whole(self) -> bool:
        return self.name.partition(".")[0] in WHOLE and self.name not in IN_PARTS

    def read(self) -> None:
        for node in (node for statement in self.statements for node in ast.walk(statement)):
            for alias, target in _bindings(node, self.package):
                self.imports.setdefault(alias, []).append(target)
        for k, statement in enumerate(self.statements):
            names = _bound_by(statement)
            for name in names:
                self.bound.setdefault(name, []).append(k)
            if not names or self._acts(statement):
                self.acting.append(k)

    def _acts(self, statement: ast.stmt) -> bool:
        """Whether a statement that binds names also does something: a decorator may register what it decorates."""
        if isinstance(statement, _FUNCTIONS):
            return any(not self._is_standard(decorator) for decorator in statement.decorator_list)
        return not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign)

    def _is_standard(self, decorator: ast.expr) -> bool:
        root = next(node.id for node in ast.walk(decorator) if isinstance(node, ast.Name))
        targets = self.imports.get(root, [("builtins", root)] if root not in self.bound else [])
        return bool(targets) and all(module.partition(".")[0] in sys.stdlib_module_names for module, _ in targets)


def _bindings(node: ast.AST, package: str) -> Iterator[tuple[str, Target]]:
    """(name, what it is bound to) for each name of an import statement."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (
                alias.asname or alias.name.partition(".")[0],
                ((alias.name, None) if alias.asname else (alias.name.partition(".")[0], None)),
            )
    elif isinstance(node, ast.ImportFrom):
        above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
        module = ".".join(part for part in (above, node.module) if part)
        for alias in node.names:
            yield alias.asname or alias.name, (module, alias.name)


def _bound_by(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement binds, or whose value it changes."""
    if isinstance(statement, _FUNCTIONS):
        return {statement.name}
    targets = [node for node in ast.walk(statement) if isinstance(getattr(node, "ctx", None), ast.Store)]
    return {node.id for target in targets for node in [_root(target)] if isinstance(node, ast.Name)}


def _root(node: ast.AST) -> ast.AST:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node


class _Reach:
    """Everything that `run` of an experiment reaches, from module to module."""

    def __init__(self, experiment: str) -> None:
        self.modules: dict[str, _Module] = {}
        self._sources: dict[str, Path | None] = {}
        self._waiting: list[tuple[Callable, tuple]] = [(self.name, (experiment, "run"))]  # recursion has a limit
        while self._waiting:
            work, arguments = self._waiting.pop()
            work(*arguments)

    def hashes(self) -> dict[str, str]:
        out = {}
        for name, module in self.modules.items():
            lines = [_canonical(module.statements[k]) for k in sorted(module.reached)]
            lines += sorted(f"{alias}: {module.imports[alias]}" for alias in module.names & module.imports.keys())
            file = name.replace(".", "/") + ("/__init__.py" if module.path.name == "__init__.py" else ".py")
            out[file] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        return out

    def name(self, module: str, name: str) -> None:
        """Reach `name` in a module, and what it names."""
        found = self._executed(module)
        if found is None or found.is_whole or name in found.names:
            return
        found.names.add(name)
        if name in _READS_ALL and name not in found.bound:
            self._all(module)
        self._wait_for(found, found.bound.get(name, ()))
        for target, part in found.imports.get(name, ()):
            self._target(target, part)
        if self._is_source(f"{module}.{name}"):
            self._executed(f"{module}.{name}")

    def _target(self, module: str, part: str | None) -> None:
        """What an import binds: a module, which is executed, or a name in it."""
        if part == "*":
            self._all(module)
        elif part is not None and not self._is_source(f"{module}.{part}"):
            self._waiting.append((self.name, (module, part)))
        else:
            self._executed(module if part is None else f"{module}.{part}")

    def _is_source(self, module: str) -> bool:
        if module not in self._sources:
            self._sources[module] = _source(module)
        return self._sources[module] is not None

    def _executed(self, name: str) -> _Module | None:
        """A module of ours that is imported, with the statements that its import executes."""
        if name in self.modules or not self._is_source(name):
            return self.modules.get(name)
        path = self._sources[name]
        assert path is not None
        self.modules[name] = module = _Module(name, path, _statements(name, path))
        if "." in name:
            self._executed(name.rpartition(".")[0])
        if module.is_whole:
            self._all(name)
            return module
        module.read()
        for k in module.acting:
            statement = module.statements[k]
            if not _is_main(statement):
                self._wait_for(module, [k], isinstance(statement, ast.Import | ast.ImportFrom))
        return module

    def _all(self, name: str) -> None:
        module = self._executed(name)
        if module is not None and "*" not in module.names:
            module.names.add("*")
            self._wait_for(module, range(len(module.statements)))

    def _wait_for(self, module: _Module, statements: Iterable[int], is_import: bool = False) -> None:
        self._waiting += [(self._statement, (module, k, is_import)) for k in statements]

    def _statement(self, module: _Module, k: int, is_import: bool) -> None:
        """Reach what a statement names. An import alone only executes the modules: its names may serve a figure."""
        if k in module.reached:
            return
        statement = module.statements[k]
        if not is_import:
            module.reached.add(k)
        for node in ast.walk(statement):
            for _, (target, part) in _bindings(node, module.package):
                self._executed(target)
                if part == "*":
                    self._all(target)
                elif part is not None and self._is_source(f"{target}.{part}"):
                    self._executed(f"{target}.{part}")
            if isinstance(node, ast.Call) and "import_module" in (
                getattr(node.func, "attr", ""),
                getattr(node.func, "id", ""),
            ):
                for word in node.args:
                    if isinstance(word, ast.Constant) and isinstance(word.value, str):
                        self._all(word.value)
        if not is_import and not module.is_whole:
            self._names(module, statement)

    def _names(self, module: _Module, node: ast.AST) -> None:
        """Reach every name that is read below a node. `module.name` is that name, and `module` alone is all of it."""
        chain: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self.name(module.name, inner.id)
            for target, part in module.imports.get(inner.id, ()):
                self._attribute(target if part is None else f"{target}.{part}", chain)
            return
        for child in ast.iter_child_nodes(node):
            self._names(module, child)

    def _attribute(self, module: str, chain: list[str]) -> None:
        if not self._is_source(module):
            return
        if not chain:
            self._all(module)
        elif self._is_source(f"{module}.{chain[0]}"):
            self._attribute(f"{module}.{chain[0]}", chain[1:])
        else:
            self.name(module, chain[0])


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)


def _canonical(node: Any) -> str:
    """Syntax as text, without positions and docstrings. `ast.dump` differs between versions of Python."""
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, _FUNCTIONS) and ast.get_docstring(node, clean=False) is not None:
            value = value[1:]
        if value is not None and value != [] and name not in ("ctx", "kind", "type_comment"):
            parts.append(f"{name}={_canonical(value)}")
    return f"{type(node).__name__}({','.join(parts)})"
