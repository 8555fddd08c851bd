"""Eigenvalues do not run away: r and theta have bounds, and phases wrap."""

import pickle

import gymnasium
import numpy as np
import pytest
from agent_cases import World
from cases import in_plain_python
from td_cases import everything
from tolerances import LEARNING, PLAIN, assert_close

from rtu_np import (
    LRU,
    PPO,
    QRC,
    RTRL,
    SGD,
    TBPTT,
    TIDBD,
    ActorCritic,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    Blocks,
    Dense,
    Epsilon,
    GatedRTU,
    Intentional,
    LinearRTU,
    NonlinearRTU,
    ObGD,
    QLambda,
    RMSProp,
    Stack,
    TDLambda,
)
from rtu_np.cells import eigenvalues

TURN = 2 * np.pi


def stream(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 2)), rng.standard_normal(n)


def phases(learner) -> list[np.ndarray]:
    return [view for name, view in learner.parameters.items() if name.endswith("theta_log")]


def turn(learner, turns: int) -> None:
    """Add full turns to each phase, which leaves every output as it was."""
    for view in phases(learner):
        view[:] = np.log(np.exp(view) % TURN + TURN * turns)


BY_ALL_WEIGHTS = (
    "moments.rule.scalars",
    "moments.rule.factor",
)  # the size of a step sums over all weights, in their own forms


def assert_equal_arrays(actual, expected, tolerance: float) -> None:
    other = expected._arrays()
    assert any(
        np.any(array)
        for name, array in other.items()
        if "moments" in name or ("traces" in name and "theta_log" in name)
    )
    for name, array in actual._arrays().items():
        # The summary of PPO's update has the norm of the gradient, which depends on the form. The memory before a
        # rollout has scratch of the step before; its sensitivities show in the update that computes them again.
        if name in ("update", "rollout.memory"):
            continue
        if isinstance(getattr(actual, "optimizer", None), Intentional | TIDBD) and name in BY_ALL_WEIGHTS:
            continue
        if np.any(other[name]):
            assert_close(array, other[name], tolerance, name)
        else:
            assert not np.any(array), name


# -------------------------------------------------------------------------------------------------- wrapped phases

CELLS = {
    "linear": (LinearRTU(3), RTRL()),
    "nonlinear": (NonlinearRTU(3), RTRL()),
    "LRU": (LRU(3), RTRL()),
    "nonlinear LRU": (LRU(3, recurrence="tanh"), RTRL()),
    "stack": (Stack([LinearRTU(3), Dense(2, "tanh"), NonlinearRTU(2)]), RTRL()),
    "full RTRL": (LinearRTU(3), RTRL(dense=True)),
    "full RTRL of a stack": (Stack([LinearRTU(2), LRU(2)]), RTRL(dense=True)),
    "T-BPTT": (LinearRTU(3), TBPTT(3)),
}
# Steps too small to change a number: for fixed parameters the gradient is exact, on both sides of the wrap.
STILL = {
    "SGD": SGD(1e-300),
    "Adam": Adam(1e-300),
    "RMSProp": RMSProp(1e-300),
    "AdaptiveObGD": AdaptiveObGD(1e-300, epsilon=1e-300),
    "Adaptive": Adaptive(1e-300),
    "Intentional": Intentional(1e-300),
    "TIDBD": TIDBD(3e-9, meta_step=1e-300, kappa=1e-300),
    "Autostep": Autostep(3e-9, meta_step=1e-300),
    "blocks": Blocks(cell=Adam(1e-300), readout=Intentional(1e-300, statistics="trace")),
}
# Steps of TIDBD and Autostep do not vanish.
LOOSE = {"TIDBD": 1e-5, "Autostep": 1e-5}


