"""Streaming Q(lambda) and QRC(lambda): against oracles that know forward passes alone; cuts, bounds, ends, resume."""

import gymnasium
import numpy as np
import oracles
import pytest
import value_oracles
from cases import COMPILED, KINDS, in_plain_python
from mutants import rebuilt
from rule_cases import RULES, of_blocks
from rule_oracles import AsOptimizer, Network
from tolerances import PLAIN, assert_close

import rtu_np
from rtu_np import QRC, RTRL, SGD, TBPTT, Adam, Epsilon, LinearRTU, ObGD, QLambda, RMSProp
from rtu_np.control.inputs import DRAWN, LATEST, input_statistics
from rtu_np.learning.outcomes import IS_FIRST

GAMMA, LAMBDA, N_ACTIONS, D = 0.9, 0.8, 3, 2
PLAINLY = {"normalize_observations": False, "scale_rewards": False, "dtype": "float64", "seed": 3}


class World(gymnasium.Env):
    """Two numbers to see and three actions; episodes end by chance, either way."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (D,), np.float64)
    action_space = gymnasium.spaces.Discrete(N_ACTIONS)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.standard_normal(D), {}

    def step(self, action):
        x, chance = self.np_random.standard_normal(D), self.np_random.random()
        return x, float(x[0] * action), chance < 0.05, chance > 0.95, {}


def make(kind, cell=None, package=rtu_np, **settings):
    settings = {"gamma": GAMMA, "lambda_": LAMBDA, "epsilon": Epsilon(1.0, 0.2, 20), **PLAINLY, **settings}
    settings.setdefault("previous_action_reward", False)
    if kind is QLambda:
        settings.setdefault("optimizer", ObGD(kappa=2.0))  # the oracle's
    settings = {name: rebuilt(package, each) for name, each in settings.items()}
    agent = getattr(package, kind.__name__)(World(), rebuilt(package, cell or LinearRTU(4)), **settings)
    rng = np.random.default_rng(5)
    for name, view in agent.parameters.items():  # what starts at zero would hide a gradient
        if "value." in name or not view.any():
            view[:] = 0.3 * rng.standard_normal(view.shape)
    return agent


def everything(agent) -> bytes:
    return b"".join(array.tobytes() for array in agent._arrays().values())


def stream(steps: int = 50, seed: int = 2) -> oracles.Stream:
    s = oracles.stream(steps, D, seed)
    s.terminated[[7, 30]] = s.truncated[[15, 40]] = True
    s.truncated[s.terminated] = False
    return s


def follow(agent, s: oracles.Stream):
    """Step through a stream; yields, after each step, what exploration wanted at it."""
    for t, row in enumerate(zip(s.observations, s.cumulants, s.terminated, s.truncated, strict=True)):
        explores, noise = agent._buffers.noise.copy()
        ends = s.terminated[t] or s.truncated[t]
        learned = agent.steps if agent._clock[IS_FIRST] else agent.steps + 1
        e = agent.epsilon
        epsilon = e.start + (e.end - e.start) * min(learned / e.steps, 1)
        agent.step(*row)
        yield int(noise * N_ACTIONS) if explores < epsilon and not ends else None


def oracle_of(agent, case, window=None):
    def network(prefix):
        params = {k.removeprefix(prefix): v.copy() for k, v in agent.parameters.items() if k.startswith(prefix)}
        return value_oracles.Network(case.in_blocks, params, case.n_state, window)

    def optimizer(settings):
        return oracles.Optimizer(type(settings).__name__, **vars(settings))

    if type(agent).__name__ == "QLambda":
        return value_oracles.QLambda(network(""), optimizer(agent.optimizer), GAMMA, LAMBDA)
    both = network("h."), optimizer(agent.h_optimizer), agent.beta
    return value_oracles.QRC(network("q."), optimizer(agent.optimizer), GAMMA, LAMBDA, *both)


def latest_delta(agent) -> float:
    return input_statistics(agent._inputs, agent._buffers.statistics)[0].td_errors[LATEST]


def chosen(agent) -> int:
    """The action that was drawn last."""
    return int(agent._buffers.action[DRAWN, 0])


def network_of(agent, prefix: str):
    return next(each.network for each in agent._networks() if each.prefix == prefix)


def check_against_the_oracle(agent, case, window=None):
    """Actions, TD errors, parameters and traces after each step."""
    oracle, s, seen, exploratory = oracle_of(agent, case, window), stream(), [], []
    start = {name: view.copy() for name, view in agent.parameters.items()}
    for wanted in follow(agent, s):
        exploratory.append(wanted)
        views = ({name: view.copy() for name, view in part.items()} for part in (agent.parameters, agent.traces))
        seen.append((chosen(agent), latest_delta(agent), *views))
    pairs = zip(oracle.steps(s, exploratory), seen, strict=True)
    for t, (expected, (action, delta, params, traces)) in enumerate(pairs):
        if expected.delta is not None:
            assert_close(delta, expected.delta, PLAIN, f"delta at step {t}")
        for name, view in params.items():
            assert_close(view, expected.params[name], PLAIN, f"{name} at step {t}")
        if not (s.terminated[t] or s.truncated[t]):
            assert action == expected.action, f"step {t}"
            for name, view in traces.items():
                if expected.traces[name].any():  # there is none of a phase at the first step
                    assert_close(view, expected.traces[name], PLAIN, f"trace of {name} at step {t}")
    assert any(wanted is not None for wanted in exploratory)
    for name, view in agent.parameters.items():
        assert not np.array_equal(view, start[name]), f"{name} has not moved"


METHODS = {"RTRL": (RTRL(), None), "full RTRL": (RTRL(dense=True), None), "T-BPTT(3)": (TBPTT(3), 3)}
PRODUCT = [("linear RTU", "RTRL")] if COMPILED else [(kind, method) for kind in KINDS for method in METHODS]


@pytest.mark.parametrize(("name", "method"), PRODUCT)
@pytest.mark.parametrize("kind", [QLambda, QRC])
def test_every_step_equals_the_oracle(kind, name, method):
    gradient, window = METHODS[method]
    optimizers = {"optimizer": SGD(0.01), "h_optimizer": SGD(0.02)} if kind is QRC else {}
    check_against_the_oracle(make(kind, KINDS[name].cell, gradient=gradient, **optimizers), KINDS[name], window)


@in_plain_python
@pytest.mark.parametrize("optimizer", [SGD(0.01), Adam(0.01), RMSProp(0.01)], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("kind", [QLambda, QRC])
def test_every_optimizer_equals_the_oracle(kind, optimizer):
    optimizers = {"optimizer": optimizer, **({"h_optimizer": optimizer} if kind is QRC else {})}
    check_against_the_oracle(make(kind, **optimizers), KINDS["linear RTU"])


@in_plain_python
@pytest.mark.parametrize("name", [*RULES, *of_blocks("value")])
def test_step_size_rules_equal_the_oracle(name):
    """Each step from the agent's own parameters; exploration cuts traces, those of the rules, too."""
    rule, case = {**RULES, **of_blocks("value")}[name], KINDS["linear RTU"]
    agent = make(QLambda, optimizer=rule)
    oracle, s, seen, exploratory = oracle_of(agent, case), stream(), [], []
    for wanted in follow(agent, s):
        exploratory.append(wanted)
        seen.append({key: view.copy() for key, view in agent.parameters.items()})
    fresh, clear = [], oracle.clear

    def clearing():
        fresh.append(True)
        clear()

    def latest():
        first = bool(fresh)
        fresh.clear()
        return oracle.terms[-1], first, GAMMA if len(oracle.terms) > 1 else 0.0

    oracle.clear, oracle.optimizer = clearing, AsOptimizer(Network(rule, GAMMA, LAMBDA), latest)
    before, cuts = {key: view.copy() for key, view in oracle.q.params.items()}, 0
    for t, (expected, params) in enumerate(zip(oracle.steps(s, exploratory), seen, strict=True)):
        for key, view in params.items():
            change = np.abs(expected.params[key] - before[key]).max()
            off = np.abs(view - expected.params[key]).max()
            assert off <= 1e-10 * change + 1e-15 * np.abs(before[key]).max(), (
                f"{key} at step {t}: {off:.1e}, {change:.1e}"
            )
        cuts += expected.delta is not None and len(oracle.terms) == 1
        before = params
        oracle.q.params.update({key: view.copy() for key, view in params.items()})
    assert cuts > 3


