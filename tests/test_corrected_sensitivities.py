"""RTRL(taylor=True): sensitivities corrected for what the parameters have moved, by order; wraps; planted bugs."""

import numpy as np
import pytest
from cases import in_plain_python
from oracles import stream
from tolerances import assert_close

import rtu_np
from rtu_np import RTRL, SGD, LinearRTU, NonlinearRTU, TDLambda
from rtu_np.cells.eigenvalues import PARAMETERIZATIONS

D = 3


def run(agent, s):
    return agent.run(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, progress=False)


def along_states(spec, params, states, xs, which):
    """The sensitivity to a (0) or b (1) at the end, with all Jacobians at `params`, along given states."""
    rotation = rtu_np.cells.rotation.plain_rotation(spec, params)
    lam, e = rotation.g + 1j * rotation.p, np.zeros(spec.n_hidden, complex)
    for c, c_t, x in zip(states[:-1], states[1:], xs, strict=True):
        drive = x @ (params.weights.W1 + 1j * params.weights.W2)
        shares = rotation.dlog_r * lam * c + rotation.dgamma * drive, 1j * rotation.dtheta * lam * c
        e = lam * e + shares[which]
        if "Nonlinear" in type(spec).__name__:
            e = (1 - c_t.real**2) * e.real + 1j * (1 - c_t.imag**2) * e.imag
    return e


def distances(cell, moved, move, looked_at):
    """How far sensitivities are from those of today's parameters along the same states, with RTRL and corrected."""
    found = []
    for gradient in (RTRL(), RTRL(taylor=True)):
        layer, xs = cell.build(D, gradient, seed=1), np.random.default_rng(2).standard_normal((30, D))
        states = [np.zeros(cell.n_hidden, complex)]
        for t, x in enumerate(xs):
            if t in (10, 15, 20):
                list(layer.parameters.values())[moved][...] += move
            layer.advance(x)
            states.append(layer.state["c1"] + 1j * layer.state["c2"])
        memory, spec = rtu_np.protocol.memory(layer.spec, layer._memory)[0], cell.spec(D)
        units = memory.cell.units if gradient.taylor else memory.units
        carried = units.dc1_da + 1j * units.dc2_da, units.dc1_db + 1j * units.dc2_db
        params = rtu_np.protocol.parameters(spec, layer._params)[0]
        found.append(np.abs(carried[looked_at] - along_states(spec, params, states, xs, looked_at)).max())
    return found


def check_second_order(cell, which):
    (stale, corrected), (stale_10, corrected_10) = (distances(cell, which, d, which) for d in (1e-4, 1e-3))
    assert 5 < stale_10 / stale < 20, "RTRL has an error of first order"
    assert 50 < corrected_10 / corrected < 200, "the corrected one has an error of second order"
    assert corrected < 0.1 * stale


@in_plain_python
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("form", PARAMETERIZATIONS)
@pytest.mark.parametrize("kind", [LinearRTU, NonlinearRTU])
def test_corrected_sensitivities_are_nearer_by_an_order(kind, form, which):
    ring = {"max_phase": 1.0, "r_min": 0.5, "r_max": 0.95, "parameterization": form}
    check_second_order(kind(5, "tanh", **ring), which)


@in_plain_python
def test_moves_of_another_parameter_are_not_corrected():
    """The form is diagonal: an error of first order remains."""
    cell = LinearRTU(5, "tanh", max_phase=1.0, r_min=0.5, r_max=0.95)
    for moved, looked_at in ((0, 1), (1, 0)):
        small, large = (distances(cell, moved, d, looked_at)[1] for d in (1e-4, 1e-3))
        assert 5 < large / small < 20


@in_plain_python
@pytest.mark.parametrize(
    ("old", "new", "which"),
    [
        ("L * last.dc2_da[i]", "L * last.dc1_da[i]", 0),
        ("along = squared + slope_of_log_r", "along = squared - slope_of_log_r", 0),
        ("(along + squared) + first * first", "(along + squared) - first * first", 0),
        ("- along * u1 - across * u2", "- along * u1 + across * u2", 1),
        ("- H * last.dc2_db[i]", "+ H * last.dc2_db[i]", 1),
    ],
)
def test_planted_bugs_in_the_derivatives(old, new, which, plant):
    plant("cells/second_derivatives.py", [(old, new)])
    with pytest.raises(AssertionError, match="second order"):
        check_second_order(LinearRTU(5, "tanh", max_phase=1.0, r_min=0.5, r_max=0.95), which)


@in_plain_python
def test_a_phase_that_wraps_leaves_corrected_sensitivities_of_the_same_unit():
    """The learner with wrapped phases goes on as the one without, but for the scale of theta_log's derivative."""
    cell, xs = LinearRTU(3, "tanh", max_phase=1.0), np.random.default_rng(3).standard_normal((20, D))
    for wrap in (False, True):
        layer = cell.build(D, RTRL(taylor=True), seed=1)
        theta = layer.parameters["theta_log"]
        theta[:] = np.log(2.2 * 2 * np.pi + np.arange(3) / 10)
        for t, x in enumerate(xs):
            if t == 10 and wrap:
                memory, params = (
                    rtu_np.protocol.memory(layer.spec, layer._memory)[0],
                    rtu_np.protocol.parameters(layer.spec, layer._params)[0],
                )
                flat = np.ones(layer._params.size)
                factors = rtu_np.protocol.parameters(layer.spec, flat)[0]
                rtu_np.protocol.wrap(layer.spec, params, factors)
                rtu_np.protocol.rescale(layer.spec, params, memory, factors)
            if t == 14:  # a phase moves by as much, in radians
                theta[:] = np.log(np.exp(theta) + 1e-4)
            layer.advance(x)
        gradient = {
            name: value / (np.exp(theta) if name == "theta_log" else 1)
            for name, value in layer.gradient(np.ones(6)).items()
        }
        if not wrap:
            expected = gradient
    assert np.exp(theta).max() < 4 * np.pi
    for name, value in gradient.items():
        assert_close(value, expected[name], 1e-7, name)


@in_plain_python
def test_a_learner_whose_parameters_stay_has_the_bits_of_rtrl():
    s = stream(30, D, seed=8)
    learners = [
        TDLambda(LinearRTU(4), D, optimizer=SGD(1e-300), gradient=RTRL(taylor=t), seed=2) for t in (False, True)
    ]
    assert np.array_equal(*(run(each, s) for each in learners))
    assert all(np.array_equal(learners[0].traces[name], learners[1].traces[name]) for name in learners[0].traces)
