"""A campaign at the doors of cells, environments' snapshots and descriptions in files (campaign_cases.py)."""

import json
import math
import pickle
from dataclasses import fields

import gymnasium
import numpy as np
import pytest
from campaign_cases import bad_numbers, door, floats, given_as, outcome, refuses, spoiled
from cases import COMPILED, in_plain_python
from hypothesis import given
from hypothesis import strategies as st

import rtu_np
from envs import (
    KMemoryChain,
    MemoryChain,
    NoisyPatterning,
    ReacherPOMDP,
    ThreeState,
    TMaze,
    TraceConditioning,
    TracePatterning,
)
from envs.snapshot import Snapshot, capture, restore
from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    RTRL,
    TBPTT,
    BlockDiagonalRNN,
    Dense,
    GatedRTU,
    LayerNorm,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    Stack,
    VanillaRNN,
    checkpoint,
)
from rtu_np.cells.eigenvalues import PARAMETERIZATIONS
from rtu_np.cells.initializers import LecunNormal, Orthogonal, SparseUniform

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh")
SIZES = st.sampled_from([1, 2, 3, np.int8(2), np.int64(3)])
# Good settings of every cell by name; sizes of other types, and edges of every range.
RING = {
    "r_min": st.sampled_from([0.0, 0.5, np.float32(0.5), 0]),
    "r_max": st.sampled_from([1.0, 0.9, 1, 0.5]),
    "max_phase": st.sampled_from([6.28, 1, 1e-3, np.float64(3)]),
}
UNITS = {"n_hidden": SIZES, "parameterization": st.sampled_from(list(PARAMETERIZATIONS)), **RING}
ACTIVATION = {"activation": st.sampled_from(ACTIVATIONS)}
INIT = st.sampled_from([LecunNormal(), Orthogonal(2), SparseUniform(0.5)])
GOOD = {
    LinearRTU: {**UNITS, **ACTIVATION},
    NonlinearRTU: {**UNITS, **ACTIVATION},
    LRU: {**UNITS, **ACTIVATION, "n_outputs": st.sampled_from([None, 1, np.int8(2)]), "direct": st.booleans()},
    GRU: {"n_hidden": SIZES},
    MinGRU: {"n_hidden": SIZES, "gate_bias": st.sampled_from([0.0, -3, np.float32(1.5), np.int8(-2)])},
    ELSTM: {"n_hidden": SIZES, "forget_bias": st.sampled_from([0.0, 3, np.float32(1.5), np.int8(-2)])},
    GatedRTU: {"n_hidden": SIZES, **ACTIVATION, **RING, "gate_bias": st.sampled_from([2.0, -3, np.float32(1.5)])},
    VanillaRNN: {"n_hidden": SIZES, **ACTIVATION},
    BlockDiagonalRNN: {"n_hidden": st.sampled_from([2, 4, np.int8(2)]), **ACTIVATION, **RING},
    Dense: {"n_outputs": SIZES, **ACTIVATION, "init": INIT},
    LayerNorm: ACTIVATION,
}
NO_COUNT = [0, -1, 1.0, "2", None, True, math.nan, [], np.float64(2), np.timedelta64(2, "s"), -(10**5000)]
NO_REAL = ["x", None, True, math.nan, math.inf, 10**400, 1j, [], -1, np.array(0.5)]
BAD = {
    **dict.fromkeys(("n_hidden", "n_outputs"), NO_COUNT),
    "r_min": [1.5, 1.0, *NO_REAL],
    "r_max": [1.5, *NO_REAL],
    "max_phase": [0, *NO_REAL],
    **dict.fromkeys(("gate_bias", "forget_bias"), tuple(bad for bad in NO_REAL if type(bad) is not int or bad != -1)),
    **{name: ["", "sine", None, 0, [], {}] for name in ("activation", "recurrence", "parameterization")},
    **{name: ["", None, 0, 1, "yes", []] for name in ("projection", "direct")},
    "init": ["", None, LecunNormal, 0, LinearRTU(2)],
}
SINGLE = [st.builds(kind, **settings) for kind, settings in GOOD.items()]
CELLS = st.one_of(*SINGLE, st.lists(st.one_of(*SINGLE), min_size=2, max_size=3).map(Stack))
METHODS = st.sampled_from([None, RTRL(), RTRL(dense=True), TBPTT(1), TBPTT(np.int8(4)), TBPTT(40)])


