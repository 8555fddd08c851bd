"""What agents are without further arguments."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401   registers the environments
from benchmarks import forgetting, rule_ranking
from experiments import control, defaults, stream_memory
from rtu_np import ActorCritic, Adam, Blocks, Dense, LinearRTU, NonlinearRTU, ObGD, QLambda, recurrent_network
from rtu_np.gradcheck import check_gradients


def maze() -> gymnasium.Env:
    return gymnasium.make("rtu_np/TMaze-v0", length=2)


@pytest.mark.parametrize("kind", [ActorCritic, QLambda])
def test_the_default_cell_reads_the_observation_and_moves_by_adam(kind):
    agent = kind(maze())
    assert agent.cell == recurrent_network(LinearRTU(128, max_phase=2.0))
    first = agent.actor_optimizer if kind is ActorCritic else agent.optimizer
    expected = (Adam(3e-4), ObGD(kappa=3.0)) if kind is ActorCritic else (Adam(1e-3), ObGD(kappa=20.0))
    assert (first.cell, first.others) == expected


def test_actor_and_critic_have_bounds_of_their_own():
    agent = ActorCritic(maze())
    assert (agent.actor_optimizer.others.kappa, agent.critic_optimizer.others.kappa) == (3.0, 2.0)


@pytest.mark.parametrize("cell", [Dense(8), recurrent_network(Dense(8), 4)])
def test_a_network_without_a_recurrent_layer_has_bounds_alone(cell):
    agent = ActorCritic(maze(), cell)
    assert agent.actor_optimizer == Blocks(others=ObGD(kappa=3.0))
    agent.learn(maze(), 50, progress=False, log=None)


@pytest.mark.parametrize("cell", [LinearRTU(4), NonlinearRTU(4, "tanh")])
def test_the_gradient_of_a_recurrent_network_is_exact(cell):
    """No layer learns below the cell, so layer-local RTRL leaves nothing out."""
    assert check_gradients(recurrent_network(cell, 5), n_inputs=2).passed


def test_others_serve_blocks_without_a_rule():
    one = ActorCritic(maze(), recurrent_network(LinearRTU(4), 4), actor_optimizer=Blocks(others=Adam(1e-3)))
    two = ActorCritic(
        maze(),
        recurrent_network(LinearRTU(4), 4),
        actor_optimizer=Blocks(cell=Adam(1e-3), hidden=Adam(1e-3), policy=Adam(1e-3)),
    )
    for agent in (one, two):
        agent.learn(maze(), 200, progress=False, log=None)
    assert all((two.parameters[name] == array).all() for name, array in one.parameters.items())


def test_the_rules_that_defaults_stand_for_can_be_saved(tmp_path):
    agent = ActorCritic(maze(), LinearRTU(4))
    agent.learn(maze(), 50, progress=False, log=None)
    again = ActorCritic.load(agent.save(tmp_path / "agent"))
    assert again.actor_optimizer == agent.actor_optimizer


def test_a_setting_may_ask_for_greedy_episodes():
    setting = control.setting("TMaze", "small", 500, "ActorCritic", env={"length": 2}, cell=LinearRTU(4))
    assert "greedy" not in control.run(setting, 0)
    assert control.run({**setting, "greedy": 3}, 0)["greedy"].shape == (3,)


@pytest.mark.parametrize("preset", ["memory", "robots", "ppo"])
def test_a_run_has_all_that_its_scores_name(preset):
    setting = {**defaults.PRESETS[preset]["settings"][0], "steps": 500, "greedy": 1}
    assert "greedy" in defaults.PRESETS[preset]["settings"][0]
    assert set(defaults.SCORES) <= control.run(setting, 0).keys()


def test_the_change_on_robots_is_paired():
    ended = {"returns": np.zeros(0), "diverged": np.array(False), "microseconds": np.array(1.0)}
    finals = [[110.0, 220.0], [100.0, 200.0]]
    found = [
        (config, [{**ended, "final": np.array(final), "greedy": -np.full(3, final)} for final in of_seeds])
        for config, of_seeds in zip(defaults.robots(1000, ["Hopper-P"], "ActorCritic", {}), finals, strict=True)
    ]
    table = defaults.score(found)
    now, earlier = (table[defaults.label(config)] for config, _ in found)
    assert np.allclose([now[f"change{x}"] for x in (", %", " low", " high")], [10, 100 * 10 / 150, 100 * 20 / 150])
    assert np.isclose(now["greedy change, %"], -100 * 15 / 150)
    assert not any("change" in name for name in earlier)


def test_the_ranking_takes_the_best_setting_of_each_task():
    lines = []
    for rule, finals in {"ObGD": (0.0, 0.2), "Adam": (0.4, 0.89)}.items():
        for step_size, final in zip(stream_memory.RULES[rule].step_sizes, finals, strict=False):
            setting = stream_memory.setting("TMaze", ("RTU", "RTRL"), rule, step_size, 0.8, 100_000)
            arrays = {"final": final, "diverged": False}
            lines.append(json.dumps({"settings": setting, "seed": 1000, "arrays": arrays}))
    rows = rule_ranking.table(lines).splitlines()
    assert rows[2] == "| Adam | 1.00 | 1.00 | 0 of 2 |"
    assert rows[3].startswith("| ObGD | 0.31 |")


def test_a_run_has_lost_its_task_if_it_ends_far_below_its_best_part():
    runs = [([0.0, 0.85], 0.1, False), ([None, 0.85], 0.8, False), ([0.0, 0.5], 0.0, False), ([0.88, 0.88], 0.88, True)]
    lines = []
    for curve, final, diverged in runs:
        setting = stream_memory.setting("TMaze", ("RTU", "RTRL"), "Adam", 6e-4, 0.8, forgetting.STEPS)
        arrays = {"curve": curve, "final": final, "diverged": diverged}
        lines.append(json.dumps({"settings": setting, "arrays": arrays}))
    assert forgetting.table(lines).splitlines()[2:] == ["| Adam: RTU | 2 of 3 |"]


@pytest.mark.parametrize(("table", "page"), [(rule_ranking.table, "rules.md"), (forgetting.table, "results.md")])
def test_pages_have_what_scripts_count_in_the_committed_runs(table, page):
    docs = Path(__file__).parent.parent / "docs"
    lines = (docs / "results" / "stream-memory" / "long.scores.jsonl").read_text().splitlines()
    assert table(lines) in (docs / page).read_text()
