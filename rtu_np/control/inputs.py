"""From what an environment says to what a network is given: normalised observations, scaled rewards, the latest action.

The input of a network is the observation and, where it is asked for, the action and the reward before it:

    x = [observation | action, one-hot or clipped | reward, scaled]

Its statistics are in float64 whatever the precision of the learner (`rtu_np.learning.normalizers`). An agent that acts without
learning reads them and leaves them as they are.
"""

from typing import NamedTuple

import numpy as np

from rtu_np.control.policies import GaussianSpec
from rtu_np.jit import generic, kernel
from rtu_np.learning.normalizers import (
    ReturnStatistics,
    Statistics,
    include,
    include_reward,
    normalize,
    return_statistics,
    scale_reward,
    statistics,
)
from rtu_np.numerics.buffers import vector


class InputSpec(NamedTuple):
    n_observation: int
    n_before: int  # numbers of the action and the reward before: none, or one more than an action has
    normalize: bool
    scale: bool
    gamma: float

    @property
    def n_inputs(self) -> int:
        return self.n_observation + self.n_before


class Senses(NamedTuple):
    observation: Statistics
    reward: ReturnStatistics
    tally: np.ndarray  # (4,)   sums of |delta| and delta^2, how many, the latest delta


@kernel(apart=True)
def senses(spec, flat):
    """Carve the statistics off `flat`, float64: (views, rest)."""
    observation, flat = statistics(spec.n_observation, flat)
    reward, flat = return_statistics(flat)
    tally, flat = vector(flat, 4)
    return Senses(observation, reward, tally), flat


@kernel
def feel(spec, senses, reward, done):
    """Count a reward in, and return it as the learner is given it."""
    if spec.scale:
        include_reward(senses.reward, spec.gamma, reward, done)
    return scaled(spec, senses, reward)


@kernel
def scaled(spec, senses, reward):
    """The reward as the learner is given it."""
    return scale_reward(senses.reward, reward) if spec.scale else reward


@kernel
def see(spec, senses, observation, before, x):
    """x <- the network's input, by the statistics as they are."""
    n = spec.n_observation
    if spec.normalize:
        normalize(senses.observation, observation, x[:n])
    else:
        for i in range(n):
            x[i] = observation[i]
    for i in range(spec.n_before):
        x[n + i] = before[i]


@kernel
def look(spec, senses, observation, before, x):
    """As `see`, the observation counted in first."""
    if spec.normalize:
        include(senses.observation, observation)
    see(spec, senses, observation, before, x)


@kernel
def perceive(spec, senses, first, observation, signal, before, x):
    """Take in what the environment says: x <- the network's input; returns the reward as the learner is given it.

    signal : reward, and how the step ends, 0 where it does not. `before`, which shows the action already, is shown the
    reward. The first step after a clear has neither.
    """
    real = x.dtype.type
    if first:
        for i in range(before.shape[0]):
            before[i] = 0
        reward = real(0)
    else:
        reward = real(feel(spec, senses, signal[0], signal[1] != 0))
        if before.shape[0] > 0:
            before[before.shape[0] - 1] = reward
    look(spec, senses, observation, before, x)
    return reward


@kernel
def note(senses, delta):
    """Keep the TD error for whoever asks how learning goes."""
    senses.tally[0] += abs(delta)
    senses.tally[1] += delta * delta
    senses.tally[2] += 1
    senses.tally[3] = delta


@generic
def execute(kind, bounds, action, before):
    """action[1] <- what the environment is given of action[0]; before <- the same as the next input shows it.

    `kind` is the policy's spec; `before` may have no room, its last place is the reward's.
    """


@execute.otherwise
def _execute_choice(kind, bounds, action, before):
    action[1, 0] = action[0, 0]
    for i in range(before.shape[0]):
        before[i] = 0
    if before.shape[0] > 0:
        before[int(action[0, 0])] = 1


@execute.register(GaussianSpec)
def _execute_components(kind, bounds, action, before):
    for i in range(action.shape[1]):
        action[1, i] = min(max(action[0, i], bounds[0, i]), bounds[1, i])
        if before.shape[0] > 0:
            before[i] = action[1, i]
