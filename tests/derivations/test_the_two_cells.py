"""The two cells: (7) and (8), with (3) and (4)."""

import math
from collections.abc import Callable

import numpy as np
from tolerances import PLAIN

from derivations.calculus import error
from derivations.units import STEPS, N, every_f, f, material, run


@every_f
def test_eq03_eq04_eq07_linear_unit_is_one_complex_number(kind: str) -> None:
    params, c_0, xs, _ = material(7)
    lam = np.exp(-np.exp(params["nu_log"]) + 1j * np.exp(params["theta_log"]))
    drive = np.sqrt(1 - np.abs(lam) ** 2) * (xs @ (params["W1"] + 1j * params["W2"]))
    c = c_0[0] + 1j * c_0[1]
    summed = lam**STEPS * c + sum(lam ** (STEPS - 1 - k) * drive[k] for k in range(STEPS))
    cs, ys = run("linear", kind, params, c_0, xs)
    for t in range(STEPS):
        c = lam * c + drive[t]
        assert error(cs[t], [c.real, c.imag]) < PLAIN
        assert error(ys[t], f(kind, np.array([c.real, c.imag]))) < PLAIN
    assert error(c, summed) < PLAIN


@every_f
def test_eq08_nonlinear_unit_applies_f_within_the_recurrence(kind: str) -> None:
    params, c_0, xs, _ = material(8)
    cs, ys = run("nonlinear", kind, params, c_0, xs)
    scalar_f: dict[str, Callable[[float], float]] = {
        "identity": lambda a: a,
        "relu": lambda a: max(a, 0.0),
        "tanh": math.tanh,
    }
    expected = np.zeros_like(cs)
    for i in range(N):  # unit by unit, in complex scalars
        lam = np.exp(-np.exp(params["nu_log"][i]) + 1j * np.exp(params["theta_log"][i]))
        w, c = params["W1"][:, i] + 1j * params["W2"][:, i], complex(*c_0[:, i])
        for t, x in enumerate(xs):
            z = lam * c + np.sqrt(1 - abs(lam) ** 2) * (w @ x)
            c = complex(scalar_f[kind](z.real), scalar_f[kind](z.imag))
            expected[t, :, i] = c.real, c.imag
    assert error(cs, expected) < PLAIN
    assert error(ys, expected) < PLAIN
    assert (error(cs, run("linear", kind, params, c_0, xs)[0]) < PLAIN) == (kind == "identity")
