"""What all agents share: spaces, the loop, logs, evaluation, and what they refuse."""

import gymnasium
import numpy as np
import oracles
import pytest
from agent_cases import World, everything, make
from loop_cases import rows_of
from tolerances import PLAIN, assert_close

from rtu_np import SGD, ActorCritic, Gaussian, LinearRTU, Softmax
from rtu_np.control.inputs import DRAWN, EXECUTED
from rtu_np.control.logs import EVERY
from rtu_np.jit import njit
from rtu_np.learning import normalizers
from rtu_np.numerics.buffers import size

# -------------------------------------------------------------------------------------------------------- normalisers


@njit
def normalized(flat, rows, out):
    stats, _ = normalizers.statistics(rows.shape[1], flat)
    for t in range(rows.shape[0]):
        normalizers.include(stats, rows[t])
        normalizers.normalize(stats, rows[t], out[t])


def test_observations_by_running_mean_and_deviation():
    rows = 1e4 + np.random.default_rng(0).standard_normal((50, 3)) * [1, 10, 100]
    out = np.zeros_like(rows)
    normalized(np.zeros(size(normalizers.statistics, 3)), rows, out)
    assert_close(out, np.array([oracles.normalized(rows[: t + 1]) for t in range(50)]), 1e-9)


@njit
def scaled(flat, rewards, dones, out):
    stats, _ = normalizers.return_statistics(flat)
    for t in range(rewards.shape[0]):
        normalizers.include_reward(stats, 0.9, rewards[t], dones[t] != 0)
        out[t] = normalizers.scale_reward(stats, rewards[t])


def test_rewards_by_the_deviation_of_the_return():
    rng = np.random.default_rng(1)
    rewards, dones = rng.standard_normal(60) + 3, rng.random(60) < 0.1
    out, G, returns = np.zeros(60), 0.0, []
    scaled(np.zeros(size(normalizers.return_statistics)), rewards, dones.astype(float), out)
    for t in range(60):
        G = 0.9 * G * (1 - dones[t]) + rewards[t]
        returns.append(G)
    expected = [r / np.sqrt(np.var(returns[: t + 1], ddof=1) + 1e-8) for t, r in enumerate(rewards) if t > 0]
    assert_close(out[1:], np.array(expected), PLAIN)
    assert out[0] == rewards[0] / np.sqrt(1 + 1e-8)


# ----------------------------------------------------------------------------------------------------------- learning


def test_actions_stay_within_bounds():
    agent, world = make(False), World(False)
    agent.parameters["actor.policy.b"][:2] = 3.0, -3.0
    agent.learn(world, 20, progress=False, log=None)
    actions = np.array(world.actions)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() == 0.5
    assert not np.array_equal(agent._buffers.action[DRAWN], agent._buffers.action[EXECUTED])


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_what_is_not_finite_is_refused_and_nothing_is_learned(what, tmp_path):
    """The agent as of the step before goes on as if nothing had been."""
    agent, other = make(False), make(False)
    rng = np.random.default_rng(0)
    xs, rewards = rng.standard_normal((12, 3)), rng.standard_normal(12)
    for t in range(12):
        if t == 7:
            before = everything(agent)
            x, r = (xs[t], np.nan) if what == "reward" else (np.array([0, np.nan, 0]), rewards[t])
            with pytest.raises(ValueError, match=rf"{what}.* is nan after step 6: .* a fault of the environment"):
                agent.step(x, r)
            assert everything(agent) == before
            agent = ActorCritic.load(agent.save(tmp_path / "before.npz"))
        assert np.array_equal(agent.step(xs[t], rewards[t]), other.step(xs[t], rewards[t]))
    assert everything(agent) == everything(other)


def test_a_reward_that_is_no_number_is_refused_where_nothing_is_learned():
    agent = make(False)
    with pytest.raises(ValueError, match="reward is nan"):
        agent.act(np.zeros(3), reward=np.nan)

    class Broken(World):
        def step(self, action):
            return (*super().step(action)[:1], np.nan, True, False, {})

    with pytest.raises(ValueError, match="reward is nan"):
        agent.evaluate(Broken(False), 1)


def test_another_environment_shows_other_episodes():
    """The agent's seed begins the first; a change of environments does not begin the same ones again."""
    agent, seeds = make(False), []

    class Told(World):
        def reset(self, seed=None):
            seeds.append(seed)
            return super().reset(seed=seed)

    for _ in range(3):
        agent.learn(Told(False), 3, progress=False, log=None)
    assert seeds[0] == agent._env_seed
    assert len(set(seeds)) == 3


class Short(World):
    """Every episode ends with its first step."""

    def step(self, action):
        return (*super().step(action)[:2], True, False, {})


def test_an_environment_that_ends_at_once():
    agent = make(False)
    episodes = agent.learn(Short(False), 9, progress=False, log=None)
    assert episodes.lengths.tolist() == [1] * 9
    assert episodes.steps.tolist() == list(range(1, 10))
    assert np.isfinite(agent.parameters["actor.cell.W1"]).all()


