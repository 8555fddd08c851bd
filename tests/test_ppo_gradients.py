"""The gradient of PPO's minibatch loss, for all cells, methods and kinds of action, against its definitions."""

import sys

import numpy as np
import oracles
import pytest
from cases import COMPILED
from ppo_cases import CELLS, T, below_of, gradient_of, oracle_of, parameters, sequences, stale
from tolerances import COMPLEX_STEP, DIFFERENCES, PLAIN, assert_close

import rtu_np
from rtu_np import RTRL, TBPTT, protocol
from rtu_np.learning.blocks import named_layers

METHODS = (RTRL(), TBPTT(T), RTRL(dense=True))
SOME = [("linear RTU", RTRL(), True)]
SOME_TOGETHER = [("linear RTU behind an encoder", RTRL()), ("GRU", TBPTT(T))]
ALL = [(name, gradient, discrete) for name in CELLS for gradient in METHODS for discrete in (True, False)]
EPSILON = 1e-5


def check(name, gradient, discrete, package=rtu_np):
    """With states and sensitivities stored with earlier parameters, by the complex step and by differences."""
    agent, rollout, then = stale(name, gradient, discrete, package=package, entropy_coef=0.1, clip=0.1)
    oracle = oracle_of(agent, CELLS[name], rollout, discrete, below_of(name, gradient))
    order, now = sequences(agent), parameters(agent)
    found = gradient_of(agent, order)
    arguments = (order, oracle.stored(then, now), *oracle.targets(rollout.values, rollout.bootstraps))
    expected = oracle.gradient(now, *arguments)
    rng = np.random.default_rng(9)
    assert found.keys() == now.keys()
    for key, block in expected.items():
        assert_close(found[key], block, COMPLEX_STEP, key)
        along = EPSILON * rng.standard_normal(block.shape)
        up, down = (oracle.loss({**now, key: now[key] + sign * along}, *arguments) for sign in (1, -1))
        slope = (along * found[key]).sum()
        assert abs((up - down) / 2 - slope) <= DIFFERENCES * max(abs(slope), EPSILON * np.abs(block).max()), key


@pytest.mark.parametrize(("name", "gradient", "discrete"), SOME if COMPILED else ALL)
def test_gradient_of_a_minibatch(name, gradient, discrete):
    check(name, gradient, discrete)


EXACT = [(name, gradient) for name in CELLS for gradient in (RTRL(), RTRL(dense=True)) if not below_of(name, gradient)]


@pytest.mark.parametrize(("name", "gradient"), [] if COMPILED else EXACT)
def test_with_fresh_sensitivities_it_is_that_of_backpropagation_through_the_whole_rollout(name, gradient):
    agent, rollout, _ = stale(name, gradient, True, every=7)
    now = parameters(agent)
    agent._update._recompute(True, False)
    oracle = oracle_of(agent, CELLS[name], rollout, True)
    order = sequences(agent)
    found, (advantages, returns) = gradient_of(agent, order), oracle.targets(rollout.values, rollout.bootstraps)

    def whole(**p):
        states = oracle.states(p)
        return np.atleast_1d(oracle.loss(p, order, lambda _, t: states[t], advantages, returns))

    for key, block in oracles.derivative(whole, now).items():
        assert_close(found[key], block[0], COMPLEX_STEP, key)


@pytest.mark.parametrize("name", [] if COMPILED else CELLS)
def test_sensitivities_are_stored_and_used_later(name):
    """What a step gives by all that went before it, and what one step and the stored past give together."""
    agent, rollout, then = stale(name, RTRL(), True)
    oracle = oracle_of(agent, CELLS[name], rollout, True, below_of(name, RTRL()))
    if not oracle.n_state:
        assert agent._spec.n_stored == 0
        return
    spec, t = agent._spec.cell, 3
    views = protocol.stored_sensitivities(spec, rollout.stored[t].copy())[0]
    weights = np.random.default_rng(1).standard_normal(oracle.n_state)
    out = np.zeros(agent._views.learned.flat_params.size)
    into = protocol.parameters(spec, out)[0]
    protocol.accumulate_stored(spec, views, weights, into)
    expected = oracle.sensitivities(then)
    for key, view in named_layers(spec, into).items():
        block = np.tensordot(weights, expected[key][t], 1) if key in expected else np.zeros(view.shape)
        if block.any():  # an output's weights reach no state, nor do a gate's at the first step
            assert_close(view, block, COMPLEX_STEP, key)
        else:
            assert not view.any()