def plain(settings: dict) -> dict:
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}


@in_plain_python
@door(100)
@given(st.data())
def test_settings_of_cells(data):
    kind = data.draw(st.sampled_from(list(GOOD)))
    settings = {name: data.draw(values) for name, values in GOOD[kind].items()}
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from([field.name for field in fields(kind)]))
        bad = data.draw(st.sampled_from(BAD[name]))
        if not (kind is LRU and name == "n_outputs" and bad is None):
            refuses(lambda: kind(**{**settings, name: bad}), f"{name} is ", bytes)
        return
    cell = kind(**settings)
    assert cell == kind(**plain(settings))
    assert repr(cell) == repr(kind(**plain(settings)))
    assert checkpoint.build("cell", json.loads(json.dumps(checkpoint.describe(cell)))) == cell
    assert pickle.loads(pickle.dumps(cell)) == cell


@in_plain_python
@door(100)
@given(CELLS, METHODS, SIZES, st.sampled_from(["float64", "float32"]), st.data())
def test_layers(cell, gradient, d, dtype, data):
    """Good and bad inputs: the bits of a layer that sees the good alone, and gradients that the layer promises."""
    layer, reference = cell.build(d, gradient, dtype=dtype), cell.build(int(d), gradient, dtype=dtype)
    draw = data.draw

    def state() -> bytes:
        return layer._memory.tobytes() + layer._params.tobytes()

    for _ in range(draw(st.integers(1, 6))):
        x, dy = floats(draw, int(d)), floats(draw, layer.n_outputs)
        if draw(st.booleans()):
            bad = spoiled(draw, x, dtype)
            refuses(lambda bad=bad, layer=layer: layer.advance(bad), "x", state)
            bad = spoiled(draw, dy, dtype)
            refuses(lambda bad=bad, layer=layer: layer.gradient(bad), "dy", bytes)
        if draw(st.booleans()):
            layer = pickle.loads(pickle.dumps(layer))
        y = layer.advance(given_as(draw, x))
        assert y.tobytes() == reference.advance(x).tobytes()
        assert np.isfinite(y).all()
        found, expected = layer.gradient(given_as(draw, dy)), reference.gradient(dy)
        assert {name: view.tobytes() for name, view in found.items()} == {n: v.tobytes() for n, v in expected.items()}
        assert layer.input_gradient(dy).tobytes() == reference.input_gradient(dy).tobytes()
        assert state() == reference._memory.tobytes() + reference._params.tobytes()


@in_plain_python
@door(20)
@given(CELLS, METHODS, SIZES, st.sampled_from(["float64", "float32"]), st.integers(0, 5), st.data())
def test_gradients(cell, gradient, d, dtype, seed, data):
    steps = data.draw(st.integers(1, 12))
    reset_at = data.draw(st.one_of(st.none(), st.integers(1, 12)))
    arguments = {"gradient": gradient, "seed": seed, "dtype": dtype, "reset_at": reset_at}
    report = outcome(lambda: rtu_np.check_gradients(cell, d, steps, **arguments), ValueError)
    if isinstance(report, ValueError):
        late = reset_at is not None and reset_at >= steps
        assert str(report).startswith(f"reset_at is {reset_at}" if late else "cell has a unit within")
        return
    # a gradient of zero proves nothing, and is not said to pass: of one unit behind a kink, or a row normalised alone
    silent = any(math.isinf(error) for block in report.blocks for error in (block.bptt, block.complex_step))
    # Differences lose digits if a gradient is small beside v, and all methods do in a LayerNorm of two, whose outputs
    # are nearly 1 and -1 for all inputs.
    allowed = report.tolerance * (1e4 if "LayerNorm" in report.title else 1)
    assert silent or report.max_error <= allowed, str(report)


