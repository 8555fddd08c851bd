"""Cells: how they start, what they take, and what they refuse, by name and value."""

import numpy as np
import pytest
from tolerances import assert_close

from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    RTRL,
    BlockDiagonalRNN,
    Dense,
    GatedRTU,
    LinearRTU,
    MinGRU,
    Stack,
    VanillaRNN,
    check_gradients,
    flops,
)


def test_the_scale_of_an_lru_starts_tied():
    layer = LRU(200).build(50, seed=5)
    p = layer.parameters
    r = np.exp(-np.exp(p["nu_log"]))
    assert_close(np.exp(p["gamma_log"]), np.sqrt(1 - r**2), 1e-9)
    assert abs(p["B_re"].std() * np.sqrt(2 * 50) - 1) < 0.03
    assert abs(p["C_im"].std() * np.sqrt(200) - 1) < 0.03


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
        (lambda: MinGRU(2.0), TypeError, "n_hidden is 2.0"),
        (lambda: MinGRU(2, gate_bias=np.inf), ValueError, "gate_bias is inf"),
        (lambda: MinGRU(2, gate_bias=None), TypeError, "gate_bias is None"),
        (lambda: ELSTM(-1), ValueError, "n_hidden is -1"),
        (lambda: ELSTM(2, forget_bias="2"), TypeError, "forget_bias is '2'"),
        (lambda: GatedRTU(2, "sine"), ValueError, "activation is 'sine'"),
        (lambda: GatedRTU(2, gate_bias=np.nan), ValueError, "gate_bias is nan"),
        (lambda: GatedRTU(2, r_min=0.5, r_max=0.4), ValueError, "r_min is 0.5 and r_max 0.4"),
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
