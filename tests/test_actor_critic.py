"""Streaming actor-critic(lambda): against oracles that know forward passes alone, bounds, ends, exact resume."""

import gymnasium
import numpy as np
import oracles
import pytest
from agent_cases import GAMMA, World, everything, make
from cases import COMPILED, KINDS, in_plain_python
from rule_cases import RULES, of_blocks
from rule_oracles import AsOptimizer, Network
from tolerances import COMPLEX_STEP, DIFFERENCES, LEARNING, PLAIN, assert_close

import envs  # noqa: F401   registers the robots
from envs import snapshot
from rtu_np import (
    SGD,
    TBPTT,
    ActorCritic,
    Dense,
    Gaussian,
    LayerNorm,
    LinearRTU,
    ObGD,
    Stack,
    check_gradients,
    checkpoint,
)
from rtu_np.control.inputs import COUNT, DRAWN, EXECUTED, LATEST, SUM_ABS, SUM_SQUARES, input_statistics


def recorded(agent: ActorCritic, steps: int):
    """What an agent met and did: (observations, rewards, terminated, truncated, actions as drawn)."""
    world = World(agent.actions.discrete)
    observation, _ = world.reset(seed=1)
    rows = []
    feedback = (0.0, False, False)
    while True:
        agent.step(observation, *feedback)
        rows.append((observation, *feedback, agent._buffers.action[DRAWN].copy()))
        if any(feedback[1:]):
            observation, _ = world.reset()
            feedback = (0.0, False, False)
        else:
            observation, *feedback = world.step(agent._buffers.action[EXECUTED])[:4]
        if len(rows) == steps:
            return tuple(zip(*rows, strict=True))


def inputs_of(observations, rewards, terminated, truncated) -> tuple[list, list]:
    """(observations as the networks see them, rewards as they are scaled), from their definitions."""
    xs = [oracles.normalized(observations[: t + 1]) for t in range(len(observations))]
    returns, G, scaled, first = [], 0.0, [], True
    for r, dead, cut in zip(rewards, terminated, truncated, strict=True):
        if not first:
            G = GAMMA * (0.0 if dead or cut else G) + r
            returns.append([G])
            deviation = np.std(returns, ddof=1) if len(returns) > 1 else 1.0
            r = r / np.sqrt(deviation**2 + 1e-8)
        scaled.append(r)
        first = dead or cut
    return xs, scaled


def td_errors(agent: ActorCritic) -> np.ndarray:
    return input_statistics(agent._inputs, agent._buffers.statistics)[0].td_errors


def own(agent: ActorCritic, prefix: str, old: str = "", new: str = "") -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix).replace(old, new): view.copy()
        for name, view in agent.parameters.items()
        if name.startswith(prefix)
    }


def oracle_of(agent: ActorCritic, case, optimizer, window=None) -> tuple[oracles.ActorOracle, oracles.TDOracle]:
    actor = oracles.ActorOracle(case.in_blocks, own(agent, "actor."), case.n_state, 0.8, optimizer())
    actor.policy, actor.entropy, actor.gamma, actor.window = agent.policy, agent.entropy_coef, GAMMA, window
    kind = oracles.TDOracle if window is None else oracles.TruncatedOracle
    critic = kind(case.in_blocks, own(agent, "critic.", "value.", "readout."), case.n_state, 0.8, optimizer())
    critic.steps = window
    return actor, critic


RULES_OF_A_RUN = 1e-8  # a change of parameters after 24 free steps: the rules divide by small numbers

OPTIMIZERS = {
    "SGD": (SGD(0.002), lambda: oracles.Optimizer("SGD", step_size=0.002)),
    "ObGD": (ObGD(kappa=2.0), lambda: oracles.Optimizer("ObGD", step_size=1.0, kappa=2.0)),
}
CASES = [("linear RTU", "ObGD", True, None), ("linear RTU", "ObGD", False, None)]
if not COMPILED:
    CASES += [(kind, name, discrete, None) for kind in KINDS for name in OPTIMIZERS for discrete in (True, False)]
    CASES += [(kind, "ObGD", False, window) for kind in ("linear RTU", "GRU", "stack") for window in (1, 3)]