def late_wrap(make, learn, monkeypatch):
    """Two learners that differ by a turn: one starts above 4 pi, and wraps not before its last step."""
    wrapped, plain = make(), make()
    turn(wrapped, 2)
    turn(plain, 1)
    with monkeypatch.context() as patch:
        patch.setattr(eigenvalues, "_WRAP_ABOVE", np.inf)
        learn(wrapped, 0)
    learn(plain, 0)
    for learner in (wrapped, plain):
        learn(learner, 1)
    assert all(np.all((np.exp(view) > TURN) & (np.exp(view) <= 2 * TURN)) for view in phases(wrapped))
    return wrapped, plain


@in_plain_python
@pytest.mark.parametrize("optimizer", STILL)
@pytest.mark.parametrize("cell", CELLS)
def test_eq53_a_wrap_rescales_all_that_is_linear_in_the_derivative(cell, optimizer, monkeypatch) -> None:
    (kind, gradient), (x, c), rule = CELLS[cell], stream(60), STILL[optimizer]

    def make() -> TDLambda:
        return TDLambda(kind, 2, gamma=0.8, optimizer=rule, gradient=gradient, seed=3)

    def learn(learner: TDLambda, part: int) -> None:
        rows = (slice(0, 47), slice(47, 60))[part]  # 48 is the next step that confines
        learner.run(x[rows], c[rows], progress=False)

    assert_equal_arrays(*late_wrap(make, learn, monkeypatch), LOOSE.get(optimizer, LEARNING))


@in_plain_python
@pytest.mark.parametrize("gradient", [RTRL(), TBPTT(2), RTRL(dense=True)], ids=str)
@pytest.mark.parametrize("kind", ["two networks", "shared", "QLambda", "QRC", "PPO"])
def test_eq53_a_wrap_of_an_agent(kind, gradient, monkeypatch) -> None:
    greedy = Epsilon(0.0, 0.0, 1)  # exploration cuts traces
    still, own = Adam(1e-300), {"dtype": "float64", "seed": 3, "gradient": gradient}

    def make():
        world = World(discrete=True)
        if kind == "PPO":
            own["refresh"] = "both"
            own["max_grad_norm"] = 1e9  # a clipped norm depends on the form of every parameter
            layers = {"actor": Dense(2, "tanh"), "critic": Dense(2, "tanh")}
            agent = PPO(world, LinearRTU(3), n_steps=24, n_minibatches=3, optimizer=still, threads=1, **layers, **own)
        elif kind == "QLambda":
            agent = QLambda(world, LinearRTU(3), epsilon=greedy, optimizer=still, **own)
        elif kind == "QRC":
            agent = QRC(world, LinearRTU(3), epsilon=greedy, beta=0.0, optimizer=still, h_optimizer=still, **own)
        else:
            rules = {"shared": True} if kind == "shared" else {"critic_optimizer": still}
            agent = ActorCritic(world, LinearRTU(3), actor_optimizer=still, **rules, **own)
        rng = np.random.default_rng(5)
        for view in agent.parameters.values():  # readouts start at zero, and would hide the gradient of the cell
            view[:] += 0.1 * rng.standard_normal(view.shape)
        agent.world = world
        return agent

    def learn(agent, part: int) -> None:
        agent.learn(agent.world, (47, 12)[part], progress=False, log=None)

    wrapped, plain = late_wrap(make, learn, monkeypatch)
    assert wrapped.steps == 59  # of PPO the second rollout ends, and with it the update that wraps, at step 48
    assert_equal_arrays(wrapped, plain, LEARNING)


