"""PPO with stored, forward-carried gradients (Elelimy et al. 2024, Algorithm 1), and with T-BPTT.

`ppo_kernels` has what is compiled of acting, `ppo_loss` of learning, `ppo_update` the loop over minibatches.
"""

import math
from typing import Any

import numpy as np
from joblib import cpu_count

from rtu_np import protocol
from rtu_np.cells.dense import Dense
from rtu_np.cells.initializers import Orthogonal
from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient, check_parameters, initial_values
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.stack import Stack
from rtu_np.control.agent import Agent, Inputs
from rtu_np.control.policies import Gaussian, Policy
from rtu_np.control.ppo import rollout as ppo_kernels
from rtu_np.control.ppo.network import Loss, PPOSpec, Weights, acting, agent
from rtu_np.control.ppo.update import TOLD, Update, bytes_of_parts
from rtu_np.gradients.rtrl import RTRL
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.jit import compile_for, entry
from rtu_np.learning import readout
from rtu_np.learning.heads import Head, HeadSpec
from rtu_np.learning.optimizers import Adam, Optimizer
from rtu_np.numerics.buffers import leaves, size
from rtu_np.validation import check_choice, check_count, check_fits, check_real

_FRESH: dict[str, tuple[bool, bool]] = {
    "nothing": (False, False),
    "gradients": (True, False),
    "targets": (False, True),
    "both": (True, True),
}

_GO_ON = (
    "The parameters are those before the latest update, and can be saved; the stream is forgotten. The usual cure is a "
    "smaller step size, with which the saved agent goes on: PPO.load(path, optimizer=Adam(1e-5))."
)


def encoded(cell: Cell, width: int = 64) -> Stack:
    """`cell` behind a tanh layer, as in the paper's network for PPO.

    Examples
    --------
    >>> encoded(LinearRTU(192)).build(n_inputs=13).advance(np.ones(13)).shape
    (384,)
    """
    return Stack((Dense(width, "tanh", Orthogonal(math.sqrt(2))), cell))


def _branch() -> Dense:
    return Dense(64, "tanh", Orthogonal(2.0))


