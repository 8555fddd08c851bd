"""PPO's network and the arrays that it learns from: types and layout.

    x -> body -> y -> actor  -> policy head -> o, which defines the policy's distribution
                   -> critic -> value head  -> v

The body is the encoder and the cell, with the gradient method that trains them. Actor and critic are hidden layers
without a state. Together with their heads they are the network's readout, so that `rtu_np.control.acting` serves PPO
as it serves the streaming agents. A *rollout* is N transitions, each with the state before its step and, for RTRL, the
sensitivities of that state. A *chunk* holds the arrays of one thread, for the gradient of a part of a minibatch.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.cells.sequences import sequence_rows
from rtu_np.control.acting import acting_network, acting_weights, policy_forward, value_forward
from rtu_np.control.inputs import Previous
from rtu_np.jit import kernel
from rtu_np.learning import heads, optimizers, readout
from rtu_np.learning.heads import HeadParameters, HeadSpec
from rtu_np.learning.network import Weights, weights
from rtu_np.numerics.buffers import aligned
from rtu_np.numerics.layout import layout_of

# Sums of a chunk over its samples: their names in reports, and their slots.
LOSS_TERMS = ("policy_loss", "value_loss", "entropy", "approximate_kl", "clip_fraction", "not_finite")
POLICY_LOSS, VALUE_LOSS, ENTROPY, APPROXIMATE_KL, CLIP_FRACTION, NOT_FINITE = range(len(LOSS_TERMS))
# Slots of the moments of a minibatch's advantages.
MEAN, DEVIATION = 0, 1
# Transitions whose gradient is computed together: weights are read once for all, and all stays in the nearest caches.
BLOCK = 16


class Loss(NamedTuple):
    """Settings of the loss; see `rtu_np.control.ppo.loss`."""

    clip: float
    value_coef: float
    entropy_coef: float
    max_grad_norm: float
    gae_lambda: float


class PPOSpec(NamedTuple):
    cell: Any  # the body
    readout: "BranchesSpec"
    policy: Any
    optimizer: Any
    inputs: Any
    loss: Loss
    n_steps: int  # N, transitions between updates
    sequence: int  # T, consecutive transitions that one gradient goes through
    minibatch: int  # transitions
    block: int  # sequences that are learned from together
    storage: Any  # FullPrecision or BFloat16
    n_state: int
    n_stored: int  # sensitivities of a transition, if they are stored in full precision
    n_rounded: int  # the same, if they are rounded
    n_memory: int
    n_actor_record: int
    n_critic_record: int


# --------------------------------------------------------------------------------- a readout of two heads, each behind
#                                                                                                      hidden layers


class BranchesSpec(NamedTuple):
    n_features: int
    actor: Any
    policy: HeadSpec
    critic: Any
    value: HeadSpec


class Branches(NamedTuple):
    actor: Annotated[Any, protocol.parameters, "spec.actor"]
    policy: Annotated[HeadParameters, readout.parameters, "spec.policy"]
    critic: Annotated[Any, protocol.parameters, "spec.critic"]
    value: Annotated[HeadParameters, readout.parameters, "spec.value"]


PerHeadOutput = Annotated[np.ndarray, "spec.policy.n_linear + spec.policy.n_free"]  # of the policy head


class BranchActivations(NamedTuple):
    """The numbers that one pass through actor and critic writes."""

    actor_state: Annotated[Any, protocol.state, "spec.actor"]  # empty
    actor: Annotated[Any, protocol.record, "spec.actor"]
    actor_work: Annotated[Any, protocol.work, "spec.actor"]
    critic_state: Annotated[Any, protocol.state, "spec.critic"]  # empty
    critic: Annotated[Any, protocol.record, "spec.critic"]
    critic_work: Annotated[Any, protocol.work, "spec.critic"]
    o: PerHeadOutput
    v: Annotated[np.ndarray, 1]


readout.parameters.register(BranchesSpec)(layout_of(Branches))
readout.activations.register(BranchesSpec)(layout_of(BranchActivations))


@policy_forward.register(BranchesSpec)
def _policy_forward(spec, params, activations, y):
    a = activations
    protocol.prepare(spec.actor, params.actor, a.actor_work)
    protocol.forward(spec.actor, params.actor, a.actor_work, a.actor_state, y, a.actor)
    heads.outputs(params.policy, a.actor.y, a.o)


@value_forward.register(BranchesSpec)
def _value_forward(spec, params, activations, y):
    a = activations
    protocol.prepare(spec.critic, params.critic, a.critic_work)
    protocol.forward(spec.critic, params.critic, a.critic_work, a.critic_state, y, a.critic)
    heads.outputs(params.value, a.critic.y, a.v)
    return a.v[0]


# -------------------------------------------------------------------------------------------------- what an agent holds


class Learned(NamedTuple):
    """Parameters, gradient and the optimiser's moments."""

    params: Annotated[Weights, weights]
    flat_params: Annotated[np.ndarray, aligned]
    flat_gradient: Annotated[np.ndarray, "flat_params.shape[0]"]  # of the latest minibatch
    moments: Annotated[Any, optimizers.moments, "spec.optimizer", "flat_params.shape[0]"]


