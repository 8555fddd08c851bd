"""Streaming Q(lambda) and QRC(lambda): the compiled steps.

With s_t what the network is given at time t, a_t the action taken there, and the reward r_{t+1} that came with s_{t+1},

    delta = r_{t+1} + gamma (1 - terminated) max_a q(s_{t+1}, a) - q(s_t, a_t)     with the parameters as they stand
    z     = gamma lambda z + grad q(s_t, a_t)          cleared before, where a_t was not greedy
    q     <- q + step(delta) z                                                     derivations (44)

Memory goes on where traces are cut: it belongs to the history, whoever chose the actions. As in TD(lambda)
(`rtu_np.prediction.td_kernels`), q(s_t, a_t) is read again from the features that were kept, and everything at s_{t+1} - values,
the choice of a_{t+1}, the gradient - is of the parameters before the step, so that each observation goes through the
cell once. An action is greedy where no value is above its own, also in a tie.

QRC(lambda) follows the gradient of a projected Bellman error, with h(s, a) as a second network's prediction of delta
(derivations (45)):

    e, z_q, z_h = gamma lambda (e, z_q, z_h) + (h, grad q, grad h)(s_t, a_t)       cleared as z above
    q <- q + alpha_q [delta z_q - e grad delta - h grad q(s_t, a_t)]
    h <- h + alpha_h [delta z_h - h grad h(s_t, a_t) - beta theta]                 theta all parameters of h
    grad delta = gamma (1 - terminated) grad max_a q(s_{t+1}, a) - grad q(s_t, a_t)

grad q(s_t, a_t) is kept from time t, when the sensitivities were those of s_t.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.control.acting import acting_agent, attend
from rtu_np.control.exploration import EpsilonSpec, at, explore
from rtu_np.control.inputs import execute, note, perceive, senses
from rtu_np.control.policies import first_largest
from rtu_np.jit import generic, kernel, separate
from rtu_np.learning import heads, optimizers
from rtu_np.learning.network import Network, Weights, buffers, weights
from rtu_np.numerics.buffers import clear, decay_and_add, finite, vector
from rtu_np.prediction.td_kernels import CONTINUES, REFUSED, TERMINATED

DIVERGED, DONE = 0, 1


class QLambdaSpec(NamedTuple):
    q: Any  # NetworkSpec with a HeadSpec
    inputs: Any
    epsilon: EpsilonSpec
    n_q: int  # numbers set aside


class QRCSpec(NamedTuple):
    q: Any  # NetworkSpecs with a HeadSpec
    h: Any
    inputs: Any
    epsilon: EpsilonSpec
    beta: float
    n_q: int
    n_h: int


class QAgent(NamedTuple):
    """Flat arrays: each phase cuts its own network out of them, and is compiled by itself."""

    q: np.ndarray
    x: np.ndarray  # (n_inputs,)
    before: np.ndarray  # (n_before,)


class QRCAgent(NamedTuple):
    q: np.ndarray
    h: np.ndarray
    e: np.ndarray  # (1,)
    x: np.ndarray
    before: np.ndarray


class Corrected(NamedTuple):
    """A network of QRC(lambda)."""

    network: Network
    gradient: Weights  # of its output for the latest action
    flat_gradient: np.ndarray
    flat_direction: np.ndarray  # of the step


# ---------------------------------------------------------------------------------------------------------- layout


@generic
def agent(spec, flat):
    """Carve an agent off one flat array: (views, rest)."""


@agent.register(QLambdaSpec)
def _q_agent(spec, flat):
    q, flat = vector(flat, spec.n_q)
    x, flat = vector(flat, spec.inputs.n_observation + spec.inputs.n_before)
    before, flat = vector(flat, spec.inputs.n_before)
    return QAgent(q, x, before), flat


@agent.register(QRCSpec)
def _qrc_agent(spec, flat):
    q, flat = vector(flat, spec.n_q)
    h, flat = vector(flat, spec.n_h)
    e, flat = vector(flat, 1)
    x, flat = vector(flat, spec.inputs.n_observation + spec.inputs.n_before)
    before, flat = vector(flat, spec.inputs.n_before)
    return QRCAgent(q, h, e, x, before), flat


@kernel(apart=True)
def corrected_buffers(spec, flat):
    """Carve a network of QRC(lambda) off one flat array: (views, rest)."""
    network, flat = buffers(spec, flat)
    n_weights = network.flat_params.shape[0]
    gradient, rest = weights(spec, flat)
    _, end = weights(spec, rest)
    return Corrected(network, gradient, flat[:n_weights], rest[:n_weights]), end


# -------------------------------------------------------------------------------------------------------- Q(lambda)


@generic
def _learn(spec, b, first, action, reward, end, whim):
    """Learn from one step and choose the next action, where one follows; returns delta, or NaN where what came out is
    not finite.

    whim : the action that exploration wants; below 0, the greedy one.
    """


@_learn.register(QLambdaSpec)
def _learn_q_lambda(spec, b, first, action, reward, end, whim):
    return _step_along_trace(spec, b.q, first, action, b.x, reward, end, whim)


@kernel
def _td_error(spec, n, first, action, x, reward, end):
    """Bring the network to s_{t+1}; returns (delta, the greedy action), delta NaN where the values are not finite."""
    real, cell = x.dtype.type, spec.q.cell
    o, q_tm1 = n.kept.o, heads.output(n.params.readout, n.memory.y, int(action[0, 0]))
    if protocol.degenerate(cell, n.params.cell):
        return real(np.nan), 0
    protocol.move(cell, n.params.cell, n.memory, x)
    heads.outputs(n.params.readout, n.memory.y, o)
    best = first_largest(o)
    if not finite(o.reshape(1, o.size), 1):
        return real(np.nan), best
    v_t = real(0) if end == TERMINATED else o[best]
    return real(0) if first else reward + real(spec.inputs.gamma) * v_t - q_tm1, best


@kernel
def _credit(cell, n, action):
    """Take the output for `action` back to the cell's state."""
    clear(n.kept.do)
    n.kept.do[action] = 1
    heads.feature_gradient(n.params.readout, n.kept.do, n.dy)
    protocol.credit(cell, n.params.cell, n.memory, n.dy)


