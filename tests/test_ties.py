"""Where a `max`, a `min` or a comparison has two equal sides: which side gives the value, and which the derivative.

docs/derivations.md has the table ("Ties", in Exactness). A comparison of a number with a rounded copy of itself is no
tie, and decides at random: PPO's clipped value did so once.
"""

import numpy as np
import oracles
import pytest
from cases import COMPILED
from ppo_cases import CELLS, collected, gradient_of, make, oracle_of, parameters
from tolerances import COMPLEX_STEP, PLAIN, assert_close

import rtu_np
from rtu_np import jit
from rtu_np.control import policies
from rtu_np.control.policies import Gaussian
from rtu_np.control.softmax import Softmax
from rtu_np.jit import njit
from rtu_np.learning import optimizers
from rtu_np.learning.optimizers import ObGD
from rtu_np.numerics.activations import ACTIVATIONS, activate, plain_slope, slope

SIZES = (1.0, 0.1, 0.03)
MOVED = (0.02, 0.1)
HEADS = ("policy.b", "value.b", "value.W")


def moved_on(size, moved, package=rtu_np, seed=7):
    """(agent, complete rollout, the parameters then): values of `size`, and parameters that have `moved` since."""
    n = 512
    cell = package.Dense(4, "tanh")
    agent, world = make(cell, package=package, n_steps=n, n_minibatches=1, clip=0.1, entropy_coef=0.1)
    for name in ("value.W", "value.b"):
        agent.parameters[name][:] *= size
    rollout, then = collected(agent, world), parameters(agent)
    rng = np.random.default_rng(seed)
    for name, view in agent.parameters.items():
        view += moved * (size if name.startswith("value") else 1) * rng.standard_normal(view.shape)
    rollout.rewards[:] *= size
    agent._update._compute_gae()
    return agent, rollout, then


def check(size, moved, package=rtu_np):
    """The gradient by the heads is that of the loss: no transition's share is lost within a clip."""
    agent, rollout, then = moved_on(size, moved, package)
    oracle = oracle_of(agent, CELLS["feedforward"], rollout, True)
    order, now = np.arange(agent.n_steps), parameters(agent)
    found = gradient_of(agent, order)
    arguments = (order, oracle.stored(then, now), *oracle.targets(rollout.values, rollout.bootstraps))

    def loss(**heads):
        return np.atleast_1d(oracle.loss({**now, **heads}, *arguments))

    for name, block in oracles.derivative(loss, {name: now[name] for name in HEADS}).items():
        assert_close(found[name], block[0].real, COMPLEX_STEP, name)


@pytest.mark.parametrize("moved", MOVED[:1] if COMPILED else MOVED)
@pytest.mark.parametrize("size", SIZES[-1:] if COMPILED else SIZES)
def test_no_gradient_is_lost_within_ppo_s_clips(size, moved):
    check(size, moved)


@pytest.mark.skipif(COMPILED, reason="a copy of the package compiles again; test_modes.py runs it uncompiled")
@pytest.mark.parametrize("moved", MOVED[-1:])  # as far as values are wide: v - v_old of near values is exact
@pytest.mark.parametrize("size", SIZES[1:])
def test_a_clipped_value_that_is_rounded_is_found(size, moved, mutant):
    bug = [("    if abs(moved) > width:\n        clipped_error", "    if True:\n        clipped_error")]
    with pytest.raises(AssertionError, match=r"value\.\w: off by"):
        check(size, moved, mutant("control/ppo/loss.py", bug))


def only(agent, rollout, t, **changes):
    """The gradient by value.b of a minibatch of the one transition t, with `changes` to its row."""
    for name, number in changes.items():
        getattr(rollout, name)[t] = number
    return gradient_of(agent, np.array([t]))["value.b"][0]


@pytest.mark.parametrize("side", [1, -1])
def test_equal_squares_outside_ppo_s_clip_lead_toward_the_target(side):
    """v_old = 0, v = 1/2, clip 1/4: at the target 3/8, v and v_clip are at the same distance, to the bit."""
    agent, world = make(rtu_np.Dense(3, "tanh"), clip=0.25, n_steps=8, n_minibatches=8, value_coef=1.0)
    rollout = collected(agent, world)
    agent.parameters["value.W"][:] = 0
    agent.parameters["value.b"][:] = side * 0.5
    assert only(agent, rollout, 3, values=0.0, returns=side * 0.375) == side * 0.125
    assert only(agent, rollout, 3, values=0.0, returns=side * 0.3125) == side * 0.1875  # v is the farther one
    assert only(agent, rollout, 3, values=0.0, returns=side * 0.4375) == 0  # v_clip is


