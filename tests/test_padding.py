"""Rows of recurrent trace units end with a whole vector of the processor. Units behind the n-th are dead."""

import math
from typing import Annotated, NamedTuple

import numpy as np
import oracles
import pytest
from cases import COMPILED
from mutants import rebuilt
from tolerances import PLAIN, assert_close

import rtu_np
from rtu_np import (
    ELSTM,
    LRU,
    RTRL,
    SGD,
    TBPTT,
    Adam,
    GatedRTU,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    ObGD,
    RMSProp,
    TDLambda,
    protocol,
)
from rtu_np.jit import kernel, njit
from rtu_np.numerics.buffers import allocate, assign, matrix, padded, padded_rows, size
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.units import add_scaled_units, decay_and_add_units, scale_units_and_add

D = 3


class Rows(NamedTuple):
    """Two numbers of each of five units in a row: its padding, 6, is longer than a number of each."""

    w: Annotated[np.ndarray, padded_rows, "3", "10"]
    b: Annotated[np.ndarray, padded, "5"]


class Packed(NamedTuple):
    w: Annotated[np.ndarray, matrix, "3", "10"]
    b: Annotated[np.ndarray, "5"]


rows, packed_rows = kernel(layout_of(Rows)), kernel(layout_of(Packed))


@njit
def every_pass(flats, sources, scale, decay):
    add_scaled_units(rows(None, flats[0])[0], rows(None, sources[0])[0], scale)
    decay_and_add_units(rows(None, flats[1])[0], rows(None, sources[1])[0], scale, decay)
    scale_units_and_add(rows(None, flats[2])[0], rows(None, sources[2])[0], scale)
    assign(packed_rows(None, flats[3])[0], rows(None, sources[3])[0])


def test_a_pass_by_unit_begins_again_at_each_row(rng):
    """A pass that took padded rows for one vector would give a number the factor of another unit."""
    n = size(rows, None)
    flats, sources = (tuple(allocate(n, float) for _ in range(4)) for _ in range(2))
    before, other = (
        [[rng.standard_normal(view.shape) for view in rows(None, flat)[0]] for flat in group]
        for group in (flats, sources)
    )
    for group, values in ((flats, before), (sources, other)):
        for flat, each in zip(group, values, strict=True):
            for view, value in zip(rows(None, flat)[0], each, strict=True):
                view[:] = value
    scale = rng.standard_normal(5)
    every_pass(flats, sources, scale, 0.5)
    for k, tile in enumerate((np.tile(scale, 2), scale)):  # w, b
        wanted = [
            before[0][k] + tile * other[0][k],
            0.5 * before[1][k] + tile * other[1][k],
            tile * before[2][k] + other[2][k],
        ]
        for flat, expected in zip(flats, wanted, strict=False):
            assert_close(rows(None, flat)[0][k], expected, PLAIN)
        assert_close(packed_rows(None, flats[3])[0][k], other[3][k], PLAIN)


SHAPES = {"nu_log": lambda n: (n,), "theta_log": lambda n: (n,), "W1": lambda n: (D, n), "W2": lambda n: (D, n)}


@pytest.mark.parametrize("gradient", [RTRL(), TBPTT(2)], ids=["RTRL", "T-BPTT"])
@pytest.mark.parametrize("kind", [LinearRTU, NonlinearRTU])
def test_every_number_of_units_against_the_oracle(kind, gradient, rng):
    """Two steps, so that a window of two holds all of them."""
    for n in range(1, 18):
        layer = kind(n).build(D, gradient, seed=n)
        w = rng.standard_normal(2 * n)
        params = {**{k: v.copy() for k, v in layer.parameters.items()}, "readout.w": w, "readout.b": np.zeros(1)}
        assert {name: params[name].shape for name in SHAPES} == {name: shape(n) for name, shape in SHAPES.items()}

        def forward(p, state, x, kind=kind):
            return oracles.rtu(kind is NonlinearRTU, "tanh", p, state, x)

        oracle = oracles.TDOracle(forward, params, 2 * n, 0.9, oracles.Optimizer("SGD", step_size=1.0))
        oracle.clear()
        for x in rng.standard_normal((2, D)):
            y = layer.advance(x)
            _, wanted = oracle.gradient(x)
        assert_close(y, wanted["readout.w"], PLAIN, f"{n}: y")
        for name, value in layer.gradient(w).items():
            assert_close(value, wanted[name], PLAIN, f"{n}: {name}")


def learned(package, cell, optimizer=None, gradient=None, dtype="float64", n_inputs=D):
    """A learner of `package` after 200 steps."""
    made = package.TDLambda(cell, n_inputs, 0.9, 0.8, optimizer, gradient, seed=1, dtype=dtype)
    rng = np.random.default_rng(2)
    made.run(rng.standard_normal((200, n_inputs)), rng.standard_normal(200), progress=False)
    return made


