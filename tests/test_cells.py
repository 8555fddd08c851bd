"""Each cell: kernels against plain NumPy, RTRL against BPTT, autograd and dense RTRL, and identities that must hold."""

import autograd
import autograd.numpy as anp
import numpy as np
import oracles
import pytest
from cases import in_plain_python
from tolerances import AUTOGRAD, COMPLEX_STEP, FLOAT32, PLAIN, assert_close

from rtu_np import (
    GRU,
    LRU,
    RTRL,
    BlockDiagonalRNN,
    Dense,
    LinearRTU,
    NonlinearRTU,
    Stack,
    VanillaRNN,
    check_gradients,
    flops,
    protocol,
)
from rtu_np.jit import compile_for
from rtu_np.numerics.buffers import leaves, rebuild, size

N, D, STEPS = 5, 3, 60


def float64(views):
    """The same nested views, of copies in float64."""
    if isinstance(views, tuple):
        return type(views)(*map(float64, views))
    return np.array(views, np.float64)


def views_of(layer):
    """(parameters, memory) of a layer, copied."""
    params = protocol.parameters(layer.spec, layer._params)[0]
    return float64(params), float64(protocol.memory(layer.spec, layer._memory)[0])


def randomise(views, rng):
    for view in leaves(views).values():
        view[:] = rng.standard_normal(view.shape)


def test_kernels_equal_plain_numpy(case, rng):
    layer = case.cell.build(D, seed=1)
    if type(layer.spec) not in protocol.plain_advance.table or "GRU" in repr(case.cell):
        pytest.skip("its sensitivities are the dense recursion's, which the oracle checks")
    randomise(protocol.memory(layer.spec, layer._memory)[0].state, rng)
    params, memory = views_of(layer)
    for x in rng.standard_normal((STEPS, D)):
        y = layer.advance(x)
        memory = protocol.plain_advance(layer.spec, params, memory, x)
    dy = rng.standard_normal(layer.n_outputs)
    gradient, dx = protocol.plain_gradient(layer.spec, params, memory, dy)
    assert_close(y, memory.y, PLAIN, "y")
    expected = leaves(gradient)
    for name, value in layer.gradient(dy).items():
        assert_close(value, expected[name], PLAIN, name)
    assert_close(layer.input_gradient(dy), dx, PLAIN, "dx")


def _one_step_back(spec, params, work, state_tm1, x, record, dy, adjoint):
    protocol.prepare(spec, params, work)
    protocol.forward(spec, params, work, state_tm1, x, record)
    protocol.backward(spec, params, work, state_tm1, x, record, dy, adjoint)


@in_plain_python
def test_one_step_forward_and_back(case, rng):
    """Kernels against plain NumPy, forward against the oracle, reverse mode against complex steps."""
    spec = case.cell.spec(D)

    def views(carve):
        return carve(spec, np.zeros(size(carve, spec)))[0]

    params, state_tm1, dstate, work, record, out = map(
        views,
        (protocol.parameters, protocol.state, protocol.state, protocol.work, protocol.record, protocol.parameters),
    )
    case.cell.initialise(params, rng)
    randomise(state_tm1, rng)
    randomise(dstate, rng)
    dy = rng.standard_normal(spec.n_outputs)
    for _ in range(100):  # until no unit is cut off by a ReLU
        x = rng.standard_normal(D)
        state_t, y = protocol.plain_forward(spec, params, state_tm1, x)
        expected = protocol.plain_backward(spec, params, state_tm1, x, state_t, dy, dstate)
        if all(array.any() for part in expected[:2] for array in leaves(part).values()):
            break

    adjoint = protocol.Adjoint(float64(dstate), out, np.zeros(D))
    compile_for(_one_step_back, spec)(spec, params, work, state_tm1, x, record, dy, adjoint)
    for name, actual, wanted in (
        ("state", record.state, state_t),
        ("dstate", adjoint.state, expected[0]),
        ("gradient", adjoint.params, expected[1]),
    ):
        for (block, a), b in zip(leaves(actual).items(), leaves(wanted).values(), strict=True):
            assert_close(a, b, PLAIN, f"{name}: {block}")
    assert_close(record.y, y, PLAIN, "y")
    assert_close(adjoint.x, expected[2], PLAIN, "dx")

    flat_state = np.concatenate([*leaves(state_tm1).values(), []])
    after, features = case.forward(leaves(params), flat_state, x)
    assert_close(np.concatenate([*leaves(state_t).values(), []]), after, PLAIN, "state, by the oracle")
    assert_close(y, features, PLAIN, "y, by the oracle")

    def along(direction):
        h = 1e-30
        moved = rebuild(params, [p + 1j * h * d for p, d in zip(leaves(params).values(), direction, strict=True)])
        state, y = protocol.plain_forward(spec, moved, state_tm1, x)
        later = sum((a * b).sum() for a, b in zip(leaves(state).values(), leaves(dstate).values(), strict=True))
        return (y @ dy + later).imag / h

    direction = [rng.standard_normal(p.shape) for p in leaves(params).values()]
    inner = sum((g * d).sum() for g, d in zip(leaves(expected[1]).values(), direction, strict=True))
    assert_close(np.array([inner]), np.array([along(direction)]), COMPLEX_STEP)