# One term each, of the kernels' source; every text to be replaced must be there.
BUGS = {
    "traces survive exploration": (QLambda, "if greedy else real(0)", "if greedy else real(1) * real(0.5)"),
    "traces are cut after the action's own gradient": (
        QLambda,
        "heads.learn(n.params.readout, traces.readout, n.memory.y, n.activations.do, decay, step)",
        "heads.learn(n.params.readout, traces.readout, n.memory.y, n.activations.do, decay, step)\n"
        "    clear(n.flat_traces) if decay == 0 else None",
    ),
    "the chosen action's value is the target": (QLambda, "else o[best]", "else o[int(action[DRAWN, 0])]"),
    "termination bootstraps": (QLambda, "real(0) if time_step.end == TERMINATED else o[best]", "o[best]"),
    "truncation does not": (
        QLambda,
        "if time_step.end == TERMINATED else o[best]",
        "if time_step.end != CONTINUES else o[best]",
    ),
    "the gradient is the greedy action's": (
        QLambda,
        "_credit(cell, n, int(choice.action[DRAWN, 0]))",
        "_credit(cell, n, best)",
    ),
    "an episode leaves its memory": (QLambda, "    clear_memory(cell, network.memory, network.flat_memory)\n", ""),
    "epsilon is a step late": (QLambda, "Choice(steps, buffers.noise", "Choice(buffers.clock[0], buffers.noise"),
    "grad delta has the wrong sign": (QRC, "- along_next * following", "+ along_next * following"),
    "h grad q is lost": (QRC, "arrays.q, e, h, time_step", "arrays.q, e, real(0), time_step"),
    "e forgets": (QRC, "* arrays.e[0] + h", "* real(0) + h"),
    "e survives exploration": (QRC, "e if decay != 0 and time_step.end", "e if time_step.end"),
    "e survives an episode": (QRC, "decay != 0 and time_step.end == CONTINUES", "decay != 0"),
    "h is not regularised": (QRC, "- beta * params[k]", ""),
    "h is that of the step after": (QRC, "- h * gradient[k] - beta", "- delta * gradient[k] - beta"),
    "grad q_t is that of the target": (QRC, "+ along_now * gradient[k]", "+ along_now * following"),
    "grad delta goes on after termination": (QRC, "real(0) if time_step.end == TERMINATED else e *", "e *"),
}


