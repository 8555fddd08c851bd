"""PPO's loss: targets, the gradient over a part of a minibatch, and the step along it (derivations (46)-(51)).

rho is p(a) / p_old(a), and A the advantage of a transition, less the mean over the minibatch and divided by the
deviation. The loss is the mean over the minibatch of

    L = -min(rho A, clip(rho, 1 - c, 1 + c) A) + k_v max((v - R)^2, (v_clip - R)^2) / 2 - k_h H       (48), (49), (50)

with v_clip = v_old + clip(v - v_old, -c_v, c_v). If the two parts of a min or max are equal, the part without the clip
gives the derivative. The gradient goes back through heads, actor and critic, and through
the T steps of a sequence to the stored state before them. With RTRL, T = 1, and the sensitivities of that state are
stored too:

    dL/dparams = (dL/dparams through the step alone) + (dL/dstate_tm1)^T S_tm1                        (46)
"""

import numpy as np

from rtu_np import protocol
from rtu_np.cells.rows import RowsAdjoint, accumulate_four, backward_rows, forward_rows
from rtu_np.cells.sequences import Sequences, backward_sequences, forward_sequences
from rtu_np.control import policies
from rtu_np.control.ppo.network import (
    APPROXIMATE_KL,
    CLIP_FRACTION,
    DEVIATION,
    ENTROPY,
    MEAN,
    NOT_FINITE,
    POLICY_LOSS,
    VALUE_LOSS,
    chunk,
    ppo_arrays,
)
from rtu_np.control.ppo.storage import load
from rtu_np.jit import kernel, noalias
from rtu_np.learning import heads, optimizers
from rtu_np.learning.outcomes import TERMINATED, TRUNCATED
from rtu_np.numerics.buffers import clear, copy
from rtu_np.numerics.products import dot

_STRETCH = 1024  # numbers of a gradient that stay in the nearest cache while the parts are added

# --------------------------------------------------------------------------------------------------------- targets


def compute_gae(gamma, lambda_, rewards, ends, values, bootstraps, advantages, returns):
    """advantages, returns <- generalised advantage estimates, and the targets of the value (derivations (47))"""
    real, n_steps = values.dtype.type, values.shape[0]
    gamma, lambda_ = real(gamma), real(lambda_)
    advantage = real(0)
    for t in range(n_steps - 1, -1, -1):
        if ends[t] == TERMINATED:
            following, advantage = real(0), real(0)
        elif ends[t] == TRUNCATED or t == n_steps - 1:
            following, advantage = bootstraps[t], real(0)
        else:
            following = values[t + 1]
        delta = rewards[t] + gamma * following - values[t]
        advantage = delta + gamma * lambda_ * advantage
        advantages[t] = advantage
        returns[t] = advantage + values[t]


def advantage_moments(advantages, T, order, start, stop, out):
    """out <- mean and standard deviation of the advantages in the sequences order[start:stop], each of T steps"""
    n = (stop - start) * T
    total, square = 0.0, 0.0
    for k in range(start, stop):
        for t in range(order[k] * T, (order[k] + 1) * T):
            total += advantages[t]
    mean = total / n
    for k in range(start, stop):
        for t in range(order[k] * T, (order[k] + 1) * T):
            square += (advantages[t] - mean) ** 2
    out[MEAN], out[DEVIATION] = mean, np.sqrt(square / n)


# -------------------------------------------------------------------------------------------------------- gradient