@kernel
def _choose(o, action, best, whim):
    """action[0] <- the next one; returns whether it is greedy."""
    chosen = best if whim < 0 else whim
    action[0, 0] = chosen
    return o[chosen] == o[best]


@kernel
def _decay(spec, greedy, x):
    """Of traces; 0 cuts them."""
    real = x.dtype.type
    return real(spec.inputs.gamma) * real(spec.q.lambda_) if greedy else real(0)


@kernel
def _forget(n):
    clear(n.flat_memory)
    clear(n.flat_traces)


@kernel(apart=True)
def _step_along_trace(spec, flat, first, action, x, reward, end, whim):
    n, _ = buffers(spec.q, flat)
    delta, best = _td_error(spec, n, first, action, x, reward, end)
    if not np.isfinite(delta):
        return delta
    optimizer, cell = spec.q.optimizer, spec.q.cell
    if end != CONTINUES:
        if not first:
            optimizers.step(optimizer, n.flat_params, n.flat_traces, n.moments, delta)
        _forget(n)
        return delta
    decay = _decay(spec, _choose(n.kept.o, action, best, whim), x)
    _credit(cell, n, int(action[0, 0]))
    scale = optimizers.scale(optimizer, n.flat_traces, delta)
    if not first:
        optimizers.update(optimizer, n.flat_params, n.flat_traces, n.moments, delta)
    protocol.learn(cell, n.params.cell, n.traces.cell, n.memory, decay, scale)
    heads.learn(n.params.readout, n.traces.readout, n.memory.y, n.kept.do, decay, scale)
    return delta


# ------------------------------------------------------------------------------------------------------ QRC(lambda)


@_learn.register(QRCSpec)
def _learn_qrc(spec, b, first, action, reward, end, whim):
    real, a_t = b.x.dtype.type, int(action[0, 0])
    h = _read(spec.h, b.h, a_t)
    if not np.isfinite(h):
        return h
    if first:
        h = real(0)
    e = _decay(spec, True, b.x) * b.e[0] + h
    delta, decay = _correct(spec, b.q, first, e, h, action, b.x, reward, end, whim)
    if np.isfinite(delta):
        _follow(spec, b.h, first, delta, h, action, b.x, decay, end)
        b.e[0] = e if decay != 0 and end == CONTINUES else real(0)
    return delta


@kernel(apart=True)
def _read(spec, flat, action):
    """The network's output for `action`, at the features that were kept."""
    n, _ = buffers(spec, flat)
    if protocol.degenerate(spec.cell, n.params.cell):
        return flat.dtype.type(np.nan)
    return heads.output(n.params.readout, n.memory.y, action)


@kernel(apart=True)
def _gradient(spec, flat, action, flat_out):
    """flat_out <- the gradient of the output for `action`, with the memory brought up to this step"""
    n, _ = buffers(spec, flat)
    out, _ = weights(spec, flat_out)
    _credit(spec.cell, n, action)
    nothing = flat.dtype.type(0)
    protocol.accumulate(spec.cell, n.memory, nothing, out.cell)
    heads.accumulate(n.memory.y, n.kept.do, nothing, out.readout)


