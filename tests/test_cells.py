"""Each cell: kernels against plain NumPy, RTRL against BPTT, autograd and dense RTRL, and identities that must hold."""

import autograd
import autograd.numpy as anp
import numpy as np
import oracles
import pytest
from tolerances import AUTOGRAD, COMPLEX_STEP, FLOAT32, PLAIN, assert_close

from rtu_np import LinearRTU, NonlinearRTU, cells
from rtu_np.jit import compile_for

N, D, STEPS = 5, 3, 60


def float64(views):
    return type(views)(*(np.array(view, np.float64) for view in views))


def views_of(layer):
    """(parameters, memory) of a layer, copied."""
    params = cells.parameters(layer.spec, layer._params)[0]
    return float64(params), float64(cells.memory(layer.spec, layer._memory)[0])


def start(layer, rng):
    for view in layer.state.values():
        view[:] = rng.standard_normal(view.shape)


def test_kernels_equal_plain_numpy(kind, activation, rng):
    layer = kind(N, activation=activation).build(D, seed=1)
    start(layer, rng)
    params, memory = views_of(layer)
    for x in rng.standard_normal((STEPS, D)):
        y = layer.advance(x)
        memory = cells.plain_advance(layer.spec, params, memory, x)
    dy = rng.standard_normal(2 * N)
    gradient, dx = cells.plain_gradient(layer.spec, params, memory, dy)
    assert_close(y, memory.y, PLAIN, "y")
    for name, value in layer.gradient(dy).items():
        assert_close(value, getattr(gradient, name), PLAIN, name)
    assert_close(layer.input_gradient(dy), dx, PLAIN, "dx")


def _one_step_back(spec, params, state_tm1, x, state_t, dy, dstate, out, dx):
    cells.backward(spec, params, state_tm1, x, state_t, dy, dstate, out, dx)


def test_backward_kernel_equals_plain_numpy_and_finite_complex_steps(kind, activation, rng):
    layer = kind(N, activation=activation).build(D, seed=2)
    params, _ = views_of(layer)
    State = type(cells.state(layer.spec, np.zeros(1000))[0])
    state_tm1 = State(*rng.standard_normal((2, N)))
    x, dy = rng.standard_normal(D), rng.standard_normal(2 * N)
    state_t, _ = cells.plain_forward(layer.spec, params, state_tm1, x)
    dstate = State(*rng.standard_normal((2, N)))
    expected = cells.plain_backward(layer.spec, params, state_tm1, x, state_t, dy, dstate)

    out, dx, adjoint = type(params)(*(np.zeros_like(p) for p in params)), np.zeros(D), State(*map(np.copy, dstate))
    arguments = (layer.spec, params, state_tm1, x, state_t, dy, adjoint, out, dx)
    compile_for(_one_step_back, layer.spec)(*arguments)
    for name, actual, wanted in (("dstate", adjoint, expected[0]), ("gradient", out, expected[1])):
        for field in wanted._fields:
            assert_close(getattr(actual, field), getattr(wanted, field), PLAIN, f"{name}.{field}")
    assert_close(dx, expected[2], PLAIN, "dx")

    def along(direction):
        h = 1e-30
        moved = type(params)(*(p + 1j * h * d for p, d in zip(params, direction, strict=True)))
        c, y = cells.plain_forward(layer.spec, moved, state_tm1, x)
        return (y @ dy + c.c1 @ dstate.c1 + c.c2 @ dstate.c2).imag / h

    direction = type(params)(*(rng.standard_normal(p.shape) for p in params))
    inner = sum((g * d).sum() for g, d in zip(expected[1], direction, strict=True))
    assert_close(np.array([inner]), np.array([along(direction)]), COMPLEX_STEP)


