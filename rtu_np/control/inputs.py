"""From an environment to the input of a network: normalised observations, scaled rewards, the previous action.

The input of a network is the observation and, if asked for, the previous action and reward:

    x = [observation | action, one-hot for each choice, or clipped | reward, scaled]

The statistics are in float64 for learners of both precisions (`rtu_np.learning.normalizers`). An agent that acts
without learning reads the statistics and does not change them.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.control.policies import GaussianSpec
from rtu_np.control.softmax import SoftmaxesSpec
from rtu_np.jit import generic, kernel
from rtu_np.learning import normalizers
from rtu_np.learning.normalizers import ReturnStatistics, Statistics, return_statistics, statistics
from rtu_np.learning.outcomes import CONTINUES, END, IS_FIRST
from rtu_np.numerics.buffers import finite_vector, vector

# Slots of a signal: the reward that arrives with an observation, how the step ends, whether to act without drawing.
REWARD, DETERMINISTIC = 0, 2
# Rows of an action: as the policy drew it, and as the environment gets it.
DRAWN, EXECUTED = 0, 1
# Rows of the bounds of a continuous action.
LOWEST, HIGHEST = 0, 1
# Slots of the present episode: its return and length so far; and how many episodes have ended.
RETURN, LENGTH, ENDED = 0, 1, 2
# Slots of the TD-error sums: of |delta|, of delta^2, how many there were, and the latest delta.
SUM_ABS, SUM_SQUARES, COUNT, LATEST = 0, 1, 2, 3


class InputSettings(NamedTuple):
    """The settings of an agent about the input of its networks."""

    normalize_observations: bool
    scale_rewards: bool
    previous_action_reward: bool


class InputSpec(NamedTuple):
    n_observation: int
    n_previous: int  # numbers of the previous action and reward: 0, or one more than an action has
    normalize_observations: bool
    scale_rewards: bool
    gamma: float

    @property
    def n_inputs(self) -> int:
        return self.n_observation + self.n_previous


# The input of a network, and its last part, by the spec of an agent.
AgentInput = Annotated[np.ndarray, "spec.inputs.n_observation + spec.inputs.n_previous"]
Previous = Annotated[np.ndarray, "spec.inputs.n_previous"]  # the previous action and reward


class StepBuffers(NamedTuple):
    """The arrays, other than the agent's own, that a compiled step of an agent reads and writes."""

    statistics: np.ndarray  # float64, laid out by `input_statistics`
    clock: np.ndarray  # (2,)   STEPS, IS_FIRST
    episode: np.ndarray  # (3,) float64   RETURN, LENGTH, ENDED
    observation: np.ndarray  # (n_observation,) float64
    signal: np.ndarray  # (3,)   REWARD, END, DETERMINISTIC
    noise: np.ndarray  # (n_noise,)   draws an action
    action: np.ndarray  # (2, n_action)   DRAWN, EXECUTED
    bounds: np.ndarray  # (2, n)   LOWEST, HIGHEST


class AgentTimeStep(NamedTuple):
    """One step, from which an agent learns."""

    x: np.ndarray  # (n_inputs,)   the network's input
    first: Any  # whether the step is the first after a clear, which has no reward
    reward: Any  # scaled if the agent scales rewards
    end: Any  # how the step ends (`rtu_np.learning.outcomes`)


class InputStatistics(NamedTuple):
    observation: Statistics
    reward: ReturnStatistics
    td_errors: np.ndarray  # (4,)   SUM_ABS, SUM_SQUARES, COUNT, LATEST


@kernel(inline=False)
def input_statistics(spec, flat):
    """Layout of the statistics, float64."""
    observation, flat = statistics(spec.n_observation, flat)
    reward, flat = return_statistics(flat)
    td_errors, flat = vector(flat, 4)
    return InputStatistics(observation, reward, td_errors), flat


@kernel
def usable(buffers):
    """Whether reward and observation are finite."""
    observation = buffers.observation
    return np.isfinite(buffers.signal[REWARD]) and finite_vector(observation)


