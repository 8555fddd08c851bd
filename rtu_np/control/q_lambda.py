"""Streaming Q(lambda) and QRC(lambda): learn the values of actions, on every step (`q_lambda_kernels`)."""

from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.control.exploration import Epsilon, epsilon_at
from rtu_np.control.hints import one_choice_hint
from rtu_np.control.inputs import InputSettings
from rtu_np.control.q_lambda_kernels import CorrectedNetwork, QLambdaSpec, QRCSpec, corrected_arrays
from rtu_np.control.shared_arguments import with_shared_arguments
from rtu_np.control.streaming import StreamingAgent, default_cell
from rtu_np.learning import network
from rtu_np.learning.adaptive import AdaptiveObGD
from rtu_np.learning.heads import Head, HeadSpec, ZeroHead
from rtu_np.learning.network import NamedNetwork, NetworkSpec, Training, network_arrays, network_spec
from rtu_np.learning.optimizers import SGD, ObGD, Optimizer
from rtu_np.learning.per_block import check_without_traces
from rtu_np.numerics.buffers import size
from rtu_np.validation import check_real


class ActionValueAgent(StreamingAgent):
    """Base of `QLambda` and `QRC`: action values of one network, and epsilon-greedy actions."""

    def __init__(
        self,
        env: Any,
        cell: Cell | None,
        gradient: GradientMethod | None,
        gamma: float,
        lambda_: float,
        epsilon: Epsilon | None,
        inputs: InputSettings,
        seed: int | None,
        dtype: Any,
    ) -> None:
        super().__init__(env, gamma, inputs, seed, dtype)
        n = self.actions.n
        if not (self.actions.discrete and isinstance(n, int)):
            raise ValueError(
                f"the action space is {env.action_space}: expected Discrete; {type(self).__name__} learns a value for "
                f"each action. {one_choice_hint(env.action_space)}"
            )
        self._n_actions = n
        self.cell = check_cell(default_cell() if cell is None else cell)
        self.gradient = check_gradient(gradient)
        self.lambda_ = check_real("lambda_", lambda_, low=0.0, high=1.0)
        self.epsilon = Epsilon() if epsilon is None else epsilon
        if not isinstance(self.epsilon, Epsilon):
            raise TypeError(f"epsilon is {epsilon!r}: expected Epsilon(start, end, steps)")

    def _network_spec(self, argument: str) -> NetworkSpec:
        body = self.gradient.spec(self.cell.spec(self._inputs.n_inputs), self.dtype)
        training = Training(getattr(self, argument), self.gamma, self.lambda_, self.dtype, argument, "value")
        return network_spec(body, HeadSpec(body.n_outputs, self._n_actions, 0), training)

    def diagnostics(self) -> dict[str, float]:
        """The diagnostics of every streaming agent, and the present epsilon."""
        return {**super().diagnostics(), "epsilon": float(epsilon_at(self._spec.policy, self.steps))}

    def _settings(self) -> dict[str, Any]:
        names = ("cell", "gradient", "gamma", "lambda_", "epsilon", "optimizer")
        settings = {name: getattr(self, name) for name in names}
        return {**settings, **self.inputs._asdict(), "dtype": self.dtype.name}


@with_shared_arguments
class QLambda(ActionValueAgent):
    """Streaming Q(lambda) with eligibility traces, on any cell and gradient method.

    Watkins 1989; Elsayed et al. 2024; derivations (44). If an action is not greedy, traces are cleared before its
    gradient is added. So earlier actions get no credit for the results of exploration. The memory stays.

    Parameters
    ----------
    env : a Gymnasium environment with discrete actions. The agent reads its spaces only; pass `env` to `learn` as well
    cell : `recurrent_network(LinearRTU(128, max_phase=2.0))` by default. With RTRL(), layers below a recurrent layer
        get the one-step gradient (`Stack`)
    lambda_ : trace parameter, in [0, 1]
    epsilon : probability of exploratory actions; Epsilon(start=1, end=.01, steps=20_000) by default
    optimizer : Blocks(cell=Adam(1e-3), others=ObGD(kappa=20)) by default (docs/rules.md)
    previous_action_reward : True by default, unlike in other agents (docs/rules.md); `act` then needs the reward, too
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
    >>> agent = QLambda(env, LinearRTU(8), gamma=0.9, epsilon=Epsilon(steps=100))
    >>> agent.learn(env, 200, progress=False, log=None).returns.size > 0
    True
    """

    def __init__(
        self,
        env: Any,
        cell: Cell | None = None,
        *,
        gradient: GradientMethod | None = None,
        gamma: float = 0.99,
        lambda_: float = 0.8,
        epsilon: Epsilon | None = None,
        optimizer: Optimizer | None = None,
        normalize_observations: bool = True,
        scale_rewards: bool = True,
        previous_action_reward: bool = True,
        clip_observations: float | None = None,
        seed: int | None = 0,
        dtype: Any = "float32",
    ) -> None:
        inputs = InputSettings(normalize_observations, scale_rewards, previous_action_reward, clip_observations)
        epsilon = Epsilon(steps=20_000) if epsilon is None else epsilon
        super().__init__(env, cell, gradient, gamma, lambda_, epsilon, inputs, seed, dtype)
        self.optimizer = self._rule("optimizer", optimizer, self.cell, kappa=20.0, step_size=1e-3)
        q = self._network_spec("optimizer")
        self._ready(QLambdaSpec(q, self.epsilon.spec(), self._inputs, size(network_arrays, q)), self.epsilon)
        network.initialise(self._networks()[0].network, q, self.cell, Head(), self._start)

    def _networks(self) -> list[NamedNetwork]:
        return [NamedNetwork("", self._spec.q, network_arrays(self._spec.q, self._views.q)[0], "value")]


