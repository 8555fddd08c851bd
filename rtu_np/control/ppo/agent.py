"""PPO with stored, forward-carried gradients (Elelimy et al. 2024, Algorithm 1), and with T-BPTT.

`rollout` has the compiled steps of acting, `loss` those of learning, `update` the loop over minibatches.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from joblib import cpu_count

from rtu_np import protocol
from rtu_np.cells.dense import Dense
from rtu_np.cells.initializers import Orthogonal
from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient, check_parameters, initial_values
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.stack import Stack
from rtu_np.control.agent import Agent
from rtu_np.control.inputs import InputSettings, likely_cause, of_inputs
from rtu_np.control.policies import Gaussian, Policy
from rtu_np.control.ppo import rollout
from rtu_np.control.ppo.network import BLOCK, BranchesSpec, Loss, PPOSpec, ppo_arrays
from rtu_np.control.ppo.storage import BFloat16, FullPrecision
from rtu_np.control.ppo.update import SUMMARY, Refresh, Update, bytes_of_update
from rtu_np.control.shared_arguments import with_shared_arguments
from rtu_np.gradients.rtrl import RTRL
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.interrupts import HoldCtrlC
from rtu_np.learning import optimizers, readout
from rtu_np.learning.blocks import named_layers
from rtu_np.learning.diagnostics import of_layers, of_update
from rtu_np.learning.heads import Head, HeadSpec
from rtu_np.learning.network import Views, Weights, weights
from rtu_np.learning.optimizers import Adam, Optimizer
from rtu_np.learning.outcomes import DIVERGED, FULL, IS_FIRST
from rtu_np.learning.per_block import check_without_traces
from rtu_np.numerics.buffers import leaves, size
from rtu_np.validation import check_choice, check_count, check_fits, check_real

_REFRESH = {
    "none": Refresh(states=False, values=False),
    "gradients": Refresh(states=True, values=False),
    "targets": Refresh(states=False, values=True),
    "both": Refresh(states=True, values=True),
}

_TO_GO_ON = (
    "The parameters are those before the latest update, and can be saved; the stream is forgotten. The usual cure is a "
    "smaller step size, with which the saved agent continues: PPO.load(path, optimizer=Adam(1e-5))."
)


def ppo_network(cell: Cell, width: int = 64) -> Stack:
    """`cell` behind a tanh encoder of `width` features, as in the PPO of Elelimy et al. 2024.

    Parameters
    ----------
    cell : the recurrent layer
    width : features of the encoder, which starts orthogonal with gain sqrt(2)

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type

    Examples
    --------
    >>> ppo_network(LinearRTU(192)).build(n_inputs=13).advance(np.ones(13)).shape
    (384,)
    """
    return Stack((Dense(width, "tanh", Orthogonal(math.sqrt(2))), cell))


def _hidden() -> Dense:
    return Dense(64, "tanh", Orthogonal(2.0))


@with_shared_arguments
class PPO(Agent):
    """Proximal policy optimisation on any cell, with one stream of experience.

    Schulman et al. 2017; Elelimy et al. 2024, Algorithm 1; derivations (46)-(51). With RTRL, each transition is stored
    with the state before the step and the sensitivities of that state, and a minibatch has single transitions. With
    TBPTT(T), a minibatch has sequences of T transitions, each from its stored state.

    Parameters
    ----------
    env : a Gymnasium environment. The agent reads its spaces only; pass `env` to `learn` as well
    cell : the body that actor and critic share; `ppo_network(LinearRTU(192))` by default. With RTRL, layers below the
        recurrent layer get the one-step gradient (`Stack`). Without a recurrent layer, PPO is feedforward
    actor, critic : hidden layers between the body and the heads; Dense(64, "tanh"), orthogonal with gain 2, by default
    policy : Softmax() for Discrete, MultiDiscrete and MultiBinary actions, Gaussian("free") for a Box, by default
    refresh : the numbers that another run through the rollout computes again between epochs: "none" (the paper's
        choice), "gradients" (states and sensitivities), "targets" (values, advantages and returns) or "both"
    n_steps, n_minibatches, n_epochs : transitions per update, minibatches per epoch, epochs per update
    gae_lambda : lambda of generalised advantage estimation, in [0, 1]
    clip : bound of the change of the probability ratio, and of a value
    value_coef, entropy_coef : weights of the value loss and of the entropy
    max_grad_norm : largest norm of a gradient; a longer gradient is scaled down to this norm
    optimizer : Adam(3e-4, epsilon=1e-5) by default
    stored_dtype : None, or "bfloat16": sensitivities are stored in half the memory, to a relative error of 2^-8; with
        dtype "float32" alone
    threads : how many threads work on a minibatch, at most 4; by default one per core. The number changes no bit
    others : see `rtu_np.control.shared_arguments`

    Raises
    ------
    ValueError, TypeError : if an argument is out of its range or of the wrong type; the message names the argument
    MemoryError : if the rollout would not fit this machine, with the number of bytes
    FloatingPointError : in `step` and `learn`, if learning diverges; parameters are those before the latest update

    Examples
    --------
    >>> import gymnasium
    >>> env = gymnasium.make("CartPole-v1")
    >>> agent = PPO(env, LinearRTU(8), n_steps=64, n_minibatches=4, dtype="float64")
    >>> agent.learn(env, 200, progress=False, log=None).returns.size > 0
    True
    """

    _step_kernel, _layout = rollout.step, ppo_arrays
    _has_warned = False  # that a call of `learn` is shorter than a rollout

    def __init__(
        self,
        env: Any,
        cell: Cell | None = None,
        *,
        actor: Cell | None = None,
        critic: Cell | None = None,
        policy: Policy | None = None,
        gradient: GradientMethod | None = None,
        refresh: str = "none",
        n_steps: int = 2048,
        n_minibatches: int = 32,
        n_epochs: int = 4,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip: float = 0.2,
        value_coef: float = 0.5,
        entropy_coef: float = 0.0,
        max_grad_norm: float = 0.5,
        optimizer: Optimizer | None = None,
        normalize_observations: bool = True,
        scale_rewards: bool = True,
        previous_action_reward: bool = False,
        clip_observations: float | None = None,
        stored_dtype: str | None = None,
        threads: int | None = None,
        seed: int | None = 0,
        dtype: Any = "float32",
    ) -> None:
        inputs = InputSettings(normalize_observations, scale_rewards, previous_action_reward, clip_observations)
        super().__init__(env, gamma, inputs, seed, dtype)
        self.cell = check_cell(ppo_network(LinearRTU(192)) if cell is None else cell)
        self.actor = check_cell(_hidden() if actor is None else actor, "actor")
        self.critic = check_cell(_hidden() if critic is None else critic, "critic")
        self.policy = self._policy_for(policy, Gaussian("free"))
        self.gradient = check_gradient(gradient)
        if not isinstance(self.gradient, RTRL | TBPTT):
            raise TypeError(f"gradient is {self.gradient!r}: expected RTRL() or TBPTT(T)")
        if getattr(self.gradient, "taylor", False):
            raise ValueError(f"gradient is {self.gradient!r}: expected RTRL(), since what PPO stores is not corrected")
        self.refresh, what_to_refresh = refresh, check_choice("refresh", refresh, _REFRESH)
        self.n_steps, self.n_epochs = check_count("n_steps", n_steps), check_count("n_epochs", n_epochs)
        self.n_minibatches = check_count("n_minibatches", n_minibatches)
        self.gae_lambda = check_real("gae_lambda", gae_lambda, low=0.0, high=1.0)
        self.clip = check_real("clip", clip, low=0.0, low_open=True)
        self.value_coef = check_real("value_coef", value_coef, low=0.0)
        self.entropy_coef = check_real("entropy_coef", entropy_coef, low=0.0)
        self.max_grad_norm = check_real("max_grad_norm", max_grad_norm, low=0.0, low_open=True)
        optimizer = Adam(3e-4, epsilon=1e-5) if optimizer is None else optimizer
        self.optimizer = check_without_traces("optimizer", optimizer, "PPO has no traces")
        self.stored_dtype = self._check_stored_dtype(stored_dtype)
        self.threads = cpu_count() if threads is None else check_count("threads", threads)
        spec = self._make_spec()
        self.bytes_held = size(ppo_arrays, spec) * self.dtype.itemsize + 2 * self.n_steps * spec.n_rounded
        self.bytes_held += bytes_of_update(spec, what_to_refresh, self.dtype)
        check_fits(
            self.bytes_held,
            f"a rollout of {self.n_steps} transitions, each with {spec.n_stored or spec.n_rounded} sensitivities,",
            "a shorter rollout, fewer units, float32, stored_dtype='bfloat16', or TBPTT(T), which stores none",
        )
        self._rounded = np.zeros((self.n_steps, spec.n_rounded), np.uint16) if spec.n_rounded else None
        self._ready(spec, self.policy, self._rounded, False)
        self._to_begin = (*self._to_step[:-1], True)
        self._initialise()
        self._update = Update(spec, self._flat, self._rounded, self.n_epochs, what_to_refresh, self._rng, self.threads)

    def _check_stored_dtype(self, value: str | None) -> str | None:
        if value is None:
            return None
        check_choice("stored_dtype", value, {"bfloat16": None})
        if self.dtype != np.float32:
            raise ValueError(
                f"stored_dtype is {value!r} with dtype {self.dtype.name}: expected None, or dtype='float32'; whoever "
                "needs float64 cannot do with 8 bits"
            )
        return value

    def _make_spec(self) -> PPOSpec:
        policy = self.policy.spec(self.actions.n)
        body = self.gradient.spec(self.cell.spec(self._inputs.n_inputs), self.dtype)
        actor, critic = self.actor.spec(body.n_outputs), self.critic.spec(body.n_outputs)
        for name, part in (("actor", actor), ("critic", critic)):
            if size(protocol.state, part):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, which has a state: expected feedforward layers; cell remembers"
                )
        heads = HeadSpec(actor.n_outputs, policy.n_linear, policy.n_free), HeadSpec(critic.n_outputs, 1, 0)
        sequence = self.gradient.steps if isinstance(self.gradient, TBPTT) else 1
        n_stored, rounded = size(protocol.stored_sensitivities, body), self.stored_dtype is not None
        if rounded and not n_stored:
            raise ValueError(
                f"stored_dtype is {self.stored_dtype!r} with cell {self.cell!r} and gradient {self.gradient!r}: "
                "expected None, since this network stores no sensitivities"
            )
        return PPOSpec(
            cell=body,
            readout=BranchesSpec(body.n_outputs, actor, heads[0], critic, heads[1]),
            policy=policy,
            optimizer=self.optimizer.spec(),
            inputs=self._inputs,
            loss=Loss(self.clip, self.value_coef, self.entropy_coef, self.max_grad_norm, self.gae_lambda),
            n_steps=self.n_steps,
            sequence=sequence,
            minibatch=_minibatch(self.n_steps, self.n_minibatches, sequence),
            block=max(1, BLOCK // sequence),
            storage=BFloat16() if rounded else FullPrecision(),
            n_state=size(protocol.state, body),
            n_stored=0 if rounded else n_stored,
            n_rounded=n_stored if rounded else 0,
            n_memory=size(protocol.memory, body),
            n_actor_record=size(protocol.record, actor),
            n_critic_record=size(protocol.record, critic),
        )

    def _initialise(self) -> None:
        cell, branches, rng = self._spec.cell, self._spec.readout, self._start
        start = [initial_values(self.cell, protocol.parameters, cell, rng)]
        check_parameters(cell, protocol.parameters(cell, start[0])[0])
        start.append(initial_values(self.actor, protocol.parameters, branches.actor, rng))
        start.append(initial_values(Head(Orthogonal(0.01)), readout.parameters, branches.policy, rng))
        start.append(initial_values(self.critic, protocol.parameters, branches.critic, rng))
        start.append(initial_values(Head(Orthogonal(1.0)), readout.parameters, branches.value, rng))
        self._views.learned.flat_params[:] = np.concatenate(start)

    # ---------------------------------------------------------------------------------------------------- update

    def _take_step(self, step: Callable, arguments: tuple) -> int:
        outcome = FULL
        try:
            outcome = step(*arguments)
            if outcome == FULL:
                with HoldCtrlC():  # Ctrl-C waits for the end of the update
                    outcome = self._learn_from_rollout()
        except BaseException:
            if outcome == FULL:
                self.reset()  # the next transition has not begun
            raise
        return outcome

    def _learn_from_rollout(self) -> int:
        """Update, and begin the next rollout."""
        if fault := self._update():
            raise FloatingPointError(
                f"learning diverged by step {self.steps}, in {fault} of the update: the loss or its gradient is "
                f"not finite, or a recurrence has left its range. {_TO_GO_ON}"
            )
        self._watch.count_slow(self._spec.cell, self._views.learned.params.cell, "", self.steps)
        return self._step(*self._to_begin)

    def _check_length(self, steps: int) -> None:
        stored = self.steps % self.n_steps
        if stored + steps >= self.n_steps or self._has_warned:
            return
        self._has_warned = True  # whoever learns in short stretches needs to read it once
        warnings.warn(
            f"steps is {steps}, so this call learns nothing: PPO learns once n_steps={self.n_steps} transitions are "
            f"stored, and there are {stored}. Expected at least {self.n_steps - stored} steps, further calls that "
            "complete the rollout, or an agent with a smaller n_steps",
            RuntimeWarning,
            stacklevel=3,
        )

    def _explain(self, outcome: int) -> None:
        if outcome == DIVERGED:
            self._update.undo()
            self._views.rollout.values[self.steps % self.n_steps] = 0  # of the transition that has not begun
            self.reset()
            raise FloatingPointError(
                f"learning diverged by step {self.steps}: an output of the network is no longer finite."
                f"{likely_cause(self._buffers)} {_TO_GO_ON}"
            )
        super()._explain(outcome)

    # ----------------------------------------------------------------------------------------------------- state

    @property
    def _views(self) -> Any:
        return ppo_arrays(self._spec, self._flat)[0]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view} by block: "encoder.W", "cell.nu_log", "actor.hidden.W", "policy.log_std", "value.b"."""
        return Views(_named(self._spec, self._views.learned.params))

    def diagnostics(self) -> dict[str, float]:
        """{name: number} about the latest update, and about the units (`rtu_np.learning.diagnostics.of_layers`).

        policy_loss and so on : means of the loss's terms; approximate_kl is Schulman's estimate of the KL divergence
        seconds : that the update took
        last_step, share.BLOCK : ||.||_1 of its last step, and the part of it that a block gets
        largest_observation, reward_scale : as in `StreamingAgent.diagnostics`
        """
        cell, known, live = self._spec.cell, self._views.learned, self._views.live
        step = optimizers.latest_update(self._spec.optimizer, known.flat_gradient, known.moments, self.dtype.type(-1))
        return {
            **dict(zip(SUMMARY, self._update.summary.tolist(), strict=True)),
            "seconds": self._update.seconds,
            **of_inputs(self._inputs, self._buffers),
            **of_update(_named(self._spec, weights(self._spec, step)[0])),
            **of_layers(cell, known.params.cell, live.memory),
        }

    def _forget(self) -> None:
        row = self.steps % self.n_steps
        if not self._clock[IS_FIRST] and row > 0:
            rollout.cut_off(self._spec, self._flat, row)
        self._views.live.flat_memory[:] = 0

    def _learned(self) -> dict[str, np.ndarray]:
        views, filled = self._views, self.steps % self.n_steps + 1
        rows = views.rollout._asdict()
        own = {
            "update": self._update.summary,
            "memory": views.live.flat_memory,
            "previous": views.live.previous,
            "rollout.memory": rows.pop("memory"),
        }
        del rows["advantages"], rows["returns"]  # they exist for a complete rollout alone
        if self._rounded is not None:
            rows["rounded"] = self._rounded
        own |= {f"rollout.{name}": array[:filled] for name, array in rows.items() if array.size}
        params = _named(self._spec, views.learned.params, "params.")
        return params | leaves(views.learned.moments, "moments.") | own

    def _settings(self) -> dict[str, Any]:
        names = ("cell", "actor", "critic", "policy", "gradient", "refresh", "n_steps", "n_minibatches", "n_epochs")
        more = (
            "gamma",
            "gae_lambda",
            "clip",
            "value_coef",
            "entropy_coef",
            "max_grad_norm",
            "optimizer",
            "threads",
            "stored_dtype",
        )
        settings = {name: getattr(self, name) for name in (*names, *more)}
        return {**settings, **self.inputs._asdict(), "dtype": self.dtype.name}