def test_rtrl_equals_dense_rtrl_from_the_forward_pass_alone(case, rng):
    local = isinstance(case.cell, Stack) and not isinstance(case.cell.layers[-1], Dense)
    layer = case.cell.build(D, RTRL(dense=local), seed=3)
    randomise(protocol.memory(layer.spec, layer._memory)[0].state, rng)
    w = rng.standard_normal(layer.n_outputs)
    params = {**{k: v.copy() for k, v in layer.parameters.items()}, "readout.w": w, "readout.b": np.zeros(1)}
    oracle = oracles.TDOracle(case.forward, params, case.n_state, 0.9, oracles.Optimizer("SGD", step_size=1.0))
    oracle.clear()
    oracle.state = np.concatenate([*layer.state.values(), []])
    for x in rng.standard_normal((10, D)):
        y = layer.advance(x)
        _, gradient = oracle.gradient(x)
    assert_close(y, gradient["readout.w"], PLAIN, "y")
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


def test_float32_follows_float64(case, rng):
    wide, narrow = (case.cell.build(D, seed=4, dtype=dtype) for dtype in ("float64", "float32"))
    dy = rng.standard_normal(wide.n_outputs)
    for name, view in wide.parameters.items():
        view[:] = narrow.parameters[name]
    for x in rng.standard_normal((STEPS, D)):
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


@in_plain_python
@pytest.mark.parametrize("recurrence", ["identity", "tanh"])
def test_an_lru_of_n_units_is_n_lrus_of_one(recurrence, rng):
    whole = LRU(2, recurrence=recurrence, projection=False).build(D, seed=5)
    parts = [LRU(1, recurrence=recurrence, projection=False).build(D, seed=6) for _ in range(2)]
    equal_to_its_parts(whole, parts, lambda value, i: value[..., i : i + 1], rng)


@in_plain_python
def test_a_block_diagonal_rnn_of_n_units_is_its_pairs(rng):
    whole = BlockDiagonalRNN(4).build(D, seed=5)
    parts = [BlockDiagonalRNN(2).build(D, seed=6) for _ in range(2)]

    def part(value, i):
        return value[i : i + 1] if value.ndim == 3 else value[..., 2 * i : 2 * i + 2]

    equal_to_its_parts(whole, parts, part, rng)


def equal_to_its_parts(whole, parts, part, rng):
    for i, layer in enumerate(parts):
        for name, view in layer.parameters.items():
            view[:] = part(whole.parameters[name], i)
    for x in rng.standard_normal((STEPS, D)):
        y = whole.advance(x)
        ys = [layer.advance(x) for layer in parts]
    interleaved = isinstance(whole.cell, BlockDiagonalRNN)
    split = (lambda a: a.reshape(2, 2)) if interleaved else (lambda a: a.reshape(2, 2).T)
    assert_close(split(y), np.array(ys), PLAIN, "y")
    dy = rng.standard_normal(4)
    gradient = whole.gradient(dy)
    for i, layer in enumerate(parts):
        for name, value in layer.gradient(split(dy)[i]).items():
            assert_close(value, part(gradient[name], i), PLAIN, name)


