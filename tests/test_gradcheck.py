"""The gradient checker: that it passes what is right, and that it can fail."""

import subprocess
import sys

import pytest
from cases import APPROXIMATE, CASES, COMPILED, KINDS, in_plain_python
from gated_bug_cases import GATED_BUGS
from planting import planted
from tolerances import COMPLEX_STEP, DIFFERENCES

import rtu_np
from rtu_np import RTRL, TBPTT, Dense, LinearRTU, MinGRU, NonlinearRTU, Stack, check_gradients
from rtu_np.gradcheck import TOLERANCE, TOLERANCE_DIFFERENCES, gradient_angles

STEPS = 60
# (case, method, step before which the layer forgets)
PAIRS = [(name, RTRL(), reset) for name in KINDS for reset in (None, 6)]
if COMPILED:
    PAIRS = [*PAIRS[::2], ("GRU", TBPTT(4), None)]
else:
    PAIRS += [(name, RTRL(), None) for name in CASES if name not in KINDS]
    for method, reset in ((RTRL(dense=True), 6), (TBPTT(1), None), (TBPTT(4), 6), (TBPTT(100), None)):
        PAIRS += [(name, method, reset) for name in CASES]


@pytest.fixture
def blocks_alone(monkeypatch):
    """A function after which no regimes are checked: most of the time, and test_gradcheck_regimes.py has them."""
    return lambda: monkeypatch.setattr(rtu_np.gradcheck.check, "regimes", lambda on: [])


@pytest.mark.parametrize("seed", range(3 if COMPILED else 1))
def test_both_cells_are_exact(kind, activation, seed):
    report = check_gradients(kind(4, activation=activation), n_inputs=3, steps=STEPS, seed=seed)
    assert report.passed, str(report)
    assert report.max_error <= COMPLEX_STEP
    assert max(block.central_differences for block in report.blocks) <= DIFFERENCES
    assert {block.block: block.kind for block in report.blocks} == {
        **dict.fromkeys(("nu_log", "theta_log", "W1", "W2"), "exact for fixed parameters"),
        "readout.w": "exact",
        "readout.b": "exact",
        "x": "one-step",
    }


@pytest.mark.parametrize(("name", "gradient", "reset_at"), PAIRS)
def test_every_combination(name, gradient, reset_at, blocks_alone):
    if reset_at is not None or isinstance(gradient, TBPTT):  # regimes do not depend on the step of a reset
        blocks_alone()
    report = check_gradients(CASES[name].cell, 3, 12, gradient, seed=5, reset_at=reset_at)
    assert report.passed, str(report)
    kinds = {block.kind for block in report.blocks if block.block not in ("x", "readout.w", "readout.b")}
    window = 12 - (reset_at or 0)
    if isinstance(gradient, TBPTT) and gradient.steps < window:
        assert kinds == {"truncated" if gradient.steps > 1 else "one-step"}
    elif gradient == RTRL() and name in APPROXIMATE:
        assert kinds == {"exact for fixed parameters", "layer-local, approximate"}
    else:
        assert kinds == {"exact for fixed parameters"}


@pytest.mark.skipif(not COMPILED, reason="NumPy's own scalars are no test of compiled float32")
@pytest.mark.parametrize("name", KINDS)
def test_float32(name):
    report = check_gradients(KINDS[name].cell, n_inputs=3, dtype="float32")
    assert report.passed, str(report)
    assert report.max_error > COMPLEX_STEP  # it was float32 that was checked


def test_its_tolerances_are_those_of_the_tests():
    assert TOLERANCE["float64"] == COMPLEX_STEP
    assert TOLERANCE_DIFFERENCES["float64"] == DIFFERENCES


def test_a_reset_at_the_end_is_refused():
    with pytest.raises(ValueError, match="reset_at is 60: expected a number less than steps, 60"):
        check_gradients(LinearRTU(2), reset_at=60)


