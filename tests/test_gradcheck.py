"""The gradient checker: that it passes what is right, and that it can fail."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from tolerances import COMPLEX_STEP, DIFFERENCES

import rtu_np.cells.linear_rtu
import rtu_np.cells.nonlinear_rtu
import rtu_np.cells.rotation
from rtu_np import LinearRTU, check_gradients
from rtu_np.gradcheck import TOLERANCE, TOLERANCE_DIFFERENCES


@pytest.mark.parametrize("seed", range(3))
def test_both_cells_are_exact(kind, activation, seed):
    report = check_gradients(kind(4, activation=activation), n_inputs=3, steps=60, seed=seed)
    assert report.passed, str(report)
    assert report.max_error <= COMPLEX_STEP
    assert max(block.central_differences for block in report.blocks) <= DIFFERENCES
    assert {block.block: block.kind for block in report.blocks} == {
        **dict.fromkeys(("nu_log", "theta_log", "W1", "W2"), "exact for fixed parameters"),
        "w": "exact",
        "b": "exact",
        "x": "one-step",
    }


def test_float32(kind):
    report = check_gradients(kind(4), n_inputs=3, dtype="float32")
    assert report.passed, str(report)
    assert report.max_error > COMPLEX_STEP  # it was float32 that was checked


def test_its_tolerances_are_those_of_the_tests():
    assert TOLERANCE["float64"] == COMPLEX_STEP
    assert TOLERANCE_DIFFERENCES["float64"] == DIFFERENCES


# Bugs of one term, planted in a copy of the cell's source, in kernels and reference alike where both have the term.
# Each is (file, replacements); every text to be replaced must be there.
ROTATION, LINEAR, NONLINEAR = (
    Path(module.__file__) for module in (rtu_np.cells.rotation, rtu_np.cells.linear_rtu, rtu_np.cells.nonlinear_rtu)
)
BUGS = {
    "theta's factor is lost": (
        ROTATION,
        [("p * e2 - theta * turned2", "p * e2 - turned2"), ("p * e1 + theta * turned1", "p * e1 + turned1")],
    ),
    "1e-8 in gamma, not in its derivative": (
        ROTATION,
        [
            ("gamma = np.sqrt(-np.expm1(-2 * nu))", "gamma = np.sqrt(-np.expm1(-2 * nu)) + 1e-8"),
            ("gamma = np.sqrt(-expm1(-nu - nu))", "gamma = np.sqrt(-expm1(-nu - nu)) + 1e-8"),
        ],
    ),
    "W1 and W2 are swapped in the trace": (
        LINEAR,
        [
            ("decay * out.W1[j, i] + d1 * e1 + d2 * e2", "decay * out.W1[j, i] + d2 * e1 - d1 * e2"),
            ("decay * out.W2[j, i] + d2 * e1 - d1 * e2", "decay * out.W2[j, i] + d1 * e1 + d2 * e2"),
        ],
    ),
    "h_t is used where h_tm1 is due": (
        ROTATION,
        [
            ("- nu * turned1 + dgamma", "- nu * (g * memory.c1[i] - p * memory.c2[i]) + dgamma"),
            ("- nu * turned2 + dgamma", "- nu * (g * memory.c2[i] + p * memory.c1[i]) + dgamma"),
        ],
    ),
    "a sign in the rotation of a sensitivity": (
        LINEAR,
        [("memory.g[i] * e1_tm1 - memory.p[i] * e2[j, i]", "memory.g[i] * e1_tm1 + memory.p[i] * e2[j, i]")],
    ),
    "the input of W2 enters the first half": (
        NONLINEAR,
        [
            ("= g1 * e1 - p1 * e2\n", "= g1 * e1 - p1 * e2 + memory.gamma1[i] * x_j\n"),
            ("= g2 * e2 + p2 * e1 + memory.gamma2[i] * x_j", "= g2 * e2 + p2 * e1"),
        ],
    ),
    "a slope is missing": (
        NONLINEAR,
        [("memory.dc1_dtheta_log[i] *= slope1[i]", "memory.dc1_dtheta_log[i] *= 1")],
    ),
}


def mutant(folder: Path, source: Path, replacements: list[tuple[str, str]]):
    """The cell class of a copy of the package's cells with `replacements` made in one file."""
    for original in (ROTATION, LINEAR, NONLINEAR):
        text = original.read_text()
        if original == source:
            for old, new in replacements:
                assert old in text, f"nothing to plant the bug in: {old!r}"
                text = text.replace(old, new)
        for module in (ROTATION, LINEAR, NONLINEAR):
            text = text.replace(f"rtu_np.cells.{module.stem}", f"{folder.name}.{module.stem}")
        (folder / original.name).write_text(text)
    (folder / "__init__.py").touch()
    file = folder / (NONLINEAR if source == NONLINEAR else LINEAR).name
    sys.path.insert(0, str(folder.parent))
    try:
        module = importlib.import_module(f"{folder.name}.{file.stem}")
    finally:
        sys.path.remove(str(folder.parent))
    return module.NonlinearRTU if source == NONLINEAR else module.LinearRTU


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.replace(" ", "-"))
def test_a_planted_bug_turns_it_red(bug, tmp_path):
    folder = tmp_path / ("mutant_" + "".join(filter(str.isalnum, bug)))
    folder.mkdir()
    report = check_gradients(mutant(folder, *BUGS[bug])(4), n_inputs=3, steps=60)
    assert not report.passed, str(report)


def test_an_unchanged_copy_stays_green(tmp_path):
    folder = tmp_path / "mutant_unchanged"
    folder.mkdir()
    report = check_gradients(mutant(folder, LINEAR, [])(4), n_inputs=3, steps=60)
    assert report.passed, str(report)


def test_a_gradient_of_nought_does_not_pass(monkeypatch):
    cell = LinearRTU(4)
    layer_class = type(cell.build(3))
    monkeypatch.setattr(layer_class, "gradient", lambda self, dy: {k: 0 * v for k, v in self.parameters.items()})
    assert not check_gradients(cell).passed


def test_command_line(capsys):
    from rtu_np.__main__ import main

    assert main(["gradcheck", "--cell", "linear-rtu", "--n-hidden", "4"]) == 0
    out = capsys.readouterr().out
    assert "nu_log" in out
    assert "exact for fixed parameters" in out
    assert "passed: largest error" in out
    assert main(["gradcheck", "--n-hidden", "0"]) == 2
    assert "n_hidden is 0" in capsys.readouterr().err


def test_command_line_as_a_process():
    command = [sys.executable, "-m", "rtu_np", "gradcheck", "--cell", "linear-rtu", "--n-hidden", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout
