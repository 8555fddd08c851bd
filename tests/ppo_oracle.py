"""PPO as its definitions have it, in plain NumPy, sharing no code with the package.

The network is known by its forward pass (`oracles`), and every derivative is a complex step of that: the sensitivities
of the states in a rollout, and the gradient of a minibatch's loss. The rollout is one that an agent holds.
"""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import oracles

STEP = oracles.STEP


def at_most(a, b):
    """The smaller of two numbers by their real parts, which a complex step leaves alone."""
    return a if a.real <= b.real else b


@dataclass
class PPOOracle:
    """Of one rollout `r`: x, starts, ends, actions, log_p, values, rewards, bootstraps, each with a row per step."""

    cell: object  # (p, state, x) -> (state, features)
    n_state: int
    r: object
    discrete: bool
    steps: int | None = None  # T of T-BPTT; None for RTRL
    below: tuple = ()  # prefixes of the blocks below the recurrent layer, in whose past layer-local RTRL takes no part
    clip: float = 0.2
    value_coef: float = 0.5
    entropy_coef: float = 0.0
    gamma: float = 0.99
    gae_lambda: float = 0.95

    # ------------------------------------------------------------------------------------------------- network

    def heads(self, p, y):
        """(what the policy is made of, the value)"""
        a = np.tanh(y @ p["actor.hidden.W"] + p["actor.hidden.b"])
        o = p["policy.W"] @ a + p["policy.b"]
        if not self.discrete:
            o = np.concatenate([o, p["policy.log_std"]])
        c = np.tanh(y @ p["critic.hidden.W"] + p["critic.hidden.b"])
        return o, (p["value.W"] @ c + p["value.b"])[0]

    def log_probabilities(self, o):
        shifted = o - o.real.max()
        return shifted - np.log(np.exp(shifted).sum())

    def log_probability(self, o, action):
        if self.discrete:
            return self.log_probabilities(o)[int(action[0])]
        mean, log_std = np.split(o, 2)
        return (-((action - mean) ** 2) / (2 * np.exp(2 * log_std)) - log_std - 0.5 * np.log(2 * np.pi)).sum()

    def entropy_of(self, o):
        if self.discrete:
            log_p = self.log_probabilities(o)
            return -(np.exp(log_p) * log_p).sum()
        return (np.split(o, 2)[1] + 0.5 * np.log(2 * np.pi * np.e)).sum()

    def states(self, p, first=None):
        """(N, n_state) before each step, from the state `first` before the first."""
        state, out = np.zeros(self.n_state) if first is None else first, []
        for x, start in zip(self.r.x, self.r.starts, strict=True):
            state = np.zeros(self.n_state) if start else state
            out.append(state)
            state, _ = self.cell(p, state, x)
        return np.array(out)

    def sensitivities(self, p):
        """{name: (N, n_state, *shape)} of those states, from a rollout that starts with an episode."""
        held = {k: v for k, v in p.items() if not k.startswith((*self.below, "actor", "critic", "policy", "value"))}
        out = {}
        for name, array in held.items():
            columns = []
            for index in np.ndindex(array.shape):
                moved = array.astype(complex)
                moved[index] += 1j * STEP
                columns.append(self.states({**p, name: moved}).imag / STEP)
            out[name] = np.moveaxis(np.array(columns), 0, -1).reshape(len(self.r.x), self.n_state, *array.shape)
        return out

    # ---------------------------------------------------------------------------------------------------- loss

    def targets(self, values, bootstraps):
        """(advantages, returns), by summing delta forward from every step."""
        r, n = self.r, len(values)
        discount = self.gamma * self.gae_lambda
        following = np.append(values[1:], 0.0)
        cut = (r.ends != 0) | (np.arange(n) == n - 1)
        following = np.where(r.ends == 1, 0.0, np.where(cut, bootstraps, following))
        delta = r.rewards + self.gamma * following - values
        advantages = np.zeros(n)
        for t in range(n):
            weight = 1.0
            for k in range(t, n):
                advantages[t] += weight * delta[k]
                weight *= discount
                if cut[k]:
                    break
        return advantages, advantages + values

    def transition(self, p, y, t, advantage, target):
        o, v = self.heads(p, y)
        ratio = np.exp(self.log_probability(o, self.r.actions[t]) - self.r.log_p[t])
        clipped = np.clip(ratio.real, 1 - self.clip, 1 + self.clip)
        clipped = ratio if clipped == ratio.real else clipped
        surrogate = at_most(ratio * advantage, clipped * advantage)
        moved = v - self.r.values[t]
        bounded = np.clip(moved.real, -self.clip, self.clip)
        bounded = moved if bounded == moved.real else bounded
        far, near = (v - target) ** 2, (self.r.values[t] + bounded - target) ** 2
        worse = far if far.real >= near.real else near
        return -surrogate + self.value_coef * 0.5 * worse - self.entropy_coef * self.entropy_of(o)

    def loss(self, p, chosen, state_of, advantages, returns):
        """Of the sequences `chosen`; `state_of(p, t)` is the state that one starts from."""
        T = self.steps or 1
        rows = [t for s in chosen for t in range(s * T, (s + 1) * T)]
        mean, deviation = np.mean(advantages[rows]), np.std(advantages[rows])
        total = 0.0
        for s in chosen:
            state = state_of(p, s * T)
            for t in range(s * T, (s + 1) * T):
                state = np.zeros(self.n_state) if self.r.starts[t] else state
                state, y = self.cell(p, state, self.r.x[t])
                total += self.transition(p, y, t, (advantages[t] - mean) / (deviation + 1e-8), returns[t])
        return total / len(rows)

    def stored(self, at, now):
        """`state_of` of states that were stored with parameters `at`, and are gone on from with parameters `now`.

        With RTRL they move with the parameters, as the sensitivities of that time say.
        """
        states = self.states(at)
        if self.steps:
            return lambda p, t: states[t]
        sensitivities = self.sensitivities(at)

        def moving(p, t):
            return states[t] + sum(np.tensordot(S[t], p[k] - now[k], S.ndim - 2) for k, S in sensitivities.items())

        return moving

    def gradient(self, p, *arguments):
        return {
            name: block[0].real
            for name, block in oracles.derivative(lambda **q: np.atleast_1d(self.loss(q, *arguments)), p).items()
        }

    # -------------------------------------------------------------------------------------------------- update

    def foresight(self, p):
        """(values of all steps; values of what follows where the rollout or an episode is cut off, else as stored)"""
        values, bootstraps = [], np.array(self.r.bootstraps)
        for t, state in enumerate(self.states(p)):
            state, y = self.cell(p, state, self.r.x[t])
            values.append(self.heads(p, y)[1])
            if self.r.ends[t] == 2 or (self.r.ends[t] == 0 and t == len(self.r.x) - 1):
                bootstraps[t] = self.heads(p, self.cell(p, state, self.r.finals[t])[1])[1]
        return np.array(values), bootstraps

    def update(self, p, orders, minibatches, optimizer, max_grad_norm, states=False, values=False):
        """Parameters after an epoch for each of `orders`; states and values are refreshed before all but the first."""
        at, bootstraps = p, self.r.bootstraps
        for epoch, order in enumerate(orders):
            if epoch and states:
                at = p
            if epoch and values:
                again, bootstraps = self.foresight(p)
                self.r = replace(self.r, values=again)
            targets = self.targets(self.r.values, bootstraps)
            for chosen in np.split(order, minibatches):
                g = self.gradient(p, chosen, self.stored(at, p), *targets)
                norm = np.sqrt(sum((block**2).sum() for block in g.values()))
                p = dict(p)
                optimizer.step(p, g, -min(1.0, max_grad_norm / norm))
        return p


def replace(r, **arrays):
    return SimpleNamespace(**{**vars(r), **arrays})


def copied(rollout):
    """A rollout that no agent writes to."""
    return SimpleNamespace(**{name: array.copy() for name, array in rollout._asdict().items()})
