"""The tests that run in another mode of Numba, and how to start them."""

import os
import subprocess
import sys
from pathlib import Path

MODES = {
    "bounds-checked": ("NUMBA_BOUNDSCHECK", "oracle and (SGD or Adam or GRU)", ["test_td.py", "test_gradients.py"]),
    "uncompiled": (
        "NUMBA_DISABLE_JIT",
        "not process and not test_command_line",
        ["test_cells.py", "test_gradcheck.py", "test_gradients.py", "test_costs.py"],
    ),
    "uncompiled learners": (
        "NUMBA_DISABLE_JIT",
        "oracle or special or however or leaks",
        ["test_td.py", "test_elementary.py", "test_envs.py"],
    ),
}


def start(mode: str) -> subprocess.Popen:
    flag, selection, files = MODES[mode]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", selection, *files]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parent,
        env={**os.environ, flag: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