@kernel
def _loss(spec, r, c, t, advantage):
    """c.actor.do, c.critic.do <- the derivatives of one transition's share of the loss by the heads' outputs.

    c.loss_terms : modified in place; the share of the transition is added
    """
    s, o, v, loss_terms = spec.loss, c.actor.o, c.critic.o[0], c.loss_terms
    real = o.dtype.type
    one, half, share = real(1), real(0.5), real(1) / real(spec.minibatch)
    log_ratio = policies.log_probability(spec.policy, o, r.actions[t]) - r.log_p[t]
    ratio = np.exp(log_ratio)
    unclipped = ratio * advantage
    clipped = min(max(ratio, one - real(s.clip)), one + real(s.clip)) * advantage
    along = -unclipped * share if unclipped <= clipped else real(0)
    policies.gradient(spec.policy, o, r.actions[t], along, -real(s.entropy_coef) * share, c.actor.do)

    moved, width = v - r.values[t], real(s.clip)
    error = v - r.returns[t]
    clipped_error = error  # within the clip; v_old + (v - v_old) rounds, and could lose the comparison with itself
    if abs(moved) > width:
        clipped_error = r.values[t] + min(max(moved, -width), width) - r.returns[t]
    larger = max(error * error, clipped_error * clipped_error)
    slope = real(s.value_coef) * share * error
    c.critic.do[0] = slope if error * error >= clipped_error * clipped_error else real(0)

    loss_terms[POLICY_LOSS] -= min(unclipped, clipped)
    loss_terms[VALUE_LOSS] += half * larger
    loss_terms[ENTROPY] += policies.entropy(spec.policy, o)
    loss_terms[APPROXIMATE_KL] += (ratio - one) - log_ratio
    loss_terms[CLIP_FRACTION] += abs(ratio - one) > real(s.clip)
    loss_terms[NOT_FINITE] += not (np.isfinite(ratio) and np.isfinite(error) and np.isfinite(advantage))


@kernel
def _sequences(spec, c):
    return Sequences(spec.sequence, c.starts, c.states, c.dstates, 0)


@kernel
def _features(spec, params, r, c, block):
    """Run each sequence of the block from its stored state; c.y <- the features of each step."""
    T = spec.sequence
    for q in range(block.shape[0]):
        copy(r.states[block[q] * T], c.states[q * T])
        for k in range(T):
            t, row = block[q] * T + k, q * T + k
            c.starts[row] = r.starts[t]
            copy(r.x[t], c.x[row])
    n = block.shape[0] * T
    forward_sequences(spec.cell, params.cell, c.work, c.body, _sequences(spec, c), c.x[:n], c.y[:n])


@kernel
def _head(layer, params, branch, row):
    """branch.o <- the outputs of the head, from the layer's output in this row"""
    record, _ = protocol.record(layer, branch.records[row])
    heads.outputs(params, record.y, branch.o)


@kernel
def _back_through_head(layer, params, branch, row, gradient):
    """branch.dy[row] <- the gradient with respect to the layer's output, from branch.do; the head's own is added."""
    record, _ = protocol.record(layer, branch.records[row])
    heads.accumulate(record.y, branch.do, branch.o.dtype.type(1), gradient)
    heads.feature_gradient(params, branch.do, branch.dy[row])


@kernel
def _back_through_layer(layer, params, branch, y, dy, gradient):
    """dy <- dy + the gradient with respect to the features y, from branch.dy; the layer's own is added."""
    n, back = y.shape[0], RowsAdjoint(gradient, dy, branch.scratch)
    backward_rows(layer, params, branch.work, y, branch.records[:n], branch.dy[:n], back)