def test_a_compiled_wrap_halves_what_is_linear() -> None:
    """At 4 pi a wrap halves the phase: the traces and moments of theta_log become half of what they were."""
    x, c = stream(60)
    still = TDLambda(LinearRTU(3), 2, optimizer=Adam(1e-300), seed=3)
    still.parameters["cell.theta_log"][:] = np.log(2 * TURN) - 1e-14
    still.run(x[:47], c[:47], progress=False)
    wrapped = pickle.loads(pickle.dumps(still))
    wrapped.parameters["cell.theta_log"][1:] += 3e-14
    for learner in (still, wrapped):
        learner.run(x[47:], c[47:], progress=False)
    theta = np.exp(wrapped.parameters["cell.theta_log"])
    assert_close(theta, TURN * np.array([2, 1, 1]), PLAIN)
    assert_close(wrapped.traces["cell.theta_log"], still.traces["cell.theta_log"] * [1, 0.5, 0.5], LEARNING)
    assert_close(wrapped.traces["cell.W1"], still.traces["cell.W1"], LEARNING)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_step_is_run_across_wraps_and_files(dtype, tmp_path) -> None:
    x, c = stream(400, 1)

    def make() -> TDLambda:
        learner = TDLambda(LinearRTU(4), 2, gamma=0.8, optimizer=ObGD(kappa=1.0), seed=0, dtype=dtype)
        turn(learner, 1)
        return learner

    whole, single = make(), make()
    predictions, wraps, before = whole.run(x, c, progress=False), 0, phases(single)[0].copy()
    for t, (row, cumulant) in enumerate(zip(x, c, strict=True)):
        assert single.step(row, cumulant) == predictions[t]
        wraps += np.any(phases(single)[0] < before - 0.1)
        before = phases(single)[0].copy()
        if t % 100 == 50:
            single = TDLambda.load(single.save(tmp_path / "learner.npz") or tmp_path / "learner.npz")
    assert wraps > 0
    assert everything(whole) == everything(single)


def test_a_phase_that_is_not_finite_stops_the_learner() -> None:
    learner = TDLambda(LinearRTU(3), 2)
    learner.parameters["cell.theta_log"][1] = 1000.0
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(FloatingPointError, match="diverged"):
        learner.run(*stream(10), progress=False)


# ---------------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", eigenvalues.PARAMETERIZATIONS)
def test_eq52_parameters_come_back_to_their_bounds(name, dtype) -> None:
    form = LinearRTU(5, parameterization=name).form
    a, b = eigenvalues.store(form, np.array([1e-9, 1e-3, 1.0, 50.0, np.nan]), np.array([1e-9, 1.0, 1.0, 3.0, 1.0]))
    a, b = a.astype(dtype), b.astype(dtype)
    if name == "nu/theta":
        a[0] = -1.0
    if name == "r/theta":
        a[0], a[3] = 1.1, -0.3
    kept = a[1:3].copy(), b[1:].copy()
    assert not eigenvalues.confine_eigenvalues(form, eigenvalues.OrdinaryMemory(), a, b)
    r, theta, *_ = eigenvalues.plain_eigenvalue(form, np.float64(a), np.float64(b))
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    assert_close(-np.log(r[[0, 3]]), np.array([1e-4, 10.0]), tolerance if dtype == "float64" else 1e-2)
    assert np.isnan(a[4])
    assert (a[1:3] == kept[0]).all()
    assert (b[1:] == kept[1]).all()
    if name == "nu_log/theta_log":
        assert_close(theta[:1], np.array([1e-4]), tolerance)


@pytest.mark.parametrize(
    ("ring", "slowest"),
    [
        ({}, 1e-4),
        ({"r_min": 0.9}, 1e-4),
        ({"r_min": 0.99999}, 1e-9),
        ({"max_phase": 1e-3}, 1e-9),
    ],
    ids=str,
)
def test_the_bound_gives_way_to_the_ring(ring, slowest) -> None:
    cell = LinearRTU(50, **ring)
    assert eigenvalues.slowest_of(cell.span) == slowest
    learner = TDLambda(cell, 2, optimizer=SGD(1e-300))
    before = {name: learner.parameters[f"cell.{name}"].copy() for name in ("nu_log", "theta_log")}
    learner.run(*stream(16), progress=False)
    for name, view in before.items():
        kept = learner.parameters[f"cell.{name}"] == view
        assert kept.sum() >= 48
        assert (np.exp(view[~kept]) < slowest).all()


