"""What the package must agree with, written from the definitions and sharing no code with it.

The cells are known here by their forward pass alone. Every derivative is the complex-step derivative of that pass,
carried forward as a dense Jacobian: S <- J S + F. It is slow, and it contains no formula that could be wrong twice.
"""

from dataclasses import dataclass, field

import numpy as np

STEP = 1e-30
ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda z: np.where(np.real(z) > 0, z, 0.0),
    "identity": lambda z: z,
}


@dataclass
class Stream:
    observations: np.ndarray
    cumulants: np.ndarray
    discounts: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


def stream(steps: int, n_inputs: int, seed: int, gamma: float = 0.9, ends: bool = True) -> Stream:
    """A random stream with, where `ends`, some zero discounts, terminations and truncations."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(4, size=steps, p=[0.94, 0.02, 0.02, 0.02]) if ends else np.zeros(steps, int)
    return Stream(
        observations=rng.standard_normal((steps, n_inputs)),
        cumulants=rng.standard_normal(steps),
        discounts=np.where(kind == 1, 0.0, gamma * rng.uniform(0.9, 1.0, steps)),
        terminated=kind == 2,
        truncated=kind == 3,
    )


def rtu(nonlinear: bool, activation: str, p: dict, state: np.ndarray, x: np.ndarray):
    """(state, features) after one step: units as pairs, each turned by a 2 x 2 matrix."""
    f = ACTIVATIONS[activation]
    r, theta = np.exp(-np.exp(p["nu_log"])), np.exp(p["theta_log"])
    turn = r * np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])  # (2, 2, n)
    z = np.einsum("abn,bn->an", turn, state.reshape(2, -1))
    z = z + np.sqrt(1 - r * r) * np.array([x @ p["W1"], x @ p["W2"]])
    c = (f(z) if nonlinear else z).ravel()
    return c, c if nonlinear else f(c)


def derivative(function, at: dict) -> dict:
    """{name: (outputs, *shape)}: the complex-step Jacobian of `function(**at)` with respect to each argument."""
    out = {}
    for name, array in at.items():
        columns = []
        for index in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[index] += 1j * STEP
            columns.append(function(**{**at, name: moved}).imag / STEP)
        out[name] = np.moveaxis(np.array(columns), 0, -1).reshape(-1, *array.shape)
    return out


class Optimizer:
    """SGD, ObGD, Adam and RMSProp as their papers have them, on a dictionary of arrays."""

    def __init__(self, name: str, **settings: float) -> None:
        self.name, self.settings, self.t, self.mean, self.square = name, settings, 0, {}, {}

    def step(self, params: dict, traces: dict, delta: float) -> None:
        s, alpha = self.settings, self.settings["step_size"]
        self.t += 1
        if self.name == "ObGD":
            norm = sum(np.abs(z).sum() for z in traces.values())
            alpha /= max(1.0, alpha * s["kappa"] * max(abs(delta), 1.0) * norm)
        for name, z in traces.items():
            g = delta * z
            if self.name in ("SGD", "ObGD"):
                params[name] = params[name] + alpha * g
            elif self.name == "RMSProp":
                self.square[name] = s["beta"] * self.square.get(name, 0.0) + (1 - s["beta"]) * g**2
                params[name] = params[name] + alpha * g / (np.sqrt(self.square[name]) + s["epsilon"])
            else:
                self.mean[name] = s["beta1"] * self.mean.get(name, 0.0) + (1 - s["beta1"]) * g
                self.square[name] = s["beta2"] * self.square.get(name, 0.0) + (1 - s["beta2"]) * g**2
                mean = self.mean[name] / (1 - s["beta1"] ** self.t)
                square = self.square[name] / (1 - s["beta2"] ** self.t)
                params[name] = params[name] + alpha * mean / (np.sqrt(square) + s["epsilon"])


@dataclass
class TDOracle:
    """TD(lambda) on a cell known by its forward pass: `cell(p, state, x) -> (state, features)`."""

    cell: object
    params: dict  # with w and b
    n_state: int
    lambda_: float
    optimizer: Optimizer
    traces: dict = field(default_factory=dict)
    before: tuple | None = None

    def clear(self) -> None:
        own = {k: v for k, v in self.params.items() if k not in ("w", "b")}
        self.state = np.zeros(self.n_state)
        self.sensitivity = {k: np.zeros((self.n_state, *v.shape)) for k, v in own.items()}
        self.traces = {k: np.zeros(v.shape) for k, v in self.params.items()}
        self.before = None

    def gradient(self, x) -> tuple[float, dict]:
        """(v_t, its gradient), advancing state and sensitivities."""
        own = {k: v for k, v in self.params.items() if k not in ("w", "b")}
        jacobian = derivative(lambda state, **p: self.cell(p, state, x)[0], {**own, "state": self.state})
        features = derivative(lambda state, **p: self.cell(p, state, x)[1], {**own, "state": self.state})
        past = self.sensitivity
        w = self.params["w"]
        gradient = {k: np.tensordot(w, features[k] + np.tensordot(features["state"], past[k], 1), 1) for k in own}
        self.sensitivity = {k: jacobian[k] + np.tensordot(jacobian["state"], past[k], 1) for k in own}
        self.state, y = self.cell(own, self.state, x)
        self.before = y
        return w @ y + self.params["b"][0], {**gradient, "w": y, "b": np.ones(1)}

    def run(self, s: Stream) -> np.ndarray:
        predictions = []
        if not self.traces:
            self.clear()
        for x, c, discount, terminated, truncated in zip(
            s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, strict=True
        ):
            y_tm1 = self.before
            v_tm1 = None if y_tm1 is None else self.params["w"] @ y_tm1 + self.params["b"][0]
            v_t, gradient = self.gradient(x)
            if terminated:
                v_t = 0.0
            if v_tm1 is not None:
                self.optimizer.step(self.params, self.traces, c + discount * v_t - v_tm1)
            self.traces = {k: discount * self.lambda_ * z + gradient[k] for k, z in self.traces.items()}
            predictions.append(v_t)
            if terminated or truncated:
                self.clear()
        return np.array(predictions)
