"""Streaming Q(lambda) and QRC(lambda): the compiled parts of a step (`rtu_np.control.streaming_kernels`).

s_t is the input of the network at time t, a_t the action at time t, and r_{t+1} the reward that arrives with s_{t+1}:

    delta = r_{t+1} + gamma (1 - terminated) max_a q(s_{t+1}, a) - q(s_t, a_t)     with today's parameters
    z     = gamma lambda z + grad q(s_t, a_t)          cleared before, if a_t was not greedy
    q     <- q + step(delta) z                                                     derivations (44)

If traces are cut, the memory stays: it belongs to the history, however actions were chosen. As in TD(lambda),
q(s_t, a_t) is computed again from the stored features. The values, the choice of a_{t+1} and the gradient at s_{t+1}
use the parameters before the step, so that each observation goes through the cell once. An action is greedy if no value
is above its own, also in a tie.

QRC(lambda) follows the gradient of a projected Bellman error. A second network h(s, a) predicts delta (derivations
(45)):

    e, z_q, z_h = gamma lambda (e, z_q, z_h) + (h, grad q, grad h)(s_t, a_t)       cleared as z above
    q <- q + alpha_q [delta z_q - e grad delta - h grad q(s_t, a_t)]
    h <- h + alpha_h [delta z_h - h grad h(s_t, a_t) - beta theta]                 theta all parameters of h
    grad delta = gamma (1 - terminated) grad max_a q(s_{t+1}, a) - grad q(s_t, a_t)

grad q(s_t, a_t) is stored at time t, when the sensitivities are those of s_t.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.control import policies
from rtu_np.control.acting import acting_network, acting_weights, policy_forward
from rtu_np.control.exploration import EpsilonSpec
from rtu_np.control.inputs import DRAWN, AgentInput, Previous
from rtu_np.control.streaming_kernels import agent_arrays, examine, examine_network, learn, worse
from rtu_np.gradients.layers import clear_memory
from rtu_np.jit import kernel, noalias
from rtu_np.learning import heads, optimizers
from rtu_np.learning.network import Network, Weights, destination, network_arrays, weights
from rtu_np.learning.outcomes import CONTINUES, TERMINATED
from rtu_np.numerics.buffers import clear, decay_and_add, finite_vector, packed, whole
from rtu_np.numerics.layout import layout_of


class QLambdaSpec(NamedTuple):
    q: Any  # NetworkSpec with a HeadSpec
    policy: EpsilonSpec
    inputs: Any
    n_q: int  # size of the network's flat array


class QRCSpec(NamedTuple):
    q: Any  # NetworkSpecs with a HeadSpec
    h: Any
    policy: EpsilonSpec
    inputs: Any
    beta: float
    n_q: int
    n_h: int


class QLambdaArrays(NamedTuple):
    q: Annotated[np.ndarray, "spec.n_q"]
    x: AgentInput
    previous: Previous


class QRCArrays(NamedTuple):
    q: Annotated[np.ndarray, "spec.n_q"]
    h: Annotated[np.ndarray, "spec.n_h"]
    e: Annotated[np.ndarray, 1]
    x: AgentInput
    previous: Previous


class CorrectedNetwork(NamedTuple):
    """A network of QRC(lambda)."""

    network: Annotated[Network, network_arrays]
    gradient: Annotated[Weights, weights]  # of its output for the latest action
    flat_gradient: Annotated[np.ndarray, whole]
    flat_direction: Annotated[np.ndarray, packed, "flat_gradient.shape[0]"]  # of the step


class Choice(NamedTuple):
    """The arguments of the choice of the next action. `action` is written."""

    steps: Any
    noise: np.ndarray
    action: np.ndarray  # (2, 1)


agent_arrays.register(QLambdaSpec)(layout_of(QLambdaArrays))
agent_arrays.register(QRCSpec)(layout_of(QRCArrays))
corrected_arrays = kernel(inline=False)(layout_of(CorrectedNetwork))


@acting_network.register(QLambdaSpec)
@acting_network.register(QRCSpec)
def _acting_network(spec):
    return spec.q


@acting_weights.register(QLambdaSpec)
@acting_weights.register(QRCSpec)
def _acting_weights(spec, flat):
    return network_arrays(spec.q, agent_arrays(spec, flat)[0].q)[0].params


# ------------------------------------------------------------------------------------------------------- in common


@kernel
def _td_error(spec, network, action, time_step):
    """Advance the network to s_{t+1}; returns (delta, the greedy action). delta is NaN if a value is not finite."""
    real, cell, first = time_step.x.dtype.type, spec.q.cell, time_step.first
    q_tm1 = heads.output(network.params.readout, network.memory.y, int(action[DRAWN, 0]))
    if protocol.degenerate(cell, network.params.cell):
        return real(np.nan), 0
    protocol.move(cell, network.params.cell, network.memory, time_step.x)
    policy_forward(spec.q.readout, network.params.readout, network.activations, network.memory.y)
    o = network.activations.o
    best = policies.first_largest(o)
    if not finite_vector(o):
        return real(np.nan), best
    v_t = real(0) if time_step.end == TERMINATED else o[best]
    return real(0) if first else time_step.reward + real(spec.inputs.gamma) * v_t - q_tm1, best


@kernel
def _credit(cell, network, action):
    """Take the output for `action` back to the cell's state."""
    do = network.activations.do
    clear(do)
    do[action] = 1
    heads.feature_gradient(network.params.readout, do, network.dy)
    protocol.credit(cell, network.params.cell, network.memory, network.dy)


