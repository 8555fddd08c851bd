"""Bars, and the line that says what is compiled: for a reader who waits, and for nobody else."""

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from cases import COMPILED

from rtu_np import jit, progress

ROOT = Path(__file__).parent.parent


@pytest.fixture
def terminal(monkeypatch, capsys):
    """What a terminal has been sent since the last call."""
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    monkeypatch.setattr(progress, "ANNOUNCE_AFTER", 0.05)
    monkeypatch.setattr(progress, "_REFRESH", 0.05)
    return lambda: capsys.readouterr().err


def compile_parts(n, seconds=0.2, of=None):
    with progress.compiling("a learner", of or n):
        for k in range(n):
            with progress.part(f"part {k}"):
                time.sleep(seconds)


def test_a_line_says_what_is_compiled_how_long_and_k_of_n(terminal):
    compile_parts(3)
    said = terminal()
    versions = said.split("\r")
    assert versions[1].startswith("rtu_np: compiling a learner, 1 of 3, ")
    assert any(line.startswith("rtu_np: compiling a learner, 3 of 3, ") for line in versions)
    assert re.match(r"rtu_np: compiled a learner \(3 parts\) in (0\.[6-9]|[1-9]\.\d) s", versions[-1])
    assert said.count("\n") == 1
    assert said.endswith("\n")


def test_more_parts_than_expected_are_counted(terminal):
    compile_parts(2, of=1)
    assert "2 of 2" in terminal()


def test_what_compiles_fast_is_not_said(terminal):
    compile_parts(2, seconds=0.001)
    assert terminal() == ""


def test_time_between_two_parts_is_not_compiling(terminal):
    before = progress.seconds_compiling()
    with progress.compiling("a learner", 2):
        for _ in range(2):
            with progress.part("a part"):
                pass
            time.sleep(0.2)
    assert terminal() == ""
    assert progress.seconds_compiling() - before < 0.1


def test_the_end_is_said_if_compiling_fails(terminal):
    def fail():
        with progress.part("a step"):
            time.sleep(0.2)
            raise ValueError("no such type")

    with pytest.raises(ValueError, match="no such type"):
        fail()
    assert terminal().endswith("\n")
    compile_parts(1)
    assert "a learner" in terminal()


def test_without_progress_it_is_silent(terminal):
    with progress.silent_unless(False):
        compile_parts(1)
    assert terminal() == ""
    with progress.silent_unless(True):
        compile_parts(1)
    assert terminal() != ""


def test_a_file_gets_nothing(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "ANNOUNCE_AFTER", 0.01)
    compile_parts(1)
    with progress.progress_bar(2) as bar:
        bar.update(2)
    assert stream.getvalue() == ""


def test_a_program_without_standard_error_compiles(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    compile_parts(1, seconds=0.01)
    with progress.progress_bar(2) as bar:
        bar.update(2)


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
def test_an_entry_is_a_part(terminal, monkeypatch):
    monkeypatch.setattr(progress, "ANNOUNCE_AFTER", 0.0)
    before = progress.seconds_compiling()
    jit.entry(numba.njit(lambda x: 2 * x), np.ones(3))
    assert "rtu_np: compiling <lambda>, 1 of 1, 0 s" in terminal()
    assert progress.seconds_compiling() > before


ON_A_TERMINAL = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    import numpy as np
    from rtu_np import LinearRTU, TDLambda, progress
    progress.ANNOUNCE_AFTER = 0.0
    learner = TDLambda(LinearRTU(2), 1)
    print("made", flush=True)
    learner.run(np.ones((10, 1)), np.ones(10), progress=sys.argv[1] == "seen")
    os._exit(0)
said = b""
while True:
    try:
        piece = os.read(terminal, 1000)
    except OSError:
        break
    if not piece:
        break
    said += piece
print(said.decode().partition("made")[2])
"""


@pytest.mark.skipif(sys.platform == "win32" or not COMPILED, reason="terminals are POSIX's; nothing is compiled")
@pytest.mark.parametrize("word", ["seen", "unseen"])
def test_a_learner_names_itself_on_a_real_terminal(word):
    command = [sys.executable, "-c", ON_A_TERMINAL, word]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ("rtu_np: compiled TDLambda with LinearRTU in " in done.stdout) == (word == "seen")
    assert ("compil" in done.stdout) == (word == "seen")


def test_importing_the_library_imports_no_bar():
    code = "import rtu_np, sys; print([name for name in sys.modules if name.startswith('tqdm')])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


TIMED = """
from experiments import prediction
from rtu_np import LinearRTU
from rtu_np.progress import seconds_compiling
found = prediction.run(prediction.setting(LinearRTU(4), steps=1000, step_size=1e-3), 0)
print(found["microseconds"], seconds_compiling() / 1000 * 1e6)
"""


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
def test_times_of_runs_leave_compiling_out():
    """One stretch of 1000 steps, whose first step waits for the code to be compiled, or read."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", TIMED], env=environment, capture_output=True, text=True, check=True)
    per_step, compiling = map(float, done.stdout.split())
    assert per_step < compiling / 10
