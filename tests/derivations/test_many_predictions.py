"""Many predictions on one body: (65) to (72)."""

import numpy as np
import pytest
from tolerances import PLAIN

from derivations.calculus import Array, Parameters, by_complex_step, error

M, N, D, T, LAMBDA = 4, 3, 2, 12, 0.7


def features(params: Parameters, x: Array) -> Array:
    """y_t of a small body whose units do not act on one another: c <- r c + u x, y = [tanh c, c^2]."""
    c = np.zeros(N, complex)
    for x_t in x:
        c = np.tanh(params["a"]) * c + params["U"] @ x_t
    return np.concatenate([np.tanh(c), c**2])


@pytest.fixture
def stream() -> dict[str, Array]:
    rng = np.random.default_rng(65)
    return {
        "x": rng.standard_normal((T, D)),
        "c": rng.standard_normal((T, M)),
        "discount": rng.uniform(0.5, 0.95, (T, M)),
        "ratio": rng.uniform(0.2, 2.0, (T, M)),
    }


BODY = {"a": np.array([0.3, 0.9, 1.4]), "U": np.array([[0.5, -0.2], [0.1, 0.7], [-0.4, 0.3]])}
ROWS = np.random.default_rng(66).standard_normal((M, 2 * N))
BIASES = np.random.default_rng(67).standard_normal(M)


def jacobians(x: Array) -> list[dict[str, Array]]:
    """dy_t/dpsi by the forward pass alone."""
    return [{k: by_complex_step(lambda p, t=t: features(p, x[: t + 1]), BODY, k) for k in BODY} for t in range(T)]


def values(x: Array) -> Array:
    return np.array([ROWS @ features(BODY, x[: t + 1]).real + BIASES for t in range(T)])


def errors(s: dict[str, Array]) -> Array:
    """(18) of each prediction; the first row has none."""
    v = values(s["x"])
    return np.concatenate([np.zeros((1, M)), s["c"][1:] + s["discount"][1:] * v[1:] - v[:-1]])


def traces(s: dict[str, Array], gradients: list[Array], decays: Array) -> list[Array]:
    """[z_t] for one prediction, as the definition has it: the sum of gradients, each times all decays after it."""
    return [sum(np.prod(decays[k + 1 : t + 1]) * gradients[k] for k in range(t + 1)) for t in range(T)]


def test_eq65_eq66_one_jacobian_of_the_features_serves_all_predictions(stream: dict[str, Array]) -> None:
    """The body's direction is the derivative of sum_j delta_j v_j(t - 1), with all past gradients decayed."""
    deltas, jacobian = errors(stream), jacobians(stream["x"])
    for name in BODY:
        recursive, total = np.zeros((M, *BODY[name].shape)), 0.0
        whole = 0.0
        for t in range(T):
            total = total + np.tensordot(deltas[t], recursive, 1)  # (65), SGD with alpha = 1
            gradient = np.tensordot(ROWS, jacobian[t][name], 1)  # (66)
            decay = LAMBDA * stream["discount"][t]
            recursive = decay.reshape(M, *[1] * (recursive.ndim - 1)) * recursive + gradient
        for j in range(M):
            row = ROWS[j]
            own = [
                by_complex_step(
                    lambda p, t=t, row=row: np.atleast_1d(row @ features(p, stream["x"][: t + 1])), BODY, name
                )[0]
                for t in range(T)
            ]
            z = traces(stream, own, LAMBDA * stream["discount"][:, j])
            whole = whole + sum(deltas[t, j] * z[t - 1] for t in range(1, T))
        assert error(total, whole) < PLAIN


def test_eq67_one_trace_of_the_features_if_decays_are_equal_and_the_readout_is_fixed(stream: dict[str, Array]) -> None:
    stream["discount"][:] = stream["discount"][:, :1]
    deltas, jacobian = errors(stream), jacobians(stream["x"])
    decays = LAMBDA * stream["discount"][:, 0]
    for name in BODY:
        shared = traces(stream, [each[name] for each in jacobian], decays)
        own = [traces(stream, [np.tensordot(row, each[name], 1) for each in jacobian], decays) for row in ROWS]
        for t in range(2, T):
            one_by_one = sum(deltas[t, j] * own[j][t - 1] for j in range(M))
            assert error(np.tensordot(deltas[t] @ ROWS, shared[t - 1], 1), one_by_one) < PLAIN
        unit = shared[-1].reshape(2, N, *BODY[name].shape)
        for i in range(N):  # a feature's trace has entries for its own unit alone
            assert np.any(unit[:, i, i])
            assert not np.any(np.delete(unit[:, i], i, axis=1))