def behind(learner, package=rtu_np) -> dict[str, np.ndarray]:
    """{name: the numbers that belong to no parameter} of each flat array with a number per parameter."""
    views, spec = learner._views, learner._spec
    moments = [each for each in views.moments if each.size == views.flat_params.size]
    flats = {"parameters": views.flat_params, "traces": views.flat_traces}
    flats |= {f"moments.{k}": each for k, each in enumerate(moments)}
    seen, network = np.zeros(views.flat_params.size), package.learning.network
    for view in network.named(spec, network.weights(spec, seen)[0]).values():
        view[:] = 1
    return {name: flat[seen == 0] for name, flat in flats.items()}


@pytest.mark.parametrize(
    ("cell", "gradient"),
    [
        (LinearRTU(9, parameterization="nu/theta"), RTRL()),
        (NonlinearRTU(10), RTRL()),
        (LRU(9, projection=False, recurrence="tanh"), RTRL()),
        (LRU(11, 5), TBPTT(3)),
        (MinGRU(9), RTRL()),
        (ELSTM(9, forget_bias=2.0), RTRL()),
        (GatedRTU(9), RTRL()),
    ],
    ids=["linear", "nonlinear", "LRU", "T-BPTT", "minGRU", "eLSTM", "gated RTU"],
)
def test_dead_units_stay_dead(cell, gradient):
    """A nu of zero has no derivative, so the padding must not compute with its own."""
    for name, numbers in behind(learned(rtu_np, cell, SGD(1e-3), gradient)).items():
        assert not numbers.any(), name


@pytest.mark.parametrize("optimizer", [Adam(1e-3), RMSProp(1e-3), ObGD()], ids=["Adam", "RMSProp", "ObGD"])
def test_no_optimiser_moves_a_dead_unit(optimizer):
    learner = learned(rtu_np, LinearRTU(9), optimizer, dtype="float32")
    assert learner.parameters["cell.W1"].any()
    for name, numbers in behind(learner).items():
        assert numbers.size > 2 * D * 7, name
        assert not numbers.any(), name


CREDIT = "        memory.credit1[i] = slope(spec.activation, memory.y[i]) * dy[i]\n"


@pytest.mark.skipif(not COMPILED, reason="plain Python sees no padding")
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        (
            "cells/linear_rtu.py",
            f"    for i in range(n):\n{CREDIT}",
            f"    for i in range(memory.credit1.shape[0]):\n{CREDIT}",
        ),
        ("cells/rotation.py", "(own_a if i < n else first_a)", "own_a"),
        ("numerics/buffers.py", "        width = -(-columns // _LINE) * _LINE\n", "        width = columns\n"),
    ],
    ids=["a dead unit gets credit", "a dead unit has no derivative", "rows that Python and kernels see differently"],
)
def test_planted_padding_that_leaks_is_found(mutant, file, right, wrong):
    package = mutant(file, [(right, wrong)])
    cell = LinearRTU(9, parameterization="nu/theta")
    sound = learned(rtu_np, cell, SGD(1e-3)).parameters
    try:
        leaking = learned(package, rebuilt(package, cell), package.SGD(1e-3))
    except FloatingPointError:
        return  # the run says so itself
    moved = any(numbers.any() for numbers in behind(leaking, package).values())
    assert moved or any(not np.allclose(sound[name], view) for name, view in leaking.parameters.items())


def test_views_of_parameters_write_through():
    learner = TDLambda(LinearRTU(10), D, seed=0)
    W1 = learner.parameters["cell.W1"]
    assert W1.shape == (D, 10)
    W1[:] = np.arange(10.0 * D).reshape(D, 10)
    assert np.array_equal(learner.parameters["cell.W1"].ravel(), np.arange(10.0 * D))


@pytest.mark.parametrize("n", [10, 16, 17])
def test_a_checkpoint_goes_on_to_the_bit(tmp_path, n):
    rng = np.random.default_rng(3)
    observations, cumulants = rng.standard_normal((60, D)), rng.standard_normal(60)
    learner = TDLambda(NonlinearRTU(n), D, seed=4)
    learner.run(observations[:30], cumulants[:30], progress=False)
    learner.save(tmp_path / "learner.npz")
    again = TDLambda.load(tmp_path / "learner.npz")
    with np.load(tmp_path / "learner.npz", allow_pickle=False) as file:
        assert {math.prod(file[name].shape) for name in file.files if name.endswith("W1")} == {n * D}
    one, two = (each.run(observations[30:], cumulants[30:], progress=False) for each in (learner, again))
    assert one.tobytes() == two.tobytes()


def test_a_row_has_room_for_whole_vectors():
    """In either precision, and for the last row of the last array, too."""
    for n in range(1, 40):
        spec = LinearRTU(n).spec(D)
        flat = np.zeros(size(protocol.parameters, spec))
        (W1, W2) = protocol.parameters(spec, flat)[0].weights
        stride = W1.strides[0] // W1.itemsize
        assert n <= stride < n + 16
        assert stride % 16 == 0
        first = (W2.ctypes.data - flat.ctypes.data) // W2.itemsize
        assert first + D * stride <= flat.size
