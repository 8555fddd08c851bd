"""What the experiments on streaming control share: trials on some seeds, the best of each task and method on others."""

import numpy as np
import pytest

from experiments import control, stream_memory, stream_mujoco, stream_popgym, stream_units, streaming_agents
from experiments.engine import plotting, protocol
from rtu_np import RTRL, TBPTT, Adam, Blocks, ObGD

SMALL = streaming_agents.tuned(["Hopper-P", "Hopper-V"], streaming_agents.ARMS, 900, 300, range(5))


def finished(config, final, diverged=False):
    of_steps = {"curve": np.linspace(-1, final, control.BINS), "microseconds": np.array(30.0)}
    return of_steps | {"final": np.array(final), "diverged": np.array(diverged)}


def test_each_arm_is_tried_with_the_grid_and_a_network_without_memory_with_lambda_alone():
    (trials, tuning_seeds), (_, seeds) = streaming_agents.stages(SMALL)
    assert (tuning_seeds, seeds) == ([1000, 1001], [0, 1, 2, 3, 4])
    tried = trials([])
    places = [(c["task"], c["method"], c["size"], c["parts"]["lambda_"], c["steps"]) for c in tried]
    assert places[:10] == [
        ("Hopper-P", method, size, lambda_, 300)
        for method, sizes in {"RTU, RTRL": (1e-4, 3e-4), "RTU, T-BPTT(1)": (1e-4, 3e-4), "feedforward": (0.0,)}.items()
        for size in sizes
        for lambda_ in (0.9, 0.95)
    ]
    assert len(places) == len(set(places)) == 20
    rtrl, tbptt, feedforward = (control.arguments(tried[k]) for k in (3, 4, 8))
    assert (rtrl["gradient"], tbptt["gradient"]) == (RTRL(), TBPTT(1))
    assert rtrl["actor_optimizer"] == Blocks(cell=Adam(3e-4), others=ObGD(kappa=3.0))
    assert rtrl["critic_optimizer"] == Blocks(cell=Adam(3e-4), others=ObGD(kappa=2.0))
    assert feedforward["actor_optimizer"] == Blocks(others=ObGD(kappa=3.0))
    assert rtrl["lambda_"] == 0.95


def test_the_best_trial_of_each_task_and_method_is_reported():
    (trials, _), (reported, _) = streaming_agents.stages(SMALL)
    tried = trials([])
    finals = [1, 2, 3, 9, 5, 8, 7, 6, 1, 2, *[4, 3, 2, 1] * 2, 2, 1]  # four trials, four and two, for each task
    results = [
        (c, [finished(c, final, final == 9), finished(c, final)]) for c, final in zip(tried, finals, strict=True)
    ]
    best = reported([results])
    assert best == [{**tried[k], "steps": 900} for k in (2, 5, 9, 10, 14, 18)]  # 9 is the largest, and diverged


def test_a_preset_may_have_arguments_and_a_kappa_of_its_own_in_every_arm():
    for experiment, preset, shared, kappa in (
        (stream_mujoco, "arm", {"gamma": 0.95, "entropy_coef": 0.0}, 10.0),
        (stream_memory, "reacher", {"gamma": 0.95, "entropy_coef": 0.01}, 3.0),
    ):
        tried = experiment.stages(experiment.PRESETS[preset])[0][0]([])
        assert {config["method"] for config in tried} >= {"MinGRU, RTRL", "MinGRU, T-BPTT(1)"}
        for config in tried:
            agent, cell = control.arguments(config), Adam(config["size"]) if config["size"] else None
            assert {name: agent[name] for name in shared} == shared
            assert agent["actor_optimizer"] == Blocks(cell=cell, others=ObGD(kappa=kappa))
            assert agent["critic_optimizer"] == Blocks(cell=cell, others=ObGD(kappa=2.0))


def test_each_size_and_gradient_tunes_its_step_size_on_the_same_grid():
    preset = {**stream_units.PRESETS["laptop"], "units": [2, 8]}
    tried = stream_units.stages(preset)[0][0]([])
    methods = [f"{gradient}, {n} units" for n in (2, 8) for gradient in ("RTRL", "T-BPTT(1)")]
    assert [(c["method"], c["size"]) for c in tried] == [(m, size) for m in methods for size in (3e-4, 1e-3)]
    assert [control.arguments(c)["cell"].layers[0].n_hidden for c in tried] == [2] * 4 + [8] * 4
    assert {c["method"]: control.arguments(c)["gradient"] for c in tried[:4]} == {
        methods[0]: RTRL(),
        methods[1]: TBPTT(1),
    }


@pytest.mark.parametrize("experiment", [stream_memory, stream_mujoco, stream_popgym, stream_units])
def test_the_table_says_what_was_chosen_and_what_can_be_reached(experiment):
    reachable = getattr(experiment, "REACHABLE", {})
    config = experiment.stages(experiment.PRESETS["smoke"])[0][0]([])[0]
    results = [(config, [finished(config, 0.5)])]
    (row,) = experiment.score(results).values()
    assert (row["return"], row["step size"], row["lambda"]) == (0.5, config["size"], config["parts"]["lambda_"])
    own = reachable.get(config["task"], {})
    assert {name: row[name] for name in own} == own
    with plotting.style():
        figure = protocol.Experiment(experiment.__name__, "", experiment).plot(results)
    (ax,) = figure.axes
    dashed = {line.get_ydata()[0] for line in ax.get_lines() if line.get_linestyle() == "--" and line.get_zorder() == 0}
    assert dashed == set(own.values())
    assert bool(own) == (experiment is not stream_mujoco)