def test_rtrl_equals_dense_rtrl_from_the_forward_pass_alone(kind, activation, rng):
    layer = kind(N, activation=activation, r_max=0.95).build(D, seed=3)
    state = rng.standard_normal(2 * N)
    layer.state["c1"][:], layer.state["c2"][:] = np.split(state, 2)
    w = rng.standard_normal(2 * N)

    def cell(p, state, x):
        return oracles.rtu(kind is NonlinearRTU, activation, p, state, x)

    params = {**{k: v.copy() for k, v in layer.parameters.items()}, "w": w, "b": np.zeros(1)}
    oracle = oracles.TDOracle(cell, params, 2 * N, 0.9, oracles.Optimizer("SGD", step_size=1.0))
    oracle.clear()
    oracle.state = state
    for x in rng.standard_normal((STEPS, D)):
        y = layer.advance(x)
        _, gradient = oracle.gradient(x)
    assert_close(y, gradient["w"], PLAIN, "y")
    for name, value in layer.gradient(w).items():
        assert_close(value, gradient[name], COMPLEX_STEP, name)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_equals_autograd(kind, activation, seed):
    rng = np.random.default_rng(seed)
    layer = kind(N, activation=activation).build(D, seed=seed)
    inputs, w = rng.standard_normal((STEPS, D)), rng.standard_normal(2 * N)
    f = {"tanh": anp.tanh, "relu": lambda z: anp.maximum(z, 0.0), "identity": lambda z: z}[activation]

    def value(p):
        c = anp.zeros(2 * N)
        r, theta = anp.exp(-anp.exp(p["nu_log"])), anp.exp(p["theta_log"])
        gamma = anp.sqrt(1 - r**2)
        for x in inputs:
            c1, c2 = c[:N], c[N:]
            z1 = r * anp.cos(theta) * c1 - r * anp.sin(theta) * c2 + gamma * anp.dot(x, p["W1"])
            z2 = r * anp.cos(theta) * c2 + r * anp.sin(theta) * c1 + gamma * anp.dot(x, p["W2"])
            c = anp.concatenate([z1, z2])
            c = f(c) if kind is NonlinearRTU else c
        return anp.dot(w, c if kind is NonlinearRTU else f(c))

    for x in inputs:
        layer.advance(x)
    expected = autograd.grad(value)({name: view.copy() for name, view in layer.parameters.items()})
    for name, actual in layer.gradient(w).items():
        assert_close(actual, expected[name], AUTOGRAD, name)


def test_float32_follows_float64(kind, activation, rng):
    wide, narrow = (kind(N, activation=activation).build(D, seed=4, dtype=dtype) for dtype in ("float64", "float32"))
    inputs = rng.standard_normal((STEPS, D))
    dy = rng.standard_normal(2 * N)
    for name, view in wide.parameters.items():
        view[:] = narrow.parameters[name]
    for x in inputs:
        y = narrow.advance(x)
        expected = wide.advance(x)
    assert y.dtype == np.float32
    assert_close(y, expected, FLOAT32)
    gradient = wide.gradient(dy)
    for name, value in narrow.gradient(dy).items():
        assert value.dtype == np.float32
        assert_close(value, gradient[name], FLOAT32, name)


def test_a_layer_of_n_units_is_n_layers_of_one(kind, rng):
    whole = kind(2).build(D, seed=5)
    parts = [kind(1).build(D, seed=6) for _ in range(2)]
    for i, part in enumerate(parts):
        for name, view in part.parameters.items():
            view[:] = whole.parameters[name][..., i : i + 1]
    for x in rng.standard_normal((STEPS, D)):
        y = whole.advance(x)
        ys = [part.advance(x) for part in parts]
    assert_close(y.reshape(2, 2), np.array(ys).T, PLAIN, "y")
    dy = rng.standard_normal((2, 2))
    gradient = whole.gradient(dy.ravel())
    for i, part in enumerate(parts):
        for name, value in part.gradient(dy[:, i]).items():
            assert_close(value, gradient[name][..., i : i + 1], PLAIN, name)


def test_with_the_identity_both_cells_are_one(rng):
    linear, nonlinear = (cell(N, activation="identity").build(D, seed=8) for cell in (LinearRTU, NonlinearRTU))
    for x in rng.standard_normal((STEPS, D)):
        assert_close(linear.advance(x), nonlinear.advance(x), PLAIN)
    dy = rng.standard_normal(2 * N)
    expected = nonlinear.gradient(dy)
    for name, value in linear.gradient(dy).items():
        assert_close(value, expected[name], PLAIN, name)


def test_reset_leaves_nothing_behind(kind, rng):
    fresh, used = kind(N).build(D, seed=9), kind(N).build(D, seed=9)
    for x in rng.standard_normal((STEPS, D)):
        used.advance(x)
    before = {name: view.copy() for name, view in used.parameters.items()}
    used.reset()
    dy = rng.standard_normal(2 * N)
    for x in rng.standard_normal((3, D)):
        assert np.array_equal(used.advance(x), fresh.advance(x))
    for name, value in used.gradient(dy).items():
        assert np.array_equal(value, fresh.gradient(dy)[name])
        assert np.array_equal(before[name], used.parameters[name])


