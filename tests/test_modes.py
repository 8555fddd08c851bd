"""The other modes, each in a process of its own: bounds-checked, uncompiled, for a plain processor; and smoke presets.

Plain Python needs no compiling, so the full product of cells, methods, variants and planted bugs runs there. Without
workers of pytest-xdist, all processes are started as the session begins (conftest.py), and looked at here.
"""

import pytest
from modes import ALL, IN_ONE, LONG, MODES, start


@pytest.mark.skipif(IN_ONE, reason="this is one of the other modes")
@pytest.mark.parametrize("mode", MODES)
def test_in_mode(mode, request):
    if mode in LONG and not ALL:
        pytest.skip("takes minutes; RTU_NP_TESTS=all runs it")
    if mode == "smoke presets" and hasattr(request.config, "workerinput"):
        pytest.skip("its tests are among those of the workers")
    process = getattr(request.config, "modes", {}).get(mode) or start(mode)
    out, _ = process.communicate()
    assert process.returncode == 0, out[-5000:]
