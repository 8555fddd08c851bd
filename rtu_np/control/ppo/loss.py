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
from rtu_np.control import policies
from rtu_np.control.acting import policy_forward, value_forward
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
def _loss(spec, r, b, t, advantage, loss_terms):
    """b.do, b.dv <- the derivatives of one transition's share of the loss by the heads' outputs

    loss_terms : modified in place; the share of the transition is added
    """
    s, real = spec.loss, b.o.dtype.type
    one, half, share = real(1), real(0.5), real(1) / real(spec.minibatch)
    log_ratio = policies.log_probability(spec.policy, b.o, r.actions[t]) - r.log_p[t]
    ratio = np.exp(log_ratio)
    unclipped = ratio * advantage
    clipped = min(max(ratio, one - real(s.clip)), one + real(s.clip)) * advantage
    along = -unclipped * share if unclipped <= clipped else real(0)
    policies.gradient(spec.policy, b.o, r.actions[t], along, -real(s.entropy_coef) * share, b.do)

    moved, width = b.v[0] - r.values[t], real(s.value_clip)
    error = b.v[0] - r.returns[t]
    clipped_error = error  # within the clip; v_old + (v - v_old) rounds, and could lose the comparison with itself
    if abs(moved) > width:
        clipped_error = r.values[t] + min(max(moved, -width), width) - r.returns[t]
    larger = max(error * error, clipped_error * clipped_error)
    b.dv[0] = real(s.value_coef) * share * error if error * error >= clipped_error * clipped_error else real(0)

    loss_terms[POLICY_LOSS] -= min(unclipped, clipped)
    loss_terms[VALUE_LOSS] += half * larger
    loss_terms[ENTROPY] += policies.entropy(spec.policy, b.o)
    loss_terms[APPROXIMATE_KL] += (ratio - one) - log_ratio
    loss_terms[CLIP_FRACTION] += abs(ratio - one) > real(s.clip)
    loss_terms[NOT_FINITE] += not (np.isfinite(ratio) and np.isfinite(error) and np.isfinite(advantage))


@kernel
def _back_to_features(spec, params, b, y, gradient):
    """b.dy <- dL/dy, from b.do and b.dv; the gradients of heads, actor and critic are added."""
    one = b.o.dtype.type(1)
    heads.accumulate(b.actor.y, b.do, one, gradient.policy)
    heads.feature_gradient(params.policy, b.do, b.dactor)
    back = protocol.Adjoint(b.actor_state, gradient.actor, b.dy)
    protocol.backward(spec.actor, params.actor, b.actor_work, b.actor_state, y, b.actor, b.dactor, back)
    heads.accumulate(b.critic.y, b.dv, one, gradient.value)
    heads.feature_gradient(params.value, b.dv, b.dcritic)
    back = protocol.Adjoint(b.critic_state, gradient.critic, b.dy_critic)
    protocol.backward(spec.critic, params.critic, b.critic_work, b.critic_state, y, b.critic, b.dcritic, back)
    for i in range(spec.n_features):
        b.dy[i] += b.dy_critic[i]


@kernel
def _recompute_sequence(spec, params, r, c, first):
    """Run the sequence that starts at row `first` from its stored state; c.states <- the state before each step."""
    cell = spec.cell
    for k in range(spec.sequence):
        if k == 0:
            copy(r.states[first], c.states[k])
        elif r.starts[first + k] != 0:
            clear(c.states[k])
        else:
            copy(c.records[k - 1, : spec.n_state], c.states[k])
        record, _ = protocol.record(cell, c.records[k])
        state_tm1, _ = protocol.state(cell, c.states[k])
        protocol.forward(cell, params.cell, c.work, state_tm1, r.x[first + k], record)


def accumulate_gradient(spec, flat, flat_chunk, order, start, stop, moments):
    """Gradient and sums of loss terms of the sequences order[start:stop]. `flat_chunk` is written.

    moments : of the minibatch's advantages
    """
    arrays, _ = ppo_arrays(spec, flat)
    params, r = arrays.learned.params, arrays.rollout
    c, _ = chunk(spec, flat_chunk)
    cell, b, real = spec.cell, c.activations, c.flat_gradient.dtype.type
    mean, scale = real(moments[MEAN]), real(1 / (moments[DEVIATION] + 1e-8))
    clear(c.flat_gradient)
    clear(c.loss_terms)
    protocol.prepare(cell, params.cell, c.work)
    for s in range(start, stop):
        first = order[s] * spec.sequence
        _recompute_sequence(spec, params, r, c, first)
        clear(c.flat_dstate)
        for k in range(spec.sequence - 1, -1, -1):
            t = first + k
            state_tm1, _ = protocol.state(cell, c.states[k])
            record, _ = protocol.record(cell, c.records[k])
            policy_forward(spec.readout, params.readout, b, record.y)
            value_forward(spec.readout, params.readout, b, record.y)
            _loss(spec, r, b, t, (r.advantages[t] - mean) * scale, c.loss_terms)
            _back_to_features(spec.readout, params.readout, b, record.y, c.gradient.readout)
            back = protocol.Adjoint(c.dstate, c.gradient.cell, b.dy_critic[:0])
            protocol.backward(cell, params.cell, c.work, state_tm1, r.x[t], record, b.dy, back)
            if r.starts[t] != 0:
                clear(c.flat_dstate)
        stored, _ = protocol.stored_sensitivities(cell, r.stored[first])
        protocol.accumulate_stored(cell, stored, c.flat_dstate, c.gradient.cell)


# ------------------------------------------------------------------------------------------------------------ step


def add_parts(gradients, terms, total, loss_terms):
    """total <- the sum of the parts' gradients, in their order; returns its norm, or NaN if that or a loss is not finite.

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