# Each of a sign, a term or a row: (file, what stands there, what the bug makes of it).
LOSS, ACTING, LINEAR = "control/ppo/loss.py", "control/ppo/rollout.py", "cells/linear_rtu.py"
STORE = "spec, now.memory, r, rounded, now.scratch, t"
ROWS, SEQUENCES, STACK, TILES = "cells/rows.py", "cells/sequences.py", "cells/stack.py", "numerics/tiles.py"
BUGS = {
    "the past is left out": (LOSS, "        protocol.accumulate_stored(", "        (lambda *_: None)("),
    "the past of another transition": (LOSS, "sequence * spec.sequence)[0]", "sequence * spec.sequence - 1)[0]"),
    "the state of another transition": (LOSS, "copy(r.states[block[q] * T]", "copy(r.states[block[q] * T - 1]"),
    "the clip bounds from one side": (LOSS, "if unclipped <= clipped else", "if unclipped >= clipped else"),
    "the value is not clipped": (LOSS, "if error * error >= clipped_error * clipped_error else", "if True else"),
    "entropy is punished": (LOSS, "-real(s.entropy_coef)", "real(s.entropy_coef)"),
    "the critic alone reaches the body": (
        ROWS,
        "    add_products(dy, tr",
        "    adjoint.x[:] = 0\n    add_products(dy, tr",
    ),
    "advantages are not centred": (LOSS, "(r.advantages[t] - mean) * scale", "r.advantages[t] * scale"),
    "W2's sensitivity has another sign": (
        LINEAR,
        "+ d2 * e1 - d1 * e2\n\n\n@kernel",
        "+ d2 * e1 + d1 * e2\n\n\n@kernel",
    ),
    "one of two weights' gradients": (
        SEQUENCES,
        "drives.drive2[:n], dW2, 0)\n    else",
        "drives.drive1[:n], dW2, 0)\n    else",
    ),
    "stored after the step": (
        ACTING,
        f"    _store({STORE})\n    protocol.advance(spec.cell, params.cell, now.memory, now.x)\n",
        f"    protocol.advance(spec.cell, params.cell, now.memory, now.x)\n    _store({STORE})\n",
    ),
}
_ENDS = "\n            if sequences.starts[row] != 0:\n                clear(flat)"
SEQUENCE_BUGS = {
    "an episode's end lets the gradient through": (SEQUENCES, f"{_ENDS}\n    _back", "\n    _back"),
    "an episode's end lets the state through": (
        SEQUENCES,
        f"{_ENDS}\n            else",
        "\n            if sequences.starts[row] < 0:\n                clear(flat)\n            else",
    ),
}


@pytest.mark.skipif(COMPILED, reason="a copy of the package compiles again; test_modes.py runs it uncompiled")
@pytest.mark.parametrize("bug", [*BUGS, *SEQUENCE_BUGS])
def test_a_planted_bug_is_found(bug, mutant):
    file, old, new = {**BUGS, **SEQUENCE_BUGS}[bug]
    name, gradient = ("linear RTU", RTRL()) if bug in BUGS else ("GRU", TBPTT(T))
    package = mutant(file, [(old, new)])
    with pytest.raises(AssertionError):
        check(name, gradient, True, package)


def check_together(name, gradient, package=rtu_np):
    """A minibatch of several blocks, in one part, has the gradient that its sequences have one by one."""
    agent, rollout, _ = stale(name, gradient, False, package=package, n_steps=60)
    update, order = agent._update, np.random.default_rng(8).permutation(60 // agent._spec.sequence)
    update._moments[:] = rollout.advantages.mean(), rollout.advantages.std()
    together, alone = update._parts[:2]
    views = [sys.modules[type(update).__module__].chunk(agent._spec, part)[0] for part in (together, alone)]
    fixed, expected, terms = (agent._spec, agent._flat, agent._rounded), 0.0, 0.0
    for k in range(len(order)):
        update._accumulate_gradient(*fixed, alone, order, k, k + 1, update._moments)
        expected, terms = expected + views[1].flat_gradient, terms + views[1].loss_terms
    update._accumulate_gradient(*fixed, together, order, 0, len(order), update._moments)
    assert_close(views[0].flat_gradient, expected, PLAIN)
    assert_close(views[0].loss_terms, terms, PLAIN)


TOGETHER = [(name, gradient) for name in CELLS for gradient in METHODS]


@pytest.mark.parametrize(("name", "gradient"), SOME_TOGETHER if COMPILED else TOGETHER)
def test_sequences_learned_from_together(name, gradient):
    check_together(name, gradient)


BUGS_TOGETHER = {
    "one of four credits": (LOSS, "d[q + 2], d[q + 3])", "d[q + 3], d[q + 2])"),
    "one of four pasts": (LOSS, "(first, second, third", "(second, first, third"),
    "those behind the last four": (LOSS, "fours = n - n % 4", "fours, n = n - n % 4, n - n % 4"),
    "a sign of one of four": (LINEAR, "dd.c2[i] * d1 - dd.c1", "dd.c2[i] * d1 + dd.c1"),
    "the eigenvalues of one of four": (LINEAR, "stored[3].units, d.c1", "stored[2].units, d.c1"),
    "the layer below one of four": (
        STACK,
        "(a.upper, b.upper, c.upper, d.upper)",
        "(b.upper, a.upper, c.upper, d.upper)",
    ),
    "the next block's transitions": (LOSS, "t = block[row // T] * T + row % T", "t = block[0] * T + row % T"),
    "a row of a product": (TILES, "four + A[k, j + 2]", "four + A[k - 1, j + 2]"),
    "a term of a product": (TILES, "A[k, j + 3] * B[j + 3, i]", "A[k, j + 3] * B[j + 2, i]"),
    "terms behind the last four": (TILES, "in range(grouped, B.shape[0])", "in range(grouped, B.shape[0] - 1)"),
    "the drives of another row": (SEQUENCES, "GivenDrive(drives.drive1[row]", "GivenDrive(drives.drive1[row - 1]"),
    "the input gradient of another row": (
        SEQUENCES,
        "drives.drive2[row], adjoint.x[row]",
        "drives.drive2[0], adjoint.x[row]",
    ),
}


@pytest.mark.skipif(COMPILED, reason="a copy of the package compiles again; test_modes.py runs it uncompiled")
@pytest.mark.parametrize("bug", BUGS_TOGETHER)
def test_a_bug_planted_where_sequences_are_learned_from_together_is_found(bug, mutant):
    file, old, new = BUGS_TOGETHER[bug]
    with pytest.raises(AssertionError, match="off by"):
        check_together("linear RTU behind an encoder", RTRL(), mutant(file, [(old, new)]))


@pytest.mark.skipif(COMPILED, reason="a copy of the package compiles again; test_modes.py runs it uncompiled")
@pytest.mark.parametrize(("name", "gradient"), [("linear RTU", RTRL()), ("GRU", TBPTT(T))])
def test_an_unchanged_copy_stays_green(name, gradient, mutant):
    check(name, gradient, True, mutant(LOSS, []))