def test_termination_bootstraps_nothing_and_truncation_does():
    agents = [make(False, scale_rewards=False) for _ in range(3)]
    rng = np.random.default_rng(0)
    xs = rng.standard_normal((4, 3))
    for agent, end in zip(agents, ({"terminated": True}, {"truncated": True}, {}), strict=True):
        for x in xs[:3]:
            agent.step(x, 0.5)
        assert (agent.step(xs[3], 0.5, **end) is None) == bool(end)
    weights = [agent.parameters["critic.value.w"] for agent in agents]
    assert not np.array_equal(weights[0], weights[1])
    assert np.array_equal(weights[1], weights[2])
    assert (agents[1].traces["critic.value.w"] == 0).all()


def test_logs_go_on_where_a_loaded_agent_was(tmp_path):
    assert EVERY == 10_000
    agent, world = make(False), World(False)
    agent.learn(world, 8, progress=False, log=tmp_path / "log", log_every=4)
    agent.save(tmp_path / "agent.npz")
    agent.learn(world, 8, progress=False, log=tmp_path / "log", log_every=4)
    episodes, learning = (rows_of(tmp_path / "log" / name) for name in ("episodes.csv", "learning.csv"))
    assert [row["step"] for row in episodes] == ["6", "10", "14"]
    assert [row["length"] for row in episodes] == ["6", "4", "4"]
    assert [row["step"] for row in learning] == ["3", "7", "11", "15"]
    assert float(learning[0]["trace.actor.cell.W1"]) > 0
    assert float(learning[0]["critic.last_step"]) > 0
    assert float(learning[0]["mean_abs_delta"]) > 0
    loaded = ActorCritic.load(tmp_path / "agent.npz")
    loaded.learn(World(False), 4, progress=False, log=tmp_path / "log", log_every=4)
    assert [row["step"] for row in rows_of(tmp_path / "log" / "learning.csv")] == ["3", "7", "11"]
    with pytest.raises(ValueError, match="belongs to another run: expected an empty folder for a new agent"):
        make(False).learn(world, 4, progress=False, log=tmp_path / "log", log_every=4)
    make(False).learn(world, 4, progress=False, log=tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("ActorCritic__World__LinearRTU-4__RTRL__seed-3__20")


# ------------------------------------------------------------------------------------------------------------ refusal


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"gamma": 1.5}, ValueError, "gamma is 1.5"),
        ({"lambda_": -0.1}, ValueError, "lambda_ is -0.1"),
        ({"entropy_coef": -1.0}, ValueError, "entropy_coef is -1.0"),
        ({"dtype": "int8"}, ValueError, "dtype is 'int8'"),
        ({"cell": "RTU"}, TypeError, "cell is 'RTU'"),
        (
            {"policy": Softmax()},
            ValueError,
            r"policy is Softmax\(\) for action space Box.*: expected Gaussian\(\)$",
        ),
        ({"shared": True, "critic_cell": LinearRTU(3)}, ValueError, "critic_cell is LinearRTU.*there is one body"),
        ({"shared": True, "critic_optimizer": SGD(1.0)}, ValueError, "critic_optimizer is SGD.*of the one network"),
        ({"seed": np.random.RandomState(0)}, TypeError, "seed is RandomState.*: expected an integer, a SeedSequence"),
        ({"scale_rewards": 1}, TypeError, "scale_rewards is 1"),
        ({"gradient": "BPTT"}, TypeError, "gradient is 'BPTT'"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        ActorCritic(World(False), **{"cell": LinearRTU(4), **settings})


def test_bad_environments(tmp_path):
    with pytest.raises(TypeError, match="expected a Gymnasium environment"):
        ActorCritic("CartPole-v1")
    with pytest.raises(TypeError, match="vector of environments"):
        ActorCritic(gymnasium.make_vec("CartPole-v1", num_envs=2))
    agent = make(False)
    with pytest.raises(ValueError, match="env has action_space"):
        agent.learn(World(True), 1, log=None)
    path = agent.save(tmp_path / "agent.npz")
    with pytest.raises(ValueError, match=r"env has observation_space .* is the agent made for another environment\?"):
        ActorCritic.load(path).learn(World(False, d=4), 1, log=None)
    agent.close()
    with pytest.raises(RuntimeError, match="has been closed"):
        agent.learn(World(False), 1, log=None)
    with pytest.raises(RuntimeError, match="has been closed"):
        agent.step(np.zeros(3))


def test_what_is_given_to_load(tmp_path):
    """Takes the place of what was saved, where it counts as nothing, too; other names are refused."""
    path = make(False).save(tmp_path / "agent.npz")
    assert ActorCritic.load(path).entropy_coef != 0
    assert ActorCritic.load(path, entropy_coef=0.0).entropy_coef == 0
    with pytest.raises(TypeError, match="optimiser is given: expected settings of ActorCritic, cell, "):
        ActorCritic.load(path, optimiser=SGD(1e-3))


def test_bad_checkpoints(tmp_path):
    from rtu_np import TDLambda

    path = tmp_path / "td.npz"
    TDLambda(LinearRTU(2), 1).save(path)
    with pytest.raises(ValueError, match="is a checkpoint of TDLambda: expected one of ActorCritic"):
        ActorCritic.load(path)


def test_divergence_is_told():
    agent = make(False, policy=Gaussian())
    agent.learn(World(False), 3, progress=False, log=None)
    agent.parameters["actor.policy.b"][:] = np.nan
    with pytest.raises(FloatingPointError, match="learning diverged by step 3"):
        agent.learn(World(False), 3, progress=False, log=None)
