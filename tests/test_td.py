"""TD(lambda): against an oracle that knows the forward pass alone; the order of a step; what a user may do to it."""

import math

import numpy as np
import oracles
import pytest
from cases import rtu
from numba.core.runtime import _nrt_python as _nrt
from numba.core.runtime import rtsys
from td_cases import LEARNERS, OPTIMIZERS, PRECISIONS, D, N, everything, learner, run, steps
from tolerances import LEARNING, PLAIN, assert_close

from rtu_np import RTRL, SGD, TBPTT, Adam, LinearRTU, ObGD, RMSProp, TDLambda, jit
from rtu_np.jit import compile_for
from rtu_np.learning.outcomes import IS_FIRST
from rtu_np.prediction.td_kernels import run as run_kernel


@pytest.mark.parametrize(("kind", "optimizer"), LEARNERS)
def test_learning_equals_the_oracle(kind, optimizer, rng):
    agent = learner(kind, optimizer)
    agent.parameters["readout.w"][:] = rng.standard_normal(2 * N)
    settings = dict(vars(OPTIMIZERS[optimizer]))

    start = {name: view.copy() for name, view in agent.parameters.items()}
    oracle = oracles.TDOracle(
        rtu(kind, "tanh").in_blocks, dict(start), 2 * N, 0.8, oracles.Optimizer(optimizer, **settings)
    )
    s = oracles.stream(300, D, seed=2)
    assert s.terminated.any()
    assert s.truncated.any()
    assert (s.discounts == 0).any()
    assert_close(run(agent, s), oracle.run(s), LEARNING, "predictions")
    for name, view in agent.parameters.items():
        assert not np.allclose(view, start[name], rtol=1e-4), f"{name} has hardly moved"
        assert_close(view, oracle.params[name], LEARNING, name)
        assert_close(agent.traces[name], oracle.traces[name], LEARNING, f"trace of {name}")


@pytest.mark.parametrize(("kind", "optimizer", "dtype"), PRECISIONS)
def test_step_and_run_give_the_same_bits(kind, optimizer, dtype):
    one, many = learner(kind, optimizer, dtype=dtype), learner(kind, optimizer, dtype=dtype)
    s = oracles.stream(500, D, seed=3)
    assert np.array_equal(steps(one, s), run(many, s))
    assert everything(one) == everything(many)


def test_run_in_pieces_gives_the_same_bits():
    whole, pieces = learner(), learner()
    s = oracles.stream(2000, D, seed=4)
    expected = run(whole, s)
    got = []
    for rows in (slice(0, 1), slice(1, 700), slice(700, 2000)):
        got.append(run(pieces, oracles.Stream(*(array[rows] for array in vars(s).values()))))
    assert np.array_equal(np.concatenate(got), expected)
    assert everything(whole) == everything(pieces)


