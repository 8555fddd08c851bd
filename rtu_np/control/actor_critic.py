"""Streaming actor-critic(lambda): learn a policy on every step. `actor_critic_kernels` has the compiled step."""

from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.control.acting import policy_activations
from rtu_np.control.actor_critic_kernels import SharedNetworkSpec, TwoHeadsSpec, TwoNetworksSpec
from rtu_np.control.inputs import InputSettings
from rtu_np.control.policies import Gaussian, Policy
from rtu_np.control.shared_arguments import with_shared_arguments
from rtu_np.control.streaming import StreamingAgent, default_cell
from rtu_np.learning import network
from rtu_np.learning.heads import Head, HeadSpec
from rtu_np.learning.network import NamedNetwork, Training, forward_arrays, network_arrays, network_spec
from rtu_np.learning.optimizers import Optimizer
from rtu_np.learning.readout import LinearReadout
from rtu_np.numerics.buffers import size
from rtu_np.validation import check_flag, check_real


@with_shared_arguments
class ActorCritic(StreamingAgent):
    """Streaming actor-critic(lambda) with eligibility traces, on any cell and gradient method.

    Elsayed et al. 2024; derivations (42), (43).

    Parameters
    ----------
    env : a Gymnasium environment. The agent reads its spaces only; pass `env` to `learn` as well
    cell : of the actor, and of the critic without `critic_cell`; by default
        `recurrent_network(LinearRTU(128, max_phase=2.0))`. With RTRL(), layers below a recurrent layer get the one-step
        gradient (`Stack`)
    critic_cell : of the critic, if the critic has another cell
    shared : whether actor and critic are two heads on one body. `actor_optimizer` then learns from the sum of both
        objectives
    policy : Softmax() for Discrete, MultiDiscrete and MultiBinary actions, Gaussian() for a Box, by default
    lambda_ : trace parameter, in [0, 1]
    entropy_coef : tau, the weight of the policy's entropy
    actor_optimizer, critic_optimizer : by default Blocks(cell=Adam(3e-4), others=ObGD(kappa=3)) of the actor, and with
        kappa 2 of the critic (docs/rules.md)
    others : see `rtu_np.control.shared_arguments`

    Raises
    ------
    ValueError, TypeError : if an argument is out of its range or of the wrong type; the message names the argument
    MemoryError : if the agent does not fit this machine
    FloatingPointError : in `step` and `learn`, if learning diverges

    Examples
    --------
    >>> import gymnasium
    >>> from rtu_np import LinearRTU
    >>> env = gymnasium.make("CartPole-v1")
    >>> agent = ActorCritic(env, LinearRTU(8), gamma=0.9, lambda_=0.9)
    >>> agent.learn(env, 100, progress=False, log=None).returns.size > 0
    True
    >>> agent
    ActorCritic(LinearRTU(8), steps=100)
    """

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
        lambda_: float = 0.9,
        entropy_coef: float = 0.03,
        actor_optimizer: Optimizer | None = None,
        critic_optimizer: Optimizer | None = None,
        normalize_observations: bool = True,
        scale_rewards: bool = True,
        previous_action_reward: bool = False,
        clip_observations: float | None = None,
        seed: int | None = 0,
        dtype: Any = "float32",
    ) -> None:
        inputs = InputSettings(normalize_observations, scale_rewards, previous_action_reward, clip_observations)
        super().__init__(env, gamma, inputs, seed, dtype)
        self.cell = check_cell(default_cell() if cell is None else cell)
        self.shared = check_flag("shared", shared)
        if shared and critic_cell is not None:
            raise ValueError(f"critic_cell is {critic_cell!r} with shared=True: expected None, since there is one body")
        if shared and critic_optimizer is not None:
            raise ValueError(
                f"critic_optimizer is {critic_optimizer!r} with shared=True: expected None, since actor_optimizer is "
                "the rule of the one network"
            )
        self.critic_cell = check_cell(self.cell if critic_cell is None else critic_cell, "critic_cell")
        self.policy = self._policy_for(policy, Gaussian())
        self.gradient = check_gradient(gradient)
        self.lambda_ = check_real("lambda_", lambda_, low=0.0, high=1.0)
        self.entropy_coef = check_real("entropy_coef", entropy_coef, low=0.0)
        self.actor_optimizer = self._rule("actor_optimizer", actor_optimizer, self.cell, kappa=3.0)
        self.critic_optimizer = self._rule("critic_optimizer", critic_optimizer, self.critic_cell, kappa=2.0)
        self._ready(self._make_spec(), self.policy)
        actor, *critic = self._networks()
        network.initialise(actor.network, actor.spec, self.cell, _TwoHeads() if self.shared else Head(), self._start)
        for each in critic:  # a shared body has no second network
            network.initialise(each.network, each.spec, self.critic_cell, LinearReadout(), self._start)

    def _make_spec(self) -> TwoNetworksSpec | SharedNetworkSpec:
        n_inputs, policy = self._inputs.n_inputs, self.policy.spec(self.actions.n)
        body = self.gradient.spec(self.cell.spec(n_inputs), self.dtype)
        head: Any = HeadSpec(body.n_outputs, policy.n_linear, policy.n_free)
        if self.shared:
            head = TwoHeadsSpec(body.n_outputs, LinearReadout().spec(body.n_outputs), head)
        rates = self.gamma, self.lambda_, self.dtype
        block = None if self.shared else "policy"
        actor = network_spec(body, head, Training(self.actor_optimizer, *rates, "actor_optimizer", block))
        common, n_actor = (policy, self._inputs, self.entropy_coef), size(network_arrays, actor)
        if self.shared:
            return SharedNetworkSpec(actor, *common, n_actor, size(forward_arrays, actor))
        body = self.gradient.spec(self.critic_cell.spec(n_inputs), self.dtype)
        value = LinearReadout().spec(body.n_outputs)
        critic = network_spec(body, value, Training(self.critic_optimizer, *rates, "critic_optimizer", "value"))
        return TwoNetworksSpec(actor, critic, *common, n_actor, size(network_arrays, critic))

    def _networks(self) -> list[NamedNetwork]:
        spec, views = self._spec, self._views
        actor = network_arrays(spec.actor, views.actor)[0]
        if self.shared:
            return [NamedNetwork("", spec.actor, actor, None)]
        critic = network_arrays(spec.critic, views.critic)[0]
        return [
            NamedNetwork("actor.", spec.actor, actor, "policy"),
            NamedNetwork("critic.", spec.critic, critic, "value"),
        ]

    def _learned(self) -> dict[str, np.ndarray]:
        activations = network_arrays(self._spec.actor, self._views.actor)[0].activations
        return {**super()._learned(), "o": policy_activations(self._spec.actor.readout, activations).o}

    def _settings(self) -> dict[str, Any]:
        names = ["cell", "shared", "policy", "gradient", "gamma", "lambda_", "entropy_coef", "actor_optimizer"]
        names += [] if self.shared else ["critic_optimizer", "critic_cell"]
        return {**{name: getattr(self, name) for name in names}, **self.inputs._asdict(), "dtype": self.dtype.name}


class _TwoHeads:
    """Starting values of the heads of a shared body."""

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        LinearReadout().initialise(params.value, rng)
        Head().initialise(params.policy, rng)
