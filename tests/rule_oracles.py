"""Step-size rules from the equations of their papers, each over one vector of weights; no code of the package.

A mean is written as a sum over all of the past, and a step size by its logarithm, so a recurrence that is wrong in the
package shows. `step` gets the gradient of the step before, the TD error, and the discount of the traces, and returns
the change of the weights.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def fading(values: list, beta: float) -> Any:
    """sum (1 - beta) beta^age value"""
    return sum((1 - beta) * beta ** (len(values) - 1 - k) * value for k, value in enumerate(values))


class Rule:
    def __init__(self, settings: Any, gamma: float, lambda_: float) -> None:
        self.s, self.lambda_, self.horizon, self.t = settings, lambda_, gamma * lambda_, 0
        self.seen: set[str] = set()  # branches that a test is to reach
        self.squares: list = []
        self.cut()

    def cut(self) -> None:
        """As at the end of an episode."""
        self.z: Any = 0.0

    def step(self, w: np.ndarray, g: np.ndarray, delta: float, discount: float) -> np.ndarray:
        self.t += 1
        self.z = discount * self.lambda_ * self.z + g
        return self.change(g, self.z, delta)

    def noted(self, bound: float) -> float:
        self.seen.add("free" if bound < 1 else "bounded")
        return max(1.0, bound)


class SGD(Rule):
    def change(self, g, z, delta):
        return self.s.step_size * delta * z


class ObGD(Rule):
    def change(self, g, z, delta):
        s = self.s
        return s.step_size / self.noted(s.step_size * s.kappa * max(abs(delta), 1) * np.abs(z).sum()) * delta * z


class Adam(Rule):
    def change(self, g, z, delta):
        s = self.s
        self.squares.append(delta * z)
        mean = fading(self.squares, s.beta1) / (1 - s.beta1**self.t)
        square = fading([g**2 for g in self.squares], s.beta2) / (1 - s.beta2**self.t)
        return s.step_size * mean / (np.sqrt(square) + s.epsilon)


class RMSProp(Rule):
    def change(self, g, z, delta):
        self.squares.append((delta * z) ** 2)
        return self.s.step_size * delta * z / (np.sqrt(fading(self.squares, self.s.beta)) + self.s.epsilon)


class AdaptiveObGD(Rule):
    def change(self, g, z, delta):
        s = self.s
        self.squares.append((delta * z) ** 2)
        root = np.sqrt(fading(self.squares, s.beta) / (1 - s.beta**self.t) + s.epsilon)
        size = np.abs(z / root).sum()
        return s.step_size / self.noted(s.step_size * s.kappa * max(abs(delta), 1) * size) * delta * z / root


class Adaptive(Rule):
    def change(self, g, z, delta):
        self.squares.append(g**2)
        self.seen.add("free" if abs(delta) < 1 else "bounded")
        v = fading(self.squares, self.horizon)
        return self.s.step_size * np.clip(delta, -1, 1) * z / (np.sqrt(v) + self.s.epsilon)


class Intentional(Rule):
    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.changes: list = []
        self.errors: list = []
        self.sizes: list = []

    def change(self, g, z, delta):
        s, t = self.s, self.t
        self.squares.append(g**2 if s.statistics == "gradient" else z**2)
        m = np.sqrt(fading(self.squares, s.beta) / (1 - s.beta**t)) + 1e-8
        self.changes.append((g**2 / m).sum())
        ages = self.horizon ** np.arange(t)[::-1]
        mean = (ages * self.changes).sum() / ages.sum()
        step = s.step_size / max(np.sqrt(mean * (z**2 / m).sum()), 1e-8)
        self.errors.append(delta**2)
        q = s.clip_beta**t + fading(self.errors, s.clip_beta)
        largest = s.clip * np.sqrt(q / (1 - s.clip_beta**t))
        self.seen.add("free" if abs(delta) < largest else "bounded")
        error = np.sign(delta) * min(abs(delta), largest)
        self.sizes.append(abs(error))
        if s.normalize:
            error /= max(fading(self.sizes, s.clip_beta) / (1 - s.clip_beta**t), 1e-12)
        return step * error * z / m


class TIDBD(Rule):
    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.log: Any = np.log(self.s.step_size)
        self.h: Any = 0.0

    def change(self, g, z, delta):
        self.log = np.clip(self.log + self.s.meta_step * delta * g * self.h, -20, 2)
        a = np.exp(self.log)
        a = a / self.noted(self.s.kappa * max(abs(delta), 1) * (a * np.abs(z)).sum())
        self.h = self.h * np.clip(1 - a * g * z, 0, 1) + a * delta * z
        return a * delta * z


class Autostep(TIDBD):
    v: Any = 0.0

    def change(self, g, z, delta):
        meta, a = delta * g * self.h, np.exp(self.log)
        self.v = np.maximum(np.abs(meta), self.v + a * np.abs(g * z) / self.s.tau * (np.abs(meta) - self.v))
        ratio = np.divide(meta, self.v, out=np.zeros_like(g), where=self.v > 0)
        a = np.exp(np.clip(self.log + self.s.meta_step * ratio, -20, 2))
        a = np.maximum(a / self.noted((a * np.abs(g * z)).sum()), np.exp(-20.0))
        self.log = np.log(a)
        self.h = self.h * np.clip(1 - a * g * z, 0, 1) + a * delta * z
        return a * delta * z


class SwiftTD(Rule):
    """As the paper has it: with the value at t - 1 by the weights of that time."""

    def __init__(self, settings: Any, *rates: float) -> None:
        self.log: Any = np.log(settings.step_size)
        self.h = self.h_old = np.float64(0.0)
        super().__init__(settings, *rates)

    def cut(self) -> None:
        self.z = self.p = self.z_bar = 0.0
        self.w_old: Any = None

    def step(self, w, g, delta, discount):
        s, decay = self.s, discount * self.lambda_
        if self.w_old is None:  # the weights have not changed since the value at t - 1
            self.w_old, self.h_old = w, self.h
        v_delta = (w - self.w_old) @ g
        error = delta + v_delta  # r + gamma v_t - v_old
        self.z, self.p, self.z_bar = decay * self.z, decay * self.p, decay * self.z_bar
        rate = (np.exp(self.log) * g**2).sum()
        self.seen.add("free" if rate < s.eta else "bounded")
        T, z_delta = (self.z * g).sum(), s.eta / max(s.eta, rate) * np.exp(self.log) * g
        self.z = self.z + z_delta * (1 - T)
        self.p = self.p + self.h_old * g
        self.z_bar = self.z_bar + z_delta * (1 - T - self.z_bar * g)
        h_temp = self.h - self.h_old * g * (self.z - z_delta) - self.h * z_delta * g
        if rate > s.eta:
            h_temp, self.h, self.z_bar = (np.where(g == 0, x, 0.0) for x in (h_temp, self.h + 0 * g, self.z_bar))
            self.log = self.log + g**2 * np.log(s.decay)
        change = error * self.z - z_delta * v_delta
        self.log = np.minimum(self.log + s.meta_step / np.exp(self.log) * (error - v_delta) * self.p, np.log(s.eta))
        self.h_old, self.h = self.h, h_temp + error * self.z_bar - z_delta * v_delta
        self.w_old = w
        return change


class Network:
    """The rules of a network's parameters, by the beginning of their names."""

    def __init__(self, settings: Any, gamma: float, lambda_: float, renamed: dict | None = None) -> None:
        blocks = settings.rules() if type(settings).__name__ == "Blocks" else {"": settings}
        self.rules = {}
        for name, rule in blocks.items():
            own = getattr(rule, "lambda_", lambda_)
            rule = getattr(rule, "rule", rule)
            kind = globals()[type(rule).__name__]
            self.rules[(renamed or {}).get(name, name) + "." * bool(name)] = kind(rule, gamma, own)

    def cut(self) -> None:
        for rule in self.rules.values():
            rule.cut()

    def step(self, params: dict, gradient: dict, delta: float, discount: float) -> None:
        """Change `params`."""
        for prefix, rule in self.rules.items():
            names = [name for name in params if name.startswith(prefix)]
            w, g = (np.concatenate([np.ravel(part[name]) for name in names]) for part in (params, gradient))
            change, start = rule.step(w, g, delta, discount), 0
            for name in names:
                size = params[name].size
                params[name] = params[name] + change[start : start + size].reshape(params[name].shape)
                start += size

    @property
    def traces(self) -> dict:
        return {prefix: rule.z for prefix, rule in self.rules.items()}


class AsOptimizer:
    """`Network` where an oracle of an agent wants an optimiser. `latest()` is (gradient, whether it is the first of its
    episode, the discount of the traces before it)."""

    def __init__(self, network: Network, latest: Callable) -> None:
        self.network, self.latest = network, latest

    def step(self, params: dict, traces: dict, delta: float) -> None:
        gradient, first, discount = self.latest()
        if first:
            self.network.cut()
        self.network.step(params, gradient, delta, discount)
