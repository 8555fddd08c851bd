"""Ways of carrying the gradient: learners against an oracle, windows, resets, what each costs."""

from functools import partial

import numpy as np
import oracles
import pytest
from cases import APPROXIMATE, CASES, COMPILED, KINDS
from tolerances import LEARNING, PLAIN, assert_close

from rtu_np import (
    GRU,
    LRU,
    RTRL,
    SGD,
    TBPTT,
    Adam,
    BlockDiagonalRNN,
    Dense,
    HiddenReadout,
    LinearRTU,
    Stack,
    TDLambda,
    VanillaRNN,
)
from rtu_np.jit import compile_for
from rtu_np.prediction.td_kernels import run as run_kernel

D = 3
# Compiled, one cell for each method; uncompiled (test_modes.py), every kind with every method.
SOME = [("GRU", RTRL()), ("linear RTU", TBPTT(4)), ("stack", RTRL())]
ALL = [(name, gradient) for name in KINDS for gradient in (RTRL(), RTRL(dense=True), TBPTT(4))]
PAIRS = SOME if COMPILED else ALL
VARIANTS = [] if COMPILED else [(name, gradient) for name in CASES if name not in KINDS for gradient in (RTRL(),)]
ids = [f"{name}, {gradient}" for name, gradient in PAIRS]


def run(agent: TDLambda, s: oracles.Stream) -> np.ndarray:
    return agent.run(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, progress=False)


def everything(agent: TDLambda) -> bytes:
    return b"".join(array.tobytes() for array in agent._arrays().values())


@pytest.mark.parametrize(
    ("name", "gradient", "readout"),
    [(*pair, "linear") for pair in PAIRS + VARIANTS] + [(*pair, "hidden") for pair in (SOME[:1] if COMPILED else ALL)],
)
def test_learning_equals_the_oracle(name, gradient, readout, rng):
    """With parameters that change at every step, episodes that end, and discounts of zero."""
    case = CASES[name]
    if gradient == RTRL() and name in APPROXIMATE:
        pytest.skip("layer-local RTRL is an approximation; test_gradcheck.py checks what it says of itself")
    read = HiddenReadout(3, "tanh") if readout == "hidden" else None
    agent = TDLambda(case.cell, D, 0.9, 0.8, SGD(0.0005), gradient, seed=1, readout=read)
    agent.parameters["readout.w"][:] = rng.standard_normal(agent.parameters["readout.w"].size)
    start = {key: view.copy() for key, view in agent.parameters.items()}
    kind = oracles.TruncatedOracle if isinstance(gradient, TBPTT) else oracles.TDOracle
    oracle = kind(case.in_blocks, dict(start), case.n_state, 0.8, oracles.Optimizer("SGD", step_size=0.0005))
    oracle.steps = 4
    if readout == "hidden":
        oracle.readout = partial(oracles.hidden_readout, "tanh")
    s = oracles.stream(18, D, seed=3, ends=False)
    s.terminated[5], s.truncated[10], s.discounts[14] = True, True, 0.0
    assert_close(run(agent, s), oracle.run(s), LEARNING, "predictions")
    for key, view in agent.parameters.items():
        assert not np.array_equal(view, start[key]), f"{key} has not moved"
        assert_close(view, oracle.params[key], LEARNING, key)
        assert_close(agent.traces[key], oracle.traces[key], LEARNING, f"trace of {key}")


@pytest.mark.parametrize(("name", "gradient"), PAIRS, ids=ids)
def test_step_run_and_a_checkpoint_give_the_same_bits(name, gradient, tmp_path):
    one, many = (TDLambda(CASES[name].cell, D, optimizer=Adam(), gradient=gradient, seed=2) for _ in range(2))
    s, more = oracles.stream(15, D, seed=4), oracles.stream(10, D, seed=5)
    rows = zip(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, strict=True)
    assert np.array_equal([one.step(*row) for row in rows], run(many, s))
    assert everything(one) == everything(many)
    one.save(tmp_path / "one.npz")
    copy = TDLambda.load(tmp_path / "one.npz")
    assert (copy.cell, copy.gradient) == (one.cell, one.gradient)
    assert np.array_equal(run(one, more), run(copy, more))
    assert everything(one) == everything(copy)


@pytest.mark.parametrize(("name", "gradient"), PAIRS, ids=ids)
def test_a_reset_clears_state_sensitivities_and_history(name, gradient):
    used, fresh = (CASES[name].cell.build(D, gradient, seed=3) for _ in range(2))
    rng = np.random.default_rng(4)
    for x in rng.standard_normal((10, D)):
        used.advance(x)
    used.reset()
    dy = rng.standard_normal(used.n_outputs)
    for x in rng.standard_normal((3, D)):
        assert np.array_equal(used.advance(x), fresh.advance(x))
        for key, value in used.gradient(dy).items():
            assert np.array_equal(value, fresh.gradient(dy)[key])
        assert np.array_equal(used.input_gradient(dy), fresh.input_gradient(dy))


