"""Streaming Q(lambda) and QRC(lambda): learn what actions are worth, on every step (`q_lambda_kernels`)."""

from typing import Any

import numpy as np

from rtu_np.cells.layer import Cell, GradientMethod, check_cell, check_gradient
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.control import q_lambda_kernels as kernels
from rtu_np.control.actor_critic import streaming_network
from rtu_np.control.agent import Inputs
from rtu_np.control.exploration import Epsilon
from rtu_np.control.streaming import StreamingAgent
from rtu_np.learning import network
from rtu_np.learning.heads import Head, HeadSpec
from rtu_np.learning.network import NetworkSpec
from rtu_np.learning.optimizers import SGD, ObGD, Optimizer
from rtu_np.numerics.buffers import size
from rtu_np.validation import check_real


class _Chooses(StreamingAgent):
    """What both agents share: action values of one network, and epsilon-greedy choices among them."""

    _step_kernel, _act_kernel = kernels.step, kernels.act
    _carve, _carve_acting = kernels.agent, kernels.acting

    def __init__(
        self,
        env: Any,
        cell: Cell | None,
        gradient: GradientMethod | None,
        gamma: float,
        lambda_: float,
        epsilon: Epsilon | None,
        inputs: Inputs,
        seed: int | None,
        dtype: Any,
    ) -> None:
        super().__init__(env, gamma, inputs, seed, dtype, discrete=True)
        self.cell = check_cell(cell or streaming_network(LinearRTU(192)))
        self.gradient = check_gradient(gradient)
        self.lambda_ = check_real("lambda_", lambda_, low=0.0, high=1.0)
        self.epsilon = epsilon or Epsilon()
        if not isinstance(self.epsilon, Epsilon):
            raise TypeError(f"epsilon is {epsilon!r}: expected Epsilon(start, end, steps)")

    def _network_spec(self, optimizer: Optimizer) -> NetworkSpec:
        body = self.gradient.spec(self.cell.spec(self._inputs.n_inputs), self.dtype)
        return NetworkSpec(body, HeadSpec(body.n_outputs, self.actions.n, 0), optimizer.spec(), self.lambda_)

    def diagnostics(self) -> dict[str, float]:
        """Those of every agent, and the present epsilon."""
        return {**super().diagnostics(), "epsilon": float(kernels.at(self._spec.epsilon, self.steps))}

    def _settings(self) -> dict[str, Any]:
        names = ("cell", "gradient", "gamma", "lambda_", "epsilon", "optimizer")
        settings = {name: getattr(self, name) for name in names}
        return {**settings, **self.inputs._asdict(), "dtype": self.dtype.name}


