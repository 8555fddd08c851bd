"""The compiled step of agents that learn on every step, written once for all of them.

One observation goes through these functions. The type of the agent's spec selects `learn`, `draw_action` and
`end_episode`, and `examine`, which comes every few steps:

    preprocess       observation, reward, how the step ends -> AgentTimeStep (`rtu_np.control.inputs`)
    learn            AgentTimeStep -> delta, and the update
    draw_action      the next action; at the end of an episode end_episode instead
    execute          the action as the environment gets it, and as the next input has it
"""

import numpy as np

from rtu_np.control.inputs import execute, input_statistics, preprocess, record_td_error, usable
from rtu_np.jit import generic, kernel
from rtu_np.learning import network
from rtu_np.learning.outcomes import (
    CONTINUES,
    DIVERGED,
    DONE,
    EXAMINE_EVERY,
    IS_FIRST,
    LOOK_EVERY,
    PAUSED,
    REFUSED,
    STEPS,
)


@generic
def agent_arrays(spec, flat):
    """Layout of all arrays of an agent, with fields `x` and `previous`.

    The networks are flat arrays in this layout. Each function below makes the views of its own network, and is compiled
    by itself. One function with all views takes four times as long to compile.
    """


@generic
def learn(spec, arrays, time_step, steps, buffers):
    """Learn from one step; returns delta, or NaN if a value is not finite. `steps` includes this step."""


@generic
def draw_action(spec, arrays, steps, buffers):
    """Write the next action into `buffers`, unless `learn` does; returns whether outputs and parameters are usable."""


@generic
def end_episode(spec, arrays):
    """Clear memory and traces, unless `learn` does."""


@generic
def examine(spec, arrays):
    """`examine_network` of all networks, every EXAMINE_EVERY steps: DONE, PAUSED or DIVERGED."""


@kernel(inline=False)
def examine_network(spec, flat):
    return network.examine(spec, network.network_arrays(spec, flat)[0])


@kernel
def worse(one, other):
    """Of the outcomes of two networks, that of both."""
    return DIVERGED if one == DIVERGED or other == DIVERGED else min(one, other)


@draw_action.otherwise
def _drawn_by_learn(spec, arrays, steps, buffers):
    return True


@end_episode.otherwise
def _cleared_by_learn(spec, arrays):
    pass


def step(spec, flat, buffers):
    """Learn from one step and draw the next action; returns an outcome: REFUSED, DIVERGED, DONE or PAUSED.

    At the end of an episode no action is drawn.
    """
    if not usable(spec.inputs, buffers):
        return REFUSED
    arrays, _ = agent_arrays(spec, flat)
    statistics, _ = input_statistics(spec.inputs, buffers.statistics)
    time_step = preprocess(spec.inputs, statistics, buffers, arrays.previous, arrays.x)
    clock, ends = buffers.clock, time_step.end != CONTINUES
    steps = clock[STEPS] if time_step.first else clock[STEPS] + 1
    delta = learn(spec, arrays, time_step, steps, buffers)
    if not np.isfinite(delta):
        return DIVERGED
    if not time_step.first:
        record_td_error(statistics, delta)
    clock[STEPS], clock[IS_FIRST] = steps, ends
    outcome = DONE
    if steps % EXAMINE_EVERY == 0 and not time_step.first:
        outcome = examine(spec, arrays)
        if outcome == DIVERGED:
            return DIVERGED
        if steps % LOOK_EVERY == 0:
            outcome = PAUSED
    if ends:
        end_episode(spec, arrays)
        return outcome
    if not draw_action(spec, arrays, steps, buffers):
        return DIVERGED
    execute(spec.policy, buffers.bounds, buffers.action, arrays.previous)
    return outcome
