"""TD(lambda): against an oracle that knows the forward pass alone; the order of a step; what a user may do to it."""

import copy
import math
import pickle
import zipfile

import numpy as np
import oracles
import pytest
from numba.core.runtime import _nrt_python as _nrt
from numba.core.runtime import rtsys
from tolerances import LEARNING, PLAIN, assert_close

from rtu_np import RTRL, SGD, TBPTT, Adam, LinearRTU, NonlinearRTU, ObGD, RMSProp, TDLambda
from rtu_np.jit import compile_for
from rtu_np.prediction.td_kernels import run as run_kernel

OPTIMIZERS = {
    "SGD": SGD(0.01),
    "ObGD": ObGD(0.01, kappa=20.0),  # greater steps amplify rounding from step to step, and nothing could be compared
    "Adam": Adam(0.003, beta1=0.9, beta2=0.99, epsilon=1e-6),
    "RMSProp": RMSProp(0.003, beta=0.9, epsilon=1e-5),
}
# Compiling takes seconds for each: every optimiser with one cell, one optimiser with the other, and float32 once.
LEARNERS = [*((LinearRTU, optimizer) for optimizer in OPTIMIZERS), (NonlinearRTU, "SGD")]
PRECISIONS = [*((*pair, "float64") for pair in LEARNERS), (LinearRTU, "SGD", "float32"), (LinearRTU, "Adam", "float32")]
N, D = 3, 2


def learner(kind=LinearRTU, optimizer="Adam", **settings) -> TDLambda:
    own = {"gamma": 0.9, "lambda_": 0.8, "seed": 1, **settings}
    return TDLambda(kind(N, r_max=0.95), n_inputs=D, optimizer=OPTIMIZERS[optimizer], **own)


def run(agent: TDLambda, s: oracles.Stream) -> np.ndarray:
    return agent.run(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, progress=False)


def steps(agent: TDLambda, s: oracles.Stream) -> np.ndarray:
    rows = zip(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, strict=True)
    return np.array([agent.step(*row) for row in rows])


def everything(agent: TDLambda) -> bytes:
    return b"".join(array.tobytes() for array in agent._arrays().values())


@pytest.mark.parametrize(("kind", "optimizer"), LEARNERS)
def test_learning_equals_the_oracle(kind, optimizer, rng):
    agent = learner(kind, optimizer)
    agent.parameters["readout.w"][:] = rng.standard_normal(2 * N)
    settings = dict(vars(OPTIMIZERS[optimizer]))

    def cell(p, state, x):
        return oracles.rtu(kind is NonlinearRTU, "tanh", p, state, x)

    start = {name: view.copy() for name, view in agent.parameters.items()}
    oracle = oracles.TDOracle(cell, dict(start), 2 * N, 0.8, oracles.Optimizer(optimizer, **settings))
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
        gradients.append({**layer.gradient(agent.parameters["readout.w"]), "readout.w": y, "readout.b": np.ones(1)})
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
    assert agent._clock[1] == 1


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
        view[:] = twin.parameters[name]
    expected = [
        layer.advance(x) @ twin.parameters["readout.w"] + twin.parameters["readout.b"][0] for x in s.observations
    ]
    twin.reset()
    assert_close(twin.predict(s.observations), np.array(expected), PLAIN)


@pytest.mark.parametrize(("kind", "optimizer", "dtype"), PRECISIONS)
def test_save_and_load_continue_bit_for_bit(kind, optimizer, dtype, tmp_path):
    s, more = oracles.stream(150, D, seed=13), oracles.stream(150, D, seed=14)
    agent = learner(kind, optimizer, dtype=dtype)
    run(agent, s)
    agent.predict(s.observations[:10])
    agent.save(tmp_path / "agent.npz")
    copy = TDLambda.load(tmp_path / "agent.npz")
    assert (copy.cell, copy.optimizer, copy.gradient, copy.steps) == (agent.cell, agent.optimizer, agent.gradient, 150)
    assert np.array_equal(run(agent, more), run(copy, more))
    assert agent.predict(s.observations[10]) == copy.predict(s.observations[10])
    assert everything(agent) == everything(copy)
    assert [path.name for path in tmp_path.iterdir()] == ["agent.npz"]


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda agent: pickle.loads(pickle.dumps(agent))], ids=["copy", "pickle"]
)
def test_a_copy_goes_on_by_itself(duplicate, rng):
    agent = TDLambda(LinearRTU(3), 2, lambda_=0.7)
    x, c = rng.standard_normal((40, 2)), rng.standard_normal(40)
    agent.run(x[:20], c[:20], progress=False)
    agent.predict(x[0])
    other = duplicate(agent)
    before = agent._flat.copy()
    stepped = [other.step(x[k], c[k]) for k in range(20, 40)]
    assert np.array_equal(agent._flat, before)
    assert np.array_equal(stepped, agent.run(x[20:], c[20:], progress=False))
    assert agent.predict(x[1]) == other.predict(x[1])
    assert other.steps == agent.steps == 40


