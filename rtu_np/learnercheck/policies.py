"""Policies from their definitions: what an action's objective is, and which action a random number draws."""

from typing import Any

import numpy as np

from rtu_np.control.exploration import Epsilon
from rtu_np.control.policies import Gaussian
from rtu_np.learnercheck.body import derivatives


def objective_gradient(policy: Any, choices: list[int], o: np.ndarray, action: np.ndarray, weight: float) -> np.ndarray:
    """d/do [log pi(action) + weight H(pi)], by complex step."""

    def objective(p: dict[str, np.ndarray]) -> np.ndarray:
        return np.atleast_1d(_value(policy, choices, p["o"], action, weight))

    return derivatives(objective, {"o": o})["o"][0]


def _value(policy: Any, choices: list[int], o: np.ndarray, action: np.ndarray, weight: float) -> Any:
    if isinstance(policy, Gaussian):
        mean, s = np.split(o, 2)
        sigma = np.exp(s) if policy.std == "free" else np.log1p(np.exp(s))
        log_density = -(((action - mean) / sigma) ** 2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2
        return (log_density + weight * (np.log(sigma) + (1 + np.log(2 * np.pi)) / 2)).sum()
    total = 0.0
    for part, chosen in zip(np.split(o, np.cumsum(choices)[:-1]), action, strict=True):
        log_p = part - np.log(np.exp(part - part.real.max()).sum()) - part.real.max()
        total = total + log_p[int(chosen)] - weight * (np.exp(log_p) * log_p).sum()
    return total


def drawn(policy: Any, choices: list[int], o: np.ndarray, noise: np.ndarray, steps: int) -> np.ndarray:
    """The action that `noise` draws."""
    if isinstance(policy, Epsilon):
        epsilon = policy.start + (policy.end - policy.start) * min(steps / policy.steps, 1.0)
        explores = noise[0] < epsilon
        return np.array([min(int(noise[1] * o.size), o.size - 1) if explores else int(np.argmax(o))])
    if isinstance(policy, Gaussian):
        mean, s = np.split(o, 2)
        return mean + (np.exp(s) if policy.std == "free" else np.log1p(np.exp(s))) * noise
    parts = np.split(o, np.cumsum(choices)[:-1])
    return np.array([_first_above(part, u) for part, u in zip(parts, noise, strict=True)])


def _first_above(o: np.ndarray, u: float) -> int:
    p = np.exp(o - o.max())
    return min(int(np.searchsorted(np.cumsum(p / p.sum()), u, side="right")), o.size - 1)


def as_input(policy: Any, choices: list[int], executed: np.ndarray) -> np.ndarray:
    """The action as the next input has it: one-hot for each choice, or as it was executed."""
    if isinstance(policy, Gaussian):
        return executed
    return np.concatenate([np.eye(n)[int(chosen)] for n, chosen in zip(choices, executed, strict=True)])