def test_eq68_decay_zero_is_one_backward_pass_for_all_errors(stream: dict[str, Array]) -> None:
    deltas, jacobian = errors(stream), jacobians(stream["x"])
    for name in BODY:
        for t in range(2, T):  # at the first step, a has no past to act on

            def objective(p: Parameters, t: int = t) -> Array:
                return np.atleast_1d(deltas[t] @ (ROWS @ features(p, stream["x"][:t])))

            direction = np.tensordot(deltas[t] @ ROWS, jacobian[t - 1][name], 1)
            assert error(direction, by_complex_step(objective, BODY, name)[0]) < PLAIN


def test_eq69_ratios_in_the_traces_are_products_along_the_way(stream: dict[str, Array]) -> None:
    deltas, ratio, discount = errors(stream)[:, 0], stream["ratio"][:, 0], stream["discount"][:, 0]
    gradients = [np.concatenate([features(BODY, stream["x"][: t + 1]).real, [1.0]]) for t in range(T)]
    z, recursive = np.zeros(2 * N + 1), 0.0
    for t in range(T):
        recursive = recursive + ratio[t] * deltas[t] * z
        z = ratio[t] * discount[t] * LAMBDA * z + gradients[t]
    whole = 0.0
    for k in range(T):
        for t in range(k + 1, T):
            weight = np.prod(ratio[k + 1 : t + 1]) * np.prod(LAMBDA * discount[k + 1 : t])
            whole = whole + weight * deltas[t] * gradients[k]
    assert error(recursive, whole) < PLAIN


def test_eq69_expects_the_error_of_the_other_policy() -> None:
    mu, pi, delta = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.3, 0.6]), np.array([1.0, -2.0, 5.0])
    assert error((mu * (pi / mu) * delta).sum(), (pi * delta).sum()) < PLAIN


def test_eq70_equal_predictions_step_m_times_as_far(stream: dict[str, Array]) -> None:
    z, delta, alpha = stream["x"].ravel(), 0.3, 0.01
    assert error(sum(alpha * delta * z for _ in range(M)), M * alpha * delta * z) < PLAIN


def bounded(z: Array, delta: float, alpha: float, kappa: float, m: int = 1) -> Array:
    return alpha * delta * z / max(1.0, alpha * m * kappa * max(abs(delta), 1.0) * np.abs(z).sum())


@pytest.mark.parametrize("alpha", [1e-4, 1.0])
def test_eq71_shares_of_the_bound(alpha: float) -> None:
    rng, kappa = np.random.default_rng(71), 2.0
    z, deltas = rng.standard_normal((M, 9)), 3 * rng.standard_normal(M)
    steps = [bounded(each, delta, alpha, kappa, M) for each, delta in zip(z, deltas, strict=True)]
    assert sum(np.abs(step).sum() for step in steps) <= 1 / kappa * (1 + PLAIN)
    equal = sum(bounded(z[0], deltas[0], alpha, kappa, M) for _ in range(M))
    assert error(equal, bounded(z[0], deltas[0], M * alpha, kappa)) < PLAIN  # as (70)


def adam(a: list[Array]) -> Array:
    """The sum of the steps (22) for these estimates."""
    mean = square = total = 0.0
    for t, each in enumerate(a, 1):
        mean, square = 0.9 * mean + 0.1 * each, 0.99 * square + 0.01 * each**2
        total = total + (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.99**t)) + 1e-300)
    return total


def test_eq72_the_body_sees_the_square_of_the_sum(stream: dict[str, Array]) -> None:
    z = np.random.default_rng(72).standard_normal((T, 5))
    one = adam([delta * each for delta, each in zip(stream["c"][:, 0], z, strict=True)])
    equal = adam([M * delta * each for delta, each in zip(stream["c"][:, 0], z, strict=True)])
    assert error(equal, one) < PLAIN
    apart = sum(adam([delta * each for delta, each in zip(stream["c"][:, j], z, strict=True)]) for j in range(M))
    whole = adam([delta * each for delta, each in zip(stream["c"].sum(1), z, strict=True)])
    assert error(whole, apart) > 0.1, "the moments of each prediction would give another step"