def test_a_checkpoint_needs_nothing_but_numpy_to_read(tmp_path):
    agent = learner()
    agent.save(tmp_path / "agent.npz")
    with np.load(tmp_path / "agent.npz", allow_pickle=False) as file:
        assert np.array_equal(file["params.W1"], agent.parameters["W1"])


def test_damaged_and_foreign_checkpoints(tmp_path):
    agent = learner()
    good = tmp_path / "good.npz"
    agent.save(good)
    whole = good.read_bytes()
    bad = tmp_path / "bad.npz"
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-30], whole[:100] + b"\0" * 50 + whole[150:]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match="not a whole rtu_np checkpoint"):
            TDLambda.load(bad)
    np.savez(bad, a=np.ones(3))
    with pytest.raises(ValueError, match="not a whole rtu_np checkpoint"):
        TDLambda.load(bad)
    with pytest.raises(FileNotFoundError):
        TDLambda.load(tmp_path / "absent.npz")

    class Trap:
        def __reduce__(self):
            return (print, ("executed",))

    for content in (pickle.dumps(Trap()), None):
        if content is None:
            np.savez(bad, **{"settings.json": np.array([Trap()], dtype=object)})
        else:
            bad.write_bytes(content)
        with pytest.raises(ValueError, match="not a whole rtu_np checkpoint"):
            TDLambda.load(bad)


