"""With several workers, a file stays on one of them, and modes do not."""

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = "from workers import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler"
TESTS = """
import os, pathlib, time, pytest

@pytest.mark.parametrize("k", range(4))
def test_{name}(k):
    time.sleep(0.02)
    pathlib.Path("{name}-" + os.environ["PYTEST_XDIST_WORKER"]).touch()
"""


def test_a_file_stays_on_one_worker_and_modes_do_not(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in ("one", "two", "in_mode"):
        (tmp_path / f"test_{name}.py").write_text(TESTS.format(name=name))
    here = Path(__file__).parent
    own = {"PYTHONPATH": str(here), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    options = ["-p", "xdist", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", "-c", os.devnull]
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = sorted(path.name.partition("-")[0] for path in tmp_path.glob("*-gw*"))
    assert found == ["in_mode", "in_mode", "one", "two"], "tests of one file went to both workers"
