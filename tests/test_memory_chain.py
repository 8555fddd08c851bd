"""The memory chain's experiment: at the start no unit has the cue when the answer is due, and what its table counts."""

import numpy as np
import pytest

from experiments import control, memory_chain
from rtu_np.control.agent import Agent


def kept(agent: Agent, observations: np.ndarray) -> np.ndarray:
    """The share of the cue that each unit of an RTU or minGRU still has behind all observations but the first."""
    p = {name: array.astype(float) for name, array in agent.parameters.items()}
    if "cell.nu_log" in p:
        return np.exp(-np.exp(p["cell.nu_log"])) ** (len(observations) - 1)
    gates = 1 / (1 + np.exp(-(observations[1:] @ p["cell.W_z"] + p["cell.b_z"])))
    return np.prod(1 - gates, axis=0)


@pytest.mark.parametrize("method", ["RTU, RTRL", "MinGRU, RTRL"])
def test_at_the_start_each_unit_has_lost_nine_tenths_of_the_cue_when_the_answer_is_due(method):
    preset = memory_chain.PRESETS["laptop"]
    (config,) = (
        c for c in preset["settings"] if (c["method"], c["env"]["length"], c["parts"]["lambda_"]) == (method, 128, 0.95)
    )
    env = control.make_env(config)
    observations = [env.reset(seed=0)[0]]
    while not (stepped := env.step(0))[2]:
        observations.append(stepped[0])
    assert len(observations) == 129  # the last is seen before the answer
    assert abs(observations[0][2]) == 1
    assert not any(seen[2] for seen in observations[1:])
    for seed in preset["seeds"]:
        share = kept(control.make_agent(memory_chain.seen(config), env, seed), np.array(observations, float))
        assert share.shape == (64,)
        assert share.max() < 0.1, (seed, share.max())


def test_observations_and_rewards_are_raw():
    for name in ("laptop", "longer", "overnight"):
        for config in memory_chain.PRESETS[name]["settings"]:
            assert not config["parts"]["normalize_observations"]
            assert not config["parts"]["scale_rewards"]


def test_the_table_counts_the_seeds_whose_greedy_return_is_at_least_nine_tenths():
    config = memory_chain.PRESETS["smoke"]["settings"][0]
    common = {"final": np.array(0.5), "diverged": np.array(False), "microseconds": np.array(3.0)}
    runs = [{**common, "greedy": np.array(greedy)} for greedy in ([1.0, 1.0], [1.0, 0.8], [1.0, -1.0])]
    runs.append({**common, "diverged": np.array(True), "greedy": np.zeros(0)})  # it counts as one without memory
    (row,) = memory_chain.score([(config, runs)]).values()
    assert row["seeds"] == 4
    assert row["diverged"] == 1
    assert row["seeds that learn"] == 2
    assert row["greedy"] == pytest.approx((1 + 0.9 + 0 + 0) / 4)
    assert row["smallest greedy"] == 0
    assert row["greedy low"] < row["greedy"] < row["greedy high"]