@kernel(apart=True)
def _correct(spec, flat, first, e, h, action, x, reward, end, whim):
    """The step of q; returns (delta, the decay of traces from here on)."""
    c, _ = corrected_buffers(spec.q, flat)
    n, real = c.network, x.dtype.type
    delta, best = _td_error(spec, n, first, action, x, reward, end)
    if not np.isfinite(delta):
        return delta, real(0)
    protocol.propagate(spec.q.cell, n.memory)
    _gradient(spec.q, flat, best, c.flat_direction)
    along_next = real(0) if end == TERMINATED else e * real(spec.inputs.gamma)
    _direction_of_q(delta, along_next, e - h, n.flat_traces, c.flat_gradient, c.flat_direction)
    decay = _decay(spec, _choose(n.kept.o, action, best, whim), x)
    if int(action[0, 0]) != best:
        _gradient(spec.q, flat, int(action[0, 0]), c.flat_gradient)
    _finish(spec.q.optimizer, c, first, decay, end)
    return delta, decay


@kernel
def _finish(optimizer, c, first, decay, end):
    """Step along the direction; then the traces take in the new gradient, or all is forgotten."""
    n = c.network
    if not first:
        optimizers.step(optimizer, n.flat_params, c.flat_direction, n.moments, c.flat_direction.dtype.type(1))
    decay_and_add((n.flat_traces,), (c.flat_gradient,), decay)
    if end != CONTINUES:
        _forget(n)


@kernel
@separate
def _direction_of_q(delta, along_next, along_now, traces, gradient, direction):
    """direction <- delta z - e grad delta - h grad q(s_t, a_t); and gradient <- what comes in `direction`, which is
    grad max_a q(s_{t+1}, a)."""
    for k in range(direction.shape[0]):
        following = direction[k]
        direction[k] = delta * traces[k] - along_next * following + along_now * gradient[k]
        gradient[k] = following


@kernel(apart=True)
def _follow(spec, flat, first, delta, h, action, x, decay, end):
    """The step of h."""
    c, _ = corrected_buffers(spec.h, flat)
    n, beta = c.network, x.dtype.type(spec.beta)
    _direction_of_h(delta, h, beta, n.flat_traces, c.flat_gradient, n.flat_params, c.flat_direction)
    protocol.advance(spec.h.cell, n.params.cell, n.memory, x)
    _gradient(spec.h, flat, int(action[0, 0]), c.flat_gradient)
    _finish(spec.h.optimizer, c, first, decay, end)


@kernel
@separate
def _direction_of_h(delta, h, beta, traces, gradient, params, direction):
    """direction <- delta z - h grad h(s_t, a_t) - beta theta"""
    for k in range(direction.shape[0]):
        direction[k] = delta * traces[k] - h * gradient[k] - beta * params[k]


# --------------------------------------------------------------------------------------------------- step and act


def step(spec, flat, flat_senses, clock, observation, signal, noise, action, bounds):
    """Learn from one step and choose the next action; returns DONE, or REFUSED with nothing changed where what came is
    not finite, or DIVERGED.

    clock : (steps, whether the next is the first after a clear). signal : reward, and how the step ends.
    action (2, 1) : the action chosen, and as it is executed; at the end of an episode no longer of meaning.
    """
    if not (np.isfinite(signal[0]) and finite(observation.reshape(1, observation.size), 1)):
        return REFUSED
    b, _ = agent(spec, flat)
    s, _ = senses(spec.inputs, flat_senses)
    first, end = clock[1] != 0, signal[1]
    reward = perceive(spec.inputs, s, first, observation, signal, b.before, b.x)
    epsilon = at(spec.epsilon, clock[0] if first else clock[0] + 1)
    delta = _learn(spec, b, first, action, reward, end, explore(epsilon, noise, spec.q.readout.n_linear))
    if not np.isfinite(delta):
        return DIVERGED
    if not first:
        note(s, delta)
        clock[0] += 1
    clock[1] = end != CONTINUES
    if end == CONTINUES:
        execute(spec.epsilon, bounds, action, b.before[: b.before.shape[0] - 1])
    return DONE


@kernel(apart=True)
def acting(spec, flat):
    """Carve the memory of an agent that acts without learning off one flat array: (views, rest)."""
    return acting_agent(spec.q, spec.inputs, flat)


def act(spec, flat, flat_senses, clock, scratch, observation, signal, noise, action, bounds):
    """Choose an action without learning; signal : the reward before, and whether to take the greedy action."""
    b, _ = agent(spec, flat)
    params = buffers(spec.q, b.q)[0].params
    s, _ = senses(spec.inputs, flat_senses)
    p, _ = acting(spec, scratch)
    attend(spec.q, spec.inputs, params, s, p, observation, signal[0])
    o = p.network.kept.o
    heads.outputs(params.readout, p.network.record.y, o)
    epsilon = 0.0 if signal[1] != 0 else at(spec.epsilon, clock[0])
    _choose(o, action, first_largest(o), explore(epsilon, noise, o.shape[0]))
    execute(spec.epsilon, bounds, action, p.before[: p.before.shape[0] - 1])