@with_shared_arguments
class QRC(ActionValueAgent):
    """Streaming QRC(lambda): Q-learning that follows a gradient, with eligibility traces.

    Elelimy et al. 2025; derivations (45). A second network of the same kind, h, predicts the TD error. With h, the step
    follows the gradient of a projected Bellman error. It does not diverge on problems on which Q-learning may diverge.
    beta pulls h to zero. If h = 0, the step is that of Q(lambda).

    Parameters
    ----------
    env, cell : as in `QLambda`
    epsilon : probability of exploratory actions; Epsilon(start=1, end=.01, steps=50_000) by default
    lambda_ : trace parameter, in [0, 1]
    beta : weight of the regularisation of h, at least 0
    optimizer, h_optimizer : of the two networks; SGD(1e-4) and SGD(1e-5) by default. ObGD is refused: it bounds a TD
        error times a trace, and QRC steps along a sum of three terms
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
    >>> agent = QRC(env, LinearRTU(8), gamma=0.9, epsilon=Epsilon(steps=100))
    >>> agent.learn(env, 200, progress=False, log=None).returns.size > 0
    True
    """

    def __init__(
        self,
        env: Any,
        cell: Cell | None = None,
        *,
        gradient: GradientMethod | None = None,
        gamma: float = 0.99,
        lambda_: float = 0.95,
        beta: float = 1.0,
        epsilon: Epsilon | None = None,
        optimizer: Optimizer | None = None,
        h_optimizer: Optimizer | None = None,
        normalize_observations: bool = True,
        scale_rewards: bool = True,
        previous_action_reward: bool = False,
        clip_observations: float | None = None,
        seed: int | None = 0,
        dtype: Any = "float32",
    ) -> None:
        inputs = InputSettings(normalize_observations, scale_rewards, previous_action_reward, clip_observations)
        super().__init__(env, cell, gradient, gamma, lambda_, epsilon, inputs, seed, dtype)
        self.beta = check_real("beta", beta, low=0.0)
        self.optimizer = _check("optimizer", SGD(1e-4) if optimizer is None else optimizer)
        self.h_optimizer = _check("h_optimizer", SGD(1e-5) if h_optimizer is None else h_optimizer)
        q, h = self._network_spec("optimizer"), self._network_spec("h_optimizer")
        sizes = (size(corrected_arrays, spec) for spec in (q, h))
        self._ready(QRCSpec(q, h, self.epsilon.spec(), self._inputs, self.beta, *sizes), self.epsilon)
        # h begins with zero, so that the first steps are those of Q(lambda).
        for each, head in zip(self._networks(), (Head(), ZeroHead()), strict=True):
            network.initialise(each.network, each.spec, self.cell, head, self._start)

    def _corrected(self) -> tuple[CorrectedNetwork, CorrectedNetwork]:
        spec, views = self._spec, self._views
        return corrected_arrays(spec.q, views.q)[0], corrected_arrays(spec.h, views.h)[0]

    def _networks(self) -> list[NamedNetwork]:
        q, h = self._corrected()
        return [
            NamedNetwork("q.", self._spec.q, q.network, "value", (q.flat_gradient,), q.flat_direction),
            NamedNetwork("h.", self._spec.h, h.network, "value", (h.flat_gradient,), h.flat_direction),
        ]

    def _forget(self) -> None:
        super()._forget()
        self._views.e[:] = 0

    def _learned(self) -> dict[str, np.ndarray]:
        q, h = (part.flat_gradient for part in self._corrected())
        return {**super()._learned(), "q.gradient": q, "h.gradient": h, "e": self._views.e}

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "beta": self.beta, "h_optimizer": self.h_optimizer}


def _check(name: str, optimizer: Any) -> Optimizer:
    return check_without_traces(name, optimizer, "QRC steps along a sum of three terms", (ObGD, AdaptiveObGD))
