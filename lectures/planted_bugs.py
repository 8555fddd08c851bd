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


def planted(bug: int) -> Callable:
    """`gradient` with the bug of this number; 0 is without any."""
    source = inspect.getsource(gradient)
    for old, new in BUGS[bug][1] if bug else ():
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in gradient"
        source = source.replace(old, new)
    names = dict(globals())
    exec(source, names)
    return names["gradient"]


BUGS: dict[int, tuple[str, list[tuple[str, str]]]] = {
    1: ("theta", [("theta * pair(-u[1], u[0])", "pair(-u[1], u[0])")]),
    2: ("sign nu", [("-nu * u + nu", "nu * u + nu")]),
    3: ("gamma const", [("-nu * u + nu * np.exp(-2 * nu) / gamma * drive", "-nu * u")]),
    4: ("turn the wrong way", [("turn(g, p, e[name])", "turn(g, -p, e[name])")]),
    5: ("slope lost", [("(1 - c**2) * (turn", "(turn")]),
    6: ("trunc 1", [("turn(g, p, e[name]) + direct[name]", "direct[name]")]),
    7: ("W2 = i W1", [('"W2": pair(0 * x_scaled, x_scaled)', '"W2": pair(0 * x_scaled, x_scaled)'), ("    return {name", "    e['W2'] = pair(-e['W1'][..., 1, :], e['W1'][..., 0, :])\n    return {name")]),
    8: ("reset", [("c, e = start, zero\n        u", "c = start\n        u")]),
    9: ("new state", [("        x_scaled", "        u = turn(g, p, c)\n        x_scaled")]) ,
    10: ("slope at value", [("(1 - c**2) * (turn", "(1 - np.tanh(c)**2) * (turn")]),
    11: ("dy", [("(dy * e[name])", "e[name]")]),
    12: ("slope only", [("(1 - c**2) * (turn(g, p, e[name]) + direct[name])", "turn(g, p, e[name]) + (1-c**2) * direct[name]")]),
    13: ("gamma twice", [("/ gamma * drive", "* drive")]),
    14: ("log gamma", [("x_scaled = gamma", "x_scaled = np.log(gamma)")]),
    15: ("swapped", [('"W1": pair(x_scaled, 0 * x_scaled)','"W1": pair(0 * x_scaled, x_scaled)'),('"W2": pair(0 * x_scaled, x_scaled)','"W2": pair(x_scaled, 0 * x_scaled)')]),
    16: ("+=", [("e = {name: (1 - c**2) * (turn","e = {name: e[name] + (1 - c**2) * (turn")]),
    17: ("last step", [("in enumerate(xs)", "in enumerate(xs[:-1])")]),
    18: ("dgamma sqrt", [("np.exp(-2 * nu) / gamma","np.exp(-nu) / gamma")]),
    19: ("nu factor", [("-nu * u + nu * np.exp(-2 * nu) / gamma * drive","-u + np.exp(-2 * nu) / gamma * drive")]),
    20: ("only r", [("turn(g, p, e[name])","turn(np.hypot(g, p), 0 * p, e[name])")]),
}
