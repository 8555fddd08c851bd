"""The other modes, each in a process of its own: bounds-checked, uncompiled, for a plain processor; and smoke presets.

Plain Python needs no compiling, so the full product of cells, methods, variants and planted bugs runs there. All
processes are started as the session begins (conftest.py), and looked at here.
"""

import pytest
from modes import IN_ONE, MODES


@pytest.mark.skipif(IN_ONE, reason="this is one of the other modes")
@pytest.mark.parametrize("mode", MODES)
def test_in_mode(mode, request):
    process = request.config.modes[mode]
    out, _ = process.communicate()
    assert process.returncode == 0, out[-5000:]