@in_plain_python
def test_a_block_diagonal_rnn_of_scaled_rotations_is_a_linear_rtu(rng):
    rtu = LinearRTU(3, "identity").build(D, seed=5)
    blocks = BlockDiagonalRNN(6, "identity").build(D, seed=6)
    p, q = rtu.parameters, blocks.parameters
    r, theta = np.exp(-np.exp(p["nu_log"])), np.exp(p["theta_log"])
    gamma = np.sqrt(1 - r**2)
    q["W_recurrent"][:, 0, 0] = q["W_recurrent"][:, 1, 1] = r * np.cos(theta)
    q["W_recurrent"][:, 0, 1] = r * np.sin(theta)
    q["W_recurrent"][:, 1, 0] = -r * np.sin(theta)
    q["W_input"][:, ::2], q["W_input"][:, 1::2] = gamma * p["W1"], gamma * p["W2"]
    for x in rng.standard_normal((STEPS, D)):
        y, z = rtu.advance(x), blocks.advance(x)
    assert_close(z.reshape(3, 2).T.ravel(), y, PLAIN, "y")
    dy = rng.standard_normal(6)
    of_rtu, of_blocks = rtu.gradient(dy), blocks.gradient(dy.reshape(2, 3).T.ravel())
    assert_close(gamma * of_blocks["W_input"][:, ::2], of_rtu["W1"], PLAIN, "W1")
    assert_close(gamma * of_blocks["W_input"][:, 1::2], of_rtu["W2"], PLAIN, "W2")
    dW = of_blocks["W_recurrent"]
    turn = -np.sin(theta) * (dW[:, 0, 0] + dW[:, 1, 1]) + np.cos(theta) * (dW[:, 0, 1] - dW[:, 1, 0])
    assert_close(theta * r * turn, of_rtu["theta_log"], PLAIN, "theta_log")


@in_plain_python
def test_an_lru_at_the_tied_scale_is_a_linear_rtu(rng):
    """The same forward pass; and the gradient, through the chain rule for gamma."""
    n = 4
    rtu, lru = LinearRTU(n, "identity").build(D, seed=5), LRU(n, n_outputs=2 * n).build(D, seed=6)
    p, q = rtu.parameters, lru.parameters
    nu = np.exp(p["nu_log"])
    complement = -np.expm1(-2 * nu)
    for ours, theirs in (("nu_log", "nu_log"), ("theta_log", "theta_log"), ("W1", "B_re"), ("W2", "B_im")):
        q[theirs][:] = p[ours]
    q["gamma_log"][:] = 0.5 * np.log(complement)
    q["C_re"][:] = np.hstack([np.eye(n), np.zeros((n, n))])
    q["C_im"][:] = np.hstack([np.zeros((n, n)), -np.eye(n)])
    for x in rng.standard_normal((STEPS, D)):
        assert_close(lru.advance(x), rtu.advance(x), PLAIN, "y")
    dy = rng.standard_normal(2 * n)
    tied, free = rtu.gradient(dy), lru.gradient(dy)
    dgamma_log = nu * np.exp(-2 * nu) / complement  # d log gamma / d nu_log
    assert_close(free["nu_log"] + dgamma_log * free["gamma_log"], tied["nu_log"], PLAIN, "nu_log")
    for ours, theirs in (("theta_log", "theta_log"), ("W1", "B_re"), ("W2", "B_im")):
        assert_close(free[theirs], tied[ours], PLAIN, ours)
    assert_close(lru.input_gradient(dy), rtu.input_gradient(dy), PLAIN, "dx")