class Live(NamedTuple):
    """The network in mid-stream. Arrays of zeros are a fresh start."""

    x: Annotated[np.ndarray, "spec.cell.n_inputs"]  # the latest input
    previous: Previous
    memory: Annotated[Any, protocol.memory, "spec.cell"]
    flat_memory: Annotated[np.ndarray, aligned]
    record: Annotated[Any, protocol.record, "spec.cell"]  # of a step that leaves the memory as it is
    scratch: Annotated[np.ndarray, "spec.n_rounded"]
    work: Annotated[Any, protocol.work, "spec.cell"]
    activations: Annotated[BranchActivations, readout.activations, "spec.readout"]


PerStep = Annotated[np.ndarray, "spec.n_steps"]


class Rollout(NamedTuple):
    """N transitions. If an episode is cut off, `finals` has the next observation, and `bootstraps` its value."""

    x: Annotated[np.ndarray, "spec.n_steps", "spec.cell.n_inputs"]  # observations as the network gets them
    finals: Annotated[np.ndarray, "spec.n_steps", "spec.cell.n_inputs"]
    states: Annotated[np.ndarray, "spec.n_steps", "spec.n_state"]  # before the step
    stored: Annotated[np.ndarray, "spec.n_steps", "spec.n_stored"]  # sensitivities of these states, unless rounded
    actions: Annotated[np.ndarray, "spec.n_steps", "spec.policy.n_action"]
    starts: PerStep  # 1 if an episode starts
    ends: PerStep  # how the step ends
    log_p: PerStep  # of the action, when it was chosen
    values: PerStep
    rewards: PerStep
    bootstraps: PerStep
    advantages: PerStep
    returns: PerStep
    memory: Annotated[np.ndarray, "spec.n_memory"]  # all of the memory, before the first step


learned = kernel(inline=False)(layout_of(Learned))
live = kernel(inline=False)(layout_of(Live))
rollout = kernel(inline=False)(layout_of(Rollout))


class PPOArrays(NamedTuple):
    """All arrays of a PPO agent."""

    learned: Annotated[Learned, learned]
    live: Annotated[Live, live]
    rollout: Annotated[Rollout, rollout]


ppo_arrays = kernel(inline=False)(layout_of(PPOArrays))


@acting_network.register(PPOSpec)
def _acting_network(spec):
    return spec


@acting_weights.register(PPOSpec)
def _acting_weights(spec, flat):
    return ppo_arrays(spec, flat)[0].learned.params


PerTransition = "spec.block * spec.sequence"  # of the block


class BranchRows(NamedTuple):
    """Actor or critic, for the transitions of a block."""

    work: Annotated[Any, protocol.work, "layer"]
    records: Annotated[np.ndarray, "rows", "n_record"]
    o: Annotated[np.ndarray, "head.n_linear + head.n_free"]  # of one transition
    do: Annotated[np.ndarray, "head.n_linear + head.n_free"]
    dy: Annotated[np.ndarray, "rows", "layer.n_outputs"]  # the gradient with respect to the layer's output
    scratch: Annotated[np.ndarray, "layer.n_inputs * layer.n_outputs"]


branch_rows = kernel(inline=False)(layout_of(BranchRows, "layer", "head", "rows", "n_record"))
_OF_ACTOR = ("spec.readout.actor", "spec.readout.policy", PerTransition, "spec.n_actor_record")
_OF_CRITIC = ("spec.readout.critic", "spec.readout.value", PerTransition, "spec.n_critic_record")


class Chunk(NamedTuple):
    """The arrays of one thread, for the gradient of a block of sequences at a time."""

    gradient: Annotated[Weights, weights]
    flat_gradient: Annotated[np.ndarray, aligned]
    loss_terms: Annotated[np.ndarray, len(LOSS_TERMS)]
    states: Annotated[np.ndarray, PerTransition, "spec.n_state"]  # before each step
    starts: Annotated[np.ndarray, PerTransition]  # 1 if an episode starts
    x: Annotated[np.ndarray, PerTransition, "spec.cell.n_inputs"]
    body: Annotated[Any, sequence_rows, "spec.cell", PerTransition]  # of the steps, recomputed
    y: Annotated[np.ndarray, PerTransition, "spec.readout.n_features"]
    dy: Annotated[np.ndarray, PerTransition, "spec.readout.n_features"]
    actor: Annotated[BranchRows, branch_rows, *_OF_ACTOR]
    critic: Annotated[BranchRows, branch_rows, *_OF_CRITIC]
    work: Annotated[Any, protocol.work, "spec.cell"]
    dstates: Annotated[np.ndarray, "spec.block", "spec.n_state"]  # dL/dstate before each sequence
    widened: Annotated[np.ndarray, 4, "spec.n_rounded"]  # sensitivities of four sequences


chunk = kernel(inline=False)(layout_of(Chunk))
