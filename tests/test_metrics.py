"""Returns, errors and skill, against their definitions written as sums."""

import numpy as np
import pytest
from tolerances import LEARNING, assert_close

from rtu_np import LinearRTU, TDLambda, metrics


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_returns_are_discounted_sums(rng):
    c, gamma = rng.standard_normal(60), 0.9
    expected = [sum(gamma ** (k - t - 1) * c[k] for k in range(t + 1, 60)) for t in range(60)]
    assert_close(metrics.returns(c, gamma), np.array(expected), LEARNING)
    two = metrics.returns(np.column_stack([c, 2 * c]), gamma)
    assert_close(two, np.column_stack([expected, 2 * np.array(expected)]), LEARNING)


def test_returns_with_discounts_and_ends(rng):
    """The discount of row k multiplies what follows c_k; behind an end, nothing follows."""
    c, d = rng.standard_normal(40), rng.random(40)
    ends = rng.random(40) < 0.1
    assert ends.sum() > 1
    expected = np.zeros(40)
    for t in range(40):
        factor = 1.0
        for k in range(t + 1, 40):
            if ends[k - 1]:
                break
            expected[t] += factor * c[k]
            factor *= d[k]
    assert_close(metrics.returns(c, discounts=d, ends=ends), expected, LEARNING)


def test_returns_are_what_td_learns():
    """A constant cumulant has the return 1 / (1 - gamma), which a learner with an input of ones finds."""
    learner = TDLambda(LinearRTU(4), n_inputs=1, gamma=0.5)
    predictions = learner.run(np.ones((5000, 1)), np.ones(5000), progress=False)
    error = metrics.return_error(predictions, np.ones(5000), 0.5)[-100:-50]
    assert abs(metrics.rmse(error)) < 0.02


@pytest.mark.parametrize("window", [None, 1, 7, 30, 500])
def test_running_errors_are_those_of_the_rows_so_far(rng, window):
    p, y = rng.standard_normal((2, 30, 2))
    y[rng.random(y.shape) < 0.3] = np.nan
    running = metrics.rmse(p, y, running=True, window=window)
    for t in range(30):
        rows = slice(0 if window is None else max(0, t + 1 - window), t + 1)
        for j in range(2):
            known = ~np.isnan(y[rows, j])
            expected = np.sqrt(np.mean((p[rows, j] - y[rows, j])[known] ** 2)) if known.any() else np.nan
            assert np.isclose(running[t, j], expected, rtol=1e-12, equal_nan=True)
    if window is None:
        assert np.array_equal(metrics.rmse(p, y), running[-1])


def test_a_large_error_leaves_the_window_without_a_trace():
    error = np.full(20, 1e-3)
    error[2] = 1e12
    assert metrics.rmse(error, running=True, window=5)[-1] == pytest.approx(1e-3, rel=1e-12)


def test_skill_compares_the_rows_that_both_predict(rng):
    y = rng.standard_normal(50).cumsum()
    baseline = metrics.last_value(y, horizon=3)
    assert np.isnan(baseline[:3]).all()
    assert np.array_equal(baseline[3:], y[:-3])
    p = np.where(np.isnan(baseline), 1e9, y + 0.5 * (baseline - y))
    assert metrics.skill(p, y, baseline) == pytest.approx(0.75)
    assert metrics.skill(p, y, baseline, running=True)[-1] == pytest.approx(0.75)
    assert metrics.skill(baseline, y, baseline) == 0.0
    assert np.isnan(metrics.skill(y, y, y))


def test_baselines_hold_what_is_missing():
    y = np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, 4.0], [np.nan, np.nan]])
    assert np.array_equal(metrics.last_value(y), [[np.nan, np.nan], [1, np.nan], [1, 2], [3, 4]], equal_nan=True)
    mean = metrics.exponential_mean(y, 0.5)
    assert np.array_equal(mean, [[np.nan, np.nan], [1, np.nan], [1, 2], [2, 3]], equal_nan=True)


def test_angles_are_exact_where_a_cosine_has_no_digits(rng):
    a, b = rng.standard_normal((2, 3, 5))
    b -= (a * b).sum() / (a * a).sum() * a  # at a right angle
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    for degrees in (1e-9, 1e-3, 30.0, 90.0, 179.0):
        turned = np.cos(np.radians(degrees)) * a + np.sin(np.radians(degrees)) * b
        assert metrics.angle(a, 7 * turned) == pytest.approx(degrees, rel=1e-6)
    assert metrics.angle(a, -a) == 180
    assert metrics.angle(a, np.zeros((3, 5))) == 90
    assert metrics.angle(np.zeros(2), np.zeros(2)) == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.returns([1.0, 2.0], 1.5), "gamma is 1.5"),
        (lambda: metrics.returns([1.0, 2.0], discounts=[0.5]), "discounts has shape"),
        (lambda: metrics.returns([1.0, 2.0], discounts=[0.5, 2.0]), r"discounts\[1\] is 2.0"),
        (lambda: metrics.returns([1.0, 2.0], ends=[True]), "ends has shape"),
        (lambda: metrics.return_error([1.0], [1.0, 2.0]), "predictions has shape"),
        (lambda: metrics.rmse([1.0], [1.0, 2.0]), "predictions has shape"),
        (lambda: metrics.rmse(["a"], [1.0]), "predictions"),
        (lambda: metrics.rmse([1.0], [1.0], window=3), "window is 3"),
        (lambda: metrics.rmse([1.0], [1.0], running=True, window=0), "window is 0"),
        (lambda: metrics.skill([1.0], [1.0], [1.0, 2.0]), "baseline has shape"),
        (lambda: metrics.angle([1.0], [1.0, 2.0]), r"other has shape \(2,\): expected \(1,\)"),
        (lambda: metrics.angle(["a"], [1.0]), "gradient"),
        (lambda: metrics.rmse([], []), r"targets has shape \(0,\): expected one row or more"),
        (lambda: metrics.last_value([1.0], horizon=0), "horizon is 0"),
        (lambda: metrics.exponential_mean([1.0], 1.0), "decay is 1.0"),
    ],
)
def test_a_bad_argument_is_named(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()
