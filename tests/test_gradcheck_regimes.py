"""The regimes of the gradient checker: mistakes that hide where random inputs and a single size do not look."""

import pytest
from cases import KINDS, in_plain_python

from rtu_np import GRU, RTRL, TBPTT, BlockDiagonalRNN, LinearRTU, check_gradients, protocol
from rtu_np.__main__ import main
from rtu_np.gradcheck.regimes import BASIC, SIZES

GAMMA_X, TURNED = "+ work.gamma[i] * x_j\n            e2[j, i]", "work.g[i] * e2[j, i] + work.p[i] * e1_tm1"
# Each is (case, file, replacements, the regimes that turn red). Without regimes, the check passed with every one.
BUGS = {
    "a sign in learn": (
        "linear RTU",
        "cells/linear_rtu.py",
        [("z2[j, i] = decay * z2[j, i] + d2 * e1 - d1 * e2", "z2[j, i] = decay * z2[j, i] + d2 * e1 + d1 * e2")],
        {regime.name for regime in BASIC},
    ),
    "a sign in what learn carries": (
        "nonlinear RTU",
        "cells/nonlinear_rtu.py",
        [
            (
                "e1 = memory.g1[i] * e1_tm1 - memory.p1[i] * e2_tm1\n",
                "e1 = memory.g1[i] * e1_tm1 + memory.p1[i] * e2_tm1\n",
            )
        ],
        {"dense"},
    ),
    "learn updates if there is no step": (
        "linear RTU",
        "cells/linear_rtu.py",
        [
            (
                "            if step is not None:\n                W1",
                "            if True:\n                step = step or 0.1\n                W1",
            )
        ],
        {"dense"},
    ),
    "learn forgets the biases": (
        "minGRU",
        "cells/gated_units.py",
        [("        add_scaled(params, traces, step)\n", "        pass\n")],
        {"dense"},
    ),
    "learn in three passes decays twice": (
        "vanilla RNN",
        "protocol.py",
        [("    accumulate(spec, memory, decay, traces)\n", "    accumulate(spec, memory, decay * decay, traces)\n")],
        {"dense"},
    ),
    "x_j = 0 only": (
        "linear RTU",
        "cells/linear_rtu.py",
        [(TURNED, "work.g[i] * e2[j, i] + (work.p[i] * e1_tm1 if x_j != 0 else 0)")],
        {"every other input zero", "all inputs zero"},
    ),
    "from the ninth unit on": (
        "linear RTU",
        "cells/linear_rtu.py",
        [(TURNED, f"({TURNED}) * (1.0 if i < 8 else 1.001)")],
        {"dense"},
    ),
    "n divisible by 16": (
        "linear RTU",
        "cells/linear_rtu.py",
        [(TURNED, f"({TURNED}) * (1.001 if spec.n_hidden % 16 == 0 else 1.0)")],
        {"dense"},
    ),
    "after a reset only": (
        "linear RTU",
        "cells/layer.py",
        [
            (
                "reset_memory(self.spec, protocol.memory(self.spec, self._memory)[0], self._memory)",
                "self._memory[: self.n_outputs] = 0",
            )
        ],
        {"reset in mid-stream"},
    ),
    "sensitivities are cut at 8": (
        "linear RTU",
        "cells/linear_rtu.py",
        [(TURNED, f"max(-8.0, min(8.0, {TURNED}))")],
        {"inputs x 1e3"},
    ),
    "5e-5 in float32": (
        "linear RTU",
        "cells/linear_rtu.py",
        [(GAMMA_X, GAMMA_X.replace("x_j", "x_j * (1.00005 if e2.itemsize == 4 else 1.0)"))],
        {"dense"},
    ),
    "r > .99 only": (
        "linear RTU",
        "cells/linear_rtu.py",
        [(TURNED, f"({TURNED}) * (1.001 if work.g[i] ** 2 + work.p[i] ** 2 > 0.99**2 else 1.0)")],
        {"r in [.99, 1)"},
    ),
}
CELLS = {"r > .99 only": LinearRTU(4, r_max=0.9)}  # the only bug for which one unit of the case is enough


