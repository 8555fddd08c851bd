"""Lint, types, the contract between layers, packaging, what importing costs, and how files are kept."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["importlinter.cli", "lint-imports"],
    ],
    ids=["lint", "format", "types", "layers"],
)
def test_checks_are_clean(command):
    if command[0] == "importlinter.cli":
        code = "import sys; from importlinter.cli import lint_imports_command as c; sys.argv = ['lint-imports']; c()"
        run = [sys.executable, "-c", code]
    else:
        run = [sys.executable, "-m", *command]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_is_listed():
    """A package that setup.cfg does not list is left out of wheels without a word."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("rtu_np", "envs", "experiments")
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert listed == found


def test_importing_brings_no_plotting_and_no_environments():
    code = "import rtu_np, sys; print([m for m in ('matplotlib', 'gymnasium', 'mujoco', 'envs') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_is_too_long_to_read():
    for top in ("rtu_np", "envs", "experiments", "tests", "benchmarks", "lectures", "docs/explorer", "docs/site"):
        for file in (path for path in (ROOT / top).rglob("*") if path.suffix in (".py", ".js", ".html", ".css")):
            assert len(file.read_text().splitlines()) <= 400, f"{file} is over 400 lines: is there a seam?"


def imported(node: ast.AST) -> list[str]:
    """The names that an import statement, or a call of `import_module`, brings in or takes from."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(alias.name for alias in node.names)]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return [str(word.value) for word in node.args if isinstance(word, ast.Constant)]
    return []


def test_no_test_file_imports_another():
    """What two of them need is in a file of helpers, or a fixture."""
    for file in (ROOT / "tests").rglob("*.py"):
        names = [name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for name in imported(node)]
        of_tests = [name for name in names if name.split(".")[-1].startswith("test_")]
        assert not of_tests, f"{file} imports {of_tests}"
