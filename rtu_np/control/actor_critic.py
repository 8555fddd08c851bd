"""Streaming actor-critic(lambda): learns to act, on every step. `actor_critic_kernels` has the compiled step."""

from typing import Any

import numpy as np

from rtu_np.cells.dense import Dense
from rtu_np.cells.initializers import SparseUniform
from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.cells.layer_norm import LayerNorm
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.stack import Stack
from rtu_np.control import actor_critic_kernels as kernels
from rtu_np.control.agent import Inputs
from rtu_np.control.policies import Gaussian, Policy
from rtu_np.control.streaming import StreamingAgent
from rtu_np.learning import network
from rtu_np.learning.heads import Head, HeadSpec
from rtu_np.learning.network import NetworkSpec
from rtu_np.learning.optimizers import ObGD, Optimizer
from rtu_np.learning.readout import LinearReadout
from rtu_np.numerics.buffers import size
from rtu_np.validation import check_flag, check_real


def streaming_network(cell: Cell, *widths: int) -> Stack:
    """`cell` behind layers of the given widths, each sparse, normalised and leaky (Elsayed et al. 2024); 128, 128 if
    none are given.

    Examples
    --------
    >>> streaming_network(LinearRTU(192)).build(n_inputs=17).advance(np.ones(17)).shape
    (384,)
    """
    layers: list[Cell] = []
    for width in widths or (128, 128):
        layers += [Dense(width, init=SparseUniform()), LayerNorm("leaky_relu")]
    return Stack((*layers, cell))


class ActorCritic(StreamingAgent):
    """Streaming actor-critic(lambda) with eligibility traces, on any cell and gradient method.

    Parameters
    ----------
    env : the environment; only its spaces are read. `learn` is given it again
    cell : of the actor, and of the critic unless that has its own; `streaming_network(LinearRTU(192))` by default.
        Layers below the recurrent one get the one-step gradient (`Stack`)
    critic_cell : of the critic, where it differs
    shared : whether actor and critic are two heads on one body, learned by `actor_optimizer` from the sum of both
        objectives
    policy : Softmax() for choices, Gaussian() for components
    gradient : how the gradient travels through time; RTRL() by default
    gamma, lambda_ : discount and trace parameter
    entropy : tau, how much the policy's entropy is rewarded
    actor_optimizer, critic_optimizer : ObGD(kappa=3) and ObGD(kappa=2) by default
    normalize_observations, scale_rewards : by running statistics (`rtu_np.learning.normalizers`)
    previous : whether the action and the reward before are part of the input
    seed : of the starting parameters, of the actions, and of the environment; the same seed gives the same bits
    dtype : "float32" or "float64"

    Examples
    --------
    >>> import gymnasium
    >>> env = gymnasium.make("CartPole-v1")
    >>> agent = ActorCritic(env, LinearRTU(8), gamma=0.9, lambda_=0.9)
    >>> agent.learn(env, 100, progress=False, log=None).returns.size > 0
    True
    """

    _step_kernel, _act_kernel = kernels.step, kernels.act
    _carve, _carve_acting = kernels.agent, kernels.acting

    def __init__(
        self,
        env: Any,
        cell: Cell | None = None,
        *,
        critic_cell: Cell | None = None,
        shared: bool = False,
        policy: Policy | None = None,
        gradient: GradientMethod | None = None,
        gamma: float = 0.99,
        lambda_: float = 0.99,
        entropy: float = 0.01,
        actor_optimizer: Optimizer | None = None,
        critic_optimizer: Optimizer | None = None,
        normalize_observations: bool = True,
        scale_rewards: bool = True,
        previous: bool = False,
        seed: int | None = 0,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(env, gamma, Inputs(normalize_observations, scale_rewards, previous), seed, dtype)
        self.cell = check_cell(cell or streaming_network(LinearRTU(192)))
        self.shared = check_flag("shared", shared)
        if shared and critic_cell is not None:
            raise ValueError(f"critic_cell is {critic_cell!r} with shared=True: expected none, as there is one body")
        self.critic_cell = check_cell(critic_cell or self.cell)
        self.policy = self._policy_for(policy, Gaussian())
        self.gradient = check_gradient(gradient)
        self.lambda_ = check_real("lambda_", lambda_, low=0.0, high=1.0)
        self.entropy = check_real("entropy", entropy, low=0.0)
        self.actor_optimizer = actor_optimizer or ObGD(kappa=3.0)
        self.critic_optimizer = critic_optimizer or ObGD(kappa=2.0)
        self._ready(*self._specs())
        self._initialise()

    def _specs(self) -> tuple[Any, Policy, Any]:
        """(the agent's spec, its policy, the policy's spec)"""
        n_inputs = self._inputs.n_inputs
        policy = self.policy.spec(self.actions.n)
        body = self.gradient.spec(self.cell.spec(n_inputs), self.dtype)
        head: Any = HeadSpec(body.n_outputs, policy.n_linear, policy.n_free)
        if self.shared:
            head = kernels.TwoHeadsSpec(body.n_outputs, LinearReadout().spec(body.n_outputs), head)
        actor = NetworkSpec(body, head, self.actor_optimizer.spec(), self.lambda_)
        common, n_actor = (policy, self._inputs, self.entropy), size(network.buffers, actor)
        if self.shared:
            n_peek = size(network.acting_buffers, actor)
            return kernels.SharedSpec(actor, *common, n_actor, n_peek), self.policy, policy
        body = self.gradient.spec(self.critic_cell.spec(n_inputs), self.dtype)
        value = LinearReadout().spec(body.n_outputs)
        critic = NetworkSpec(body, value, self.critic_optimizer.spec(), self.lambda_)
        n_critic = size(network.buffers, critic)
        return kernels.SeparateSpec(actor, critic, *common, n_actor, n_critic), self.policy, policy

    def _initialise(self) -> None:
        readout = _TwoHeads() if self.shared else Head()
        network.initialise(self._actor, self._spec.actor, self.cell, readout, self._start)
        if not self.shared:
            network.initialise(self._critic, self._spec.critic, self.critic_cell, LinearReadout(), self._start)

    @property
    def _views(self) -> kernels.Agent:
        return kernels.agent(self._spec, self._flat)[0]

    @property
    def _actor(self) -> network.Network:
        return network.buffers(self._spec.actor, self._views.actor)[0]

    @property
    def _critic(self) -> network.Network:
        return network.buffers(self._spec.critic, self._views.critic)[0]

    def _networks(self) -> dict[str, tuple[network.Network, str | None, Optimizer]]:
        if self.shared:
            return {"": (self._actor, None, self.actor_optimizer)}
        return {
            "actor.": (self._actor, "policy", self.actor_optimizer),
            "critic.": (self._critic, "value", self.critic_optimizer),
        }

    def _learned(self) -> dict[str, np.ndarray]:
        kept = self._actor.kept.policy if self.shared else self._actor.kept
        return {**super()._learned(), "o": kept.o}

    def _settings(self) -> dict[str, Any]:
        names = ("cell", "shared", "policy", "gradient", "gamma", "lambda_", "entropy", "actor_optimizer")
        settings = {name: getattr(self, name) for name in (*names, "critic_optimizer")}
        own = {} if self.shared else {"critic_cell": self.critic_cell}
        return {**settings, **own, **self.inputs._asdict(), "dtype": self.dtype.name}


class _TwoHeads:
    """How the heads of a shared body start."""

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        LinearReadout().initialise(params.value, rng)
        Head().initialise(params.policy, rng)
