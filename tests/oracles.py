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
    "leaky_relu": lambda z: np.where(np.real(z) > 0, z, 0.01 * z),
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


def eigenvalues(p: dict):
    """(r, theta) from whichever pair is stored."""
    if "nu_log" in p:
        r = np.exp(-np.exp(p["nu_log"]))
    elif "nu" in p:
        r = np.exp(-p["nu"])
    else:
        inside = (np.real(p["r"]) > 1e-6) & (np.real(p["r"]) < 1 - 1e-6)
        r = np.where(inside, p["r"], np.clip(np.real(p["r"]), 1e-6, 1 - 1e-6))
    return r, np.exp(p["theta_log"]) if "theta_log" in p else p["theta"]


def turned(p: dict, state: np.ndarray) -> np.ndarray:
    """(2, n): units as pairs, each turned by a 2 x 2 matrix."""
    r, theta = eigenvalues(p)
    turn = r * np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])  # (2, 2, n)
    return np.einsum("abn,bn->an", turn, state.reshape(2, -1))


def rtu(nonlinear: bool, activation: str, p: dict, state: np.ndarray, x: np.ndarray):
    """(state, features) after one step."""
    f, (r, _) = ACTIVATIONS[activation], eigenvalues(p)
    z = turned(p, state) + np.sqrt(1 - r * r) * np.array([x @ p["W1"], x @ p["W2"]])
    c = (f(z) if nonlinear else z).ravel()
    return c, c if nonlinear else f(c)


def lru(recurrence: str, activation: str, p: dict, state: np.ndarray, x: np.ndarray):
    """Real and imaginary parts apart, as `.real` would drop the perturbation of a complex step."""
    drive = np.array([x @ p["B_re"], x @ p["B_im"]])
    re, im = ACTIVATIONS[recurrence](turned(p, state) + np.exp(p["gamma_log"]) * drive)
    if "C_re" not in p:
        y = np.concatenate([re, im])
    else:
        y = re @ p["C_re"] - im @ p["C_im"] + (x @ p["D"] if "D" in p else 0.0)
    return np.concatenate([re, im]), ACTIVATIONS[activation](y)


def vanilla_rnn(activation: str, p: dict, state: np.ndarray, x: np.ndarray, leak: float = 1.0):
    f = ACTIVATIONS[activation](x @ p["W_input"] + state @ p["W_recurrent"] + p["b"])
    h = f if leak == 1 else state + leak * (f - state)
    return h, h


