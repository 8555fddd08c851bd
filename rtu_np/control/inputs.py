"""From an environment to the input of a network: normalised observations, scaled rewards, the previous action.

The input of a network is the observation and, if asked for, the previous action and reward:

    x = [observation | action, one-hot for each choice, or clipped | reward, scaled]

The statistics are in float64 for learners of both precisions (`rtu_np.learning.normalizers`). An agent that acts
without learning reads the statistics and does not change them.

A reward or observation must be finite in the agent's precision. If statistics divide it, its magnitude is at most 1e34
in float32 and 1e100 in float64: the smallest deviation is 1e-4, so the quotient is finite, and so are sums of squares.
A step with any other number is refused before anything changes.
"""

import math
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np.control.policies import GaussianSpec
from rtu_np.control.softmax import SoftmaxesSpec
from rtu_np.jit import generic, kernel
from rtu_np.learning import normalizers
from rtu_np.learning.normalizers import ReturnStatistics, Statistics, return_statistics, statistics
from rtu_np.learning.outcomes import CONTINUES, END, IS_FIRST, STEPS
from rtu_np.numerics.buffers import vector
from rtu_np.validation import check_flag, check_real, largest

LARGEST_FLOAT32, LARGEST_FLOAT64 = largest("float32"), largest("float64")

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
_HUGE = 1e6  # an observation of this magnitude is a likelier cause of divergence than the step size


class InputSettings(NamedTuple):
    """The settings of an agent about the input of its networks."""

    normalize_observations: bool
    scale_rewards: bool
    previous_action_reward: bool
    clip_observations: float | None

    def checked(self) -> "InputSettings":
        """These settings, if they are usable. TypeError, ValueError, by name."""
        for name in ("normalize_observations", "scale_rewards", "previous_action_reward"):
            check_flag(name, getattr(self, name))
        if self.clip_observations is None:
            return self
        clip = check_real("clip_observations", self.clip_observations, low=1.0, hint="in deviations; 10 is common")
        if not self.normalize_observations:
            raise ValueError(
                f"clip_observations is {clip} with normalize_observations=False: expected None, since the deviations "
                "are those of the normaliser"
            )
        return self._replace(clip_observations=clip)

    def spec(self, n_observation: int, n_action: int, gamma: float) -> "InputSpec":
        return InputSpec(
            n_observation,
            n_previous=n_action + 1 if self.previous_action_reward else 0,
            normalize_observations=self.normalize_observations,
            scale_rewards=self.scale_rewards,
            gamma=gamma,
            clip_observations=math.inf if self.clip_observations is None else self.clip_observations,
        )


class InputSpec(NamedTuple):
    n_observation: int
    n_previous: int  # numbers of the previous action and reward: 0, or one more than an action has
    normalize_observations: bool
    scale_rewards: bool
    gamma: float
    clip_observations: float  # in deviations; infinite if nothing is clipped

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
    largest: np.ndarray  # (1,)   largest magnitude of an observation since the last diagnostics


@kernel(inline=False)
def input_statistics(spec, flat):
    """Layout of the statistics, float64."""
    observation, flat = statistics(spec.n_observation, flat)
    reward, flat = return_statistics(flat)
    td_errors, rest = vector(flat, 4)
    largest = flat[
        4:5
    ]  # in the cache line of the view before, so that statistics of earlier checkpoints have this size
    return InputStatistics(observation, reward, td_errors, largest), rest


@kernel
def largest_input(buffers, by_statistics):
    """The largest magnitude that an agent of this precision takes; `by_statistics` : whether they divide it."""
    if buffers.action.itemsize == 4:
        return 1e34 if by_statistics else LARGEST_FLOAT32
    return 1e100 if by_statistics else LARGEST_FLOAT64


@kernel
def usable(spec, buffers):
    """Whether reward and observation are finite, also in the agent's precision and in its statistics."""
    observation, bound, outside = buffers.observation, largest_input(buffers, spec.normalize_observations), 0
    for i in range(observation.shape[0]):
        outside += not abs(observation[i]) <= bound  # NaN is outside, too
    return outside == 0 and abs(buffers.signal[REWARD]) <= largest_input(buffers, spec.scale_rewards)


def why_refused(spec: InputSpec, buffers: StepBuffers) -> str:
    """A message that names the number that is not `usable`, and what was expected."""
    name, number, bound = "reward", buffers.signal[REWARD], largest_input(buffers, spec.scale_rewards)
    if abs(number) <= bound:
        bound = largest_input(buffers, spec.normalize_observations)
        k = int(np.argmin(np.abs(buffers.observation) <= bound))
        name, number = f"observation[{k}]", buffers.observation[k]
    return (
        f"{name} is {number} after step {buffers.clock[STEPS]}: expected a finite number, in magnitude at most "
        f"{bound:.2g}; is it a fault of the environment? The agent is as it was before, and can be saved"
    )


def likely_cause(buffers: StepBuffers) -> str:
    """A sentence for the message about divergence, if the observation is large enough to be the cause."""
    size = np.abs(buffers.observation).max(initial=0)
    return f" The observation has numbers of magnitude {size:.2g}." if size > _HUGE else ""


def of_inputs(spec: InputSpec, buffers: StepBuffers) -> dict[str, float]:
    """The diagnostics `largest_observation`, since the last call, and `reward_scale`, by which rewards are divided."""
    statistics, _ = input_statistics(spec, buffers.statistics)
    largest = statistics.largest
    found = {"largest_observation": float(largest.max()), "reward_scale": 1 / scale_reward(spec, statistics, 1.0)}
    largest[:] = 0
    return found


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
def clip(spec, statistics, observation):
    """Clip the observation in place if `spec` says so; returns its largest distance from the mean, in deviations."""
    if spec.clip_observations < np.inf:
        return normalizers.clip(statistics.observation, spec.clip_observations, observation)
    return 0.0


@kernel
def update_and_normalize(spec, statistics, observation, previous, x):
    """Clip the observation, add it to the statistics, then `normalize`. `observation` is written."""
    largest = clip(spec, statistics, observation)
    if spec.normalize_observations:
        normalizers.include(statistics.observation, observation)
    normalize(spec, statistics, observation, previous, x)
    for i in range(spec.n_observation):
        largest = max(largest, abs(x[i]))
    statistics.largest[0] = max(statistics.largest[0], largest)


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
