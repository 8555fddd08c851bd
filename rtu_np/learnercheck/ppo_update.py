"""PPO's update from a given rollout, in plain NumPy: derivations (46)-(51).

Parameters, moments, rollout, stored sensitivities and the order of minibatches are the agent's. Targets are sums over
the rest of an episode; the gradient is by complex step through forward passes, with (46) for the past.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.learnercheck import mistakes, phases, policies, rules
from rtu_np.learnercheck.body import Arrays, Moved, derivatives
from rtu_np.learnercheck.rollouts import PPONet
from rtu_np.learning.outcomes import CONTINUES, TERMINATED, TRUNCATED

Rows = dict[str, np.ndarray]  # of a rollout, by the names of `rtu_np.control.ppo.network.Rollout`
_TERMS = 5  # policy loss, value loss, entropy, approximate KL divergence, fraction that is clipped


class Past(NamedTuple):
    """Sensitivities, {parameter: (numbers of the state, *shape)}."""

    rows: list[Arrays]  # of each transition, stored before its step; each {} if none are stored
    first: Arrays  # of the memory with which the rollout began
    now: Arrays  # of the network in mid-stream

    def scale(self, factors: Arrays) -> None:
        """Multiply what is derived by a parameter by its factors."""
        for each in (*self.rows, self.first, self.now):
            each.update({name: each[name] * factor for name, factor in factors.items() if name in each})


class Update:
    """One update.

    choices : the number of actions of each choice, as `policies` takes them
    """

    def __init__(self, agent: Any, net: PPONet, choices: list[int], mistake: str = "") -> None:
        self.agent, self.net, self.choices, self.mistake = agent, net, choices, mistake
        self.refresh = agent._update._refresh

    def __call__(self, state: Arrays, rows: Rows, past: Past) -> Arrays:
        """What the agent has behind the update, by name.

        state : its arrays ahead of the step; rows, past : written; the complete rollout, and its sensitivities
        """
        agent, net, mistake = self.agent, self.net, self.mistake
        params = net.params(state)
        moments = {k.removeprefix("moments."): a for k, a in state.items() if k.startswith("moments.")}
        terms, gradient = np.zeros(_TERMS), np.zeros(net.n)
        norms: list[float] = []
        self._aim(rows)
        for epoch, order in enumerate(state["orders"].astype(int)):
            if epoch and any(self.refresh) and mistake != mistakes.NO_REFRESH:
                self._run_again(params, rows, past)
                self._aim(rows)
            order = state["orders"][0].astype(int) if mistake == mistakes.SAME_ORDER else order
            for chosen in np.split(order, agent.n_minibatches):
                gradient, more = self._gradient(params, rows, past.rows, chosen)
                terms, norms = terms + more, [*norms, float(np.sqrt((gradient**2).sum()))]
                params, moments = self._step(params, moments, gradient, norms[-1])
                if net.confine(params):
                    moments = self._wrap(params, moments, past, int(state["clock"][0]))
        means = np.append(terms / (agent.n_epochs * agent.n_steps), np.mean(norms))
        return {
            **{f"params.{name}": array for name, array in params.items()},
            **{f"moments.{k}": net.padded(a) if a.size == net.n else a for k, a in moments.items()},
            "gradient": net.padded(gradient),
            "summary.updates": state["summary.updates"] + 1,
            "summary.means": means,
        }

    def _step(self, params: Arrays, moments: Any, gradient: np.ndarray, norm: float) -> tuple[Arrays, Any]:
        """Parameters and moments behind a step of the optimiser."""
        limit, rule = self.agent.max_grad_norm, self.agent.optimizer
        shorter = -limit / norm if norm > limit and self.mistake != mistakes.LONG_GRADIENT else -1.0
        at = rules.Seen(gradient, gradient, shorter, moments, 0.0, False, self.mistake)
        change, found = rules.RULES[type(rule).__name__](rule, at)
        return self.net.by_name(self.net.flat(params) + change), {**moments, **found}

    def _wrap(self, params: Arrays, moments: Any, past: Past, steps: int) -> Any:
        factors = phases.wrap(params)
        if not factors:
            raise phases.refuse(steps)
        past.scale(factors)
        ones = {name: np.ones_like(array) for name, array in params.items()}
        return phases.rescaled(moments, self.net.flat({**ones, **factors}))

    # --------------------------------------------------------------------------------------------------------- targets

    def _aim(self, rows: Rows) -> None:
        """rows["advantages"], rows["returns"] <- (47), as sums to the end of the episode or of the rollout"""
        mistake, ends, values, n = self.mistake, rows["ends"], rows["values"], self.agent.n_steps
        terminated = (ends == TERMINATED) & (mistake != mistakes.END_BOOTSTRAPS)
        cut = terminated | (ends == TRUNCATED)
        following = np.where(cut | (np.arange(n) == n - 1), rows["bootstraps"], np.append(values[1:], 0.0))
        following = np.where(terminated, 0.0, following)
        if mistake == mistakes.TRUNCATED_AS_END:
            following = np.where(ends == TRUNCATED, 0.0, following)
        delta = rows["rewards"] + self.agent.gamma * following - values
        if mistake == mistakes.ACROSS_END:
            cut = np.zeros(n, bool)
        discount, advantages = self.agent.gamma * self.agent.gae_lambda, np.zeros(n)
        for t in range(n):
            stop = next((k + 1 for k in range(t, n) if cut[k]), n)
            advantages[t] = delta[t:stop] @ discount ** np.arange(stop - t)
        rows["advantages"], rows["returns"] = advantages, advantages + values

    def _run_again(self, params: Arrays, rows: Rows, past: Past) -> None:
        """States with their sensitivities, or values, or both, of another run through the rollout."""
        body, states = self.net.body, rows["states"].copy()
        carried, body.carried, state = body.carried, dict(past.first), rows["first"]
        for t, x in enumerate(rows["x"]):
            if rows["starts"][t]:
                body.clear()
                state = 0.0 * state
            states[t] = state
            if self.refresh.states:
                past.rows[t] = {name: body.carried.get(name, 0.0 * S) for name, S in past.rows[t].items()}
            moved = body.advance(params, state, x) if past.rows[t] else Moved(*body.forward(params, state, x), {})
            if self.refresh.values:
                rows["values"][t] = self.net.value(params, moved.y)
                if rows["ends"][t] == TRUNCATED or (rows["ends"][t] == CONTINUES and t == self.agent.n_steps - 1):
                    y = body.forward(params, moved.state, rows["finals"][t])[1]
                    rows["bootstraps"][t] = self.net.value(params, y)
            state = moved.state
        body.carried = carried
        if self.refresh.states:
            rows["states"] = states

    # -------------------------------------------------------------------------------------------------------- gradient

    def _gradient(self, params: Arrays, rows: Rows, past: list[Arrays], chosen: np.ndarray) -> tuple[np.ndarray, Any]:
        """(flat gradient of the loss (50) of a minibatch, sums of its terms)"""
        T = self.agent._spec.sequence
        of = np.array([t for s in chosen for t in range(s * T, (s + 1) * T)])
        scale = rows["advantages"] if self.mistake == mistakes.OVER_ROLLOUT else rows["advantages"][of]
        normal = (rows["advantages"] - scale.mean()) / (scale.std() + 1e-8)
        total, terms = {name: np.zeros_like(array) for name, array in params.items()}, np.zeros(_TERMS)
        for s in chosen:
            features, by = self._features(params, rows, past[s * T], s * T)
            for k, y in enumerate(features):
                own, dy, more = self._of_transition(params, rows, normal[s * T + k], (s * T + k, y))
                terms += more
                for name, block in own.items():
                    total[name] += block
                for name, block in by.items():
                    total[name] += np.tensordot(dy, block[k * y.size : (k + 1) * y.size], 1)
        return self.net.flat(total) / of.size, terms

    def _features(self, params: Arrays, rows: Rows, past: Arrays, first: int) -> tuple[np.ndarray, Arrays]:
        """(T, features) of a sequence, and {parameter of the body: (T features, *shape)} of their derivatives: (46)"""
        T, body = self.agent._spec.sequence, self.net.body
        own = {name: params[name] for name in body.names}

        def run(p: Arrays) -> np.ndarray:
            state, found = p["state"], []
            for t in range(first, first + T):
                state = 0.0 * state if t > first and rows["starts"][t] else state
                state, y = body.forward(p, state, rows["x"][t])
                found.append(y)
            return np.concatenate(found)

        at = {**own, "state": rows["states"][first]}
        by = derivatives(run, at)
        dstate = by.pop("state")
        for name, S in past.items() if self.mistake != mistakes.NO_PAST else ():
            by[name] = by[name] + np.tensordot(dstate, S, 1)
        return run(at).reshape(T, -1), by

    def _of_transition(
        self, params: Arrays, rows: Rows, advantage: float, at: tuple[int, np.ndarray]
    ) -> tuple[Arrays, np.ndarray, np.ndarray]:
        """(the gradient of its loss by all but the body, that by the features, its terms)"""
        (t, y), dy = at, np.zeros_like(at[1])
        own: Arrays = {}
        outputs = {"o": self.net.actor.read(params, y), "v": self.net.critic.read(params, y)}
        along = derivatives(lambda p: np.atleast_1d(self._loss(p, rows, advantage, t)[0]), outputs)
        for branch, by_output in ((self.net.actor, along["o"][0]), (self.net.critic, along["v"][0])):
            by = branch.derivatives(params, y)
            blocks = {name: np.tensordot(by_output, block, 1) for name, block in by.items()}
            dy += blocks.pop("y")
            own |= blocks
        return own, dy, self._loss(outputs, rows, advantage, t)[1]

    def _loss(self, outputs: Arrays, rows: Rows, advantage: float, t: int) -> tuple[Any, np.ndarray]:
        """(L, its terms) of a transition with the outputs o and v: (48), (49), (50)"""
        agent, mistake, c, o, v = self.agent, self.mistake, self.agent.clip, outputs["o"], outputs["v"][0]
        log_ratio = policies.log_probability(agent.policy, self.choices, o, rows["actions"][t]) - rows["log_p"][t]
        ratio = np.exp(log_ratio)
        products = ratio * advantage, _within(ratio, 1 - c, 1 + c) * advantage
        policy = -(_largest if mistake == mistakes.CLIP_SIDE else _smallest)(*products)
        moved, old, target = v - rows["values"][t], rows["values"][t], rows["returns"][t]
        near = v if abs(moved.real) <= c or mistake == mistakes.VALUE_FREE else old + _within(moved, -c, c)
        value = _largest((v - target) ** 2, (near - target) ** 2) / 2
        entropy = policies.entropy(agent.policy, self.choices, o)
        weight = {mistakes.NO_ENTROPY: 0.0, mistakes.ENTROPY_SIGN: -1.0}.get(mistake, 1.0) * agent.entropy_coef
        loss = policy + agent.value_coef * value - weight * entropy
        far = abs(ratio.real - 1) > c
        return loss, np.array([each.real for each in (policy, value, entropy, ratio - 1 - log_ratio, far)])


def _within(x: Any, low: float, high: float) -> Any:
    """`x`, or a bound, without a derivative."""
    return low if x.real < low else high if x.real > high else x


def _smallest(first: Any, second: Any) -> Any:
    return first if first.real <= second.real else second


def _largest(first: Any, second: Any) -> Any:
    return first if first.real >= second.real else second
