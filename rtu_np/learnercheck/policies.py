"""Policies from their definitions: log-probability, entropy, and which action a random number draws."""

from typing import Any

import numpy as np

from rtu_np.control.exploration import Epsilon
from rtu_np.control.policies import Gaussian
from rtu_np.learnercheck.body import derivatives


def objective_gradient(policy: Any, choices: list[int], o: np.ndarray, action: np.ndarray, weight: float) -> np.ndarray:
    """d/do [log pi(action) + weight H(pi)], by complex step."""

    def objective(p: dict[str, np.ndarray]) -> np.ndarray:
        more = weight * entropy(policy, choices, p["o"])
        return np.atleast_1d(log_probability(policy, choices, p["o"], action) + more)

    return derivatives(objective, {"o": o})["o"][0]


def log_probability(policy: Any, choices: list[int], o: np.ndarray, action: np.ndarray) -> Any:
    """log pi(action); `o` may be complex."""
    if isinstance(policy, Gaussian):
        mean, sigma = _mean_and_deviation(policy, o)
        return (-(((action - mean) / sigma) ** 2) / 2 - np.log(sigma) - np.log(2 * np.pi) / 2).sum()
    return sum(log_p[int(chosen)] for log_p, chosen in zip(_log_probabilities(choices, o), action, strict=True))


def entropy(policy: Any, choices: list[int], o: np.ndarray) -> Any:
    """H(pi); `o` may be complex."""
    if isinstance(policy, Gaussian):
        return (np.log(_mean_and_deviation(policy, o)[1]) + (1 + np.log(2 * np.pi)) / 2).sum()
    return -sum((np.exp(log_p) * log_p).sum() for log_p in _log_probabilities(choices, o))


def _mean_and_deviation(policy: Any, o: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, s = np.split(o, 2)
    return mean, np.exp(s) if policy.std == "free" else np.log1p(np.exp(s))


def _log_probabilities(choices: list[int], o: np.ndarray) -> list[np.ndarray]:
    """Those of each choice."""
    parts = np.split(o, np.cumsum(choices)[:-1])
    return [part - np.log(np.exp(part - part.real.max()).sum()) - part.real.max() for part in parts]


def drawn(policy: Any, choices: list[int], o: np.ndarray, noise: np.ndarray, steps: int) -> np.ndarray:
    """The action that `noise` draws."""
    if isinstance(policy, Epsilon):
        epsilon = policy.start + (policy.end - policy.start) * min(steps / policy.steps, 1.0)
        explores = noise[0] < epsilon
        return np.array([min(int(noise[1] * o.size), o.size - 1) if explores else int(np.argmax(o))])
    if isinstance(policy, Gaussian):
        mean, sigma = _mean_and_deviation(policy, o)
        return mean + sigma * noise
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