@in_plain_python
def test_angles_show_what_layer_local_rtrl_leaves_out():
    two = Stack([LinearRTU(4), NonlinearRTU(4)])
    angles = gradient_angles(two, 3, RTRL(), RTRL(dense=True))
    assert all(angle > 1 for name, angle in angles.items() if name.startswith("0."))
    assert all(angle < 1e-6 for name, angle in angles.items() if name.startswith("1."))
    feedforward = Stack([LinearRTU(4), Dense(3, "tanh")])
    assert all(angle < 1e-6 for angle in gradient_angles(feedforward, 3, RTRL(), RTRL(dense=True)).values())


def test_angles_of_arguments_that_do_not_fit():
    given = {"cell": LinearRTU(3), "n_inputs": 2, "steps": 3}
    for name, value in {"cell": LinearRTU, "n_inputs": 2.5, "steps": 0}.items():
        with pytest.raises((TypeError, ValueError), match=f"{name} is {value}"):
            gradient_angles(**{**given, name: value}, one=RTRL(), other=RTRL())


# Bugs of one term, planted in the package, in kernels and reference alike where both have the term. Each is
# (case, file, replacements); every text to be replaced must be there.
BUGS = {
    "theta's factor is lost": (
        "linear RTU",
        "cells/rotation.py",
        [("p * e2 - dtheta * turned2", "p * e2 - turned2"), ("p * e1 + dtheta * turned1", "p * e1 + turned1")],
    ),
    "1e-8 in gamma, not in its derivative": (
        "linear RTU",
        "cells/input_scale.py",
        [("return gamma, -dlog_r", "return gamma + 1e-8, -dlog_r")],
    ),
    "W1 and W2 are swapped": (
        "linear RTU",
        "cells/linear_rtu.py",
        [
            ("dW1[j, i] = decay * dW1[j, i] + d1 * e1 + d2 * e2", "dW2[j, i] = decay * dW2[j, i] + d1 * e1 + d2 * e2"),
            ("dW2[j, i] = decay * dW2[j, i] + d2 * e1 - d1 * e2", "dW1[j, i] = decay * dW1[j, i] + d2 * e1 - d1 * e2"),
        ],
    ),
    "h_t is used where h_tm1 is expected": (
        "linear RTU",
        "cells/rotation.py",
        [
            ("+ dlog_r * turned1 + dgamma", "+ dlog_r * (g * c1[i] - p * c2[i]) + dgamma"),
            ("+ dlog_r * turned2 + dgamma", "+ dlog_r * (g * c2[i] + p * c1[i]) + dgamma"),
        ],
    ),
    "a sign in the rotation of a sensitivity": (
        "linear RTU",
        "cells/linear_rtu.py",
        [("e1[j, i] = work.g[i] * e1_tm1 - work.p[i] * e2", "e1[j, i] = work.g[i] * e1_tm1 + work.p[i] * e2")],
    ),
    "a sensitivity uses the other's new value": (
        "linear RTU",
        "cells/linear_rtu.py",
        [("+ work.p[i] * e1_tm1\n\n", "+ work.p[i] * e1[j, i]\n\n")],
    ),
    "a slope is missing": (
        "nonlinear RTU",
        "cells/rotation.py",
        [("units.dc1_db[i] *= slope1[i]", "units.dc1_db[i] *= 1")],
    ),
    "the slopes are exchanged": (
        "nonlinear RTU",
        "cells/nonlinear_rtu.py",
        [("memory.g2[i] = slope2[i] * work.g[i]", "memory.g2[i] = slope1[i] * work.g[i]")],
    ),
    "the input drives the wrong half": (
        "nonlinear RTU",
        "cells/nonlinear_rtu.py",
        [("memory.dc1_dW2[j, i] = g1 * e1 - p1 * e2\n", "memory.dc1_dW2[j, i] = g1 * e1 - p1 * e2 + 1e-6 * x_j\n")],
    ),
    "gamma_log drives B, as in the released code": (
        "LRU",
        "cells/linear_rtu.py",
        [("- work.p[i] * e2[j, i] + work.gamma[i] * x_j", "- work.p[i] * e2[j, i] + np.log(work.gamma[i]) * x_j")],
    ),
    "gamma_log is not carried": (
        "LRU",
        "cells/input_scale.py",
        [("= g_i * e1 - p_i * e2 + gamma_i * drive1[i]", "= gamma_i * drive1[i]")],
    ),
    "the imaginary part is not conjugated": (
        "LRU",
        "cells/lru.py",
        [("        dx[i] = -dx[i]\n", "        dx[i] = dx[i]\n")],
    ),
    "D sees the state": ("LRU", "cells/lru.py", [("memory.x[2 * n :], memory.dz", "memory.x[:3], memory.dz")]),
    "the recurrent weights are transposed": (
        "vanilla RNN",
        "cells/rnn.py",
        [("add_product(state_tm1.h, params.W_recurrent, h)", "add_product(state_tm1.h, params.W_recurrent.T, h)")],
    ),
    "the slope of the step before": (
        "vanilla RNN",
        "cells/rnn.py",
        [("slope(spec.activation, record.y[i])", "slope(spec.activation, state_tm1.h[i])")],
    ),
    "the bias is counted twice": ("vanilla RNN", "cells/rnn.py", [("out.b[i] += dz[i]", "out.b[i] += 2 * dz[i]")]),
    "r gates the input's side": (
        "GRU",
        "cells/gru.py",
        [("on_input[2 * k + i] = dn", "on_input[2 * k + i] = r * dn")],
    ),
    "z is not differentiated": (
        "GRU",
        "cells/gru.py",
        [("dz = carried * (one - z)", "dz = carried * (one - carried)")],
    ),
    "the gate's own path back is lost": (
        "GRU",
        "cells/gru.py",
        [("        adjoint.state.h[i] += dh[i]\n", "        adjoint.state.h[i] += 0 * dh[i]\n")],
    ),
    "the gate in place of what it keeps": (
        "minGRU",
        "cells/min_gru.py",
        [("return h + change, keep, change * keep", "return h + change, u, change * keep")],
    ),
    "the gate's derivative lacks how far the candidate is": (
        "minGRU",
        "cells/min_gru.py",
        [("keep, change * keep, u * slope", "keep, u * keep, u * slope")],
    ),
    "the gate's derivative lacks what is kept": (
        "minGRU",
        "cells/min_gru.py",
        [("keep, change * keep, u * slope", "keep, change, u * slope")],
    ),
    "the slope of g below 0 is 1, too": (
        "minGRU",
        "cells/min_gru.py",
        [("slope = low_slope if a < 0 else one", "slope = one")],
    ),
    "the slope of g above 0 is the sigmoid's, too": (
        "minGRU",
        "cells/min_gru.py",
        [("slope = low_slope if a < 0 else one", "slope = low_slope")],
    ),
    "a gate's bias has no share of this step": (
        "minGRU",
        "cells/min_gru.py",
        [("= keep[i] * e.dh_db_z[i] + by_z[i]", "= keep[i] * e.dh_db_z[i]")],
    ),
    "a candidate's weights take the gate's share": (
        "minGRU",
        "cells/gated_units.py",
        [("= keep[i] * e2[j, i] + by2[i] * x_j", "= keep[i] * e2[j, i] + by1[i] * x_j")],
    ),
    "reverse mode forgets what is kept": (
        "minGRU",
        "cells/gated_units.py",
        [("dh[i] = record.keep[i] * total", "dh[i] = total")],
    ),
    "the input's gradient through the gate is lost": (
        "minGRU",
        "cells/gated_units.py",
        [("ddrive1[i] = memory.by1[i] * memory.credit[i]", "ddrive1[i] = 0 * memory.credit[i]")],
    ),
    "a block is transposed": (
        "block-diagonal RNN",
        "cells/block_diagonal.py",
        [("memory.J01[i] = f0 * W[1, 0]", "memory.J01[i] = f0 * W[0, 1]")],
    ),
    "the partner's signal": (
        "block-diagonal RNN",
        "cells/block_diagonal.py",
        [("h_a, e0_tm1 = h[i - i % 2 + a], e0[i]", "h_a, e0_tm1 = h[i], e0[i]")],
    ),
    "credit of the wrong partner": (
        "block-diagonal RNN",
        "cells/block_diagonal.py",
        [("memory.credit1[i] = dy[i - i % 2 + 1]", "memory.credit1[i] = dy[i - i % 2]")],
    ),
    "the layer below gets the output's gradient": (
        "stack",
        "cells/stack.py",
        [("protocol.input_gradient(spec.upper, params.upper, memory.upper, memory.dbetween)", "pass")],
    ),
    "a projection without its slope": (
        "stack",
        "cells/dense.py",
        [("memory.dz[i] = slope(spec.activation, memory.y[i]) * dy[i]", "memory.dz[i] = dy[i]")],
    ),
    "a projection's bias decays twice": (
        "stack",
        "cells/dense.py",
        [("out.b[i] = decay * out.b[i] + memory.dz[i]", "out.b[i] = decay * out.b[i] + memory.x[0] * memory.dz[i]")],
    ),
    "full RTRL forgets the past": (
        "GRU",
        "numerics/products.py",
        [("out0[c] + a0 * s0", "out0[c] + 0 * s0")],
    ),
    "full RTRL transposes the Jacobian": (
        "GRU",
        "gradients/rtrl.py",
        [("add_four_rows(memory.J, k", "add_four_rows(memory.J.T, k")],
    ),
    **GATED_BUGS,
}
TRUNCATED_BUGS = {
    "the window is a step too short": [("for k in range(filled - 1, -1, -1)", "for k in range(filled - 1, 0, -1)")],
    "the ring is read from the wrong row": [
        ("oldest = int(memory.ring[ROW]) + 1 - filled", "oldest = int(memory.ring[ROW]) + 2 - filled")
    ],
    "the state after the step is stored": [
        ("    copy(memory.flat_state, memory.states[row])\n", ""),
        (
            "    copy(memory.records[0, : spec.n_state], memory.flat_state)\n",
            "    copy(memory.records[0, : spec.n_state], memory.flat_state)\n"
            "    copy(memory.flat_state, memory.states[row])\n",
        ),
    ],
}


