"""Distributions over actions: values against definitions, gradients by the complex step, draws by counting."""

from math import erf

import numpy as np
import pytest
from oracles import entropy, log_probability, log_softmax, sigma_of
from tolerances import COMPLEX_STEP, FLOAT32, PLAIN, assert_close

from rtu_np.cells.initializers import Orthogonal, SparseUniform
from rtu_np.control import policies
from rtu_np.control.policies import Gaussian
from rtu_np.control.softmax import Softmax
from rtu_np.jit import njit
from rtu_np.learning import heads
from rtu_np.learning.heads import HeadSpec

POLICIES = {"softmax": Softmax(), "softplus": Gaussian(), "free": Gaussian("free")}
STEP = 1e-30


def complex_step(function, o):
    return np.array([function(o + 1j * STEP * row).imag / STEP for row in np.eye(o.size)])


@njit
def call(spec, o, noise, action, along_log_probability, along_entropy, do, numbers):
    policies.sample(spec, o, noise, 0, action)
    numbers[0] = policies.log_probability(spec, o, action)
    numbers[1] = policies.entropy(spec, o)
    policies.gradient(spec, o, action, along_log_probability, along_entropy, do)


@pytest.fixture(params=POLICIES)
def policy(request):
    return POLICIES[request.param]


def drawn(policy, n=3, seed=0, dtype="float64"):
    """(spec, outputs, noise)"""
    rng, spec = np.random.default_rng(seed), policy.spec(n)
    o, noise = rng.standard_normal(spec.n_linear + spec.n_free).astype(dtype), np.zeros(spec.n_noise, dtype)
    policy.draw(noise, rng)
    return spec, o, noise


@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients(policy, seed):
    spec, o, noise = drawn(policy, seed=seed)
    action, do, numbers = np.zeros(spec.n_action), np.zeros_like(o), np.zeros(2)
    call(spec, o, noise, action, 0.7, -0.3, do, numbers)
    expected = np.array([log_probability(policy, o, action), entropy(policy, o)])
    assert_close(numbers, expected, PLAIN)
    plain = np.array([policies.plain_log_probability(spec, o, action), policies.plain_entropy(spec, o)])
    assert_close(plain, expected, PLAIN)
    along = complex_step(lambda o: 0.7 * log_probability(policy, o, action) - 0.3 * entropy(policy, o), o)
    assert_close(do, along, COMPLEX_STEP)
    again = complex_step(
        lambda o: 0.7 * policies.plain_log_probability(spec, o, action) - 0.3 * policies.plain_entropy(spec, o), o
    )
    assert_close(again, along, COMPLEX_STEP)


def test_float32(policy):
    arrays = {}
    for dtype in ("float64", "float32"):
        spec, o, noise = drawn(policy, dtype=dtype)
        noise[:] = np.linspace(0.3, 0.6, noise.size)
        action, do, numbers = np.zeros(spec.n_action, dtype), np.zeros_like(o), np.zeros(2, dtype)
        call(spec, o, noise, action, do.dtype.type(0.7), do.dtype.type(-0.3), do, numbers)
        arrays[dtype] = np.concatenate([action, numbers, do])
    assert_close(arrays["float32"], arrays["float64"], FLOAT32)


def test_a_planted_bug_is_found(policy):
    """The entropy's gradient with the other sign."""
    spec, o, noise = drawn(policy)
    action, do, numbers = np.zeros(spec.n_action), np.zeros_like(o), np.zeros(2)
    call(spec, o, noise, action, 0.7, 0.3, do, numbers)
    along = complex_step(lambda o: 0.7 * log_probability(policy, o, action) - 0.3 * entropy(policy, o), o)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(do, along, COMPLEX_STEP)


def test_softmax_draws_by_probability():
    spec, o, _ = drawn(Softmax(), 4)
    draws = np.zeros(4)
    action, noise = np.zeros(1), np.zeros(1)
    for k in range(10_000):
        noise[0] = (k + 0.5) / 10_000
        policies.sample(spec, o, noise, 0, action)
        draws[int(action[0])] += 1
    assert np.abs(draws - 10_000 * np.exp(log_softmax(o))).max() <= 1
    noise[0] = np.nextafter(1, 0)
    policies.sample(spec, o, noise, 0, action)
    assert action[0] == 3


@pytest.mark.parametrize("name", ["softplus", "free"])
def test_gaussian_draws_have_their_mean_and_deviation(name):
    policy = POLICIES[name]
    spec, o, _ = drawn(policy, 2)
    rng, action, noise = np.random.default_rng(0), np.zeros(2), np.zeros(2)
    draws = []
    for _ in range(4000):
        policy.draw(noise, rng)
        policies.sample(spec, o, noise, 0, action)
        draws.append((action - o[:2]) / sigma_of(policy, o))
    below = (np.array(draws) < 1).mean(0)
    assert np.abs(below - 0.5 * (1 + erf(np.sqrt(0.5)))).max() < 0.02


def test_modes():
    spec, o, _ = drawn(Softmax(), 5)
    action = np.zeros(1)
    policies.mode(spec, o, action)
    assert action[0] == o.argmax()
    spec, o, _ = drawn(Gaussian(), 3)
    action = np.zeros(3)
    policies.mode(spec, o, action)
    assert np.array_equal(action, o[:3])


def test_extreme_outputs_stay_finite(policy):
    spec, o, noise = drawn(policy)
    action, do, numbers = np.zeros(spec.n_action), np.zeros_like(o), np.zeros(2)
    for size in (30.0, -30.0):
        o[:] = size * np.sign(o)
        call(spec, o, noise, action, 1.0, 1.0, do, numbers)
        assert np.isfinite(do).all()
        assert np.isfinite(numbers).all()


def test_unknown_deviation():
    with pytest.raises(ValueError, match=r"std is 'tanh': expected one of 'softplus', 'free'"):
        Gaussian("tanh")


def test_head_and_its_gradients():
    spec, rng = HeadSpec(5, 3, 2), np.random.default_rng(0)
    flat = rng.standard_normal(200)
    params, _ = heads.parameters(spec, flat)
    y, dout, decay = rng.standard_normal(5), rng.standard_normal(5), 0.6
    out, dy, trace = np.zeros(5), np.zeros(5), rng.standard_normal(200)
    z, _ = heads.parameters(spec, trace)
    before = [view.copy() for view in z]
    heads.outputs(params, y, out)
    assert_close(out, np.concatenate([params.W @ y + params.b, params.log_std]), PLAIN)
    heads.feature_gradient(params, dout, dy)
    assert_close(dy, dout[:3] @ params.W, PLAIN)
    heads.accumulate(y, dout, decay, z)
    for view, old, gradient in zip(z, before, (np.outer(dout[:3], y), dout[:3], dout[3:]), strict=True):
        assert_close(view, decay * old + gradient, PLAIN)


def test_sparse_and_orthogonal_starts():
    rng = np.random.default_rng(0)
    W = SparseUniform(0.9).weights((385, 7), rng)
    assert ((W != 0).sum(0) == 385 - 347).all()
    assert 0.9 < np.abs(W).max() * np.sqrt(385) <= 1
    assert ((SparseUniform(0.9).weights((4, 6), rng) != 0).sum(0) == 1).all()
    for shape in ((7, 4), (4, 7)):
        W = Orthogonal(2.0).weights(shape, rng)
        gram = W.T @ W if shape[0] > shape[1] else W @ W.T
        assert_close(gram, 4 * np.eye(4), PLAIN)