def test_stretches_longer_than_the_staging_buffer(monkeypatch):
    monkeypatch.setattr("rtu_np.prediction.td._STAGE", 0)  # 64 rows
    short = learner()
    monkeypatch.undo()
    s = oracles.stream(1000, D, seed=4)
    assert np.array_equal(run(short, s), run(learner(), s))


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    s = oracles.stream(200, D, seed=5)
    a, b, c = (run(learner(seed=seed), s) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.allclose(a, c)


def test_traces_are_the_discounted_sum_of_gradients(kind, rng):
    """Brute force: z_t = sum_k (prod of decays after k) grad v_k, with parameters frozen by a vanishing step size."""
    agent = TDLambda(kind(N), D, gamma=0.9, lambda_=0.7, optimizer=SGD(1e-300), seed=1)
    agent.parameters["readout.w"][:] = rng.standard_normal(2 * N)
    layer = kind(N).build(D, seed=1)
    s = oracles.stream(80, D, seed=6, ends=False)
    run(agent, s)
    gradients = []
    for x in s.observations:
        y = layer.advance(x)
        of_cell = {f"cell.{name}": g for name, g in layer.gradient(agent.parameters["readout.w"]).items()}
        gradients.append({**of_cell, "readout.w": y, "readout.b": np.ones(1)})
    decays = 0.7 * s.discounts
    for name, trace in agent.traces.items():
        total = sum(np.prod(decays[k + 1 :]) * gradients[k][name] for k in range(80))
        assert_close(trace, total, PLAIN, name)


def test_first_step_ignores_its_cumulant_and_learns_nothing():
    for cumulant in (0.0, 1e6):
        agent = learner()
        before = {name: view.copy() for name, view in agent.parameters.items()}
        agent.step([1.0, -1.0], cumulant)
        assert all(np.array_equal(view, before[name]) for name, view in agent.parameters.items())
        assert any(trace.any() for trace in agent.traces.values())


def test_discount_zero_cuts_bootstrap_and_trace_but_keeps_memory():
    s = oracles.stream(50, D, seed=7, ends=False)
    agent = learner()
    run(agent, s)
    memory = agent._views.memory.state.c1.copy()
    agent.step([1.0, 2.0], 0.5, discount=0.0)
    fresh = learner()
    fresh.step([1.0, 2.0], 0.5)
    assert_close(agent.traces["readout.w"], agent._views.memory.y, PLAIN)  # this step's gradient alone
    assert memory.any()
    assert not np.allclose(agent._views.memory.state.c1, fresh._views.memory.state.c1)


def test_termination_learns_from_zero_and_truncation_from_the_value():
    def after(**ending):
        agent = learner(optimizer="SGD")
        run(agent, oracles.stream(50, D, seed=8, ends=False))
        readout, w, b = (
            agent._views.memory.y.copy(),
            agent.parameters["readout.w"].copy(),
            agent.parameters["readout.b"][0],
        )
        trace = agent.traces["readout.b"][0]
        v = agent.step([1.0, 2.0], 0.5, **ending)
        return v, (agent.parameters["readout.b"][0] - b) / (0.01 * trace), w @ readout + b, agent

    v, delta, v_tm1, agent = after(terminated=True)
    assert v == 0.0
    assert math.isclose(delta, 0.5 - v_tm1, rel_tol=1e-9)
    _clear(agent)
    v, delta, v_tm1, agent = after(truncated=True)
    assert v != 0.0
    assert math.isclose(delta, 0.5 + 0.9 * v - v_tm1, rel_tol=1e-9)
    _clear(agent)
    v, _, _, agent = after(terminated=True, truncated=True)
    assert v == 0.0
    v, delta, v_tm1, agent = after()
    assert math.isclose(delta, 0.5 + 0.9 * v - v_tm1, rel_tol=1e-9)
    assert agent._views.flat_memory.any()


def _clear(agent):
    assert not agent._views.flat_memory.any()
    assert not agent._views.flat_traces.any()
    assert agent._clock[IS_FIRST] == 1


def test_nothing_leaks_across_an_episode():
    """After a termination the learner goes on as one that has its parameters and optimiser and no past."""
    s, more = oracles.stream(60, D, seed=9, ends=False), oracles.stream(60, D, seed=10, ends=False)
    agent, other = learner(optimizer="SGD"), learner(optimizer="SGD", seed=99)
    run(agent, s)
    agent.step([0.3, 0.4], 1.0, terminated=True)
    for name, view in other.parameters.items():
        view[:] = agent.parameters[name]
    assert np.array_equal(run(agent, more), run(other, more))


def test_predict_learns_nothing_and_has_its_own_memory(kind):
    s = oracles.stream(100, D, seed=11, ends=False)
    agent, twin = learner(kind), learner(kind)
    run(agent, s)
    run(twin, s)
    one_by_one = np.array([agent.predict(x) for x in s.observations])
    agent.predict(s.observations[0], reset=True)
    at_once = np.concatenate([[one_by_one[0]], agent.predict(s.observations[1:])])
    assert np.array_equal(one_by_one, at_once)
    more = oracles.stream(50, D, seed=12)
    assert np.array_equal(run(agent, more), run(twin, more))

    layer = kind(N, r_max=0.95).build(D)
    for name, view in layer.parameters.items():
        view[:] = twin.parameters[f"cell.{name}"]
    expected = [
        layer.advance(x) @ twin.parameters["readout.w"] + twin.parameters["readout.b"][0] for x in s.observations
    ]
    twin.reset()
    assert_close(twin.predict(s.observations), np.array(expected), PLAIN)


def test_any_real_input_is_legal_and_compiles_nothing_anew():
    T = 40
    rng = np.random.default_rng(15)
    whole = rng.integers(-3, 4, (T, D))
    padded = np.zeros((2 * T, 3 * D))
    padded[::2, ::3] = whole
    readonly = whole.astype(float)
    readonly.flags.writeable = False
    c = rng.integers(0, 2, T)
    expected = None
    agents = [learner() for _ in range(6)]
    compiled = compile_for(run_kernel, agents[0]._spec)
    signatures = len(compiled.signatures)
    inputs = [
        whole.astype(float),
        whole,
        padded[::2, ::3],
        readonly,
        whole.astype(np.float32),
        np.asfortranarray(whole),
    ]
    for agent, observations in zip(agents, inputs, strict=True):
        predictions = agent.run(observations, c, progress=False)
        expected = predictions if expected is None else expected
        assert np.array_equal(predictions, expected)
    one = learner()
    assert [one.step(x, k) for x, k in zip(whole.tolist(), c.tolist(), strict=True)] == list(expected)
    assert len(compiled.signatures) <= max(signatures, 1)


@pytest.mark.skipif(jit.numba_compiler.PLAIN, reason="plain Numba allocates for the arguments of each call")
@pytest.mark.parametrize("gradient", [RTRL(), TBPTT(4), RTRL(dense=True)], ids=str)
def test_nothing_is_allocated_per_step(gradient):
    agent = learner(gradient=gradient)
    s = oracles.stream(5000, D, seed=16)
    run(agent, s)
    _nrt.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        run(agent, s)
        assert rtsys.get_allocation_stats() == before
    finally:
        _nrt.memsys_disable_stats()


@pytest.mark.filterwarnings("ignore:in its first:UserWarning")  # out of scale, so that it diverges
def test_divergence_stops_with_the_step_and_keeps_what_was_saved(tmp_path):
    agent = TDLambda(LinearRTU(4), 2, gamma=0.99, lambda_=0.99, optimizer=SGD(1e-2))
    rng = np.random.default_rng(18)
    agent.run(rng.standard_normal((10, 2)), rng.standard_normal(10), progress=False)
    agent.save(tmp_path / "before.npz")
    saved = everything(agent)
    with pytest.raises(FloatingPointError, match=r"diverged by step \d+") as caught:
        agent.run(rng.standard_normal((20_000, 2)) * 100, rng.standard_normal(20_000) * 1e6, progress=False)
    step = int(str(caught.value).split("step ")[1].split(":")[0])
    assert 10 < step < 20_010
    assert step == agent.steps
    assert everything(TDLambda.load(tmp_path / "before.npz")) == saved
    with pytest.raises(FloatingPointError, match="diverged"):
        agent.step([1.0, 2.0], 0.0)


def test_progress_shows_on_long_runs_only_where_somebody_looks(capsys):
    run(learner(), oracles.stream(100, D, seed=19))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_learns_a_delayed_prediction(kind, optimizer):
    """The cue is seen 6 steps before the cumulant: without memory there is nothing to predict from."""
    rng = np.random.default_rng(20)
    cue = (rng.random(30_000) < 0.05).astype(float)
    cumulant = np.roll(cue, 6)
    gamma = 0.8
    target = np.zeros(cue.size)
    for t in range(cue.size - 2, -1, -1):
        target[t] = cumulant[t + 1] + gamma * target[t + 1]
    settings = {"SGD": SGD(0.01), "ObGD": ObGD(1.0), "Adam": Adam(0.003), "RMSProp": RMSProp(0.001)}
    agent = TDLambda(kind(8, max_phase=1.0), 1, gamma=gamma, lambda_=0.9, optimizer=settings[optimizer], seed=21)
    predictions = agent.run(cue[:, None], cumulant, progress=False)
    late = slice(-5000, -100)
    error = np.mean((predictions[late] - target[late]) ** 2)
    assert error < 0.6 * target[late].var()
