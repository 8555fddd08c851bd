"""Units with their eigenvalue in any of four forms and their scale tied or free, (26) and (27)."""

import numpy as np
import pytest

from derivations.calculus import Array, Parameters
from derivations.units import N, material

FORMS = ("nu_log/theta_log", "nu_log/theta", "nu/theta", "r/theta")
every_form = pytest.mark.parametrize("form", FORMS)
LOW, HIGH = 1e-6, 1 - 1e-6


def eigenvalue(form: str, a: Array, b: Array) -> tuple[Array, Array]:
    """The table before (26): r, theta."""
    modulus, phase = form.split("/")
    clipped = np.where(a.real <= LOW, LOW, np.where(a.real >= HIGH, HIGH, a))
    r = {"nu_log": lambda: np.exp(-np.exp(a)), "nu": lambda: np.exp(-a), "r": lambda: clipped}[modulus]()
    return r, np.exp(b) if phase == "theta_log" else b


def eigenvalue_derivatives(form: str, a: Array, b: Array) -> tuple[Array, Array]:
    """The table before (26): d log r / da, d theta / db."""
    modulus, phase = form.split("/")
    if modulus == "r":
        dlog_r = np.where((a > LOW) & (a < HIGH), 1 / a, 0)
    else:
        dlog_r = -np.exp(a) if modulus == "nu_log" else -np.ones_like(a)
    return dlog_r, np.exp(b) if phase == "theta_log" else np.ones_like(b)


def input_scale(params: Parameters, r: Array) -> Array:
    """(27) where the scale is free, (6) where it is tied."""
    return np.exp(params["gamma_log"]) if "gamma_log" in params else np.sqrt(1 - r**2)


def parts(form: str, params: Parameters) -> Array:
    """g, p, gamma, from their definitions: (3, N)."""
    r, theta = eigenvalue(form, params["a"], params["b"])
    return np.stack([r * np.cos(theta), r * np.sin(theta), input_scale(params, r)])


def diagonal_material(form: str, seed: int, scale: str) -> tuple[Parameters, Array, Array, np.random.Generator]:
    """As `material`, with the eigenvalues in another form, and gamma_log where the scale is free."""
    old, c_0, xs, rng = material(seed)
    nu, theta = np.exp(old["nu_log"]), np.exp(old["theta_log"])
    modulus, phase = form.split("/")
    params = {
        "a": {"nu_log": np.log(nu), "nu": nu, "r": np.exp(-nu)}[modulus],
        "b": np.log(theta) if phase == "theta_log" else theta,
        "W1": old["W1"],
        "W2": old["W2"],
    }
    return params | ({"gamma_log": rng.uniform(-2, 0.5, N)} if scale == "free" else {}), c_0, xs, rng


def diagonal_run(form: str, params: Parameters, c: Array, xs: Array) -> Array:
    """States of (4) with g, p, gamma from `parts`, in real numbers: (STEPS, 2, N)."""
    g, p, gamma = parts(form, params)
    cs = []
    for x in xs:
        drive1, drive2 = gamma * (x @ params["W1"]), gamma * (x @ params["W2"])
        c = np.stack([g * c[0] - p * c[1] + drive1, g * c[1] + p * c[0] + drive2])
        cs.append(c)
    return np.array(cs)