@in_plain_python
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.replace(" ", "-"))
def test_a_planted_bug_turns_it_red(bug, plant, blocks_alone):
    name, file, replacements = BUGS[bug]
    plant(file, replacements)
    blocks_alone()
    report = check_gradients(KINDS[name].cell, n_inputs=2, steps=15)
    assert not report.passed, str(report)


@in_plain_python
@pytest.mark.parametrize("bug", TRUNCATED_BUGS, ids=lambda bug: bug.replace(" ", "-"))
@pytest.mark.parametrize("name", KINDS)
def test_a_bug_in_the_window_turns_it_red(bug, name, plant, blocks_alone):
    plant("gradients/tbptt.py", TRUNCATED_BUGS[bug])
    blocks_alone()
    report = check_gradients(KINDS[name].cell, 2, 15, TBPTT(4))
    assert not report.passed, str(report)


@in_plain_python
@pytest.mark.parametrize("forgotten", ["pass", "self._memory[: self.n_outputs] = 0"], ids=["all", "sensitivities"])
def test_a_reset_that_is_forgotten_turns_it_red(forgotten, plant):
    plant(
        "cells/layer.py",
        [("reset_memory(self.spec, protocol.memory(self.spec, self._memory)[0], self._memory)", forgotten)],
    )
    report = check_gradients(MinGRU(4), n_inputs=2, steps=15, reset_at=6)
    assert not report.passed, str(report)


@in_plain_python
@pytest.mark.parametrize("name", KINDS)
def test_without_a_bug_it_stays_green(name):
    with planted("cells/linear_rtu.py", BUGS["a sign in the rotation of a sensitivity"][2]):
        pass  # which has to leave everything as it was
    for gradient in (RTRL(), TBPTT(4)):
        report = check_gradients(KINDS[name].cell, 2, 15, gradient)
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
    assert main(["gradcheck", "--cell", "gru", "--n-hidden", "3", "--tbptt", "4", "--steps", "20"]) == 0
    assert "truncated" in capsys.readouterr().out
    assert main(["gradcheck", "--cell", "gru", "--activation", "relu"]) == 2
    assert "activation" in capsys.readouterr().err
    assert main(["gradcheck", "--n-hidden", "0"]) == 2
    assert "n_hidden is 0" in capsys.readouterr().err


def test_command_line_as_a_process():
    command = [sys.executable, "-m", "rtu_np", "gradcheck", "--cell", "linear-rtu", "--n-hidden", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout
