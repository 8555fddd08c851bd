"""Variants of the unit: (26) and (27)."""

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN, SAMPLING

from derivations.calculus import Array, Parameters, by_complex_step, error
from derivations.diagonal import (
    HIGH,
    LOW,
    diagonal_material,
    diagonal_run,
    eigenvalue,
    eigenvalue_derivatives,
    every_form,
    input_scale,
    parts,
)
from derivations.units import STEPS, D, N, material, own_unit, rotation, rotation_derivatives


@every_form
@pytest.mark.parametrize("scale", ["tied", "free"])
def test_eq26_parameterisations_of_the_eigenvalue(form: str, scale: str) -> None:
    params = diagonal_material(form, 26, scale)[0]
    g, p, _ = rotation(material(26)[0])
    assert error(parts(form, params)[:2], [g, p]) < PLAIN  # all forms can say the same
    if form == "r/theta":
        params["a"][:2] = -0.3, 1.2  # clipped at both ends
    dlog_r, dtheta = eigenvalue_derivatives(form, params["a"], params["b"])
    r, theta = eigenvalue(form, params["a"], params["b"])
    lam, gamma = r * np.exp(1j * theta), input_scale(params, r)
    dgamma = -dlog_r * r**2 / gamma if scale == "tied" else 0 * gamma
    by_a = by_complex_step(lambda q: parts(form, q), params, "a")
    by_b = by_complex_step(lambda q: parts(form, q), params, "b")
    assert error(np.diag(dlog_r * lam), by_a[0] + 1j * by_a[1]) < COMPLEX_STEP
    assert error(np.diag(1j * dtheta * lam), by_b[0] + 1j * by_b[1]) < COMPLEX_STEP
    assert not by_b[2].any()
    if scale == "tied":
        assert error(np.diag(dgamma), by_a[2]) < COMPLEX_STEP
    else:
        assert not dgamma.any()
        assert not by_a[2].any()
    if form == "r/theta":
        assert (r[:2] == (LOW, HIGH)).all()
        assert not dlog_r[:2].any()
        assert not by_a[:, :2].any()
        assert dlog_r[2:].all()


def test_eq26_first_form_is_the_special_case() -> None:
    params = material(27)[0]
    g, p, gamma = rotation(params)
    dlog_r, dtheta = eigenvalue_derivatives("nu_log/theta_log", params["nu_log"], params["theta_log"])
    assert (
        error(
            np.stack([dlog_r * g, dlog_r * p, -dlog_r * (g**2 + p**2) / gamma]),
            np.stack(rotation_derivatives(params, "nu_log")),
        )
        < PLAIN
    )
    assert error(np.stack([-dtheta * p, dtheta * g]), np.stack(rotation_derivatives(params, "theta_log")[:2])) < PLAIN
    moduli = eigenvalue("nu/theta", np.array([-0.5, 0.0, 0.5]), np.zeros(3))[0]
    assert ((1 - moduli**2 > 0) == [False, False, True]).all()  # no gamma without a positive nu


def diagonal_sensitivities(form: str, params: Parameters, c_0: Array, xs: Array) -> dict[str, Array]:
    """(26), (27) at the end of a run: complex e for a, b, gamma_log, W1, W2."""
    (dlog_r, dtheta), (r, theta) = (k(form, params["a"], params["b"]) for k in (eigenvalue_derivatives, eigenvalue))
    lam, gamma, h = r * np.exp(1j * theta), input_scale(params, r), c_0[0] + 1j * c_0[1]
    dgamma = 0 * r if "gamma_log" in params else -dlog_r * r**2 / gamma
    e = {name: np.zeros(value.shape, complex) for name, value in params.items()}
    for x in xs:
        drive = x @ (params["W1"] + 1j * params["W2"])
        e["a"] = lam * e["a"] + dlog_r * lam * h + dgamma * drive
        e["b"] = lam * e["b"] + 1j * dtheta * lam * h
        e["W1"] = lam * e["W1"] + gamma * x[:, None]
        e["W2"] = 1j * e["W1"]
        if "gamma_log" in e:
            e["gamma_log"] = lam * e["gamma_log"] + gamma * drive
        h = lam * h + gamma * drive
    return e


@every_form
@pytest.mark.parametrize("scale", ["tied", "free"])
def test_eq26_eq27_sensitivities_with_any_form_and_scale(form: str, scale: str) -> None:
    params, c_0, xs, _ = diagonal_material(form, 28, scale)
    actual = diagonal_sensitivities(form, params, c_0, xs)
    for block in params:
        expected = own_unit(by_complex_step(lambda q: diagonal_run(form, q, c_0, xs), params, block))[-1]
        assert error(np.stack([actual[block].real, actual[block].imag]), expected) < COMPLEX_STEP


def test_eq27_lru_recurrence_and_its_released_error() -> None:
    params, c_0, xs, rng = diagonal_material("nu_log/theta_log", 29, "free")
    lam = np.exp(-np.exp(params["a"]) + 1j * np.exp(params["b"]))
    drive = np.exp(params["gamma_log"]) * (xs @ (params["W1"] + 1j * params["W2"]))
    h = lam**STEPS * (c_0[0] + 1j * c_0[1]) + sum(lam ** (STEPS - 1 - k) * drive[k] for k in range(STEPS))
    assert error(diagonal_run("nu_log/theta_log", params, c_0, xs)[-1], np.stack([h.real, h.imag])) < PLAIN
    params["gamma_log"] = 0.5 * np.log(1 - np.abs(lam) ** 2)  # the start
    due = diagonal_sensitivities("nu_log/theta_log", params, c_0, xs)["W1"]
    released = sum(lam ** (STEPS - 1 - k) * params["gamma_log"] * xs[k][:, None] for k in range(STEPS))
    ratio = released / due
    assert error(ratio, np.broadcast_to(params["gamma_log"] / np.exp(params["gamma_log"]), (D, N))) < COMPLEX_STEP
    assert (ratio.real < 0).all()
    assert error(released, due) > 1
    # Starting values: a state and an output of second moment 1 for white inputs of variance 1.
    n, d = 4000, 8
    r, theta = np.sqrt((np.arange(n) + 0.5) / n * 0.81), rng.uniform(0, 6.28, n)
    scaled = np.sqrt(1 - r**2) * (rng.standard_normal((d, n)) + 1j * rng.standard_normal((d, n))) / np.sqrt(2 * d)
    responses = [(r * np.exp(1j * theta)) ** k * scaled for k in range(200)]
    assert error(sum((np.abs(e) ** 2).sum(0) for e in responses).mean(), 1.0) < SAMPLING
    C_re, C_im = rng.standard_normal((2, n, 100)) / np.sqrt(n)
    output = sum(((e.real @ C_re - e.imag @ C_im) ** 2).sum(0).mean() for e in responses)
    assert error(output, 1.0) < SAMPLING