def _named(spec: PPOSpec, weights: Weights, prefix: str = "") -> dict[str, np.ndarray]:
    read = weights.readout
    return {
        **named_layers(spec.cell, weights.cell, prefix),
        **named_layers(spec.readout.actor, read.actor, f"{prefix}actor.", "hidden"),
        **leaves(read.policy, f"{prefix}policy."),
        **named_layers(spec.readout.critic, read.critic, f"{prefix}critic.", "hidden"),
        **leaves(read.value, f"{prefix}value."),
    }


def _minibatch(n_steps: int, n_minibatches: int, sequence: int) -> int:
    """Transitions per minibatch; ValueError if the rollout does not divide into minibatches of whole sequences."""
    if n_steps % sequence:
        raise ValueError(
            f"gradient is TBPTT({sequence}) and n_steps {n_steps}: expected T to divide n_steps, as the rollout is cut "
            f"into sequences of T; n_steps={n_steps - n_steps % sequence} would do"
        )
    if n_steps % n_minibatches or (n_steps // n_minibatches) % sequence:
        raise ValueError(
            f"n_steps is {n_steps} and n_minibatches {n_minibatches}: expected n_steps to divide into minibatches of "
            f"equal size{f', each of whole sequences of {sequence}' if sequence > 1 else ''}; "
            "n_steps=2048 and n_minibatches=32 are the paper's"
        )
    return n_steps // n_minibatches