def test_the_ring_is_uniform_and_within_its_bounds(kind):
    layer = kind(40_000, r_min=0.4, r_max=0.8, max_phase=2.0).build(1, seed=10)
    r = np.exp(-np.exp(layer.parameters["nu_log"]))
    theta = np.exp(layer.parameters["theta_log"])
    assert 0.4 <= r.min() < r.max() <= 0.8
    assert 0 < theta.min() < theta.max() <= 2.0
    for uniform in ((r**2 - 0.4**2) / (0.8**2 - 0.4**2), theta / 2.0):
        gaps = np.abs(np.sort(uniform) - np.linspace(0, 1, r.size))
        assert gaps.max() < 1.95 / np.sqrt(r.size)  # Kolmogorov-Smirnov, 0.1 %


def test_weights_are_lecun_normal(kind):
    layer = kind(1000).build(50, seed=11)
    for name in ("W1", "W2"):
        weights = layer.parameters[name]
        assert abs(weights.std() * np.sqrt(50) - 1) < 0.02
        assert abs(weights.mean()) < 0.003
    assert not np.array_equal(layer.parameters["W1"], layer.parameters["W2"])


def test_layer_takes_any_real_input_and_compiles_once(kind):
    layers = [kind(4).build(2, seed=12) for _ in range(5)]
    wide = np.array([[1.0, 9.0, -2.0, 9.0]])
    readonly = np.array([1.0, -2.0])
    readonly.flags.writeable = False
    inputs = [[1, -2], np.array([1, -2]), wide[0, ::2], readonly, np.array([1, -2], np.float32)]
    outputs = [layer.advance(x) for layer, x in zip(layers, inputs, strict=True)]
    assert all(np.array_equal(y, outputs[0]) for y in outputs)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_hidden": 0}, ValueError, "n_hidden is 0: expected an integer of at least 1"),
        ({"n_hidden": 2.5}, TypeError, "n_hidden is 2.5"),
        ({"n_hidden": 3, "activation": "gelu"}, ValueError, "activation is 'gelu': expected one of 'identity'"),
        ({"n_hidden": 3, "r_min": 0.9, "r_max": 0.5}, ValueError, "r_min is 0.9 and r_max 0.5"),
        ({"n_hidden": 3, "r_min": 1.0}, ValueError, "gamma = sqrt"),
        ({"n_hidden": 3, "r_max": 1.5}, ValueError, "r_max is 1.5"),
        ({"n_hidden": 3, "max_phase": 0.0}, ValueError, "max_phase is 0.0"),
        ({"n_hidden": 3, "max_phase": "pi"}, TypeError, "max_phase is 'pi'"),
    ],
)
def test_settings_out_of_range(kind, settings, error, message):
    with pytest.raises(error, match=message):
        kind(**settings)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([1.0], ValueError, r"x has shape \(1,\): expected \(3,\)"),
        ([[1.0, 2.0, 3.0]], ValueError, r"x has shape \(1, 3\)"),
        ([1.0, np.nan, 3.0], ValueError, r"x\[1\] is nan: expected finite numbers"),
        ([1.0, np.inf, 3.0], ValueError, r"x\[1\] is inf"),
        (["a", "b", "c"], TypeError, "x has dtype"),
        ([1.0, 2j, 3.0], TypeError, "not complex"),
    ],
)
def test_bad_inputs_change_nothing(kind, x, error, message):
    layer = kind(4).build(3, seed=13)
    layer.advance([1.0, 2.0, 3.0])
    before = layer._memory.copy()
    with pytest.raises(error, match=message):
        layer.advance(x)
    assert np.array_equal(layer._memory, before)


def test_bad_dy(kind):
    layer = kind(4).build(3)
    layer.advance([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"dy has shape \(4,\): expected \(8,\)"):
        layer.gradient(np.ones(4))
    with pytest.raises(ValueError, match=r"dy\[2\] is nan"):
        layer.input_gradient([0, 0, np.nan, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_underflowing_decay_is_named(kind, dtype):
    layer = kind(4).build(3, dtype=dtype)
    layer.parameters["nu_log"][2] = -800.0
    with pytest.raises(ValueError, match=r"nu_log\[2\] is -800.0: exp\(nu_log\) underflows"):
        layer.advance([1.0, 2.0, 3.0])


@pytest.mark.parametrize(("n_inputs", "dtype", "error"), [(0, "float64", ValueError), (3, "int8", ValueError)])
def test_bad_build(kind, n_inputs, dtype, error):
    with pytest.raises(error):
        kind(4).build(n_inputs, dtype=dtype)