def test_an_advantage_of_zero_moves_no_policy():
    """One transition is its own mean, so both products are zero, and equal."""
    agent, world = make(rtu_np.Dense(3, "tanh"), clip=0.1, n_steps=8, n_minibatches=8)
    rollout = collected(agent, world)
    agent.parameters["policy.b"][:] += 1.0, -1.0, 0.0
    for advantage in (0.0, 3.0):
        rollout.advantages[:] = advantage
        found = gradient_of(agent, np.array([3]))
        assert not found["policy.b"].any()
        assert all(np.isfinite(block).all() for block in found.values())


@njit
def slopes(kind, z, out):
    for k in range(z.shape[0]):
        out[k] = slope(kind, activate(kind, z[k]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "at_zero"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_a_kink_has_its_left_slope_at_zero(name, at_zero, dtype):
    """Also if the leaked part underflows to zero: the sign of z decides, as in plain NumPy."""
    tiny = np.finfo(dtype).tiny if jit.FLUSHES else np.finfo(dtype).smallest_subnormal
    z = np.array([0.0, -0.0, -tiny, tiny], dtype)
    out = np.zeros_like(z)
    slopes(ACTIVATIONS[name], z, out)
    assert out.tolist() == np.array([at_zero, at_zero, at_zero, 1.0], dtype).tolist()
    assert plain_slope(ACTIVATIONS[name], np.array([0.0, -0.0, 1.0])).tolist() == [at_zero, at_zero, 1.0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_candidate_of_a_min_gru_has_its_right_slope_at_zero(dtype):
    layer, tiny = rtu_np.MinGRU(4).build(1, dtype=dtype), np.finfo(dtype).tiny
    for view in layer.parameters.values():
        view[:] = 0
    layer.parameters["b_h"][:] = 0.0, -0.0, -tiny, tiny
    assert layer.advance([0.0]).tolist() == [0.25] * 4  # the gate is 1/2, and so is the candidate
    assert layer.gradient(np.ones(4))["b_h"].tolist() == [0.5, 0.5, 0.125, 0.5]


def test_obgd_s_bounds_are_continuous():
    """At |delta| = 1, and at a bound of 1, both sides of the max are one number."""
    spec, one = ObGD(step_size=1.0, kappa=2.0).spec(), np.array([0.25, -0.25])
    assert optimizers.step(spec, one, 1.0) == 1.0  # the bound is 1: alpha is the step size
    for delta in (1.0, np.nextafter(1.0, 0), np.nextafter(1.0, 2)):
        for traces in (one, 3 * one):
            assert abs(optimizers.step(spec, traces, delta) - min(1, 0.5 / np.abs(traces).sum())) < PLAIN


def test_of_several_largest_outputs_the_first_is_taken():
    action, o = np.zeros(1), np.array([0.5, 2.0, 2.0, -1.0, 2.0])
    policies.mode(Softmax().spec(5), o, action)
    assert action[0] == 1
    do = np.zeros(5)
    policies.gradient(Softmax().spec(5), o, action, 1.0, 0.0, do)
    p = np.exp(o - 2) / np.exp(o - 2).sum()
    assert_close(do, (np.arange(5) == 1) - p, COMPLEX_STEP)  # the subtracted maximum has no derivative


def test_softplus_at_zero():
    o, do, action = np.array([0.3, 0.0]), np.zeros(2), np.array([0.8])
    spec = Gaussian().spec(1)
    policies.gradient(spec, o, action, 1.0, 0.0, do)
    sigma = np.log(2)
    assert_close(do[1:], np.array([((0.5 / sigma) ** 2 - 1) / sigma * 0.5]), COMPLEX_STEP)
    assert abs(policies.entropy(spec, o) - np.log(sigma) - 0.5 * np.log(2 * np.pi * np.e)) < PLAIN