def test_a_gru_is_pytorch_s(rng):
    torch = pytest.importorskip("torch")
    layer, cell = GRU(N).build(D, seed=5), torch.nn.GRUCell(D, N, dtype=torch.float64)
    ours = ("W_input", "W_recurrent", "b_input", "b_recurrent")
    theirs = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    with torch.no_grad():
        for name, parameter in zip(ours, theirs, strict=True):
            parameter.copy_(torch.tensor(layer.parameters[name].T.copy()))
    h, dy = torch.zeros(1, N, dtype=torch.float64), rng.standard_normal(N)
    for x in rng.standard_normal((STEPS, D)):
        y = layer.advance(x)
        h = cell(torch.tensor(x[None]), h)
    (h @ torch.tensor(dy)).sum().backward()
    assert_close(y, h.detach().numpy()[0], 1e-10, "y")
    gradient = layer.gradient(dy)
    for name, parameter in zip(ours, theirs, strict=True):
        assert_close(gradient[name].T, parameter.grad.numpy(), 1e-10, name)


def test_the_scale_of_an_lru_starts_tied():
    layer = LRU(200).build(50, seed=5)
    p = layer.parameters
    r = np.exp(-np.exp(p["nu_log"]))
    assert_close(np.exp(p["gamma_log"]), np.sqrt(1 - r**2), 1e-9)
    assert abs(p["B_re"].std() * np.sqrt(2 * 50) - 1) < 0.03
    assert abs(p["C_im"].std() * np.sqrt(200) - 1) < 0.03


@in_plain_python
def test_the_direct_form_is_clipped():
    layer = LinearRTU(3, parameterization="r/theta").build(D, seed=5)
    layer.parameters["r"][:] = [-0.5, 0.5, 1.5]
    for _ in range(3):
        y = layer.advance([1.0, 2.0, 3.0])
    assert np.isfinite(y).all()
    gradient = layer.gradient(np.ones(6))["r"]
    assert gradient[0] == gradient[2] == 0
    assert gradient[1] != 0


@in_plain_python
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
    ("make", "error", "message"),
    [
        (lambda: LinearRTU(3, parameterization="polar"), ValueError, "parameterization is 'polar': expected one of"),
        (lambda: LRU(3, n_outputs=0), ValueError, "n_outputs is 0"),
        (lambda: LRU(3, n_outputs=5, projection=False), ValueError, "n_outputs is 5 without a projection: expected 6"),
        (lambda: LRU(3, direct=True, projection=False), ValueError, "direct is True without a projection"),
        (lambda: LRU(3, activation="relu", recurrence="tanh", projection=False), ValueError, "already"),
        (lambda: LRU(3, recurrence="sine"), ValueError, "recurrence is 'sine'"),
        (lambda: LRU(3, projection=4), TypeError, "projection is 4 of type int: expected True or False"),
        (lambda: RTRL(dense="no"), TypeError, "dense is 'no'"),
        (lambda: LinearRTU(3).build(2, gradient="rtrl"), TypeError, "gradient is 'rtrl'"),
        (lambda: flops("rtu", 3), TypeError, "cell is 'rtu'"),
        (lambda: check_gradients("rtu"), TypeError, "cell is 'rtu'"),
        (lambda: BlockDiagonalRNN(5), ValueError, "n_hidden is 5: expected an even number"),
        (lambda: VanillaRNN(3, "sigmoid"), ValueError, "activation is 'sigmoid'"),
        (lambda: GRU(0), ValueError, "n_hidden is 0"),
        (lambda: Dense(2.5), TypeError, "n_outputs is 2.5"),
        (lambda: Stack([LinearRTU(3)]), ValueError, "layers holds 1: expected at least two"),
        (lambda: Stack(LinearRTU(3)), TypeError, "layers is LinearRTU"),
        (lambda: Stack([LinearRTU(3), 4]), TypeError, r"layers\[1\] is 4: expected a cell"),
    ],
)
def test_settings_that_make_no_cell(make, error, message):
    with pytest.raises(error, match=message):
        make()


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
