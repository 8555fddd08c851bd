"""TD(lambda) of many predictions on one body, from the definitions: it knows the forward pass of the body alone.

Each prediction has its own trace of the whole gradient. Nothing is shared but the Jacobian of the features.
"""

from dataclasses import dataclass, field

import numpy as np
import oracles

NAMES = "observations", "cumulants", "discounts", "ratios", "terminated", "truncated"


def stream(steps: int, n_inputs: int, m: int, seed: int, each: bool = True) -> dict[str, np.ndarray]:
    """A random stream. If `each`, discounts and ratios are (steps, m), and differ between predictions."""
    rng, one = np.random.default_rng(seed), oracles.stream(steps, n_inputs, seed)
    shape = (steps, m) if each else (steps,)
    end = rng.choice(3, steps, p=[0.92, 0.04, 0.04])
    return {
        "observations": one.observations,
        "cumulants": rng.standard_normal((steps, m)),
        "discounts": (one.discounts[:, None] if each else one.discounts) * rng.uniform(0.5, 1.0, shape),
        "ratios": rng.choice([0.0, 0.5, 1.0, 1.5], shape, p=[0.05, 0.3, 0.35, 0.3]),
        "terminated": end == 1,
        "truncated": end == 2,
    }


@dataclass
class ManyOracle:
    """`cell(p, state, x) -> (state, features)`; params have those of the readout, w (m, features) and b (m,)."""

    cell: object
    params: dict
    n_state: int
    lambda_: float
    optimizer: oracles.Optimizer
    body: str = "traces"
    window: int | None = None  # of truncated backpropagation
    direction: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = [k for k in self.params if not k.startswith("readout")]
        self.m, self.n_features = self.params["readout.w"].shape
        self.clear()

    def clear(self) -> None:
        shapes = {k: self.params[k].shape for k in self.names}
        self.state = np.zeros(self.n_state)
        self.sensitivity = {k: np.zeros((self.n_state, *shape)) for k, shape in shapes.items()}
        self.z_body = [{k: np.zeros(shape) for k, shape in shapes.items()} for _ in range(self.m)]
        self.z_features = {k: np.zeros((self.n_features, *shape)) for k, shape in shapes.items()}
        self.z_w, self.z_b = np.zeros((self.m, self.n_features)), np.zeros(self.m)
        self.before, self.past = None, []

    def jacobian(self, x) -> dict:
        """{name: (features, *shape)} dy_t/dparameter; state, sensitivities and features advance."""
        body = {k: self.params[k] for k in self.names}
        if self.window is not None:
            self.past = [*self.past, (self.state, x)][-self.window :]
            self.state, self.y = self.cell(body, self.state, x)
            return oracles.through_window(self.cell, self.past, lambda p, y: y, body, self.y)
        here = {**body, "state": self.state}
        of_state = oracles.derivative(lambda state, **p: self.cell(p, state, x)[0], here)
        of_y = oracles.derivative(lambda state, **p: self.cell(p, state, x)[1], here)
        found = {k: of_y[k] + np.tensordot(of_y["state"], self.sensitivity[k], 1) for k in self.names}
        self.sensitivity = {
            k: of_state[k] + np.tensordot(of_state["state"], self.sensitivity[k], 1) for k in self.names
        }
        self.state, self.y = self.cell(body, self.state, x)
        return found

    def step(self, x, c, discount, ratio, terminated=False, truncated=False) -> np.ndarray:
        w, b = self.params["readout.w"], self.params["readout.b"]
        v_tm1 = None if self.before is None else w @ self.before + b
        jacobian = self.jacobian(x)
        v = np.zeros(self.m) if terminated else w @ self.y + b
        gradients = [{k: np.tensordot(w[j], jacobian[k], 1) for k in self.names} for j in range(self.m)]
        errors = np.zeros(self.m) if v_tm1 is None else ratio * (c + discount * v - v_tm1)
        if v_tm1 is not None:
            self.update(errors)
        decays = ratio * discount * self.lambda_
        for j, q in enumerate(decays):
            self.z_body[j] = {k: q * z + gradients[j][k] for k, z in self.z_body[j].items()}
        q = 0.0 if self.body == "lambda0" else decays[0]
        self.z_features = {k: q * z + jacobian[k] for k, z in self.z_features.items()}
        self.z_w, self.z_b = decays[:, None] * self.z_w + self.y, decays * self.z_b + 1
        self.before = self.y
        if terminated or truncated:
            self.clear()
        return v

    def update(self, errors: np.ndarray) -> None:
        if self.optimizer.name == "ObGD":
            errors = self.bounded(errors)
        if self.body == "traces":
            body = {k: sum(e * z[k] for e, z in zip(errors, self.z_body, strict=True)) for k in self.names}
        elif self.body == "frozen":
            body = {k: np.zeros(self.params[k].shape) for k in self.names}
        else:
            dy = errors @ self.params["readout.w"]
            body = {k: np.tensordot(dy, z, 1) for k, z in self.z_features.items()}
        self.direction = {**body, "readout.w": errors[:, None] * self.z_w, "readout.b": errors * self.z_b}
        rule = self.optimizer
        if rule.name == "ObGD":
            rule = oracles.Optimizer("SGD", step_size=1.0)
        rule.step(self.params, self.direction, 1.0)

    def bounded(self, errors: np.ndarray) -> np.ndarray:
        """Each prediction's step along its trace. Those that share a body share the bound."""
        alpha, kappa = self.optimizer.settings["step_size"], self.optimizer.settings["kappa"]
        steps = []
        for j, error in enumerate(errors):
            norm = np.abs(self.z_w[j]).sum() + abs(self.z_b[j])
            if self.body == "traces":
                norm, kappa_j = norm + sum(np.abs(z).sum() for z in self.z_body[j].values()), kappa * self.m
            else:
                kappa_j = kappa
            steps.append(error * alpha / max(1.0, alpha * kappa_j * max(abs(error), 1.0) * norm))
        return np.array(steps)