@pytest.mark.parametrize(("kind", "optimizer", "discrete", "window"), CASES)
def test_learning_equals_the_oracle(kind, optimizer, discrete, window):
    """Parameters, traces and TD errors, over three ends of episodes."""
    case, (mine, theirs) = KINDS[kind], OPTIMIZERS[optimizer]
    gradient = TBPTT(window) if window else None
    agent = make(discrete, case.cell, actor_optimizer=mine, critic_optimizer=mine, gradient=gradient)
    actor, critic = oracle_of(agent, case, theirs, window)
    start = {name: view.copy() for name, view in agent.parameters.items()}
    observations, rewards, terminated, truncated, actions = recorded(agent, 24)
    xs, scaled = inputs_of(observations, rewards, terminated, truncated)
    deltas = oracles.actor_critic(actor, critic, xs, scaled, terminated, truncated, actions)
    expected = np.array([np.abs(deltas).sum(), np.square(deltas).sum(), len(deltas)])
    assert_close(td_errors(agent)[[SUM_ABS, SUM_SQUARES, COUNT]], expected, LEARNING)
    for name, view in agent.parameters.items():
        prefix, _, key = name.partition(".")
        oracle = actor if prefix == "actor" else critic
        key = key.replace("value.", "readout.")
        assert not np.array_equal(view, start[name]), f"{name} has not moved"
        assert_close(view, oracle.params[key], LEARNING, name)
        assert_close(agent.traces[name], oracle.traces[key], LEARNING, f"trace of {name}")


@in_plain_python
@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("kind", ["linear RTU", "GRU", "stack"])
def test_learning_of_a_shared_body_equals_the_oracle(kind, window, discrete):
    """As of two networks, over three ends of episodes: the value of the next step leaves no mark on memory."""
    case, (mine, theirs) = KINDS[kind], OPTIMIZERS["ObGD"]
    agent = make(discrete, case.cell, shared=True, actor_optimizer=mine, gradient=TBPTT(window) if window else None)
    net = oracles.SharedOracle(case.in_blocks, own(agent, ""), case.n_state, 0.8, theirs())
    net.policy, net.entropy, net.gamma, net.window = agent.policy, agent.entropy_coef, GAMMA, window
    start = {name: view.copy() for name, view in agent.parameters.items()}
    observations, rewards, terminated, truncated, actions = recorded(agent, 24)
    xs, scaled = inputs_of(observations, rewards, terminated, truncated)
    deltas = oracles.shared_actor_critic(net, xs, scaled, terminated, truncated, actions)
    expected = np.array([np.abs(deltas).sum(), np.square(deltas).sum(), len(deltas)])
    assert_close(td_errors(agent)[[SUM_ABS, SUM_SQUARES, COUNT]], expected, LEARNING)
    for name, view in agent.parameters.items():
        assert not np.array_equal(view, start[name]), f"{name} has not moved"
        assert_close(view, net.params[name], LEARNING, name)
        assert_close(agent.traces[name], net.traces[name], LEARNING, f"trace of {name}")


@in_plain_python
@pytest.mark.parametrize("bug", ["entropy without the sign", "action of the step after", "decay without lambda"])
def test_planted_bugs_are_found(bug):
    case, (mine, theirs) = KINDS["linear RTU"], OPTIMIZERS["SGD"]
    settings = {"normalize_observations": False, "scale_rewards": False}
    agent = make(True, case.cell, actor_optimizer=mine, critic_optimizer=mine, **settings)
    actor, critic = oracle_of(agent, case, theirs)
    observations, rewards, terminated, truncated, actions = recorded(agent, 24)
    if bug == "entropy without the sign":
        actor.learn, learn = lambda action, delta: learn(action, abs(delta)), actor.learn
    elif bug == "action of the step after":
        actions = (*actions[1:], actions[0])
    else:
        actor.lambda_ = 1.0
    oracles.actor_critic(actor, critic, observations, rewards, terminated, truncated, actions)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(agent.parameters["actor.cell.W1"], actor.params["cell.W1"], LEARNING)


