"""The other two modes, each in a process of its own: bounds-checked, and uncompiled.

Plain Python needs no compiling, so the full product of cells, methods, variants and planted bugs runs there. Both
processes are started as the session begins (conftest.py), and looked at here.
"""

import os

import pytest
from modes import MODES


@pytest.mark.skipif(any(flag in os.environ for flag, _, _ in MODES.values()), reason="this is one of the other modes")
@pytest.mark.parametrize("mode", MODES)
def test_in_mode(mode, request):
    process = request.config.modes[mode]
    out, _ = process.communicate()
    assert process.returncode == 0, out[-5000:]