class QLambda(_Chooses):
    """Streaming Q(lambda) with eligibility traces (Watkins 1989; Elsayed et al. 2024), on any cell and gradient method.

    Traces are cut where an action was not greedy, before its own gradient enters, so that the actions before it are not
    credited with what exploration led to. Memory goes on.

    Parameters
    ----------
    env : the environment, of choices; only its spaces are read. `learn` is given it again
    cell : `streaming_network(LinearRTU(192))` by default. Layers below the recurrent one get the one-step gradient
    gradient : how the gradient travels through time; RTRL() by default
    gamma, lambda_ : discount and trace parameter
    epsilon : how often it explores; Epsilon(start=1, end=.01, steps=50_000) by default
    optimizer : ObGD(kappa=2) by default
    normalize_observations, scale_rewards : by running statistics (`rtu_np.learning.normalizers`)
    previous : whether the action and the reward before are part of the input
    seed : of the starting parameters, of the actions, and of the environment; the same seed gives the same bits
    dtype : "float32" or "float64"

    Examples
    --------
    >>> import gymnasium
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
        previous: bool = False,
        seed: int | None = 0,
        dtype: Any = "float32",
    ) -> None:
        inputs = Inputs(normalize_observations, scale_rewards, previous)
        super().__init__(env, cell, gradient, gamma, lambda_, epsilon, inputs, seed, dtype)
        self.optimizer = optimizer or ObGD(kappa=2.0)
        q = self._network_spec(self.optimizer)
        spec = kernels.QLambdaSpec(q, self._inputs, self.epsilon.spec(), size(network.buffers, q))
        self._ready(spec, self.epsilon, spec.epsilon)
        network.initialise(self._networks()[""][0], q, self.cell, Head(), self._start)

    def _networks(self) -> dict[str, tuple[network.Network, str | None, Optimizer]]:
        views = kernels.agent(self._spec, self._flat)[0]
        return {"": (network.buffers(self._spec.q, views.q)[0], "head", self.optimizer)}


class QRC(_Chooses):
    """Streaming QRC(lambda): Q-learning that follows a gradient, with eligibility traces (Elelimy et al. 2025).

    A second network of the same kind, h, predicts the TD error; with it the step is along the gradient of a projected
    Bellman error, which does not diverge where Q-learning may. beta pulls h to zero, where Q(lambda) is left.

    Parameters
    ----------
    optimizer, h_optimizer : of the two networks: SGD(1e-4) and SGD(1e-5) by default. They step along a sum of terms, so
        that ObGD, which bounds delta times a trace, is none
    beta : how much h is regularised
    others : as of `QLambda`

    Examples
    --------
    >>> import gymnasium
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
        previous: bool = False,
        seed: int | None = 0,
        dtype: Any = "float32",
    ) -> None:
        inputs = Inputs(normalize_observations, scale_rewards, previous)
        super().__init__(env, cell, gradient, gamma, lambda_, epsilon, inputs, seed, dtype)
        self.beta = check_real("beta", beta, low=0.0)
        self.optimizer = _check_no_bound("optimizer", optimizer or SGD(1e-4))
        self.h_optimizer = _check_no_bound("h_optimizer", h_optimizer or SGD(1e-5))
        q, h = self._network_spec(self.optimizer), self._network_spec(self.h_optimizer)
        sizes = (size(kernels.corrected_buffers, spec) for spec in (q, h))
        spec = kernels.QRCSpec(q, h, self._inputs, self.epsilon.spec(), self.beta, *sizes)
        self._ready(spec, self.epsilon, spec.epsilon)
        for net, part, head in zip(self._corrected(), (q, h), (Head(), _Zero()), strict=True):
            network.initialise(net.network, part, self.cell, head, self._start)

    def _corrected(self) -> tuple[kernels.Corrected, kernels.Corrected]:
        views = kernels.agent(self._spec, self._flat)[0]
        parts = ((self._spec.q, views.q), (self._spec.h, views.h))
        q, h = (kernels.corrected_buffers(spec, flat)[0] for spec, flat in parts)
        return q, h

    def _networks(self) -> dict[str, tuple[network.Network, str | None, Optimizer]]:
        q, h = self._corrected()
        return {"q.": (q.network, "head", self.optimizer), "h.": (h.network, "head", self.h_optimizer)}

    def _forget(self) -> None:
        super()._forget()
        kernels.agent(self._spec, self._flat)[0].e[:] = 0

    def _learned(self) -> dict[str, np.ndarray]:
        q, h = (part.flat_gradient for part in self._corrected())
        e = kernels.agent(self._spec, self._flat)[0].e
        return {**super()._learned(), "q.gradient": q, "h.gradient": h, "e": e}

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "beta": self.beta, "h_optimizer": self.h_optimizer}


class _Zero:
    """How h starts: it predicts that there is no error, and the first steps are those of Q(lambda)."""

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        pass


def _check_no_bound(name: str, optimizer: Optimizer) -> Optimizer:
    if isinstance(optimizer, ObGD):
        raise ValueError(
            f"{name} is {optimizer!r}: expected SGD, Adam or RMSProp; ObGD bounds a TD error times a trace, and QRC "
            "steps along a sum of three terms"
        )
    return optimizer