def gradients_now(agent: ActorCritic) -> dict[str, np.ndarray]:
    """With lambda 0, a trace is the latest gradient."""
    return {name: view.copy() for name, view in agent.traces.items()}


@in_plain_python
@pytest.mark.parametrize("discrete", [True, False])
def test_gradients_of_actor_and_critic_against_differences(discrete):
    """Head and RTU by differences of whole runs; the encoder, which gets the one-step gradient, with the past held."""
    cell = Stack([Dense(5), LayerNorm("leaky_relu"), LinearRTU(4)])
    still = {"lambda_": 0.0, "actor_optimizer": SGD(1e-30), "critic_optimizer": SGD(1e-30)}
    agent = make(discrete, cell, normalize_observations=False, scale_rewards=False, **still)
    rng = np.random.default_rng(0)
    xs, rewards = rng.standard_normal((8, 3)), rng.standard_normal(8)
    start = {name: view.copy() for name, view in agent.parameters.items()}
    for t in range(8):
        agent.step(xs[t], rewards[t])
        if t == 6:
            action, critic = agent._buffers.action[DRAWN].copy(), gradients_now(agent)
    actor = gradients_now(agent)
    sign = np.sign(td_errors(agent)[LATEST])
    forward = oracles_forward()

    def run(params: dict, prefix: str, now: dict):
        """The objective at step 6, with `now` in place of `params` at that step alone."""
        state = np.zeros(8)
        for t in range(7):
            p = now if t == 6 else params
            own = {name.removeprefix(prefix): view for name, view in p.items() if name.startswith(prefix)}
            state, y = forward(own, state, xs[t])
        if prefix == "critic.":
            return own["value.w"] @ y + own["value.b"][0]
        o = own["policy.W"] @ y + own["policy.b"]
        weight = agent.entropy_coef * sign
        return oracles.log_probability(agent.policy, o, action) + weight * oracles.entropy(agent.policy, o)

    for name, view in start.items():
        prefix = "actor." if name.startswith("actor.") else "critic."
        one_step = ".encoder." in name
        expected, by_step = np.zeros_like(view), np.zeros_like(view)
        for index in np.ndindex(view.shape):
            values = []
            for change in (1e-6, -1e-6, 1e-30j):
                moved = {**start, name: view.astype(complex if change.imag else float)}
                moved[name][index] += change
                values.append(run(start if one_step else moved, prefix, moved))
            expected[index] = (values[0] - values[1]) / 2e-6
            by_step[index] = values[2].imag / 1e-30
        gradient = (actor if prefix == "actor." else critic)[name]
        assert_close(gradient, expected, DIFFERENCES, name)
        assert_close(gradient, by_step, COMPLEX_STEP, name)
    kinds = {block.block: block.kind for block in check_gradients(cell, 3, 12).blocks}
    assert kinds["0.W"] == "layer-local, approximate"
    assert kinds["2.W1"] == "exact for fixed parameters"


def oracles_forward():
    from cases import dense, layer_norm, rtu, stacked

    return stacked(dense("identity", 5), layer_norm("leaky_relu"), rtu(LinearRTU, "tanh")).in_blocks


