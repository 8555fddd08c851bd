"""The tests that run in a process beside the rest, most of them in another mode of Numba, and how to start them."""

import os
import subprocess
import sys
from pathlib import Path

MODES = {
    "bounds-checked": (
        {"NUMBA_BOUNDSCHECK": "1"},
        "oracle and (SGD or Adam or GRU or SwiftTD)",
        ["test_td.py", "test_td_many.py", "test_gradients.py", "test_rules.py"],
    ),
    "uncompiled": (
        {"NUMBA_DISABLE_JIT": "1"},
        "not process and not test_command_line and not every_output_of_the_window and not every_combination",
        [
            *("test_approximate_gradients.py", "test_corrected_sensitivities.py", "test_gradient_methods.py"),
            *("test_gradcheck.py", "test_gradcheck_regimes.py", "test_tbptt.py", "test_costs.py"),
            *("test_check_learner.py", "test_own_cell.py", "test_two_layers.py"),
        ],
    ),
    "uncompiled windows": ({"NUMBA_DISABLE_JIT": "1"}, "every_output_of_the_window", ["test_tbptt.py"]),
    "uncompiled combinations": ({"NUMBA_DISABLE_JIT": "1"}, "every_combination", ["test_gradcheck.py"]),
    "uncompiled cells": (
        {"NUMBA_DISABLE_JIT": "1"},
        "",
        ["test_cells.py", "test_cells_alike.py", "test_cells_settings.py", "test_gradients.py"],
    ),
    "uncompiled agents and streams": (
        {"NUMBA_DISABLE_JIT": "1"},
        "not process and not test_command_line",
        [
            "test_actor_critic.py",
            *("test_loop.py", "test_ctrl_c.py", "test_agent_copies.py", "test_user_names.py"),
            *("test_compiled_environment.py", "test_cards.py", "test_inputs.py", "test_regressor.py"),
            *("test_micro_rtrl.py", "test_explorer_numbers.py"),
            *("test_callbacks.py", "test_runs.py"),
        ],
    ),
    "uncompiled learners": (
        {"NUMBA_DISABLE_JIT": "1"},
        "oracle or special or however or leaks or test_q_lambda or test_rules",
        ["test_td.py", "test_elementary.py", "test_envs.py", "test_q_lambda.py", "test_rules.py"],
    ),
    "uncompiled, many predictions": (
        {"NUMBA_DISABLE_JIT": "1"},
        "",
        ["test_td_many.py", "test_td_many_learner.py", "test_campaign_many.py"],
    ),
    "uncompiled PPO": (
        {"NUMBA_DISABLE_JIT": "1"},
        "",
        [
            *("test_ppo.py", "test_ppo_gradients.py", "test_ppo_storage.py", "test_ppo_torch.py"),
            *("test_several_choices.py", "test_spaces.py", "test_ties.py"),
        ],
    ),
    # Random settings, spaces and streams at every public door.
    "uncompiled campaign": (
        {"NUMBA_DISABLE_JIT": "1"},
        "",
        [
            *("test_campaign_td.py", "test_campaign_streams.py", "test_campaign_regressor.py"),
            *("test_campaign_agents.py", "test_campaign_cells.py"),
        ],
    ),
    # The least that Numba compiles for: narrow vectors, and no fused multiply-add.
    "plain processor": ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, "", ["test_elementary.py"]),
    # No mode of Numba, but minutes of compiling, for which there is a second core. Workers run these tests themselves.
    "smoke presets": ({"RTU_NP_TESTS_BESIDE": "1"}, "smoke", ["test_experiments.py"]),
}
LONGEST = "tests/test_experiments.py"
# They repeat, in plain Python or with bounds checked, what other tests do, and take minutes. RTU_NP_TESTS=all runs all.
LONG = (
    "bounds-checked",
    "uncompiled windows",
    "uncompiled combinations",
    "uncompiled cells",
    "uncompiled agents and streams",
    "uncompiled learners",
    "uncompiled, many predictions",
    "uncompiled PPO",
    "uncompiled campaign",
)
ALL = os.environ.get("RTU_NP_TESTS") == "all"
IN_ONE = any(flag in os.environ for environment, _, _ in MODES.values() for flag in environment)


def start(mode: str) -> subprocess.Popen:
    environment, selection, files = MODES[mode]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", selection, *files]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
