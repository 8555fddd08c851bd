"""T-BPTT's window: outputs at its last step alone, and a gradient that becomes subnormal."""

import numba
import numpy as np
import pytest
from cases import CASES, COMPILED, KINDS, in_plain_python
from mutants import rebuilt
from tolerances import FLOAT32

import rtu_np
from rtu_np import TBPTT, LinearRTU, check_gradients, protocol
from rtu_np.gradients import tbptt
from rtu_np.jit import FLUSHES
from rtu_np.numerics.buffers import cut

D = 3
# What the window left out of its steps, in every file that leaves out something.
WHOLE_WINDOW = {
    "gradients/tbptt.py": [("record, k == filled - 1)", "record, True)")],
    "cells/stack.py": [("if protocol.feedforward(spec.upper) and not any_nonzero(dy):", "if False:")],
    "cells/linear_rtu.py": [("if any_nonzero(dy):", "if True:")],
}


def gradients(cell, package=rtu_np, spoil=False, dtype="float64"):
    """Of each step of a short run, with a window that is at first longer than the past, and by the input."""
    layer, out = cell.build(D, package.TBPTT(4), seed=1, dtype=dtype), []
    rng = np.random.default_rng(0)
    for _ in range(7):
        layer.advance(rng.standard_normal(D))
        if spoil:
            memory, _ = package.protocol.memory(layer.spec, layer._memory)
            memory.records[0 if memory.ring[tbptt.FILLED] > 1 else 1 :] = np.nan  # `move` made the first
        dy = rng.standard_normal(layer.n_outputs)
        out += [view.copy() for view in layer.gradient(dy).values()] + [layer.input_gradient(dy).copy()]
    return out


@in_plain_python
@pytest.mark.parametrize("file", WHOLE_WINDOW)
@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_as_with_every_output_of_the_window(name, file, mutant):
    package = mutant(file, WHOLE_WINDOW[file])
    whole = gradients(rebuilt(package, CASES[name].cell), package)
    assert all(np.array_equal(a, b) for a, b in zip(gradients(CASES[name].cell), whole, strict=True))
    assert any(each.any() for each in whole)


@pytest.mark.parametrize("name", ["LRU"] if COMPILED else CASES)
def test_nothing_is_read_that_this_window_has_not_written(name):
    spoiled = gradients(CASES[name].cell, spoil=True)
    assert all(np.array_equal(a, b) for a, b in zip(gradients(CASES[name].cell), spoiled, strict=True))


BUGS = {
    "the last outputs are left out, too": ("gradients/tbptt.py", "record, k == filled - 1)", "record, False)"),
    "the layer above passes nothing back": ("cells/stack.py", "and not any_nonzero(dy)", "and not any_nonzero(dy[:0])"),
    "outputs of the unit pass nothing back": ("cells/linear_rtu.py", "if any_nonzero(dy):", "if any_nonzero(dy[:0]):"),
}


@in_plain_python
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_turns_it_red(bug, plant):
    file, old, new = BUGS[bug]
    plant(file, [(old, new)])
    report = check_gradients(KINDS["stack"].cell, 2, 15, TBPTT(4))
    assert not report.passed, str(report)


T = 200
RADII = np.array([0.9, 0.7, 0.68, 0.6, 0.5, 0.3])
LAST = 3  # of the units whose gradient is still a normal number of float32 after T steps


def after_an_impulse():
    """Units of these radii, the gradient by W1 of an input T steps ago as it should be, and as it is; and the layer."""
    layer = LinearRTU(RADII.size, "identity").build(1, TBPTT(T), seed=0, dtype="float32")
    layer.parameters["nu_log"][:] = np.log(-np.log(RADII))
    nu, theta = np.exp(layer.parameters["nu_log"].astype(float)), np.exp(layer.parameters["theta_log"].astype(float))
    for k in range(T):
        layer.advance([float(k == 0)])
    passed_on = np.exp((1j * theta - nu) * (T - 1)) * np.sqrt(1 - np.exp(-2 * nu))
    return passed_on.real + passed_on.imag, layer.gradient(np.ones(2 * RADII.size))["W1"][0], layer


def check_impulse():
    expected, got, layer = after_an_impulse()
    assert (np.abs(expected[:LAST]) > np.finfo(np.float32).tiny).all()
    assert (np.abs(expected[LAST:]) < np.finfo(np.float32).tiny).all()
    assert np.abs(got[:LAST] / expected[:LAST] - 1).max() < 100 * FLOAT32
    assert not got[LAST:].any(), "a subnormal number has come back"
    dstate = protocol.memory(layer.spec, layer._memory)[0].dstate
    assert not ((np.abs(dstate) < np.finfo(np.float32).tiny) & (dstate != 0)).any()


def test_a_gradient_that_has_become_subnormal_is_zero():
    check_impulse()


@in_plain_python
def test_planted_without_the_cut(plant):
    plant("gradients/tbptt.py", [("if not FLUSHES:", "if False:")])
    with pytest.raises(AssertionError, match="a subnormal number has come back"):
        check_impulse()


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_the_cut_is_at_the_smallest_normal_number(real):
    tiny = np.finfo(real).tiny
    numbers = [tiny, -tiny, np.nextafter(tiny, real(0)), -tiny / 2, np.finfo(real).smallest_subnormal, 0, 1, np.inf]
    x = np.array([*numbers, -np.inf, np.nan], real)
    numba.njit(cut)(x)  # not our `njit`, under which there is nothing to cut
    assert np.array_equal(x, np.array([tiny, -tiny, 0, 0, 0, 0, 1, np.inf, -np.inf, np.nan], real), equal_nan=True)


@pytest.mark.skipif(not FLUSHES, reason="there is no switch, and the test above sees the cut")
def test_without_the_switch_the_cut_gives_the_same(monkeypatch):
    """As with processors whose switch we do not know."""
    with_switch = after_an_impulse()[1]
    monkeypatch.setattr(tbptt, "FLUSHES", False)
    check_impulse()
    assert np.array_equal(after_an_impulse()[1], with_switch)