def block_diagonal_rnn(activation: str, p: dict, state: np.ndarray, x: np.ndarray):
    n = state.size
    W = np.zeros((n, n), dtype=np.result_type(p["W_recurrent"], float))
    for k, block in enumerate(p["W_recurrent"]):
        W[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = block
    return vanilla_rnn(activation, {**p, "W_recurrent": W}, state, x)


def stack(layers: list, p: dict, state: np.ndarray, x: np.ndarray):
    """`layers` from below, as (forward, how much of the state is its)."""
    states, start = [], 0
    for k, (forward, n_state) in enumerate(layers):
        own = {name.partition(".")[2]: v for name, v in p.items() if name.startswith(f"{k}.")}
        h, x = forward(own, state[start : start + n_state], x)
        states.append(h)
        start += n_state
    return np.concatenate(states), x


def layer_norm(activation: str, p: dict, state: np.ndarray, x: np.ndarray):
    centred = x - np.sum(x) / x.size
    return state, ACTIVATIONS[activation](centred / np.sqrt(np.sum(centred * centred) / x.size + 1e-5))


def dense(activation: str, p: dict, state: np.ndarray, x: np.ndarray):
    return state, ACTIVATIONS[activation](x @ p["W"] + p["b"])


def linear_readout(p: dict, y: np.ndarray):
    return p["readout.w"] @ y + p["readout.b"][0]


def hidden_readout(activation: str, p: dict, y: np.ndarray):
    k = ACTIVATIONS[activation](y @ p["readout.W_hidden"] + p["readout.b_hidden"])
    return p["readout.w"] @ k + p["readout.b"][0]


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


def through_window(cell, past: list, outputs, params: dict, y: np.ndarray) -> dict:
    """Jacobian of `outputs(params, y)`: the window `past` of (state before, input) is run again from its first state.

    The outputs, and their gradient by the features, are those of the features y that were predicted from.
    """

    def features(**p):
        state = past[0][0]
        for _, seen in past:
            state, there = cell(p, state, seen)
        return there

    window = derivative(features, params)
    read = derivative(lambda y, **p: outputs(p, y), {**params, "y": y})
    return {k: read[k] + np.tensordot(read["y"], window[k], 1) for k in params}


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
    params: dict  # with those of the readout
    n_state: int
    lambda_: float
    optimizer: Optimizer
    readout: object = linear_readout
    traces: dict = field(default_factory=dict)
    before: np.ndarray | None = None

    def clear(self) -> None:
        self.state = np.zeros(self.n_state)
        self.sensitivity = {k: np.zeros((self.n_state, *v.shape)) for k, v in self.params.items()}
        self.traces = {k: np.zeros(v.shape) for k, v in self.params.items()}
        self.before = None

    def gradient(self, x) -> tuple[float, dict]:
        """(v_t, its gradient), advancing state and sensitivities."""
        here = {**self.params, "state": self.state}
        jacobian = derivative(lambda state, **p: self.cell(p, state, x)[0], here)
        direct = derivative(lambda state, **p: np.atleast_1d(self.readout(p, self.cell(p, state, x)[1])), here)
        past = self.sensitivity
        gradient = {k: (direct[k] + np.tensordot(direct["state"], past[k], 1))[0] for k in self.params}
        self.sensitivity = {k: jacobian[k] + np.tensordot(jacobian["state"], past[k], 1) for k in self.params}
        self.state, self.before = self.cell(self.params, self.state, x)
        return self.readout(self.params, self.before), gradient

    def run(self, s: Stream) -> np.ndarray:
        predictions = []
        if not self.traces:
            self.clear()
        for x, c, discount, terminated, truncated in zip(
            s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, strict=True
        ):
            v_tm1 = None if self.before is None else self.readout(self.params, self.before)
            v_t, gradient = self.gradient(x)
            if terminated:
                v_t = 0.0
            if v_tm1 is not None and not np.isnan(c):  # without a cumulant there is no error to learn from
                self.optimizer.step(self.params, self.traces, c + discount * v_t - v_tm1)
            self.traces = {k: discount * self.lambda_ * z + gradient[k] for k, z in self.traces.items()}
            predictions.append(v_t)
            if terminated or truncated:
                self.clear()
        return np.array(predictions)


class TruncatedOracle(TDOracle):
    """The same with T-BPTT: the state T steps back is held, the window is run again with today's parameters."""

    steps: int = 1

    def clear(self) -> None:
        super().clear()
        self.past = []

    def gradient(self, x) -> tuple[float, dict]:
        self.past = [*self.past, (self.state, x)][-self.steps :]
        self.state, self.before = self.cell(self.params, self.state, x)
        gradients = through_window(
            self.cell, self.past, lambda p, y: np.atleast_1d(self.readout(p, y)), self.params, self.before
        )
        return self.readout(self.params, self.before), {k: g[0] for k, g in gradients.items()}


def log_softmax(o):
    return o - np.log(np.exp(o).sum())


def sigma_of(policy, o):
    s = o[o.size // 2 :]
    return np.exp(s) if policy.std == "free" else np.log(1 + np.exp(s))


def log_probability(policy, o, action):
    if policy.__class__.__name__ == "Softmax":
        return log_softmax(o)[int(action[0])]
    mean, sigma = o[: o.size // 2], sigma_of(policy, o)
    density = np.exp(-0.5 * ((action - mean) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    return np.log(np.prod(density))


def entropy(policy, o):
    if policy.__class__.__name__ == "Softmax":
        return -(np.exp(log_softmax(o)) * log_softmax(o)).sum()
    return 0.5 * np.log(2 * np.pi * np.e * sigma_of(policy, o) ** 2).sum()


def normalized(seen: list) -> np.ndarray:
    """The last of what has been seen, by the mean and the deviation of all of it."""
    deviation = np.std(seen, axis=0, ddof=1) if len(seen) > 1 else np.ones_like(seen[0])
    return (seen[-1] - np.mean(seen, axis=0)) / np.sqrt(deviation**2 + 1e-8)


@dataclass
class ActorOracle(TDOracle):
    """An actor on a cell known by its forward pass: traces as sums of discounted gradients, nothing recursive.

    With RTRL, or with a window of so many steps.
    """

    policy: object = None
    entropy: float = 0.0
    gamma: float = 0.9
    readout: object = None
    window: int | None = None

    def outputs(self, p: dict, y: np.ndarray) -> np.ndarray:
        return np.concatenate([p["policy.W"] @ y + p["policy.b"], p.get("policy.log_std", np.zeros(0))])

    def clear(self) -> None:
        super().clear()
        self.gradients: list[dict] = []
        self.past: list[tuple] = []

    def advance(self, x) -> None:
        if self.window is not None:
            self.advance_window(x)
            return
        here = {**self.params, "state": self.state}
        jacobian = derivative(lambda state, **p: self.cell(p, state, x)[0], here)
        direct = derivative(lambda state, **p: self.outputs(p, self.cell(p, state, x)[1]), here)
        past = self.sensitivity
        self.of_outputs = {k: direct[k] + np.tensordot(direct["state"], past[k], 1) for k in self.params}
        self.sensitivity = {k: jacobian[k] + np.tensordot(jacobian["state"], past[k], 1) for k in self.params}
        self.state, y = self.cell(self.params, self.state, x)
        self.o = self.outputs(self.params, y)

    def advance_window(self, x) -> None:
        self.past = [*self.past, (self.state, x)][-self.window :]
        self.state, y = self.cell(self.params, self.state, x)
        self.o = self.outputs(self.params, y)
        self.of_outputs = through_window(self.cell, self.past, self.outputs, self.params, y)

    def objective(self, o, action, weight: float):
        """What the action's step ascends, `weight` that of the entropy."""
        return log_probability(self.policy, o, action) + weight * entropy(self.policy, o)

    def learn(self, action, delta: float) -> None:
        weight = self.entropy * np.sign(delta)

        def objective(o):
            return np.atleast_1d(self.objective(o, action, weight))

        do = derivative(objective, {"o": self.o})["o"][0]
        self.gradients.append({k: np.tensordot(do, g, 1) for k, g in self.of_outputs.items()})
        n = len(self.gradients)
        decays = (self.gamma * self.lambda_) ** np.arange(n - 1, -1, -1)
        self.traces = {k: sum(d * g[k] for d, g in zip(decays, self.gradients, strict=True)) for k in self.params}
        self.optimizer.step(self.params, self.traces, delta)


class SharedOracle(ActorOracle):
    """Actor and critic on one body: the last output is the value."""

    def outputs(self, p: dict, y: np.ndarray) -> np.ndarray:
        return np.append(super().outputs(p, y), p["value.w"] @ y + p["value.b"][0])

    def objective(self, o, action, weight: float):
        return super().objective(o[:-1], action, weight) + o[-1]

    def next_value(self, x) -> float:
        """The value of what comes next, which memory has not seen."""
        return self.outputs(self.params, self.cell(self.params, self.state, x)[1])[-1]


def shared_actor_critic(net: SharedOracle, xs, rewards, terminated, truncated, actions) -> list[float]:
    """As `actor_critic`, of one body."""
    deltas, first = [], True
    for x, r, dead, cut, action_tm1 in zip(xs, rewards, terminated, truncated, [None, *actions[:-1]], strict=True):
        if first:
            net.clear()
        else:
            deltas.append(r + net.gamma * (0.0 if dead else net.next_value(x)) - net.o[-1])
            net.learn(action_tm1, deltas[-1])
        first = dead or cut
        if not first:
            net.advance(x)
    return deltas


def actor_critic(actor: ActorOracle, critic: TDOracle, xs, rewards, terminated, truncated, actions) -> list[float]:
    """Learn from a stream and the actions taken in it; `xs` are the networks' inputs. Returns the TD errors."""
    deltas, first = [], True
    for x, r, dead, cut, action_tm1 in zip(xs, rewards, terminated, truncated, [None, *actions[:-1]], strict=True):
        if first:
            actor.clear()
            critic.clear()
        v = None if first else critic.readout(critic.params, critic.before)
        v_t, gradient = critic.gradient(x)
        if not first:
            delta = r + actor.gamma * (0.0 if dead else v_t) - v
            deltas.append(delta)
            critic.optimizer.step(critic.params, critic.traces, delta)
            actor.learn(action_tm1, delta)
        critic.traces = {k: actor.gamma * critic.lambda_ * z + gradient[k] for k, z in critic.traces.items()}
        first = dead or cut
        if not first:
            actor.advance(x)
    return deltas