@kernel
def _choose(spec, o, choice, best):
    """Write the next action; returns the discount of traces from here on, which is 0 if the action is not greedy."""
    real = o.dtype.type
    policies.sample(spec.policy, o, choice.noise, choice.steps, choice.action[DRAWN])
    greedy = o[int(choice.action[DRAWN, 0])] == o[best]
    return real(spec.inputs.gamma) if greedy else real(0)


@kernel
def _forget(cell, network):
    clear_memory(cell, network.memory, network.flat_memory)
    clear(network.flat_traces)


@examine.register(QLambdaSpec)
def _examine_q_lambda(spec, arrays):
    return examine_network(spec.q, arrays.q)


@examine.register(QRCSpec)
def _examine_qrc(spec, arrays):
    return worse(examine_network(spec.q, arrays.q), examine_network(spec.h, arrays.h))


# -------------------------------------------------------------------------------------------------------- Q(lambda)


@learn.register(QLambdaSpec)
def _learn_q_lambda(spec, arrays, time_step, steps, buffers):
    return _step_along_trace(spec, arrays.q, time_step, Choice(steps, buffers.noise, buffers.action))


@kernel(inline=False)
def _step_along_trace(spec, flat, time_step, choice):
    n, _ = network_arrays(spec.q, flat)
    delta, best = _td_error(spec, n, choice.action, time_step)
    if not np.isfinite(delta):
        return delta
    optimizer, cell = spec.q.optimizer, spec.q.cell
    if time_step.end != CONTINUES:
        if not time_step.first:
            optimizers.take_step(optimizer, n.flat_params, n.flat_traces, n.moments, delta)
        _forget(cell, n)
        return delta
    discount = _choose(spec, n.activations.o, choice, best)
    _credit(cell, n, int(choice.action[DRAWN, 0]))
    step = optimizers.step(optimizer, n.flat_traces, delta)
    if not time_step.first:
        optimizers.update(optimizer, n.flat_params, n.flat_traces, n.moments, delta)
    traces, decay = destination(optimizer, spec.q, n, discount)
    protocol.learn(cell, n.params.cell, traces.cell, n.memory, decay, step)
    heads.learn(n.params.readout, traces.readout, n.memory.y, n.activations.do, decay, step)
    return delta


# ------------------------------------------------------------------------------------------------------ QRC(lambda)


@learn.register(QRCSpec)
def _learn_qrc(spec, arrays, time_step, steps, buffers):
    real, a_t = arrays.x.dtype.type, int(buffers.action[DRAWN, 0])
    h = _read(spec.h, arrays.h, a_t)
    if not np.isfinite(h):
        return h
    if time_step.first:
        h = real(0)
    e = real(spec.inputs.gamma) * real(spec.q.lambda_) * arrays.e[0] + h
    choice = Choice(steps, buffers.noise, buffers.action)
    delta, decay = _q_step(spec, arrays.q, e, h, time_step, choice)
    if np.isfinite(delta):
        _h_step(spec, arrays.h, delta, h, time_step, int(buffers.action[DRAWN, 0]), decay)
        arrays.e[0] = e if decay != 0 and time_step.end == CONTINUES else real(0)
    return delta


