"""Q(lambda) and QRC(lambda) from their definitions, on cells known by their forward pass alone (`oracles`).

Nothing here is recursive but the network: traces are sums of discounted gradients over the steps since the latest cut,
each gradient the complex-step derivative of the step's output.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import oracles
from oracles import derivative, through_window


@dataclass
class Network:
    """Action values W y + b of a cell's features, with RTRL, or with a window of so many steps."""

    cell: object
    params: dict
    n_state: int
    window: int | None = None

    def clear(self) -> None:
        self.state, self.past = np.zeros(self.n_state), []
        self.sensitivity = {k: np.zeros((self.n_state, *v.shape)) for k, v in self.params.items()}

    def outputs(self, p: dict, y: np.ndarray) -> np.ndarray:
        return p["value.W"] @ y + p["value.b"]

    def values(self) -> np.ndarray:
        """Of the latest features, with the parameters as they are now."""
        return self.outputs(self.params, self.y)

    def advance(self, x: np.ndarray) -> None:
        """Go on by a step; `self.gradients[name][a]` is the gradient of the value of `a` there."""
        here = {**self.params, "state": self.state}
        if self.window is None:
            jacobian = derivative(lambda state, **p: self.cell(p, state, x)[0], here)
            direct = derivative(lambda state, **p: self.outputs(p, self.cell(p, state, x)[1]), here)
            past = self.sensitivity
            self.gradients = {k: direct[k] + np.tensordot(direct["state"], past[k], 1) for k in self.params}
            self.sensitivity = {k: jacobian[k] + np.tensordot(jacobian["state"], past[k], 1) for k in self.params}
            self.state, self.y = self.cell(self.params, self.state, x)
            return
        self.past = [*self.past, (self.state, x)][-self.window :]
        self.state, self.y = self.cell(self.params, self.state, x)
        self.gradients = through_window(self.cell, self.past, self.outputs, self.params, self.y)

    def gradient(self, action: int) -> dict:
        return {k: g[action] for k, g in self.gradients.items()}


class Step(NamedTuple):
    """What a step has come to: delta is None at the first of an episode; the action is of no use at its end."""

    delta: float | None
    action: int
    params: dict
    traces: dict


@dataclass
class Oracle:
    """What both algorithms share: the stream, the choice, and sums over the past."""

    q: Network
    optimizer: oracles.Optimizer
    gamma: float
    lambda_: float

    def discounted(self, terms: list):
        """The sum of the terms since the latest cut, that of now with weight 1."""
        decays = [(self.gamma * self.lambda_) ** k for k in range(len(terms) - 1, -1, -1)]
        if not isinstance(terms[0], dict):
            return sum(d * t for d, t in zip(decays, terms, strict=True))
        return {name: sum(d * t[name] for d, t in zip(decays, terms, strict=True)) for name in terms[0]}

    def steps(self, s: oracles.Stream, exploratory: list) -> Iterator[Step]:
        """exploratory : the action that exploration wants at each step, or None."""
        first, action, delta = True, 0, None
        for x, reward, dead, cut, wanted in zip(
            s.observations, s.cumulants, s.terminated, s.truncated, exploratory, strict=True
        ):
            if first:
                self.clear()
                self.advance(x)
                delta = None
            else:
                q_t = self.q.values()[action]
                self.remember(action)
                self.advance(x)
                values = self.q.values()
                bootstrap = 0.0 if dead else self.gamma
                delta = reward + bootstrap * values.max() - q_t
                best = self.q.gradient(int(np.argmax(values)))
                target = {name: bootstrap * g for name, g in best.items()}
            values = self.q.values()
            if not first:
                self.learn(delta, target)
            action = int(np.argmax(values)) if wanted is None else wanted
            self.take_in(action, cut=first or values[action] < values.max())
            first = dead or cut
            yield Step(delta, action, self.params, self.traces)


@dataclass
class QLambda(Oracle):
    def clear(self) -> None:
        self.q.clear()

    def advance(self, x) -> None:
        self.q.advance(x)

    def remember(self, action: int) -> None:
        pass

    def learn(self, delta, target) -> None:
        self.optimizer.step(self.q.params, self.traces, delta)

    def take_in(self, action: int, cut: bool) -> None:
        self.terms = [*([] if cut else self.terms), self.q.gradient(action)]
        self.traces = self.discounted(self.terms)

    @property
    def params(self) -> dict:
        return dict(self.q.params)


@dataclass
class QRC(Oracle):
    h: Network
    h_optimizer: oracles.Optimizer
    beta: float

    def clear(self) -> None:
        self.q.clear()
        self.h.clear()

    def advance(self, x) -> None:
        self.q.advance(x)
        self.h.advance(x)

    def remember(self, action: int) -> None:
        """What is read of the step before it is left: h(s_t, a_t), and the gradients there."""
        self.h_t = self.h.values()[action]
        self.e_terms = [*self.e_terms, self.h_t]
        self.gradients_t = self.q.gradient(action), self.h.gradient(action)

    def learn(self, delta, target) -> None:
        h, e, (grad_q, grad_h), theta = self.h_t, self.discounted(self.e_terms), self.gradients_t, self.h.params
        z_q, z_h = self.discounted(self.q_terms), self.discounted(self.h_terms)
        dw = {k: -e * (target[k] - grad_q[k]) + delta * z_q[k] - h * grad_q[k] for k in grad_q}
        dtheta = {k: delta * z_h[k] - h * grad_h[k] - self.beta * theta[k] for k in grad_h}
        self.optimizer.step(self.q.params, dw, 1.0)
        self.h_optimizer.step(theta, dtheta, 1.0)

    def take_in(self, action: int, cut: bool) -> None:
        if cut:
            self.q_terms, self.h_terms, self.e_terms = [], [], []
        self.q_terms = [*self.q_terms, self.q.gradient(action)]
        self.h_terms = [*self.h_terms, self.h.gradient(action)]

    @staticmethod
    def both(q: dict, h: dict) -> dict:
        return {**{f"q.{name}": v for name, v in q.items()}, **{f"h.{name}": v for name, v in h.items()}}

    @property
    def params(self) -> dict:
        return self.both(self.q.params, self.h.params)

    @property
    def traces(self) -> dict:
        return self.both(self.discounted(self.q_terms), self.discounted(self.h_terms))