@kernel
def _back_to_features(spec, params, r, c, block, advantage_scale):
    """c.dy <- dL/dfeatures of each step of the block; the gradients of heads, actor and critic are added.

    advantage_scale : (mean, 1 / deviation)
    """
    s, p, into, (mean, scale), T = spec.readout, params.readout, c.gradient.readout, advantage_scale, spec.sequence
    n = block.shape[0] * T
    y, dy = c.y[:n], c.dy[:n]
    forward_rows(s.actor, p.actor, c.actor.work, y, c.actor.records[:n])
    forward_rows(s.critic, p.critic, c.critic.work, y, c.critic.records[:n])
    for row in range(n):
        t = block[row // T] * T + row % T
        _head(s.actor, p.policy, c.actor, row)
        _head(s.critic, p.value, c.critic, row)
        _loss(spec, r, c, t, (r.advantages[t] - mean) * scale)
        _back_through_head(s.actor, p.policy, c.actor, row, into.policy)
        _back_through_head(s.critic, p.value, c.critic, row, into.value)
        clear(dy[row])
    _back_through_layer(s.actor, p.actor, c.actor, y, dy, into.actor)
    _back_through_layer(s.critic, p.critic, c.critic, y, dy, into.critic)


@kernel
def _back_to_stored_states(spec, params, c, n):
    """c.dstates <- dL/dstate before each sequence, from the first n rows of c.dy; the body's gradient is added."""
    back = RowsAdjoint(c.gradient.cell, c.x[:n, :0], c.actor.scratch)
    backward_sequences(spec.cell, params.cell, c.work, c.body, _sequences(spec, c), c.x[:n], c.dy[:n], back)


@kernel
def _stored(spec, r, rounded, scratch, sequence):
    return load(spec.storage, spec.cell, r, rounded, scratch, sequence * spec.sequence)[0]


@kernel
def _through_the_past(spec, r, rounded, c, block):
    """The gradient from the states before the sequences of the block, with their stored sensitivities, is added."""
    n, into, d, w = block.shape[0], c.gradient.cell, c.dstates, c.widened
    fours = n - n % 4
    for q in range(0, fours, 4):
        first = _stored(spec, r, rounded, w[0], block[q])
        second = _stored(spec, r, rounded, w[1], block[q + 1])
        third = _stored(spec, r, rounded, w[2], block[q + 2])
        fourth = _stored(spec, r, rounded, w[3], block[q + 3])
        dstates = (d[q], d[q + 1], d[q + 2], d[q + 3])
        accumulate_four(spec.cell, (first, second, third, fourth), dstates, into)
    for q in range(fours, n):
        protocol.accumulate_stored(spec.cell, _stored(spec, r, rounded, w[0], block[q]), d[q], into)


def accumulate_gradient(spec, flat, rounded, flat_chunk, order, start, stop, moments):
    """Gradient and sums of loss terms of the sequences order[start:stop]. `flat_chunk` is written.

    rounded : the stored sensitivities, if they are rounded, or None
    moments : of the minibatch's advantages
    """
    arrays, _ = ppo_arrays(spec, flat)
    params, r = arrays.learned.params, arrays.rollout
    c, _ = chunk(spec, flat_chunk)
    real = c.flat_gradient.dtype.type
    advantage_scale = real(moments[MEAN]), real(1 / (moments[DEVIATION] + 1e-8))
    clear(c.flat_gradient)
    clear(c.loss_terms)
    protocol.prepare(spec.cell, params.cell, c.work)
    protocol.prepare(spec.readout.actor, params.readout.actor, c.actor.work)
    protocol.prepare(spec.readout.critic, params.readout.critic, c.critic.work)
    for first in range(start, stop, spec.block):
        block = order[first : min(first + spec.block, stop)]
        _features(spec, params, r, c, block)
        _back_to_features(spec, params, r, c, block, advantage_scale)
        _back_to_stored_states(spec, params, c, block.shape[0] * spec.sequence)
        _through_the_past(spec, r, rounded, c, block)


# ------------------------------------------------------------------------------------------------------------ step


def add_parts(gradients, terms, total, loss_terms):
    """total <- the sum of the parts' gradients, in their order; returns its norm, NaN if that or a loss is not finite.

    gradients, terms : of each part: flat, and the sums of its loss terms
    loss_terms : modified in place, unless the norm is NaN: the terms of the parts are added
    """
    faults, square = loss_terms.dtype.type(0), total.dtype.type(0)
    for k in range(len(terms)):
        faults += terms[k][NOT_FINITE]
    for start in range(0, total.shape[0], _STRETCH):
        stretch = total[start : start + _STRETCH]
        clear(stretch)
        for k in range(len(gradients)):
            _add(gradients[k][start : start + _STRETCH], stretch)
        square += dot(stretch, stretch)
    norm = np.sqrt(square)
    if faults > 0 or not np.isfinite(norm):
        return np.nan
    for k in range(len(terms)):
        _add(terms[k], loss_terms)
    return norm


@kernel
@noalias
def _add(source, target):
    for i in range(target.shape[0]):
        target[i] += source[i]


def take_step(cell, optimizer, params, gradient, moments, scale):
    """One step of the optimiser along `scale` times the gradient. The flat parameters begin with those of the body.

    Returns (whether the new parameters are degenerate, whether a phase is to be wrapped).
    """
    optimizers.take_step(optimizer, params, gradient, moments, params.dtype.type(scale))
    body, _ = protocol.parameters(cell, params)
    wrap = protocol.confine(cell, body)
    return protocol.degenerate(cell, body), wrap