@pytest.mark.parametrize("shared", [False, True])
def test_the_bound_of_obgd_holds_at_every_step(shared):
    own = {"shared": True} if shared else {"critic_optimizer": ObGD(kappa=2.0)}
    agent = make(False, actor_optimizer=ObGD(kappa=3.0), lambda_=0.99, **own)
    world = World(False, ends=False)
    observation, _ = world.reset(seed=2)
    agent.step(observation)
    kappas = {"": 3.0} if shared else {"actor.": 3.0, "critic.": 2.0}
    for _ in range(60):
        before = {name: view.copy() for name, view in agent.parameters.items()}
        observation, reward, *_ = world.step(agent._buffers.action[EXECUTED])
        agent.step(observation, 100 * reward)
        delta = abs(td_errors(agent)[LATEST])
        for prefix, kappa in kappas.items():
            moved = sum(np.abs(v - before[k]).sum() for k, v in agent.parameters.items() if k.startswith(prefix))
            assert 0 < moved <= delta / (kappa * max(delta, 1.0)) * (1 + PLAIN)


@in_plain_python
def test_a_shared_body_learns_from_the_sum_of_both_objectives():
    """With lambda 0, its body's trace is the sum of the gradients that separate networks of the same weights have."""
    still = {"lambda_": 0.0, "actor_optimizer": SGD(1e-30), "critic_optimizer": SGD(1e-30)}
    shared, apart = make(True, shared=True, **still), make(True, **still)
    for name, view in apart.parameters.items():
        view[:] = shared.parameters[name.removeprefix("actor.").removeprefix("critic.")]
    rng = np.random.default_rng(1)
    traces = []
    for _ in range(9):
        x, r = rng.standard_normal(3), rng.standard_normal()
        apart._buffers.noise[:] = shared._buffers.noise
        shared.step(x, r)
        apart.step(x, r)
        traces.append(gradients_now(apart))
        assert np.array_equal(shared._buffers.action, apart._buffers.action)
    for name in ("nu_log", "theta_log", "W1", "W2"):
        # the critic's trace is a step ahead: it needs no delta
        expected = traces[-1][f"actor.cell.{name}"] + traces[-2][f"critic.cell.{name}"]
        assert_close(shared.traces[f"cell.{name}"], expected, PLAIN, name)
    assert_close(shared.traces["value.w"], traces[-2]["critic.value.w"], PLAIN)
    assert_close(shared.traces["policy.W"], traces[-1]["actor.policy.W"], PLAIN)


@pytest.mark.parametrize("shared", [False, True])
def test_saved_in_mid_episode_it_goes_on_bit_for_bit(shared, tmp_path):
    one, world = make(False, shared=shared, previous_action_reward=True), World(False)
    one.learn(world, 12, progress=False, log=None)
    one.act(np.ones(3))
    one.save(tmp_path / "one.npz")
    two = ActorCritic.load(tmp_path / "one.npz")
    twin = World(False)
    twin.t, twin.np_random = world.t, np.random.default_rng()
    twin.np_random.bit_generator.state = world.np_random.bit_generator.state
    two.resume(twin)
    episodes = [agent.learn(env, 12, progress=False, log=None) for agent, env in ((one, world), (two, twin))]
    assert all(np.array_equal(a, b) for a, b in zip(*episodes, strict=True))
    assert np.array_equal(one.act(np.ones(3)), two.act(np.ones(3)))
    assert everything(one) == everything(two)


@in_plain_python
@pytest.mark.parametrize("robot", ["HalfCheetah-P", "Ant-P"])
def test_a_robot_and_its_agent_go_on_from_files_bit_for_bit(robot, tmp_path):
    """In mid-episode: MuJoCo's state, statistics, generators, sensitivities and traces."""
    one = gymnasium.make(f"rtu_np/{robot}-v0", max_episode_steps=40)
    agent = ActorCritic(one, LinearRTU(4))
    agent.learn(one, 57, progress=False, log=None)
    agent.save(tmp_path / "agent.npz")
    checkpoint.save(tmp_path / "env.npz", *snapshot.capture(one))
    loaded, two = ActorCritic.load(tmp_path / "agent.npz"), gymnasium.make(f"rtu_np/{robot}-v0", max_episode_steps=40)
    snapshot.restore(two, snapshot.Snapshot(*checkpoint.load(tmp_path / "env.npz")))
    loaded.resume(two)
    pairs = [a.learn(env, 60, progress=False, log=None).returns for a, env in ((agent, one), (loaded, two))]
    assert pairs[0].size > 0
    assert np.array_equal(*pairs)
    assert everything(agent) == everything(loaded)