# ------------------------------------------------------------------------------------------------------------ snapshots


ENVIRONMENTS = {
    TraceConditioning: {"isi": st.integers(5, 12), "n_distractors": st.integers(0, 3)},
    TracePatterning: {},
    NoisyPatterning: {},
    ThreeState: {},
    MemoryChain: {"length": st.integers(1, 9)},
    KMemoryChain: {"length": st.integers(1, 9), "k": st.integers(1, 3)},
    TMaze: {
        "length": st.integers(1, 9),
        "noise": st.sampled_from([0.0, 0.1]),
        "form": st.sampled_from(["bakker", "cue"]),
    },
    ReacherPOMDP: {"length": st.integers(1, 9)},
}


def follow(env: gymnasium.Env, actions: list) -> list:
    seen = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append((np.asarray(observation).tobytes(), float(reward), terminated, truncated))
        if terminated or truncated:
            seen.append(np.asarray(env.reset()[0]).tobytes())
    return seen


@pytest.mark.skipif(not COMPILED, reason="environments are compiled, and quick")
@door(100)
@given(st.data())
def test_snapshots(data):
    """At any time, into an environment at any other time."""
    kind = data.draw(st.sampled_from(list(ENVIRONMENTS)))
    settings = {name: data.draw(values) for name, values in ENVIRONMENTS[kind].items()}
    id = f"rtu_np/{kind.__name__}-v0"
    one, other = gymnasium.make(id, **settings), gymnasium.make(id, **settings)
    one.action_space.seed(0)
    one.reset(seed=data.draw(st.integers(0, 9)))
    other.reset(seed=99)
    actions = [one.action_space.sample() for _ in range(30)]
    follow(one, actions[: data.draw(st.integers(0, 30))])
    follow(other, actions[: data.draw(st.integers(0, 30))])
    snapshot = capture(one)
    read = Snapshot(json.loads(json.dumps(snapshot.settings)), {k: v.copy() for k, v in snapshot.arrays.items()})
    unbroken = follow(one, actions)
    restore(other, read)
    assert follow(other, actions) == unbroken


# -------------------------------------------------------------------------------------------------------- descriptions


WORDS = st.one_of(st.sampled_from(sorted(checkpoint._KINDS)), st.sampled_from(["", "os", "dict", "LinearRTU.build"]))
FIELDS = {field.name for kind in checkpoint._KINDS.values() for field in fields(kind)}
KEYS = st.sampled_from(["name", *sorted(FIELDS), "spec"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-3, 9), st.floats(), WORDS, st.just("relu"))
PAGES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@in_plain_python
@door(200)
@given(PAGES, st.one_of(WORDS, PAGES))
def test_descriptions(page, name):
    """Random JSON in the place of a cell's description: settings of that kind, or the ValueError of `load`."""
    if isinstance(page, dict):
        page = {**page, "name": name}
    described = json.loads(json.dumps(page))

    def built():
        with checkpoint.building("file", {"cell": described}, {"a": np.zeros(9)}):
            return checkpoint.build("cell", described)

    made = outcome(built, ValueError)
    if isinstance(made, ValueError):
        assert str(made).startswith("path 'file' holds settings that ")
    else:
        assert type(made).__name__ == page["name"]
        assert checkpoint.build("cell", json.loads(json.dumps(checkpoint.describe(made)))) == made


@in_plain_python
@door(60)
@given(st.sampled_from(["float64", "float32"]), st.data())
def test_bad_numbers_in_a_layer(dtype, data):
    layer = LinearRTU(2).build(1, dtype=dtype)
    bad = data.draw(bad_numbers(dtype).filter(lambda x: not isinstance(x, list | tuple | np.ndarray)))
    refuses(lambda: layer.advance([bad]), "x", layer._memory.tobytes)