@kernel
def update_reward_statistics(spec, statistics, reward, done):
    """Add the reward to the statistics; returns the reward for the learner."""
    if spec.scale_rewards:
        normalizers.include_reward(statistics.reward, spec.gamma, reward, done)
    return scale_reward(spec, statistics, reward)


@kernel
def scale_reward(spec, statistics, reward):
    """The reward for the learner: scaled if `spec.scale_rewards`."""
    return normalizers.scale_reward(statistics.reward, reward) if spec.scale_rewards else reward


@kernel
def normalize(spec, statistics, observation, previous, x):
    """x <- the network's input, with the present statistics"""
    n = spec.n_observation
    if spec.normalize_observations:
        normalizers.normalize(statistics.observation, observation, x[:n])
    else:
        for i in range(n):
            x[i] = observation[i]
    for i in range(spec.n_previous):
        x[n + i] = previous[i]


@kernel
def update_and_normalize(spec, statistics, observation, previous, x):
    """Add the observation to the statistics, then `normalize`."""
    if spec.normalize_observations:
        normalizers.include(statistics.observation, observation)
    normalize(spec, statistics, observation, previous, x)


@kernel
def preprocess(spec, statistics, buffers, previous, x):
    """Make a time step of observation, reward and end in `buffers`; write `statistics`, `previous`, `x`, the episode.

    `previous` already holds the action, and gets the reward. The first step after a clear has neither.
    """
    real, first, end, episode = x.dtype.type, buffers.clock[IS_FIRST] != 0, buffers.signal[END], buffers.episode
    if first:
        for i in range(previous.shape[0]):
            previous[i] = 0
        reward = real(0)
        episode[RETURN], episode[LENGTH] = 0, 0
    else:
        episode[RETURN] += buffers.signal[REWARD]
        episode[LENGTH] += 1
        done = end != CONTINUES
        reward = real(update_reward_statistics(spec, statistics, buffers.signal[REWARD], done))
        if previous.shape[0] > 0:
            previous[previous.shape[0] - 1] = reward
    update_and_normalize(spec, statistics, buffers.observation, previous, x)
    return AgentTimeStep(x, first, reward, end)


@kernel
def record_td_error(statistics, delta):
    """Add the TD error to the sums that `diagnostics` reads."""
    statistics.td_errors[SUM_ABS] += abs(delta)
    statistics.td_errors[SUM_SQUARES] += delta * delta
    statistics.td_errors[COUNT] += 1
    statistics.td_errors[LATEST] = delta


@generic
def execute(policy, bounds, action, previous):
    """action[EXECUTED] <- action[DRAWN] as the environment gets it; previous <- the action as the next input has it.

    `policy` is the policy's spec. `previous` may be empty. Its last number belongs to the reward.
    """


@execute.otherwise
def _execute_discrete(policy, bounds, action, previous):
    action[EXECUTED, 0] = action[DRAWN, 0]
    n = previous.shape[0] - 1
    for i in range(n):
        previous[i] = 0
    if n > 0:
        previous[int(action[DRAWN, 0])] = 1


@execute.register(SoftmaxesSpec)
def _execute_choices(policy, bounds, action, previous):
    for i in range(previous.shape[0] - 1):
        previous[i] = 0
    for j in range(policy.n_action):
        action[EXECUTED, j] = action[DRAWN, j]
        if previous.shape[0] > 0:
            start = policy.stops[j - 1] if j > 0 else 0
            previous[start + int(action[DRAWN, j])] = 1


@execute.register(GaussianSpec)
def _execute_continuous(policy, bounds, action, previous):
    for i in range(action.shape[1]):
        action[EXECUTED, i] = min(max(action[DRAWN, i], bounds[LOWEST, i]), bounds[HIGHEST, i])
        if previous.shape[0] > 0:
            previous[i] = action[EXECUTED, i]
