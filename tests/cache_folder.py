"""Processes that compile small kernels of files in a folder, and share what they compiled."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import pytest

import rtu_np
from rtu_np import jit

ROOT = Path(rtu_np.__file__).parent.parent
compiled = [
    pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is nothing compiled"),
    pytest.mark.skipif(jit.numba_compiler.PLAIN, reason="plain Numba stores nothing"),
]

CALLER = """
from rtu_np.jit import njit
{imports}

@njit
def run(x):
    return {call} + 1.0
"""
CALLEE = """
from rtu_np.jit import kernel

@kernel
def step(x):
    return {factor} * x
"""
RUN = "from caller import run; print(run(2.0), sum(run.stats.cache_hits.values()))"


class Folder:
    """Files, and processes that import them; they share a folder of compiled code, and no bytecode."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")},
            "NUMBA_CACHE_DIR": str(path / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        }

    def write(self, **files: str) -> None:
        """Write modules, {name: source}; a name may begin with folders."""
        for name, text in files.items():
            file = self.path / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def start(self, code: str = RUN, **environment: str | None) -> subprocess.Popen:
        merged = {**self.environment, **environment}
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=self.path,
            env={name: value for name, value in merged.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str = RUN, **environment: str | None) -> list[str]:
        """The words that a process prints. What it says on stderr is in `self.said`."""
        process = self.start(code, **environment)
        out, self.said = process.communicate()
        assert process.returncode == 0, self.said
        return out.split()

    def stored(self) -> list[Path]:
        return sorted((self.path / "cache").rglob("*.kernel"))

    def write_pair(self, factor: float, imports: str = "from callee import step", call: str = "step(x)") -> None:
        """A function `run` in caller.py that calls `step` in callee.py, which multiplies by `factor`."""
        self.write(caller=CALLER.format(imports=imports, call=call), callee=CALLEE.format(factor=factor))

    def only_line(self) -> str:
        """What the last process said on stderr."""
        (line,) = self.said.splitlines()
        return line