@kernel(inline=False)
def _read(spec, flat, action):
    """The network's output for `action`, from the stored features."""
    n, _ = network_arrays(spec, flat)
    if protocol.degenerate(spec.cell, n.params.cell):
        return flat.dtype.type(np.nan)
    return heads.output(n.params.readout, n.memory.y, action)


@kernel(inline=False)
def _output_gradient(spec, flat, action, flat_out):
    """flat_out <- the gradient of the output for `action`. The memory's sensitivities are those of this step."""
    n, _ = network_arrays(spec, flat)
    out, _ = weights(spec, flat_out)
    _credit(spec.cell, n, action)
    zero = flat.dtype.type(0)
    protocol.accumulate(spec.cell, n.memory, zero, out.cell)
    heads.accumulate(n.memory.y, n.activations.do, zero, out.readout)


@kernel(inline=False)
def _q_step(spec, flat, e, h, time_step, choice):
    """The step of q; returns (delta, the decay of traces from here on)."""
    c, _ = corrected_arrays(spec.q, flat)
    n, real = c.network, time_step.x.dtype.type
    delta, best = _td_error(spec, n, choice.action, time_step)
    if not np.isfinite(delta):
        return delta, real(0)
    protocol.propagate(spec.q.cell, n.memory)
    _output_gradient(spec.q, flat, best, c.flat_direction)
    along_next = real(0) if time_step.end == TERMINATED else e * real(spec.inputs.gamma)
    _direction_of_q(delta, along_next, e - h, n.flat_traces, c.flat_gradient, c.flat_direction)
    decay = _choose(spec, n.activations.o, choice, best) * real(spec.q.lambda_)
    if int(choice.action[DRAWN, 0]) != best:
        _output_gradient(spec.q, flat, int(choice.action[DRAWN, 0]), c.flat_gradient)
    _finish(spec.q, c, time_step, decay)
    return delta, decay


@kernel
def _finish(spec, c, time_step, decay):
    """Step along the direction. Then add the new gradient to the decayed traces. At an end, clear memory and traces."""
    n = c.network
    if not time_step.first:
        optimizers.take_step(spec.optimizer, n.flat_params, c.flat_direction, n.moments, c.flat_direction.dtype.type(1))
    decay_and_add((n.flat_traces,), (c.flat_gradient,), decay)
    if time_step.end != CONTINUES:
        _forget(spec.cell, n)


@kernel
@noalias
def _direction_of_q(delta, along_next, along_now, traces, gradient, direction):
    """direction <- delta z - e grad delta - h grad q(s_t, a_t); gradient <- grad max_a q(s_{t+1}, a).

    On entry, `direction` holds grad max_a q(s_{t+1}, a), and `gradient` grad q(s_t, a_t).
    """
    zero = direction.dtype.type(0)
    for k in range(direction.shape[0]):
        # -0. becomes 0. Its sign comes from the last step's direction, which copies and files of an agent do not hold.
        following = direction[k] + zero
        direction[k] = delta * traces[k] - along_next * following + along_now * gradient[k]
        gradient[k] = following


@kernel(inline=False)
def _h_step(spec, flat, delta, h, time_step, action, decay):
    """The step of h. The memory of h then advances to s_{t+1}."""
    c, _ = corrected_arrays(spec.h, flat)
    n, beta = c.network, time_step.x.dtype.type(spec.beta)
    _direction_of_h(delta, h, beta, n.flat_traces, c.flat_gradient, n.flat_params, c.flat_direction)
    protocol.advance(spec.h.cell, n.params.cell, n.memory, time_step.x)
    _output_gradient(spec.h, flat, action, c.flat_gradient)
    _finish(spec.h, c, time_step, decay)


@kernel
@noalias
def _direction_of_h(delta, h, beta, traces, gradient, params, direction):
    """direction <- delta z - h grad h(s_t, a_t) - beta theta"""
    for k in range(direction.shape[0]):
        direction[k] = delta * traces[k] - h * gradient[k] - beta * params[k]