@pytest.mark.parametrize("name", ["nu_log/theta_log", "r/theta"])
def test_a_unit_leaves_its_bound(name) -> None:
    """The derivative at the bound is exact and not zero, so that a unit is not stuck there."""
    learner = TDLambda(LinearRTU(3, parameterization=name), 2, optimizer=SGD(1e-3), seed=2)
    slow = learner.parameters["cell.nu_log" if name == "nu_log/theta_log" else "cell.r"]
    low, high = eigenvalues.modulus_bounds(learner.cell.form, eigenvalues.SLOWEST)
    bound = high if name == "r/theta" else low
    slow[:] = bound
    x, c = stream(300, 4)
    left = 0
    for row, cumulant in zip(x, c, strict=True):
        learner.step(row, cumulant)
        left += np.count_nonzero(slow != bound)
    assert left > 0


def test_default_learner_keeps_its_memory_within_bounds() -> None:
    """A step far too large, which without bounds sends half of the units beyond log nu = -20 in this time."""
    rng = np.random.default_rng(0)
    cue = (rng.random(60_000) < 0.05).astype(float)
    learner = TDLambda(LinearRTU(8), 2, gamma=0.8, optimizer=Adam(0.02), seed=0)
    learner.run(np.stack([cue, np.roll(cue, 5)], axis=1), np.roll(cue, 5), progress=False)
    nu = np.exp(learner.parameters["cell.nu_log"])
    assert nu.min() >= 1e-4 * (1 - 1e-12)
    assert nu.max() <= 10 * (1 + 1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_eq52_a_phase_behind_a_gate_is_bounded_and_does_not_wrap(dtype) -> None:
    """theta and theta - 2 pi are two units there."""
    learner = TDLambda(GatedRTU(4), 2, optimizer=SGD(1e-30), dtype=dtype)
    nu, theta = (learner.parameters[f"cell.{name}"] for name in ("nu_log", "theta_log"))
    nu[:] = np.log([1e-9, 1e-3, 2.0, 50.0])
    theta[:] = np.log([1e-9, 2.0, 2 * TURN - 0.01, 50.0])
    kept = nu[1:3].copy(), theta[1:3].copy()
    learner.run(*stream(48), progress=False)
    assert (nu[1:3] == kept[0]).all()
    assert (theta[1:3] == kept[1]).all()
    assert_close(nu[[0, 3]], np.log([1e-4, 10.0]), 1e-6)
    assert_close(theta[[0, 3]], np.log([1e-4, 2 * TURN]), 1e-6)
    assert learner.diagnostics()["cell.at_bound"] == 2


def test_every_agent_has_bounds() -> None:
    env = gymnasium.make("CartPole-v1")
    fast = Adam(0.5)
    agents = [
        ActorCritic(env, LinearRTU(4), actor_optimizer=fast, critic_optimizer=fast),
        ActorCritic(env, LinearRTU(4), shared=True, actor_optimizer=fast),
        QLambda(env, LinearRTU(4), optimizer=fast),
        QRC(env, LinearRTU(4), optimizer=fast, h_optimizer=fast),
        PPO(env, LinearRTU(4), n_steps=64, n_minibatches=4, optimizer=fast, threads=1),
    ]
    for agent in agents:
        agent.learn(env, 208 - agent.steps % 16, progress=False, log=None)
        if agent.steps % 16:  # bounds are kept at every sixteenth step; first steps of episodes do not count
            agent.learn(env, 16 - agent.steps % 16, progress=False, log=None)
        for name, view in agent.parameters.items():
            if name.endswith("nu_log"):
                assert view.min() >= np.log(1e-4) - 1e-5, agent
                assert view.max() <= np.log(10) + 1e-5, agent
            if name.endswith("theta_log"):
                assert view.max() <= np.log(2 * TURN) + 1e-5, agent
                assert view.min() >= np.log(1e-4) - 1e-5, agent
