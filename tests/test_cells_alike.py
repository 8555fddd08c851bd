"""Identities that must hold between cells: of many units and one, of one kind and another."""

from functools import partial

import numpy as np
import pytest
from cases import in_plain_python
from tolerances import PLAIN, assert_close

from rtu_np import ELSTM, GRU, LRU, BlockDiagonalRNN, GatedRTU, LinearRTU, MinGRU, NonlinearRTU

N, D, STEPS = 5, 3, 60


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
@pytest.mark.parametrize(
    "make",
    [partial(LRU, projection=False), partial(LRU, recurrence="tanh", projection=False), GatedRTU],
    ids=["LRU", "LRU, tanh", "gated RTU"],
)
def test_complex_units_see_no_other_unit(make, rng):
    whole = make(2).build(D, seed=5)
    parts = [make(1).build(D, seed=6) for _ in range(2)]
    equal_to_its_parts(whole, parts, lambda value, i: value[..., i : i + 1], rng)


@in_plain_python
@pytest.mark.parametrize("kind", [MinGRU, ELSTM])
def test_gated_units_see_no_other_unit(kind, rng):
    whole = kind(4).build(D, seed=5)
    parts = [kind(2).build(D, seed=6) for _ in range(2)]
    equal_to_its_parts(whole, parts, lambda value, i: value[..., 2 * i : 2 * i + 2], rng)


@in_plain_python
@pytest.mark.parametrize("activation", ["tanh", "identity"])
@pytest.mark.parametrize("gate", [5.0, 0.7, -2.0])
def test_a_gated_rtu_whose_gate_does_not_move_is_a_nonlinear_rtu(gate, activation, rng):
    """With W_g = 0 the gate is one number, and log q shifts nu_log and theta_log."""
    layer, rtu = GatedRTU(N, activation).build(D, seed=5), NonlinearRTU(N, activation).build(D, seed=6)
    p, q = layer.parameters, rtu.parameters
    p["W_g"][:], p["b_g"][:] = 0, gate + 0.1 * rng.standard_normal(N)
    shut = 1 / (1 + np.exp(p["b_g"]))
    for name, view in q.items():
        view[:] = p[name] + (np.log1p(-shut) if name.endswith("_log") else 0)
    for x in rng.standard_normal((STEPS, D)):
        assert_close(layer.advance(x), rtu.advance(x), PLAIN, "y")
    dy = rng.standard_normal(2 * N)
    gated, plain = layer.gradient(dy), rtu.gradient(dy)
    for name, value in plain.items():
        assert_close(gated[name], value, PLAIN, name)
    assert_close(gated["b_g"], shut * (plain["nu_log"] + plain["theta_log"]), PLAIN, "b_g")
    assert_close(layer.input_gradient(dy), rtu.input_gradient(dy), PLAIN, "dx")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_closed_gate_keeps_the_state_and_has_a_gradient(dtype, rng):
    """Also if the rate underflows: gamma and its derivative are then no 0 / 0."""
    layer = GatedRTU(2, "identity").build(D, seed=5, dtype=dtype)
    for x in rng.standard_normal((5, D)):
        kept = layer.advance(x).copy()
    layer.parameters["b_g"][:] = [-60.0, -1e4]
    with np.errstate(over="ignore"):
        for x in rng.standard_normal((50, D)):
            y = layer.advance(x)
    assert_close(y, kept, 1e-5)
    assert all(np.isfinite(value).all() and value.any() for value in layer.gradient(np.ones(4)).values())


@in_plain_python
def test_a_min_gru_is_a_gru_without_a_view_of_its_state(rng):
    """As long as candidates are below 0: (34) with z = 1 - u and, in place of tanh, the sigmoid 1/2 + tanh(a/2) / 2."""
    layer, gru = MinGRU(N).build(D, seed=5), GRU(N).build(D, seed=6)
    for view in gru.parameters.values():
        view[:] = 0
    p, q = layer.parameters, gru.parameters
    p["b_h"][:] = -2.0
    p["W_h"][:] = 0.1 * rng.standard_normal((D, N))
    q["W_input"][:, N : 2 * N], q["b_input"][N : 2 * N] = -p["W_z"], -p["b_z"]
    q["W_input"][:, 2 * N :], q["b_input"][2 * N :] = p["W_h"] / 2, p["b_h"] / 2
    left, kept = np.zeros(N), np.ones(N)
    for x in rng.standard_normal((STEPS, D)):
        kept = kept / (1 + np.exp(x @ p["W_z"] + p["b_z"]))
        left = (1 - kept) / 2  # of the halves that stand in for 1/2 in each candidate
        assert_close(layer.advance(x), left + gru.advance(x) / 2, PLAIN)


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
    one_after_the_other = isinstance(whole.cell, BlockDiagonalRNN | MinGRU | ELSTM)
    split = (lambda a: a.reshape(2, 2)) if one_after_the_other else (lambda a: a.reshape(2, 2).T)
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


@in_plain_python
def test_with_the_identity_both_cells_are_one(rng):
    linear, nonlinear = (cell(N, activation="identity").build(D, seed=8) for cell in (LinearRTU, NonlinearRTU))
    for x in rng.standard_normal((STEPS, D)):
        assert_close(linear.advance(x), nonlinear.advance(x), PLAIN)
    dy = rng.standard_normal(2 * N)
    expected = nonlinear.gradient(dy)
    for name, value in linear.gradient(dy).items():
        assert_close(value, expected[name], PLAIN, name)