@in_plain_python
def test_window_of_one_step_is_another_gradient():
    agents = [make(True, gradient=gradient) for gradient in (None, TBPTT(1))]
    for agent in agents:
        agent.learn(World(True, ends=False), 20, progress=False, log=None)
    assert not np.array_equal(*(agent.parameters["actor.cell.nu_log"] for agent in agents))


@in_plain_python
def test_free_deviations_learn():
    agent = make(False, policy=Gaussian("free"))
    agent.learn(World(False, ends=False), 20, progress=False, log=None)
    assert (agent.parameters["actor.policy.log_std"] != 0).all()


@in_plain_python
@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("name", [*RULES, *of_blocks("policy")])
def test_step_size_rules_equal_the_oracle(name, discrete):
    """Of two networks, each with rules of its own; the critic with SwiftTD, if the rules are per block."""
    case = KINDS["linear RTU"]
    mine, critics = {**RULES, **of_blocks("policy")}[name], {**RULES, **of_blocks("value")}
    his = critics["SwiftTD" if name == "mixed" else name]
    agent = make(discrete, case.cell, actor_optimizer=mine, critic_optimizer=his)
    actor, critic = oracle_of(agent, case, lambda: None)
    actor.optimizer = AsOptimizer(
        Network(mine, GAMMA, 0.8), lambda: (actor.gradients[-1], len(actor.gradients) == 1, GAMMA)
    )
    seen, gradient = [], critic.gradient

    def recording(x):
        first = critic.before is None
        seen.append((gradient(x), first))
        return seen[-1][0]

    def of_the_step_before():
        (_, gradient_tm1), first = seen[-2]
        return gradient_tm1, first, GAMMA

    critic.gradient = recording
    critic.optimizer = AsOptimizer(Network(his, GAMMA, 0.8, {"value": "readout"}), of_the_step_before)
    start = {name: view.copy() for name, view in agent.parameters.items()}
    observations, rewards, terminated, truncated, actions = recorded(agent, 24)
    xs, scaled = inputs_of(observations, rewards, terminated, truncated)
    oracles.actor_critic(actor, critic, xs, scaled, terminated, truncated, actions)
    for name, view in agent.parameters.items():
        prefix, _, key = name.partition(".")
        expected = (actor if prefix == "actor" else critic).params[
            key if prefix == "actor" else key.replace("value.", "readout.")
        ]
        assert_close(view - start[name], expected - start[name], RULES_OF_A_RUN, f"change of {name}")


@in_plain_python
@pytest.mark.parametrize("name", [*RULES, *of_blocks("policy", "value")])
def test_step_size_rules_of_a_shared_body_equal_the_oracle(name):
    case, mine = KINDS["linear RTU"], {**RULES, **of_blocks("policy", "value")}[name]
    agent = make(True, case.cell, shared=True, actor_optimizer=mine)
    net = oracles.SharedOracle(case.in_blocks, own(agent, ""), case.n_state, 0.8, None)
    net.optimizer = AsOptimizer(Network(mine, GAMMA, 0.8), lambda: (net.gradients[-1], len(net.gradients) == 1, GAMMA))
    net.policy, net.entropy, net.gamma = agent.policy, agent.entropy_coef, GAMMA
    start = {name: view.copy() for name, view in agent.parameters.items()}
    observations, rewards, terminated, truncated, actions = recorded(agent, 24)
    xs, scaled = inputs_of(observations, rewards, terminated, truncated)
    oracles.shared_actor_critic(net, xs, scaled, terminated, truncated, actions)
    for name, view in agent.parameters.items():
        assert_close(view - start[name], net.params[name] - start[name], RULES_OF_A_RUN, f"change of {name}")
