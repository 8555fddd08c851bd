"""Compiling, dispatching and caching."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import numpy as np
import pytest

from rtu_np import LinearRTU, TDLambda, jit
from rtu_np.numerics.buffers import allocate, matrix, size, vector
from rtu_np.prediction.td_kernels import run

compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is nothing compiled")

ENTRY = """
from callee import step
from rtu_np.jit import njit

@njit
def run(x):
    return step(x) + 1.0
"""
CALLEE = """
from rtu_np.jit import kernel

@kernel
def step(x):
    return {factor} * x
"""
GENERIC = """
from typing import NamedTuple
from rtu_np.jit import compile_for, generic
import library

class Mine(NamedTuple):
    pass

@library.apply.register(Mine)
def _apply(kind, x):
    return {factor} * x

def main():
    function = compile_for(library.run, Mine())
    print(function(Mine(), 2.0))
    print(sum(function.stats.cache_hits.values()))
"""
LIBRARY = """
from rtu_np.jit import generic

@generic
def apply(kind, x):
    "Nothing yet."

def run(kind, x):
    return apply(kind, x) + 1.0
"""


def python(folder: Path, code: str) -> list[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@compiled
def test_an_edited_callee_in_another_file_is_seen(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "entry.py").write_text(ENTRY.replace("from callee", "from pack.callee"))
    code = "from pack.entry import run; print(run(2.0), sum(run.stats.cache_hits.values()))"
    (package / "callee.py").write_text(CALLEE.format(factor="3.0"))
    assert python(tmp_path, code) == ["7.0", "0"]
    assert python(tmp_path, code) == ["7.0", "1"]  # from the cache
    (package / "callee.py").write_text(CALLEE.format(factor="5.0"))
    assert python(tmp_path, code) == ["11.0", "0"]  # and not from a stale one


@compiled
def test_an_edited_cell_from_elsewhere_is_seen(tmp_path):
    (tmp_path / "library.py").write_text(LIBRARY)
    (tmp_path / "mine.py").write_text(GENERIC.format(factor="3.0"))
    code = "import mine; mine.main()"
    assert python(tmp_path, code) == ["7.0", "0"]
    assert python(tmp_path, code) == ["7.0", "1"]
    (tmp_path / "mine.py").write_text(GENERIC.format(factor="5.0"))
    assert python(tmp_path, code) == ["11.0", "0"]


def test_the_folder_follows_the_flags(monkeypatch):
    before = jit.cache_folder()
    assert before == jit.cache_folder()
    monkeypatch.setattr(jit.config, "BOUNDSCHECK", 7)
    assert jit.cache_folder() != before


def test_a_function_typed_at_a_prompt_runs_uncached(tmp_path):
    code = "from rtu_np.jit import njit\n@njit\ndef f(x):\n    return x + 1\nprint(f(2))"
    assert python(tmp_path, code) == ["3"]


def test_the_numba_setting_of_others_is_left_alone():
    before = jit.config.CACHE_DIR
    jit.njit(lambda x: x)
    assert before == jit.config.CACHE_DIR


def test_an_unknown_kind_is_named():
    @jit.generic
    def apply(kind, x):
        """Nothing yet."""

    with pytest.raises(TypeError, match="apply: no implementation for int; registered: none"):
        apply(3, 1.0)


@compiled
@pytest.mark.skipif(jit.numba_compiler.PLAIN, reason="plain Numba has its runtime")
def test_a_kernel_that_allocates_does_not_compile():
    def allocates(n):
        return np.zeros(n).sum()

    with pytest.raises(numba.core.errors.NumbaError):
        jit.njit(allocates)(3)
    assert numba.njit(allocates)(3) == 0.0  # with Numba's runtime there would be no objection


@compiled
def test_one_compilation_per_precision_whatever_the_sizes():
    compiled_run = jit.njit(run)
    for dtype, compilations in (("float64", 1), ("float32", 2)):
        for n, d in ((4, 2), (7, 3)):
            agent = TDLambda(LinearRTU(n), d, dtype=dtype)
            assert compiled_run(*agent._to_run, 3) == 3
            assert len(compiled_run.signatures) == compilations


def test_views_cover_the_buffer_without_overlap():
    def layout(flat):
        a, flat = vector(flat, 5)
        b, flat = matrix(flat, 30, 70)
        c, flat = matrix(flat, 30, 70)
        return (a, b, c), flat

    flat = allocate(size(layout), "float64")
    views, rest = layout(flat)
    assert rest.size == 0
    for k, view in enumerate(views):
        view[:] = k + 1
    assert [int((flat == k + 1).sum()) for k in range(3)] == [5, 2100, 2100]
    starts = [view.ctypes.data for view in views]
    assert all(start % 64 == 0 for start in starts)
    assert abs(starts[2] - starts[1]) % 4096 > 256  # apart within a page


@compiled
@pytest.mark.parametrize("terminal", [True, False])
def test_long_compiling_is_said_on_a_terminal(terminal, monkeypatch, capsys):
    monkeypatch.setattr(jit, "ANNOUNCE_AFTER", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    jit.entry(numba.njit(lambda x: 2 * x), np.ones(3))
    assert ("compiling for a network of this kind" in capsys.readouterr().err) == terminal