class PPO(Agent):
    """Proximal policy optimisation on any cell, with one stream of experience.

    With RTRL, each transition is stored with the state before it and the sensitivities of that state, and a minibatch
    is made of single transitions. With TBPTT(T), it is made of sequences of T transitions, each from its stored state.

    Parameters
    ----------
    env : the environment; only its spaces are read. `learn` is given it again
    cell : the body that actor and critic share; `encoded(LinearRTU(192))` by default. With RTRL, layers below the
        recurrent one get the one-step gradient (`Stack`). Without a recurrent layer, PPO is feedforward
    actor, critic : what stands between the body and the heads: Dense(64, "tanh"), orthogonal with gain 2, by default
    policy : Softmax() for choices, Gaussian("free") for components
    gradient : RTRL() by default, or TBPTT(T)
    fresh : what is made anew between epochs by running the rollout again: "nothing" (the paper's choice), "gradients"
        (states and sensitivities), "targets" (values, advantages and returns) or "both"
    rollout, minibatches, epochs : transitions per update, minibatches they are cut into, times they are gone through
    gamma, gae : discount, and lambda of the advantages
    clip : of the probability ratio, and of how far a value moves
    value, entropy : weights of the value loss and of the entropy
    max_norm : longest gradient, beyond which it is shortened
    optimizer : Adam(1e-4, epsilon=1e-5) by default
    normalize_observations, scale_rewards : by running statistics (`rtu_np.learning.normalizers`)
    previous : whether the action and the reward before are part of the input
    threads : how many work on a minibatch; as many as there are cores by default. It changes no bit
    seed : of the starting parameters, of the actions, and of the environment; the same seed gives the same bits
    dtype : "float32" or "float64"

    Raises
    ------
    MemoryError : where the rollout would not fit this machine, with the number of bytes
    FloatingPointError : in `learn`, where learning diverges; parameters are those before the latest update

    Examples
    --------
    >>> import gymnasium
    >>> env = gymnasium.make("CartPole-v1")
    >>> agent = PPO(env, LinearRTU(8), rollout=64, minibatches=4, dtype="float64")
    >>> agent.learn(env, 200, progress=False, log=None).returns.size > 0
    True
    """

    _step_kernel, _act_kernel = ppo_kernels.step, ppo_kernels.act
    _carve, _carve_acting = agent, acting

    def __init__(
        self,
        env: Any,
        cell: Cell | None = None,
        *,
        actor: Cell | None = None,
        critic: Cell | None = None,
        policy: Policy | None = None,
        gradient: GradientMethod | None = None,
        fresh: str = "nothing",
        rollout: int = 2048,
        minibatches: int = 32,
        epochs: int = 4,
        gamma: float = 0.99,
        gae: float = 0.95,
        clip: float = 0.2,
        value: float = 0.5,
        entropy: float = 0.0,
        max_norm: float = 0.5,
        optimizer: Optimizer | None = None,
        normalize_observations: bool = True,
        scale_rewards: bool = True,
        previous: bool = False,
        threads: int | None = None,
        seed: int | None = 0,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(env, gamma, Inputs(normalize_observations, scale_rewards, previous), seed, dtype)
        self.cell = check_cell(cell or encoded(LinearRTU(192)))
        self.actor, self.critic = check_cell(actor or _branch()), check_cell(critic or _branch())
        self.policy = self._policy_for(policy, Gaussian("free"))
        self.gradient = check_gradient(gradient)
        if not isinstance(self.gradient, RTRL | TBPTT):
            raise TypeError(f"gradient is {self.gradient!r}: expected RTRL() or TBPTT(T)")
        self.fresh = fresh
        check_choice("fresh", fresh, _FRESH)
        self.rollout, self.minibatches = check_count("rollout", rollout), check_count("minibatches", minibatches)
        self.epochs = check_count("epochs", epochs)
        self.gae = check_real("gae", gae, low=0.0, high=1.0)
        self.clip = check_real("clip", clip, low=0.0, low_open=True)
        self.value = check_real("value", value, low=0.0)
        self.entropy = check_real("entropy", entropy, low=0.0)
        self.max_norm = check_real("max_norm", max_norm, low=0.0, low_open=True)
        self.optimizer = optimizer or Adam(1e-4, epsilon=1e-5)
        self.threads = cpu_count() if threads is None else check_count("threads", threads)
        spec = self._make_spec()
        self.bytes_held = size(agent, spec) * self.dtype.itemsize + bytes_of_parts(spec, self.dtype)
        check_fits(
            self.bytes_held,
            f"a rollout of {self.rollout} transitions, each with {spec.n_kept} numbers for sensitivities,",
            "a shorter rollout, fewer units, float32, or TBPTT(T), which stores none",
        )
        self._ready(spec, self.policy, spec.policy)
        self._initialise()
        self._update = Update(spec, self._flat, self.epochs, _FRESH[fresh], self._rng, self.threads)
        self._begin_rollout = entry(compile_for(ppo_kernels.begin, spec), *self._to_step)
        self._step_alone, self._step = self._step, self._step_and_update

    def _make_spec(self) -> PPOSpec:
        policy = self.policy.spec(self.actions.n)
        body = self.gradient.spec(self.cell.spec(self._inputs.n_inputs), self.dtype)
        actor, critic = self.actor.spec(body.n_outputs), self.critic.spec(body.n_outputs)
        for name, part in (("actor", actor), ("critic", critic)):
            if size(protocol.state, part):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, with a state: expected a feedforward one; the body remembers"
                )
        sequence = self.gradient.steps if isinstance(self.gradient, TBPTT) else 1
        loss = Loss(self.clip, self.clip, self.value, self.entropy, self.max_norm, self.gae)
        return PPOSpec(
            body=body,
            actor=actor,
            policy_head=HeadSpec(actor.n_outputs, policy.n_linear, policy.n_free),
            critic=critic,
            value_head=HeadSpec(critic.n_outputs, 1, 0),
            policy=policy,
            optimizer=self.optimizer.spec(),
            inputs=self._inputs,
            loss=loss,
            rollout=self.rollout,
            sequence=sequence,
            minibatch=_minibatch(self.rollout, self.minibatches, sequence),
            n_state=size(protocol.state, body),
            n_record=size(protocol.record, body),
            n_kept=size(protocol.sensitivities, body),
        )

    def _initialise(self) -> None:
        s, rng = self._spec, self._start
        start = [initial_values(self.cell, protocol.parameters, s.body, rng)]
        check_parameters(s.body, protocol.parameters(s.body, start[0])[0])
        start.append(initial_values(self.actor, protocol.parameters, s.actor, rng))
        start.append(initial_values(Head(Orthogonal(0.01)), readout.parameters, s.policy_head, rng))
        start.append(initial_values(self.critic, protocol.parameters, s.critic, rng))
        start.append(initial_values(Head(Orthogonal(1.0)), readout.parameters, s.value_head, rng))
        self._views.learned.flat_params[:] = np.concatenate(start)

    # ---------------------------------------------------------------------------------------------------- update

    def _step_and_update(self, *arguments: Any) -> int:
        done = self._step_alone(*arguments)
        if done == ppo_kernels.FULL:
            if fault := self._update():
                self.reset()  # the next transition has not begun
                raise FloatingPointError(
                    f"learning diverged by step {self.steps}, in {fault} of the update: the loss or its gradient is "
                    f"not finite, or a recurrence has left its range. {_GO_ON}"
                )
            done = self._begin_rollout(*arguments)
        return done

    def _explain(self, done: int) -> None:
        if done == ppo_kernels.DIVERGED:
            self._update.undo()
            self._views.rollout.values[self.steps % self.rollout] = 0  # of the transition that has not begun
            self.reset()
            raise FloatingPointError(
                f"learning diverged by step {self.steps}: what the network says is no longer finite. {_GO_ON}"
            )
        super()._explain(done)

    # ----------------------------------------------------------------------------------------------------- state

    @property
    def _views(self) -> Any:
        return agent(self._spec, self._flat)[0]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view}: "0.W", "1.nu_log", "actor.W", "policy.W", "policy.log_std", "value.b", and so on."""
        return _named(self._views.learned.params)

    def diagnostics(self) -> dict[str, float]:
        """Of the latest update: means of the loss's terms, Schulman's estimate of the KL divergence, its seconds."""
        return {**dict(zip(TOLD, self._update.told.tolist(), strict=True)), "seconds": self._update.seconds}

    def _forget(self) -> None:
        row = self.steps % self.rollout
        if not self._clock[1] and row > 0:
            ppo_kernels.cut(self._spec, self._flat, row)
        self._views.live.flat_memory[:] = 0

    def _learned(self) -> dict[str, np.ndarray]:
        views, filled = self._views, self.steps % self.rollout + 1
        steps = views.rollout._asdict()
        own = {
            "update": self._update.told,
            "memory": views.live.flat_memory,
            "before": views.live.before,
            "rollout.memory": steps.pop("memory"),
        }
        del steps["advantages"], steps["returns"]  # of a complete rollout alone
        own |= {f"rollout.{name}": array[:filled] for name, array in steps.items() if array.size}
        return _named(views.learned.params, "params.") | leaves(views.learned.moments, "moments.") | own

    def _settings(self) -> dict[str, Any]:
        names = ("cell", "actor", "critic", "policy", "gradient", "fresh", "rollout", "minibatches", "epochs", "gamma")
        more = ("gae", "clip", "value", "entropy", "max_norm", "optimizer", "threads")
        settings = {name: getattr(self, name) for name in (*names, *more)}
        return {**settings, **self.inputs._asdict(), "dtype": self.dtype.name}


def _named(weights: Weights, prefix: str = "") -> dict[str, np.ndarray]:
    parts = (leaves(part, f"{prefix}{_OWN[name]}") for name, part in weights._asdict().items())
    return {name: view for part in parts for name, view in part.items()}


_OWN = {"body": "", "actor": "actor.", "policy": "policy.", "critic": "critic.", "value": "value."}


def _minibatch(rollout: int, minibatches: int, sequence: int) -> int:
    """Transitions of a minibatch, where everything divides."""
    if rollout % sequence:
        raise ValueError(
            f"gradient is TBPTT({sequence}) and rollout {rollout}: expected T to divide the rollout, which is cut into "
            f"sequences of T; {rollout - rollout % sequence} would do"
        )
    if rollout % minibatches or (rollout // minibatches) % sequence:
        raise ValueError(
            f"rollout is {rollout} and minibatches {minibatches}: expected the rollout to divide into minibatches of "
            f"equal size{f', each of whole sequences of {sequence}' if sequence > 1 else ''}; "
            f"minibatches=32 and rollout=2048 are the paper's"
        )
    return rollout // minibatches