@pytest.mark.parametrize(("name", "gradient"), PAIRS, ids=ids)
def test_nothing_leaks_across_an_episode(name, gradient):
    """A learner whose episode ended goes on as one that was just made, with its parameters."""
    s, more = oracles.stream(12, D, seed=6, ends=False), oracles.stream(12, D, seed=7, ends=False)
    s.terminated[-1] = True
    agent, other = (TDLambda(CASES[name].cell, D, optimizer=SGD(0.01), gradient=gradient) for _ in range(2))
    run(agent, s)
    for key, view in other.parameters.items():
        view[:] = agent.parameters[key]
    assert np.array_equal(run(agent, more), run(other, more))


@pytest.mark.parametrize("name", KINDS if not COMPILED else ["GRU"])
def test_a_window_as_long_as_the_run_is_rtrl(name, rng):
    layers = [KINDS[name].cell.build(D, gradient, seed=3) for gradient in (TBPTT(40), RTRL())]
    for x in rng.standard_normal((40, D)):
        ys = [layer.advance(x) for layer in layers]
    dy = rng.standard_normal(ys[0].size)
    assert_close(ys[0], ys[1], PLAIN, "y")
    expected = layers[1].gradient(dy)
    for key, value in layers[0].gradient(dy).items():
        assert_close(value, expected[key], PLAIN, key)


def test_the_gradient_method_changes_no_prediction_of_fixed_parameters(rng):
    xs = rng.standard_normal((20, D))
    outputs = []
    for gradient in (RTRL(), TBPTT(1), TBPTT(3)):
        layer = LinearRTU(4).build(D, gradient, seed=1)
        outputs.append([layer.advance(x) for x in xs])
    assert_close(np.array(outputs[1]), np.array(outputs[0]), PLAIN)
    assert np.array_equal(outputs[1], outputs[2])


def test_a_hidden_readout_is_read_again_as_it_stands_now():
    """v_{t-1} in delta is that of the stored features through today's readout, hidden layer included."""
    agent = TDLambda(LinearRTU(3), D, optimizer=SGD(0.1), readout=HiddenReadout(4), seed=1)
    s = oracles.stream(30, D, seed=8, ends=False)
    run(agent, s)
    p = {key: view.copy() for key, view in agent.parameters.items()}
    y = agent._views.memory.y.copy()
    trace = agent.traces["readout.b"][0]
    v = agent.step([1.0, 2.0, 3.0], 0.5)
    delta = (agent.parameters["readout.b"][0] - p["readout.b"][0]) / (0.1 * trace)
    assert_close(np.array([delta]), np.array([0.5 + 0.9 * v - oracles.hidden_readout("tanh", p, y)]), 1e-9)


def test_one_kernel_for_all_sizes():
    """One compilation per cell, method and precision, whatever n, d and T are."""
    if not COMPILED:
        pytest.skip("nothing is compiled here")

    # With a readout that no other test learns with here: what one of them compiled would be counted as well.
    def agent(n, d, T, dtype="float64"):
        return TDLambda(GRU(n), d, gradient=TBPTT(T), dtype=dtype, readout=HiddenReadout(3, "leaky_relu"))

    def versions(*agents):
        for each in agents:
            each.run(np.ones((2, each.n_inputs)), np.ones(2), progress=False)
        return len(compile_for(run_kernel, agents[0]._spec).signatures)

    first = versions(agent(2, 3, 2))
    assert versions(agent(3, 2, 5), agent(4, 1, 1)) == first
    assert versions(agent(3, 2, 5, "float32")) == first + 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TBPTT(0), ValueError, "steps is 0: expected an integer of at least 1; 1 is the one-step gradient"),
        (lambda: TBPTT(2.0), TypeError, "steps is 2.0"),
        (lambda: HiddenReadout(0), ValueError, "n_hidden is 0"),
        (lambda: HiddenReadout(3, "swish"), ValueError, "activation is 'swish'"),
        (lambda: TDLambda(LinearRTU(2), 2, readout="linear"), TypeError, "readout is 'linear'"),
        (lambda: TDLambda(LinearRTU(2), 2, gradient="rtrl"), TypeError, "gradient is 'rtrl'"),
        (lambda: GRU(20_000).build(4), MemoryError, r"needs \d+ bytes, and this machine has \d+"),
        (lambda: TDLambda(VanillaRNN(20_000), 4), MemoryError, "TBPTT"),
    ],
)
def test_bad_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("kind", [GRU, VanillaRNN])
def test_dense_cells_of_any_size_take_a_window(kind):
    agent = TDLambda(kind(300), 2, gradient=TBPTT(2))
    assert agent.parameters["cell.W_recurrent"].shape[0] == 300


def test_layers_above_may_be_of_any_kind():
    cell = Stack([LRU(3), BlockDiagonalRNN(4), Dense(2, "relu")])
    assert cell == Stack([Stack([LRU(3), BlockDiagonalRNN(4)]), Dense(2, "relu")])
    names = TDLambda(cell, 2).parameters
    assert [name for name in names if name.startswith("cell.1.")] == [
        f"cell.1.{name}" for name in ("W_input", "W_recurrent", "b")
    ]
    assert names["hidden.W"].shape == (4, 2)