@in_plain_python
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.replace(" ", "-"))
def test_a_planted_bug_turns_it_red(bug, mutant):
    kind, old, new = BUGS[bug]
    package = mutant("control/q_lambda_kernels.py", [(old, new)])
    optimizers = {"optimizer": SGD(0.01), "h_optimizer": SGD(0.02)} if kind is QRC else {}
    with pytest.raises(AssertionError, match="step"):
        check_against_the_oracle(make(kind, package=package, **optimizers), KINDS["linear RTU"])


@in_plain_python
@pytest.mark.parametrize("kind", [QLambda, QRC])
def test_an_unchanged_copy_stays_green(kind, mutant):
    package = mutant("control/q_lambda_kernels.py", [])
    optimizers = {"optimizer": SGD(0.01), "h_optimizer": SGD(0.02)} if kind is QRC else {}
    check_against_the_oracle(make(kind, package=package, **optimizers), KINDS["linear RTU"])


def twins(kind, steps=30, **settings):
    """Two agents of the same past, their step sizes vanishing, and the stream that they were given."""
    small = {"optimizer": SGD(1e-300), "h_optimizer": SGD(1e-300)} if kind is QRC else {"optimizer": ObGD(1e-300)}
    agents, s = [make(kind, **small, **settings) for _ in range(2)], oracles.stream(steps + 1, D, 4, ends=False)
    for agent in agents:
        for row in zip(s.observations[:steps], s.cumulants[:steps], strict=True):
            agent._buffers.noise[:] = 1, 0  # greedy
            agent.step(*row)
    return agents, s.observations[steps]


@pytest.mark.parametrize("kind", [QLambda, QRC])
def test_exploration_cuts_traces_and_keeps_memory(kind):
    (one, other), x = twins(kind, epsilon=Epsilon(0.5, 0.5, 1))
    prefix = "" if kind is QLambda else "q."
    before = one.traces[f"{prefix}value.b"].copy()
    one.step(x, 0.0)
    greedy = chosen(one)
    explored = (greedy + 1) % N_ACTIONS
    other._buffers.noise[:] = 0, (explored + 0.5) / N_ACTIONS
    other.step(x, 0.0)
    assert chosen(other) == explored
    a, b = (network_of(agent, prefix).memory for agent in (one, other))
    assert np.array_equal(a.state, b.state)
    assert a.units.dc1_da.any()
    for mine, its in zip(a.units[:4], b.units[:4], strict=True):
        assert np.array_equal(mine, its)
    ones = np.eye(N_ACTIONS)
    assert_close(one.traces[f"{prefix}value.b"], GAMMA * LAMBDA * before + ones[greedy], PLAIN)
    assert np.array_equal(other.traces[f"{prefix}value.b"], ones[explored])
    assert_close(other.traces[f"{prefix}value.W"], np.outer(ones[explored], b.y), PLAIN)


@in_plain_python
def test_a_tie_is_greedy():
    (one, other), x = twins(QLambda, epsilon=Epsilon(0.5, 0.5, 1))
    for agent in (one, other):
        agent.parameters["value.W"][:] = agent.parameters["value.W"][0]
        agent.parameters["value.b"][:] = 0
    other._buffers.noise[:] = 0, 0.99
    for agent in (one, other):
        agent.step(x, 0.0)
    assert [chosen(agent) for agent in (one, other)] == [0, N_ACTIONS - 1]
    totals = [agent.traces["value.b"].sum() for agent in (one, other)]
    assert_close(totals[1], totals[0], PLAIN)  # summed in another order
    assert totals[0] > 1


