"""Optimisers as one step from given moments, written from their equations in plain NumPy.

`change(settings, z, g, delta, moments)` returns (the change of the weights, the moments behind it), for the traces z
and the latest gradient g as flat vectors. `moments` are named as the learner names them; those that only store what
has been computed (as the direction of a step) are left out of the answer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rtu_np.learnercheck import mistakes

Moments = dict[str, np.ndarray]
Change = tuple[np.ndarray, Moments]


class Seen(NamedTuple):
    """What a rule gets."""

    z: np.ndarray
    g: np.ndarray
    delta: float
    moments: Moments
    horizon: float  # gamma lambda
    restart: bool  # whether traces were cleared since the latest update
    mistake: str = ""


def sgd(s: Any, at: Seen) -> Change:
    return s.step_size * at.delta * at.z, {}


def obgd(s: Any, at: Seen) -> Change:
    error = abs(at.delta) if at.mistake == mistakes.BOUND else max(abs(at.delta), 1.0)
    bound = s.step_size * s.kappa * error * np.abs(at.z).sum()
    return s.step_size / max(1.0, bound) * at.delta * at.z, {}


def _mean(old: Any, beta: Any, new: Any) -> Any:
    return beta * old + (1 - beta) * new


def adam(s: Any, at: Seen) -> Change:
    g, m = at.delta * at.z, at.moments
    beta = np.array([s.beta1, s.beta2])
    correction = _mean(m["bias_correction"], beta, 1.0)
    mean, square = _mean(m["mean"], s.beta1, g), _mean(m["square"], s.beta2, g**2)
    by = np.ones(2) if at.mistake == mistakes.NO_CORRECTION else correction
    change = s.step_size * (mean / by[0]) / (np.sqrt(square / by[1]) + s.epsilon)
    return change, {"mean": mean, "square": square, "bias_correction": correction}


def rmsprop(s: Any, at: Seen) -> Change:
    g = at.delta * at.z
    square = _mean(at.moments["square"], s.beta, g**2)
    root = np.sqrt(at.moments["square"] if at.mistake == mistakes.OLD_MOMENT else square)
    return s.step_size * g / (root + s.epsilon), {"square": square}


def adaptive_obgd(s: Any, at: Seen) -> Change:
    m, square = at.moments, _mean(at.moments["square"], s.beta, (at.delta * at.z) ** 2)
    correction = 1.0 if at.mistake == mistakes.NO_CORRECTION else _mean(m["scalars"][0], s.beta, 1.0)
    u = at.z / np.sqrt(square / correction + s.epsilon)
    bound = s.step_size * s.kappa * max(abs(at.delta), 1.0) * np.abs(u).sum()
    step = s.step_size / max(1.0, bound) * at.delta
    return step * u, {"square": square, "scalars": np.array([correction, step])}


def adaptive(s: Any, at: Seen) -> Change:
    square = _mean(at.moments["square"], at.horizon, at.g**2)
    clipped = np.clip(at.delta, -1.0, 1.0)
    return s.step_size * clipped * at.z / (np.sqrt(square) + s.epsilon), {"square": square, "error": clipped}


def intentional(s: Any, at: Seen) -> Change:
    correction, mean, count, error, error_correction, magnitude, _ = at.moments["scalars"]
    correction = _mean(correction, s.beta, 1.0)
    square = _mean(at.moments["square"], s.beta, at.g**2 if s.statistics == "gradient" else at.z**2)
    m = np.sqrt(square / correction) + 1e-8
    count = at.horizon * count + 1
    mean += ((at.g**2 / m).sum() - mean) / count
    error = _mean(1.0 if error_correction == 0 else error, s.clip_beta, at.delta**2)
    error_correction = _mean(error_correction, s.clip_beta, 1.0)
    most = s.clip * np.sqrt(error / error_correction)
    delta = np.clip(at.delta, -most, most)
    if s.normalize:
        magnitude = _mean(magnitude, s.clip_beta, abs(delta))
        delta /= max(magnitude / error_correction, 1e-12)
    step = s.step_size / max(np.sqrt(mean * (at.z**2 / m).sum()), 1e-8) * delta
    scalars = np.array([correction, mean, count, error, error_correction, magnitude, step])
    return step * at.z / m, {"square": square, "scalars": scalars}


def tidbd(s: Any, at: Seen) -> Change:
    h = at.moments["by_log"]
    log = np.clip(_log_steps(s, at) + s.meta_step * at.delta * at.g * h, -20.0, 2.0)
    a = np.exp(log)
    used = a / max(1.0, s.kappa * max(abs(at.delta), 1.0) * (a * np.abs(at.z)).sum())
    return _with_step_sizes(at, used, {"step_sizes": a})


def autostep(s: Any, at: Seen) -> Change:
    meta, a = at.delta * at.g * at.moments["by_log"], np.exp(_log_steps(s, at))
    old, reach = at.moments["scale"], np.abs(at.g * at.z)
    scale = np.maximum(np.abs(meta), old + a * reach / s.tau * (np.abs(meta) - old))
    ratio = np.divide(meta, scale, out=np.zeros_like(scale), where=scale > 0)
    a = np.exp(np.clip(np.log(a) + s.meta_step * ratio, -20.0, 2.0))
    a = np.maximum(a / max(1.0, (a * reach).sum()), np.exp(-20.0))
    return _with_step_sizes(at, a, {"step_sizes": a, "scale": scale})


def _log_steps(s: Any, at: Seen) -> np.ndarray:
    a = at.moments["step_sizes"]
    return np.log(np.where(a == 0, s.step_size, a))


def _with_step_sizes(at: Seen, a: np.ndarray, more: Moments) -> Change:
    change = a * at.delta * at.z
    h = at.moments["by_log"] * np.clip(1 - a * at.g * at.z, 0.0, 1.0) + change
    return change, {**more, "by_log": h}


def swift_td(s: Any, at: Seen) -> Change:
    """`at.z` are the decayed traces, which hold step sizes; the answer has the new ones as the moment `z`."""
    m, phi, decay = at.moments, at.g, at.moments["decay"]
    a = np.where(m["step_sizes"] == 0, s.step_size, m["step_sizes"])
    h, h_old = m["h"], m["h"] if at.restart else m["h_old"]
    V = 0.0 if at.restart else m["dw"] @ phi
    z, p, zbar = at.z, decay * m["p"], decay * m["zbar"]
    rate, q = (a * phi**2).sum(), z @ phi
    zd = s.eta / max(s.eta, rate) * a * phi
    z, p, zbar_new = z + zd * (1 - q), p + h_old * phi, zbar + zd * (1 - q - zbar * phi)
    h_new, h_kept = h - h_old * phi * (z - zd) - h * zd * phi, h
    if rate > s.eta:
        a = a * s.decay ** (phi**2)
        h_new, h_kept, zbar_new = (np.where(phi == 0, each, 0.0) for each in (h_new, h_kept, zbar_new))
    delta = at.delta + V
    dw = delta * z - zd * V
    a = np.clip(a * np.exp(s.meta_step / a * (delta - V) * p), 1e-12, s.eta)
    found = {"step_sizes": a, "p": p, "zbar": zbar_new, "h": h_new + delta * zbar_new - zd * V, "h_old": h_kept}
    return dw, {**found, "dw": dw, "z": z}


RULES: dict[str, Callable[[Any, Seen], Change]] = {
    "SGD": sgd,
    "ObGD": obgd,
    "Adam": adam,
    "RMSProp": rmsprop,
    "AdaptiveObGD": adaptive_obgd,
    "Adaptive": adaptive,
    "Intentional": intentional,
    "TIDBD": tidbd,
    "Autostep": autostep,
    "SwiftTD": swift_td,
}