def rewrite(source, target, name, content):
    """Copy a checkpoint with one member replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.namelist():
            new.writestr(item, content if item == name else old.read(item))


def test_a_checkpoint_of_another_shape_or_version(tmp_path):
    import io
    import json

    agent = learner()
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    agent.save(good)

    def member(array):
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    rewrite(good, bad, "params.W1.npy", member(np.zeros((D + 1, N))))
    with pytest.raises(ValueError, match=r"params.W1 is float64 \(3, 3\), expected float64 \(2, 3\)"):
        TDLambda.load(bad)
    with np.load(good) as file:
        page = json.loads(file["settings.json"].tobytes())
    for change, message in (
        ({"version": 99}, "checkpoint version 99"),
        ({"format": "other"}, "another program"),
        ({"learner": "PPO"}, "not a checkpoint of TDLambda"),
        ({"cell": {"name": "Mine"}}, "cell 'Mine' is not of this package; give it to load"),
        ({"gamma": 7}, "gamma is 7"),
        ({"lambda_": None}, "lambda_ is None"),
    ):
        text = json.dumps({**page, **change}).encode()
        rewrite(good, bad, "settings.json.npy", member(np.frombuffer(text, np.uint8)))
        with pytest.raises(ValueError, match=message):
            TDLambda.load(bad)


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


GOOD = {"observations": np.ones((5, D)), "cumulants": np.ones(5)}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"observations": np.ones((5, D + 1))}, ValueError, r"observations has shape \(5, 3\): expected \(any, 2\)"),
        ({"observations": np.ones(5)}, ValueError, r"observations has shape \(5,\)"),
        ({"observations": np.ones((0, D)), "cumulants": np.ones(0)}, ValueError, "expected at least one step"),
        ({"observations": np.full((5, D), "x")}, TypeError, "observations has dtype <U1: expected real numbers"),
        ({"observations": np.full((5, D), 1j)}, TypeError, "not complex ones"),
        ({"observations": np.array([[1, 2]] * 4 + [[3, np.nan]])}, ValueError, r"observations\[4, 1\] is nan"),
        ({"cumulants": np.ones(4)}, ValueError, r"cumulants has shape \(4,\): expected \(5,\); as many as"),
        ({"cumulants": [1, 2, np.inf, 4, 5]}, ValueError, r"cumulants\[2\] is inf"),
        ({"discounts": np.ones(6)}, ValueError, "discounts has shape"),
        ({"discounts": [0, 0, 1.5, 0, 0]}, ValueError, r"discounts\[2\] is 1.5: expected numbers in \[0, 1\]"),
        ({"discounts": [0, -0.25, 1, 0, 0]}, ValueError, r"discounts\[1\] is -0.25"),
        ({"terminated": np.zeros(3, bool)}, ValueError, "terminated has shape"),
        ({"truncated": ["no"] * 5}, TypeError, "truncated has dtype"),
    ],
)
def test_bad_streams_change_nothing(change, error, message):
    agent = learner()
    run(agent, oracles.stream(20, D, seed=17))
    before = everything(agent)
    with pytest.raises(error, match=message):
        agent.run(**{**GOOD, **change}, progress=False)
    assert everything(agent) == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [1.0]}, ValueError, r"x has shape \(1,\): expected \(2,\)"),
        ({"x": [1.0, np.nan]}, ValueError, r"x\[1\] is nan"),
        ({"x": None}, TypeError, "x has dtype object"),
        ({"c": np.inf}, ValueError, "c is inf: expected a finite number"),
        ({"c": None}, TypeError, "c is None of type NoneType"),
        ({"c": "1"}, TypeError, "c is '1' of type str: expected a real number"),
        ({"discount": 1.01}, ValueError, r"discount is 1.01: expected a finite number in \[0.0, 1.0\]"),
        ({"discount": np.nan}, ValueError, "discount is nan"),
    ],
)
def test_bad_steps_change_nothing(change, error, message):
    agent = learner()
    agent.step([1.0, 2.0], 0.0)
    before = everything(agent)
    with pytest.raises(error, match=message):
        agent.step(**{"x": [1.0, 2.0], "c": 0.0, **change})
    assert everything(agent) == before


def test_numbers_too_large_for_float32_are_refused():
    agent = learner(dtype="float32")
    before = everything(agent)
    with pytest.raises(ValueError, match=r"observations\[4, 0\] is inf"):
        agent.run(np.array([[1.0, 1.0]] * 4 + [[1e300, 1.0]]), np.ones(5), progress=False)
    with pytest.warns(RuntimeWarning, match="overflow"), pytest.raises(ValueError, match="c is inf"):
        agent.step([1.0, 1.0], 1e300)
    assert everything(agent) == before


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"gamma": 1.1}, ValueError, r"gamma is 1.1: expected a finite number in \[0.0, 1.0\]"),
        ({"gamma": -0.1}, ValueError, "gamma is -0.1"),
        ({"gamma": np.nan}, ValueError, "gamma is nan"),
        ({"lambda_": 2}, ValueError, "lambda_ is 2"),
        ({"lambda_": "high"}, TypeError, "lambda_ is 'high' of type str"),
        ({"n_inputs": 0}, ValueError, "n_inputs is 0: expected an integer of at least 1"),
        ({"n_inputs": 2.0}, TypeError, "n_inputs is 2.0"),
        ({"dtype": "float16"}, ValueError, "dtype is 'float16': expected 'float64' or 'float32'"),
        ({"dtype": "nonsense"}, ValueError, "dtype is 'nonsense'"),
        ({"optimizer": 1e-3}, TypeError, r"optimizer is 0.001: expected one such as Adam\(1e-3\)"),
        ({"gradient": "RTRL"}, TypeError, "gradient is 'RTRL'"),
        ({"cell": 16}, TypeError, r"cell is 16: expected a cell such as LinearRTU\(16\)"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        TDLambda(**{"cell": LinearRTU(3), "n_inputs": 2, **settings})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "step_size is 0.0: expected a finite number in"),
        (lambda: SGD(-1.0), "step_size is -1.0"),
        (lambda: ObGD(1.0, kappa=0.0), "kappa is 0.0"),
        (lambda: Adam(np.inf), "step_size is inf"),
        (lambda: Adam(beta1=1.0), "beta1 is 1.0"),
        (lambda: Adam(epsilon=0.0), "epsilon is 0.0"),
        (lambda: RMSProp(beta=-0.5), "beta is -0.5"),
    ],
)
def test_bad_optimizers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_degenerate_and_foreign_parameters_are_named_before_a_step():
    agent = learner()
    agent.parameters["nu_log"][1] = -1000.0
    before = everything(agent)
    for act in (lambda: agent.step([1.0, 2.0], 0.0), lambda: agent.run(**GOOD), lambda: agent.predict([1.0, 2.0])):
        with pytest.raises(ValueError, match=r"nu_log\[1\] is -1000.0: exp\(nu_log\) underflows"):
            act()
        assert everything(agent) == before
    agent.parameters["nu_log"][1] = 0.0
    agent.parameters["W2"][1, 0] = np.nan
    before = everything(agent)
    with pytest.raises(ValueError, match=r"W2\[1, 0\] is nan"):
        agent.run(**GOOD, progress=False)
    assert everything(agent) == before


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
