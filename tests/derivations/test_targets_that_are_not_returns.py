"""Targets that are not returns: (78) to (82)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, by_complex_step, error

# {name: (L(o, eta), -dL/do)}
LOSSES: dict[str, tuple[Callable[[Any, float], Any], Callable[[float, float], float]]] = {
    "squared": (lambda o, y: (y - o) ** 2 / 2, lambda o, y: y - o),
    "huber": (
        lambda o, y: (y - o) ** 2 / 2 if abs((y - o).real) <= 1 else np.sign((y - o).real) * (y - o) - 0.5,
        lambda o, y: max(-1, min(y - o, 1)),
    ),
    "logistic": (lambda o, y: np.log(1 + np.exp(o)) - y * o, lambda o, y: y - 1 / (1 + np.exp(-o))),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_eq78_the_way_down_a_loss(loss: str) -> None:
    value, descent = LOSSES[loss]
    rng = np.random.default_rng(78)
    for o, y in rng.standard_normal((50, 2)) * 2:
        y = float(y > 0) if loss == "logistic" else y
        slope = by_complex_step(lambda p, y=y: np.atleast_1d(value(p["o"][0], y)), {"o": np.array([o])}, "o")  # type: ignore[misc]
        assert error(descent(o, y), -slope[0, 0]) < COMPLEX_STEP


def moments(values: Array, window: int) -> tuple[Array, Array]:
    """(79) of all values: the mean and the variance after each."""
    mean, variance, out = 0.0, 0.0, []
    for k, value in enumerate(values):
        n, before = min(k + 1, window), mean
        mean = before + (value - before) / n
        variance += ((value - before) * (value - mean) - variance) / n
        out.append((mean, variance))
    return np.array(out)[:, 0], np.array(out)[:, 1]


def test_eq79_mean_and_variance_of_a_window() -> None:
    values = np.random.default_rng(79).standard_normal(300) * 3 + 5
    mean, variance = moments(values, 100)
    assert error(mean[99], values[:100].mean()) < PLAIN
    assert error(variance[99], values[:100].var()) < PLAIN
    weights = np.concatenate([np.full(100, 1 / 100), np.full(200, 1 / 100)]) * np.minimum(
        1, (1 - 1 / 100) ** (299 - np.maximum(np.arange(300), 99))
    )
    assert error(weights.sum(), 1.0) < PLAIN
    assert error(mean[-1], weights @ values) < PLAIN
    assert error(variance[-1], weights @ (values - weights @ values) ** 2) < PLAIN


def test_eq79_a_prediction_in_units_is_the_inverse_of_a_target_in_those_of_the_output() -> None:
    base, mu, sigma, target = 3.0, -0.2, 4.0, 11.0
    eta = (target - base - mu) / sigma
    assert error(base + mu + sigma * eta, target) < PLAIN


def test_eq80_changes_have_mean_square_one() -> None:
    level = np.random.default_rng(80).standard_normal(200).cumsum() * 9 + 400
    change, q, inputs = np.diff(level), 0.0, []
    for n, each in enumerate(change, 1):
        q += (each**2 - q) / n
        inputs.append(each / np.sqrt(q))
        assert error(q, np.mean(change[:n] ** 2)) < PLAIN
    assert error(np.mean(np.square(inputs[-50:])), np.mean(change[-50:] ** 2) / np.mean(change**2)) < 0.2
    other, _ = moments(1e6 * change, 1000)
    assert error(other, 1e6 * moments(change, 1000)[0]) < PLAIN


def test_eq81_one_backward_pass_for_all_targets() -> None:
    """For features that are any function of the cell's parameters."""
    rng = np.random.default_rng(81)
    mix, W, b = rng.standard_normal((4, 6)), rng.standard_normal((3, 4)), rng.standard_normal(3)
    params, targets = {"w": rng.standard_normal(6), "W": W, "b": b}, rng.standard_normal(3)

    def features(p: Any) -> Array:
        return np.tanh(mix @ p["w"]) + (mix @ p["w"]) ** 2

    def loss(p: Any) -> Array:
        return np.atleast_1d(np.sum((targets - p["W"] @ features(p) - p["b"]) ** 2) / 2)

    y = features(params)
    epsilon, jacobian = targets - W @ y - b, by_complex_step(features, params, "w")
    down = {name: -by_complex_step(loss, params, name)[0] for name in params}
    assert error(sum(e * jacobian.T @ row for e, row in zip(epsilon, W, strict=True)), down["w"]) < COMPLEX_STEP
    assert error(jacobian.T @ (epsilon @ W), down["w"]) < COMPLEX_STEP
    assert error(np.outer(epsilon, y), down["W"]) < COMPLEX_STEP
    assert error(epsilon, down["b"]) < COMPLEX_STEP


def delayed(alpha: float, h: int, way: str, steps: int = 40) -> Array:
    """(82) for a linear prediction of given features; the weights at the end."""
    rng = np.random.default_rng(82)
    ys, targets, w = rng.standard_normal((steps, 3)), rng.standard_normal(steps + h), np.ones(3)
    made: list[float] = []
    for t in range(steps):
        made.append(float(w @ ys[t]))
        if t >= h:
            first = t - h
            o = made[first] if way == "stored" else float(w @ ys[first])
            w = w + alpha * (targets[t] - o) * ys[first]
    return w


def test_eq82_stored_and_behind_differ_by_the_square_of_the_step() -> None:
    assert np.array_equal(delayed(0.1, 0, "stored"), delayed(0.1, 0, "behind"))
    gaps = [np.abs(delayed(alpha, 4, "stored") - delayed(alpha, 4, "behind")).max() for alpha in (1e-3, 1e-4)]
    assert gaps[0] > 1e-6
    assert error(gaps[0] / gaps[1], 100.0) < 0.05


def test_eq82_behind_is_least_mean_squares_on_delayed_pairs() -> None:
    rng = np.random.default_rng(82)
    ys, targets, h, alpha = rng.standard_normal((40, 3)), rng.standard_normal(44), 4, 0.05
    w = np.ones(3)
    for t in range(h, 40):
        w = (np.eye(3) - alpha * np.outer(ys[t - h], ys[t - h])) @ w + alpha * targets[t] * ys[t - h]
    assert error(delayed(alpha, h, "behind"), w) < PLAIN
