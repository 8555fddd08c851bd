"""Streams as they come: (73) to (77)."""

import numpy as np
import pytest
from tolerances import PLAIN

from derivations.calculus import Array, error
from rtu_np import SGD, LinearRTU, Normalize, TDLambda, discounts_of

N = 40


def sums(x: Array, rho: float) -> tuple[float, float, float, float]:
    """W, Q, the mean and M from their definitions."""
    w = rho ** np.arange(len(x))[::-1]
    mean = (w * x).sum() / w.sum()
    return w.sum(), (w**2).sum(), mean, (w * (x - mean) ** 2).sum()


@pytest.mark.parametrize("half_life", [None, 5.0, 1.0])
def test_eq73_recursions_are_weighted_sums(half_life: float | None) -> None:
    x = np.random.default_rng(73).standard_normal(N) + 3
    rho = 1.0 if half_life is None else 2 ** (-1 / half_life)
    W = Q = mean = M = 0.0
    agent = TDLambda(LinearRTU(1), 1, normalize=Normalize(half_life))
    for n in range(1, N + 1):
        old, W, Q = mean, rho * W + 1, rho**2 * Q + 1
        mean += (x[n - 1] - mean) / W
        M = rho * M + (x[n - 1] - old) * (x[n - 1] - mean)
        assert error(np.array([W, Q, mean, M]), np.array(sums(x[:n], rho))) < PLAIN
        agent.step(x[n - 1 : n], 0.0)
        own = agent._arrays()
        found = [own[f"inputs.{name}"][0] for name in ("weight", "squares", "mean", "M")]
        assert error(np.array(found), np.array([W, Q, mean, M])) < PLAIN


def test_eq74_the_divisor_makes_the_variance_unbiased() -> None:
    rho, x = 0.8, 2.0 * np.random.default_rng(74).standard_normal((20_000, 12))
    variances = [M / (W - Q / W) for W, Q, _, M in (sums(row, rho) for row in x)]
    assert abs(np.mean(variances) - 4) < 5 * np.std(variances) / np.sqrt(len(x))
    assert abs(np.mean([M / W for W, _, _, M in (sums(row, rho) for row in x)]) - 4) > 0.3


def test_eq74_no_sample_is_far_and_no_unit_counts() -> None:
    x = np.r_[np.zeros(N), 1e9]
    for unit in (1.0, 2.0**-80):
        agent = TDLambda(LinearRTU(1), 1, normalize=True)
        for sample in x * unit:
            agent.step(np.array([sample]), 0.0)
        assert abs(agent._inputs._x[0] - N / np.sqrt(N + 1)) < 1e-6  # at most sqrt(W)


@pytest.mark.parametrize("missing", ["hold", "zero"])
def test_eq75_held_values_are_normalised_by_statistics_of_observed_ones(missing: str) -> None:
    x = np.array([[1.0, 5.0], [2.0, np.nan], [np.nan, 9.0], [np.nan, np.nan]])
    agent = TDLambda(LinearRTU(1), 2, normalize=True, missing=missing)
    for row in x:
        agent.step(row, 0.0)
    held = [0.5 / np.sqrt(0.5), 2 / np.sqrt(8)] if missing == "hold" else [0, 0]
    assert np.abs(agent._inputs._x - [*held, 1, 1]).max() < PLAIN


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_eq76_a_missing_cumulant_is_what_was_expected(lambda_: float) -> None:
    """Updates of an episode, for fixed parameters, sum to the lambda-return with the learner's own guess in the gap."""
    rng = np.random.default_rng(76)
    ys, w, discounts = rng.standard_normal((N + 1, 6)), rng.standard_normal(6), rng.uniform(0.8, 1.0, N + 1)
    cumulants = np.where(rng.random(N + 1) < 0.3, np.nan, rng.standard_normal(N + 1))
    values = ys @ w
    total, z = np.zeros(6), ys[0]
    for t in range(1, N + 1):
        delta = 0.0 if np.isnan(cumulants[t]) else cumulants[t] + discounts[t] * values[t] - values[t - 1]
        total, z = total + delta * z, discounts[t] * lambda_ * z + ys[t]
    expected, G = np.zeros(6), values[-1]
    for t in reversed(range(N)):
        guess = values[t] - discounts[t + 1] * values[t + 1]
        c = guess if np.isnan(cumulants[t + 1]) else cumulants[t + 1]
        G = c + discounts[t + 1] * ((1 - lambda_) * values[t + 1] + lambda_ * G)
        expected += (G - values[t]) * ys[t]
    assert error(total, expected) < PLAIN


def test_eq76_traces_go_on_and_parameters_stay() -> None:
    agents = [TDLambda(LinearRTU(2), 1, optimizer=SGD(0.1), missing="hold", seed=0) for _ in range(2)]
    for agent in agents:
        agent.run(np.ones((5, 1)), np.arange(5.0), progress=False)
    one, other = agents
    other.parameters["readout.w"][:] = one.parameters["readout.w"]
    before = {name: view.copy() for name, view in one.parameters.items()}
    one.step([2.0], np.nan)
    v_tm1 = float(other._views.memory.y @ other.parameters["readout.w"] + other.parameters["readout.b"][0])
    v_t = one._prediction_made()
    other.step([2.0], v_tm1 - other.gamma * v_t)  # what it expected
    assert all(np.array_equal(view, before[name]) for name, view in one.parameters.items())
    for name, view in one.traces.items():
        assert error(view, other.traces[name]) < PLAIN


def test_eq77_returns_do_not_depend_on_the_rows_in_between() -> None:
    rng = np.random.default_rng(77)
    times, gamma = np.sort(rng.uniform(0, 50, N)), 0.93
    c = rng.standard_normal(N)

    def returns(times: Array, c: Array) -> Array:
        discounts, G = discounts_of(times, gamma), np.zeros(len(c))
        for t in reversed(range(len(c) - 1)):
            G[t] = c[t + 1] + discounts[t + 1] * G[t + 1]
        return G

    lags = times[None, :-1] - times[:-1, None]
    expected = np.triu(gamma ** np.maximum(lags, 0)) @ c[1:]
    assert error(returns(times, c)[:-1], expected) < PLAIN

    own = c * discounts_of(times, gamma)
    more = np.sort(np.r_[times, rng.uniform(*times[[0, -1]], N)])
    dense = np.zeros(2 * N)
    dense[np.searchsorted(more, times)] = c
    fine = returns(more, dense * discounts_of(more, gamma))[np.searchsorted(more, times)]
    assert error(fine, returns(times, own)) < PLAIN
