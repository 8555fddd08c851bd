"""RTRL on one screen (lectures/micro_rtrl.py): short, right, and equal to the package."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import in_plain_python
from tolerances import PLAIN, assert_close

from rtu_np import LinearRTU

SCRIPT = Path(__file__).parent.parent / "lectures" / "micro_rtrl.py"


def run(source: str) -> dict:
    """The script's names after a run."""
    names: dict = {}
    exec(compile(source, SCRIPT.name, "exec"), names)
    return names


def largest_difference(printed: str) -> float:
    return float(re.search(r"largest difference: (\S+)", printed).group(1))


def test_it_is_one_screen_of_plain_numpy():
    source = SCRIPT.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 40
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]


def test_it_prints_three_gradients_that_agree(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = dict(re.findall(r"^ *(RTRL|BPTT|complex step): +(.*)$", done.stdout, re.MULTILINE))
    expected = [-0.808474, 3.10555791, -0.70323036, 1.26907553]
    assert list(rows) == ["RTRL", "BPTT", "complex step"]
    for row in rows.values():
        np.testing.assert_allclose(np.array(row.split(), float), expected, atol=2e-8)
    assert largest_difference(done.stdout) < PLAIN


@in_plain_python
def test_it_is_the_gradient_of_the_package():
    names = run(SCRIPT.read_text(encoding="utf-8"))
    layer = LinearRTU(1, "identity").build(1)
    for view, value in zip(layer.parameters.values(), names["w"], strict=True):
        view[:] = value
    for x in names["x"]:
        layer.advance([x])
    expected = np.concatenate([each.ravel() for each in layer.gradient(names["a"]).values()])
    assert list(layer.parameters) == ["nu_log", "theta_log", "W1", "W2"]
    assert_close(names["a"] @ names["S"], expected, PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("by_theta_log = theta *", "by_theta_log = 1.0 *"),  # the factor that is easily forgotten
        ("S = J @ S + F", "S = F"),  # one step of credit
        ("S = J @ S + F", "S = J.T @ S + F"),
        ("b, bptt = b @ J, bptt + b @ F", "b, bptt = J @ b, bptt + b @ F"),
        ("nu * np.exp(-2 * nu) / gamma * W * x_t", "0"),  # the input scale that moves with nu
    ],
)
def test_a_planted_bug_shows_in_the_number_at_the_end(old, new, capsys):
    source = SCRIPT.read_text(encoding="utf-8")
    assert old in source
    run(source.replace(old, new))
    assert largest_difference(capsys.readouterr().out) > 1e-3