def test_the_bound_of_obgd_holds_at_every_step():
    agent, s = make(QLambda, optimizer=ObGD(kappa=3.0), lambda_=0.99), stream(300)
    closest = 0.0
    for t in range(300):
        before = {name: view.copy() for name, view in agent.parameters.items()}
        first = agent._clock[IS_FIRST]
        agent.step(s.observations[t], 10 * s.cumulants[t], s.terminated[t], s.truncated[t])
        changes = {name: view - before[name] for name, view in agent.parameters.items()}
        moved = sum(np.abs(change).sum() for change in changes.values())
        if changes["cell.theta_log"].min() < -0.3:  # a phase has been wrapped, which is no step
            continue
        delta = abs(latest_delta(agent))
        bound = 0.0 if first else delta / (3.0 * max(delta, 1.0))
        assert moved <= bound * (1 + PLAIN)
        closest = max(closest, moved / bound if bound else 0.0)
    assert closest > 0.99


def test_termination_learns_from_no_value_and_truncation_from_one():
    for ending, dead in (("terminated", True), ("truncated", False)):
        (agent, watched), x = twins(QLambda)
        q_t = agent.parameters["value.W"] @ network_of(agent, "").memory.y + agent.parameters["value.b"]
        action = chosen(agent)
        watched.step(x, 0.5)
        q = watched.parameters["value.W"] @ network_of(watched, "").memory.y + watched.parameters["value.b"]
        assert agent.step(x, 0.5, **{ending: True}) is None
        assert_close(latest_delta(agent), 0.5 + (0.0 if dead else GAMMA * q.max()) - q_t[action], PLAIN)
        net = network_of(agent, "")
        assert not net.flat_memory.any()
        assert not net.flat_traces.any()


@pytest.mark.parametrize("kind", [QLambda, QRC])
def test_a_reward_that_is_no_number_changes_nothing(kind, tmp_path):
    agent, s = make(kind, previous_action_reward=True, normalize_observations=True, scale_rewards=True), stream()
    for row in zip(s.observations[:20], s.cumulants[:20], strict=True):
        agent.step(*row)
    before = everything(agent)
    for x, reward, name in (([1.0, 2.0], np.nan, "reward is nan"), ([np.inf, 2.0], 1.0, "observation")):
        with pytest.raises(ValueError, match=name):
            agent.step(x, reward)
        assert everything(agent) == before
    agent.save(tmp_path / "agent.npz")
    assert everything(kind.load(tmp_path / "agent.npz")) == before


@pytest.mark.parametrize("kind", [QLambda, QRC])
def test_saved_in_mid_episode_it_goes_on_bit_for_bit(kind, tmp_path):
    one, world = make(kind, previous_action_reward=True, normalize_observations=True, scale_rewards=True), World()
    one.learn(world, 57, progress=False, log=None)
    assert one._clock[IS_FIRST] == 0
    one.act(np.ones(D))
    one.save(tmp_path / "one.npz")
    two, twin = kind.load(tmp_path / "one.npz"), World()
    twin.np_random = np.random.default_rng()
    twin.np_random.bit_generator.state = world.np_random.bit_generator.state
    two.resume(twin)
    episodes = [agent.learn(env, 200, progress=False, log=None) for agent, env in ((one, world), (two, twin))]
    assert all(np.array_equal(a, b) for a, b in zip(*episodes, strict=True))
    assert [one.act(np.ones(D)) for _ in range(9)] == [two.act(np.ones(D)) for _ in range(9)]
    assert everything(one) == everything(two)


def test_acting_is_greedy_or_explores_as_far_as_learning_has_come():
    agent = make(QLambda, epsilon=Epsilon(1.0, 0.0, 100))
    acted = [agent.act(np.zeros(D), deterministic=True) for _ in range(50)]
    assert len(set(acted)) == 1
    assert len({agent.act(np.zeros(D)) for _ in range(50)}) == N_ACTIONS
    agent.learn(World(), 100, progress=False, log=None)
    assert agent.diagnostics()["epsilon"] == 0.0
    assert [agent.act(np.zeros(D)) for _ in range(20)] == [
        agent.act(np.zeros(D), deterministic=True) for _ in range(20)
    ]


def test_bad_settings_are_named():
    for settings, message in (
        ({"optimizer": ObGD()}, "optimizer is ObGD"),
        ({"h_optimizer": ObGD()}, "h_optimizer is ObGD"),
        ({"beta": -1.0}, "beta is -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            make(QRC, **settings)
    with pytest.raises(TypeError, match=r"epsilon is 0\.1: expected Epsilon"):
        make(QLambda, epsilon=0.1)
    for wrong in ({"start": 2.0}, {"end": -0.1}, {"steps": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Epsilon(**wrong)
    world = World()
    world.action_space = gymnasium.spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match="expected Discrete"):
        QLambda(world, LinearRTU(4))
