"""The other two modes, each in a process of its own: bounds-checked, and uncompiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODES = {
    "bounds-checked": ("NUMBA_BOUNDSCHECK", "oracle and (SGD or Adam)", ["test_td.py"]),
    "uncompiled": (
        "NUMBA_DISABLE_JIT",
        "plain_numpy or oracle or checker or special or however or leaks",
        ["test_cells.py", "test_td.py", "test_elementary.py", "test_envs.py"],
    ),
}


@pytest.mark.skipif(any(flag in os.environ for flag, _, _ in MODES.values()), reason="this is one of the other modes")
@pytest.mark.parametrize("mode", MODES)
def test_in_mode(mode):
    flag, selection, files = MODES[mode]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", selection, *files]
    done = subprocess.run(command, cwd=HERE, env={**os.environ, flag: "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
