"""Streaming actor-critic(lambda), one step from the state of the agent: derivations (42), (43)."""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.learnercheck import mistakes, policies
from rtu_np.learnercheck.agents import SHARED, AgentReference, Turn
from rtu_np.learnercheck.body import Arrays, Moved
from rtu_np.learnercheck.networks import Added, Net, cleared


class Acted(NamedTuple):
    """A turn, and what the networks say."""

    turn: Turn
    critic: Moved | None  # the step to s_{t+1}; None of a shared body
    values: tuple[float, float]  # v(s_t), v(s_{t+1}), both with today's parameters
    critic_gradient: Arrays
    o: np.ndarray  # the outputs at s_t, a value last if the body is shared
    actor_gradient: Arrays | None  # of o
    after: Moved | None  # the actor's step to s_{t+1}, with the agent's parameters behind the update
    old_error: float


class ActorCriticReference(AgentReference):
    """The reference of `ActorCritic`, with two networks or a shared body."""

    mistakes = (*SHARED, mistakes.NEW_TRACE, mistakes.OLD_TRACE, mistakes.NO_ENTROPY, mistakes.NO_SIGN)

    def __init__(self, agent: Any) -> None:
        super().__init__(agent, agent.policy)
        rules = (agent.actor_optimizer, agent.critic_optimizer)
        nets = [Net(of, rule, agent.gamma, agent.dtype) for of, rule in zip(agent._networks(), rules, strict=False)]
        self.actor, self.critic = nets[0], nets[1] if len(nets) > 1 else None
        self.nets, self._old_error = nets, 0.0
        self._ahead: tuple[np.ndarray, np.ndarray] | None = None  # state and input of a step that is to be learned from

    def observe(self, state: Arrays, row: dict[str, Any], found: Arrays) -> Acted:
        turn = self.turn(state, row, found)
        if turn.first:
            for net in self.nets:
                net.body.clear()
        actor, params = self.actor, self.actor.params(state)
        o = actor.read(params, state[f"{actor.prefix}memory.y"])
        critic, by_value = None, {}
        if self.critic is not None:
            own = self.critic.params(state)
            critic = self.critic.body.advance(own, self.critic.state(state), turn.x)
            values = self.critic.read(own, state["critic.memory.y"])[0], self.critic.read(own, critic.y)[0]
            by_value = self.critic.gradient(own, critic)
        else:
            y = actor.body.forward(params, actor.state(state), turn.x)[1]
            values = o[-1], actor.read(params, y)[-1]
        gradient = None
        if self._ahead is not None and not turn.first:  # the sensitivities advance here, behind a wrap
            gradient = actor.gradient(params, actor.body.advance(params, *self._ahead))
        after, self._ahead = None, None
        if not turn.ends:
            self._ahead = actor.state(state), turn.x
            after = Moved(*actor.body.forward(actor.params(found), *self._ahead), {})
        at = Acted(turn, critic, values, by_value, o, gradient, after, self._old_error)
        self._old_error = self._error(at, self.inputs(turn, "")[1], "")
        return at

    def _error(self, at: Acted, reward: float, mistake: str) -> float:
        if at.turn.first:
            return 0.0
        v_t, v_next = at.values
        delta = reward + self.agent.gamma * (v_next if at.turn.bootstraps(mistake) else 0.0)
        delta -= 0.0 if mistake == mistakes.STALE_VALUE else v_t
        return at.old_error if mistake == mistakes.OLD_ERROR else -delta if mistake == mistakes.SIGN else delta

    def expected(self, at: Acted, mistake: str = "") -> Arrays:
        """The state behind the turn, with a mistake if one is named."""
        turn, actor = at.turn, self.actor
        found, reward = self.inputs(turn, mistake)
        delta = self._error(at, reward, mistake)
        if self.critic is not None and at.critic is not None:
            gradient = self.critic.along(at.critic_gradient, np.ones(1))
            added = Added(gradient, self.agent.gamma, delta, not turn.first, mistake)
            found |= self.critic.learn_then_add(turn.state, added)
            forgets = turn.ends and mistake != mistakes.MEMORY_STAYS
            found |= self.critic.memory(at.critic.state, at.critic.y, forgets)
        if turn.first or at.actor_gradient is None:
            found |= actor.of_flat("params", actor.flat(actor.params(turn.state)))
            found |= actor.of_flat("traces", actor.traces(turn.state))
        else:
            gradient = actor.along(at.actor_gradient, self._along(at, delta, mistake))
            found |= actor.add_then_learn(turn.state, Added(gradient, self.agent.gamma, delta, True, mistake))
        if turn.ends and mistake != mistakes.TRACES_STAY:
            found |= cleared({name: array for name, array in found.items() if "traces." in name})
        o = None
        if at.after is not None:
            found |= actor.memory(at.after.state, at.after.y)
            o = turn.found["o"]
            found["o"] = actor.read(actor.params(turn.found), at.after.y)[: o.size]
        elif mistake != mistakes.MEMORY_STAYS:
            found |= actor.memory(0.0 * actor.state(turn.state), 0.0 * turn.state[f"{actor.prefix}memory.y"])
        found |= self.around(turn, found, delta, o)
        self.confine(turn, found, mistake)
        return found

    def _along(self, at: Acted, delta: float, mistake: str) -> np.ndarray:
        """The gradient of the objective by the outputs at s_t."""
        weight = self.agent.entropy_coef * (1.0 if mistake == mistakes.NO_SIGN else np.sign(delta))
        weight = 0.0 if mistake == mistakes.NO_ENTROPY else weight
        o = at.o if self.critic is not None else at.o[:-1]
        do = policies.objective_gradient(self.policy, self.choices, o, at.turn.taken, weight)
        return do if self.critic is not None else np.append(do, 1.0)
