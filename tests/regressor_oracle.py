"""Online regression from its definition: a cell known by its forward pass, losses that are differentiated, and sums.

Nothing is recursive that can be a sum over the past, and no gradient is written down: outputs are differentiated by the
complex step, losses, too.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import oracles
import stream_oracle

LOSSES = {
    "squared": lambda o, y: (y - o) ** 2 / 2,
    "huber": lambda o, y: (y - o) ** 2 / 2 if abs(np.real(y - o)) <= 1 else np.sign(np.real(y - o)) * (y - o) - 0.5,
    "logistic": lambda o, y: np.log(1 + np.exp(o)) - y * o,
}


def outputs(p: dict, y: np.ndarray) -> np.ndarray:
    return p["readout.W"] @ y + p["readout.b"]


@dataclass
class Body:
    """A state and its sensitivities, or only a state."""

    cell: Any  # cell(p, state, x) -> (state, features)
    n_state: int
    params: dict
    window: int | None = None  # of truncated backpropagation; None for the whole past

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.state = np.zeros(self.n_state)
        self.past: list = []
        self.sensitivity = {k: np.zeros((self.n_state, *v.shape)) for k, v in self.params.items()}

    def peek(self, params: dict, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the state after x, the outputs)"""
        state, y = self.cell(params, self.state, x)
        return state, outputs(params, y)

    def advance(self, params: dict, x: np.ndarray) -> tuple[np.ndarray, dict]:
        """(outputs, their gradient), advancing state and sensitivities."""
        state, o = self.peek(params, x)
        if self.window is not None:
            self.past = [*self.past, (self.state, x)][-self.window :]
            gradient = oracles.through_window(
                self.cell, self.past, outputs, params, self.cell(params, self.state, x)[1]
            )
        else:
            here, past = {**params, "state": self.state}, self.sensitivity
            jacobian = oracles.derivative(lambda state, **p: self.cell(p, state, x)[0], here)
            direct = oracles.derivative(lambda state, **p: outputs(p, self.cell(p, state, x)[1]), here)
            gradient = {k: direct[k] + np.tensordot(direct["state"], past[k], 1) for k in params}
            self.sensitivity = {k: jacobian[k] + np.tensordot(jacobian["state"], past[k], 1) for k in params}
        self.state = state
        return o, gradient


@dataclass
class Oracle:
    """As `OnlineRegressor`. `columns` : the input that is the last value of each target, or None."""

    cell: Any
    n_state: int
    params: dict
    columns: list
    optimizer: oracles.Optimizer
    loss: str = "squared"
    horizon: int = 0
    delay: str = "behind"
    window: int | None = None
    missing: str | None = None
    normalize: bool = True
    seen: list = field(default_factory=list)

    def run(self, observations: np.ndarray, targets: np.ndarray, ends: np.ndarray) -> np.ndarray:
        self.learning, self.ahead = (Body(self.cell, self.n_state, self.params, self.window) for _ in range(2))
        self.distances: list = [[] for _ in self.columns]  # of each target from its base
        starts = np.concatenate([[True], ends[:-1]])
        rows = stream_oracle.stage(observations, starts, (None, None) if self.normalize else None, self.missing)
        bases = np.stack([self.bases(observations, starts, k) for k in self.columns], axis=1)
        if any(k is not None for k in self.columns):
            rows = np.hstack([rows, *(self.changes(bases[:, j], starts)[:, None] for j in range(len(self.columns)))])
        predictions, waiting = [], []
        for t, (x, y, base) in enumerate(zip(rows, targets, bases, strict=True)):
            if self.horizon == 0 or self.delay == "stored":
                state_free = self.learning.peek(self.params, x)[1]
            else:
                self.ahead.state, state_free = self.ahead.peek(self.params, x)
            predictions.append(self.in_units(state_free, base))
            waiting.append((x, base))
            self.learn(waiting, x, y)
            if ends[t]:
                self.learning.clear()
                self.ahead.clear()
                waiting = []
        return np.array(predictions)

    def learn(self, waiting: list, x: np.ndarray, y: np.ndarray) -> None:
        if self.delay == "stored" and self.horizon:
            waiting[-1] = (self.learning.advance(self.params, x), waiting[-1][1])
        if len(waiting) <= self.horizon:
            return
        first, base = waiting.pop(0)
        o, gradient = first if self.delay == "stored" and self.horizon else self.learning.advance(self.params, first)
        errors = np.array([self.error(j, o[j], y[j], base[j]) for j in range(len(y))])
        if np.isnan(y).all():
            return
        if len(y) == 1:
            traces, delta = {k: g[0] for k, g in gradient.items()}, errors[0]
        else:
            traces, delta = {k: np.tensordot(errors, g, 1) for k, g in gradient.items()}, 1.0
        self.optimizer.step(self.params, traces, delta)

    def error(self, j: int, o: float, y: float, base: float) -> float:
        """-dL/do"""
        if np.isnan(y):
            return 0.0
        if self.loss != "logistic":
            self.distances[j].append(y - base)
            mean, deviation = self.scale(j)
            y = (y - base - mean) / deviation if deviation else 0.0
        self.seen.append(abs(y - o) > 1)
        return -oracles.derivative(lambda o: np.atleast_1d(LOSSES[self.loss](o, y)), {"o": np.array(o)})["o"][0]

    def scale(self, j: int) -> tuple[float, float]:
        """(mean, deviation) of all distances so far; of changes about 0."""
        if not self.distances[j]:
            return 0.0, 0.0
        mean = 0.0 if self.columns[j] is not None else np.mean(self.distances[j])
        return mean, np.sqrt(np.mean((np.array(self.distances[j]) - mean) ** 2))

    def in_units(self, o: np.ndarray, base: np.ndarray) -> np.ndarray:
        if self.loss == "logistic":
            return 1 / (1 + np.exp(-o))
        return np.array([base[j] + m + s * o[j] for j, (m, s) in enumerate(map(self.scale, range(len(o))))])

    @staticmethod
    def bases(observations: np.ndarray, starts: np.ndarray, k: int | None) -> np.ndarray:
        """The last values of a target: those of input k, the last one for what is missing; 0 before the first."""
        if k is None:
            return np.zeros(len(observations))
        out, last = [], 0.0
        for x, first in zip(observations[:, k], starts, strict=True):
            last = 0.0 if first else last
            last = last if np.isnan(x) else x
            out.append(last)
        return np.array(out)

    def changes(self, base: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """The change of a last value, by the root of the mean square of all changes so far."""
        change = np.where(starts, 0.0, np.diff(base, prepend=0.0))
        square = np.cumsum(change**2) / np.maximum(np.cumsum(~starts), 1)
        return np.divide(change, np.sqrt(square), out=np.zeros_like(change), where=square > 0)
