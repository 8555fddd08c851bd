"""Lecture 7: the gradient of a layer of nonlinear recurrent trace units by hand, and ten bugs to plant into it.

The bugs stand at the end of this file. Make your guesses first.
"""

import inspect
from collections.abc import Callable

import numpy as np


def pair(first, second):
    """The two parts of complex numbers, along the last axis but one."""
    return np.stack([first, second], axis=-2)


def turn(g, p, a):
    """Multiply by the eigenvalue g + ip: turn by theta, and shrink to r, (4)."""
    return pair(g * a[..., 0, :] - p * a[..., 1, :], g * a[..., 1, :] + p * a[..., 0, :])


def forward(w, c, x):
    """One step, (4)-(6), (8). The state c (2, n) is also what is seen of it."""
    nu, theta = np.exp(w["nu_log"]), np.exp(w["theta_log"])
    g, p, gamma = np.exp(-nu) * np.cos(theta), np.exp(-nu) * np.sin(theta), np.sqrt(-np.expm1(-2 * nu))
    c = np.tanh(turn(g, p, c) + gamma * pair(x @ w["W1"], x @ w["W2"]))
    return c, c


def gradient(w, start, xs, dy, resets=()):
    """The gradient of dy . c_T by RTRL. The sensitivities e have the shape of the parameters, with a pair for each."""
    nu, theta = np.exp(w["nu_log"]), np.exp(w["theta_log"])
    g, p, gamma = np.exp(-nu) * np.cos(theta), np.exp(-nu) * np.sin(theta), np.sqrt(-np.expm1(-2 * nu))
    zero = {name: pair(0 * array, 0 * array) for name, array in w.items()}
    c, e = start, zero
    for t, x in enumerate(xs):
        if t in resets:
            c, e = start, zero
        u, drive = turn(g, p, c), pair(x @ w["W1"], x @ w["W2"])
        c = np.tanh(u + gamma * drive)
        x_scaled = gamma * x[:, None]
        direct = {
            "nu_log": -nu * u + nu * np.exp(-2 * nu) / gamma * drive,  # (9)
            "theta_log": theta * pair(-u[1], u[0]),  # (10)
            "W1": pair(x_scaled, 0 * x_scaled),  # (12)
            "W2": pair(0 * x_scaled, x_scaled),  # (13)
        }
        e = {name: (1 - c**2) * (turn(g, p, e[name]) + direct[name]) for name in w}  # (11)
    return {name: (dy * e[name]).sum(axis=-2) for name in w}  # (15)


def changed(function: Callable, *replacements: tuple[str, str]) -> Callable:
    """A function of this file with parts of its source replaced: (what stands there, what is written instead)."""
    source = inspect.getsource(function)
    for old, new in replacements:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} stands {source.count(old)} times in {function.__name__}: expected once")
        source = source.replace(old, new)
    names = dict(globals())
    exec(source, names)
    return names[function.__name__]


def planted(bug: int) -> Callable:
    """`gradient` with the bug of this number."""
    return changed(gradient, BUGS[bug][1])


# The cause, as a letter in the lecture's list, and what is written instead of what.
BUGS: dict[int, tuple[str, tuple[str, str]]] = {
    1: ("G", ("theta * pair(-u[1], u[0])", "pair(-u[1], u[0])")),
    2: ("I", ("x_scaled = gamma * x", "x_scaled = np.log(gamma) * x")),
    3: ("B", ("            c, e = start, zero", "            c = start")),
    4: ("A", ("-nu * u + nu * np.exp(-2 * nu) / gamma * drive", "-nu * u")),
    5: ("C", ("turn(g, p, e[name]) + direct[name]", "direct[name]")),
    6: (
        "J",
        ("        c = np.tanh(u + gamma * drive)", "        c = np.tanh(u + gamma * drive)\n        u = turn(g, p, c)"),
    ),
    7: ("D", ("    return {name", '    e["W2"] = pair(-e["W1"][..., 1, :], e["W1"][..., 0, :])\n    return {name')),
    8: ("H", ("turn(g, p, e[name])", "turn(g, -p, e[name])")),
    9: ("E", ("(1 - c**2)", "(1 - np.tanh(c) ** 2)")),
    10: ("F", ("e = {name: (", "e = {name: e[name] + (")),
}