@in_plain_python
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.replace(" ", "-"))
def test_a_planted_bug_turns_a_regime_red(bug, plant):
    name, file, replacements, red = BUGS[bug]
    plant(file, replacements)
    report = check_gradients(CELLS.get(bug, KINDS[name].cell), n_inputs=2, steps=15)
    assert report.blocks_passed, "the table of blocks shows it, so it needs no regime"
    assert not report.passed, str(report)
    assert red <= {regime.regime for regime in report.regimes if not regime.passed}, str(report)


@in_plain_python
def test_5e_5_shows_in_a_check_of_float32(plant):
    _, file, replacements, _ = BUGS["5e-5 in float32"]
    plant(file, replacements)
    report = check_gradients(LinearRTU(4), n_inputs=2, steps=15, dtype="float32")
    assert report.blocks_passed
    assert not report.passed, str(report)


@in_plain_python
def test_thorough_goes_through_sizes_and_long_runs():
    report = check_gradients(LinearRTU(2), n_inputs=1, steps=5, thorough=True)
    assert report.passed, str(report)
    assert {regime.units for regime in report.regimes} == {2, *SIZES}
    assert "2000 steps, r in [.99, 1)" in str(report)


@in_plain_python
def test_what_a_cell_cannot_have_is_said():
    report = check_gradients(BlockDiagonalRNN(2), steps=5, thorough=True)
    assert report.passed, str(report)
    assert "not checked: dense (n_hidden=7): n_hidden is 7" in str(report)
    assert "not checked: r in [.99, 1) (r_min=0.99, r_max=1.0): GRU has no setting r_min" in str(
        check_gradients(GRU(2), steps=5)
    )


@in_plain_python
@pytest.mark.parametrize("gradient", [RTRL(dense=True), TBPTT(1), TBPTT(3), TBPTT(100)], ids=str)
def test_other_gradient_methods_pass_all_regimes(gradient):
    for cell in (LinearRTU(3), GRU(3)):  # as many units as inputs: only the weights of inputs are scaled with these
        report = check_gradients(cell, steps=5, gradient=gradient)
        assert report.passed, str(report)
        assert {regime.regime for regime in report.regimes} >= {regime.name for regime in BASIC[:-1]}


def test_a_notebook_shows_both_tables():
    report = check_gradients(LinearRTU(4), steps=5)
    assert report._repr_html_().count("<table>") == 2


@pytest.mark.parametrize("function", ["plain_forward", "backward", "credit"])
def test_a_cell_without_a_function_is_refused_by_its_name(function, monkeypatch):
    cell = LinearRTU(2)
    kind = type(cell.spec(3))
    monkeypatch.delitem(getattr(protocol, function).table, kind)
    message = f"cell is a LinearRTU without `{function}` for its LinearRTUSpec: .*docs/own_stream.md"
    with pytest.raises(TypeError, match=message):
        check_gradients(cell)


def test_flags_of_the_command_line(capsys):
    small = ["gradcheck", "--n-hidden", "2", "--steps", "5"]
    assert main([*small, "--stack", "min-gru", "--readout", "2", "--reset-at", "3"]) == 0
    shown = capsys.readouterr().out
    assert "Gradient of Stack([LinearRTU(2), MinGRU(2), Dense(2)])" in shown
    assert "reset before step 3" in shown
    assert main([*small, "--stack", "nonlinear-rtu", "--exact"]) == 0
    assert "by RTRL(exact=True)" in capsys.readouterr().out
    for flags, said in (
        (["--dense", "--tbptt", "3"], "--dense and --tbptt exclude each other: expected one way"),
        (["--exact", "--gradient", "taylor"], "--exact and --gradient exclude each other: expected one way"),
        (["--leak", "0.3"], "--leak is 0.3 for linear-rtu: expected vanilla-rnn"),
        (["--gradient", "rflo"], "gradient is RFLO() for LinearRTU: expected VanillaRNN(n, leak=a)"),
    ):
        assert main([*small, *flags]) == 2
        assert said in capsys.readouterr().err


@in_plain_python
@pytest.mark.parametrize("flags", [("taylor",), ("rflo", "--cell", "vanilla-rnn", "--leak", "0.3")])
def test_gradients_of_the_command_line(flags, capsys):
    assert main(["gradcheck", "--n-hidden", "2", "--n-inputs", "2", "--steps", "5", "--gradient", *flags]) == 0
    assert ("corrected for its own moves" if flags == ("taylor",) else "leak alone") in capsys.readouterr().out
