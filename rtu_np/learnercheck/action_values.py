"""Streaming Q(lambda) and QRC(lambda), one step from the state of the agent: derivations (44), (45)."""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.control.inputs import DRAWN
from rtu_np.learnercheck import mistakes
from rtu_np.learnercheck.agents import SHARED, AgentReference, Turn
from rtu_np.learnercheck.body import Arrays, Moved
from rtu_np.learnercheck.networks import Added, Net, cleared
from rtu_np.learning.parts import DISCOUNT


class Valued(NamedTuple):
    """A turn, and what a network says."""

    turn: Turn
    moved: Moved
    q_t: np.ndarray  # of all actions at s_t, with today's parameters
    q_next: np.ndarray  # at s_{t+1}
    gradient: Arrays  # of q_next
    old_error: float
    old_cut: bool  # whether the traces were cut one step before


class QLambdaReference(AgentReference):
    """The reference of `QLambda`."""

    mistakes: tuple[str, ...] = (*SHARED, mistakes.NEW_TRACE, mistakes.NOT_CUT, mistakes.CUT_LATE, mistakes.NOT_LARGEST)

    def __init__(self, agent: Any) -> None:
        super().__init__(agent, agent.epsilon)
        self.nets = [
            Net(of, rule, agent.gamma, agent.dtype) for of, rule in zip(agent._networks(), self._rules(), strict=True)
        ]
        self.q, self._old_error, self._old_cut = self.nets[0], 0.0, False

    def _rules(self) -> list[Any]:
        return [self.agent.optimizer]

    def observe(self, state: Arrays, row: dict[str, Any], found: Arrays) -> Valued:
        turn = self.turn(state, row, found)
        at = self._valued(self.q, turn)
        self._old_error = self._error(at, self.inputs(turn, "")[1], "")
        self._old_cut = self._cut(at)
        return at

    def _valued(self, net: Net, turn: Turn) -> Valued:
        if turn.first:
            net.body.clear()
        params = net.params(turn.state)
        moved = net.body.advance(params, net.state(turn.state), turn.x)
        q_t, q_next = net.read(params, turn.state[f"{net.prefix}memory.y"]), net.read(params, moved.y)
        return Valued(turn, moved, q_t, q_next, net.gradient(params, moved), self._old_error, self._old_cut)

    def _error(self, at: Valued, reward: float, mistake: str) -> float:
        if at.turn.first:
            return 0.0
        best = at.q_next[0] if mistake == mistakes.NOT_LARGEST else at.q_next.max()
        delta = reward + self.agent.gamma * (best if at.turn.bootstraps(mistake) else 0.0)
        delta -= 0.0 if mistake == mistakes.STALE_VALUE else at.q_t[int(at.turn.taken[0])]
        return at.old_error if mistake == mistakes.OLD_ERROR else -delta if mistake == mistakes.SIGN else delta

    @staticmethod
    def _cut(at: Valued) -> bool:
        """Whether the next action is not greedy."""
        return bool(at.q_next[int(at.turn.found["action"][DRAWN, 0])] < at.q_next.max())

    def _discount(self, at: Valued, mistake: str) -> float:
        cut = at.old_cut if mistake == mistakes.CUT_LATE else self._cut(at)
        return 0.0 if cut and mistake != mistakes.NOT_CUT else self.agent.gamma

    def expected(self, at: Valued, mistake: str = "") -> Arrays:
        """The state behind the turn, with a mistake if one is named."""
        turn, net = at.turn, self.q
        found, reward = self.inputs(turn, mistake)
        delta = self._error(at, reward, mistake)
        found |= self._learned(at, delta, mistake)
        if turn.ends and mistake != mistakes.TRACES_STAY:
            found |= cleared({name: array for name, array in found.items() if "traces." in name})
        found |= net.memory(at.moved.state, at.moved.y, turn.ends and mistake != mistakes.MEMORY_STAYS)
        found |= self.around(turn, found, delta, at.q_next)
        self.confine(turn, found, mistake)
        return found

    def _learned(self, at: Valued, delta: float, mistake: str) -> Arrays:
        turn, net, state = at.turn, self.q, at.turn.state
        if not turn.ends:
            chosen = np.eye(at.q_next.size)[int(turn.found["action"][DRAWN, 0])]
            discount = self._discount(at, mistake)
            added = Added(net.along(at.gradient, chosen), discount, delta, not turn.first, mistake)
            return net.learn_then_add(state, added)
        unchanged = net.of_flat("params", net.flat(net.params(state))) | net.of_flat("traces", net.traces(state))
        if turn.first:
            return unchanged
        if net.stored:
            added, latest = Added(np.zeros(net.n), 0.0, delta, True, mistake), state["moments.latest"]
            return net.step_with_gradient(state, state["moments.gradient"], latest[DISCOUNT], added)
        return unchanged | net.step(state, net.traces(state), delta, mistake)


class QRCReference(QLambdaReference):
    """The reference of `QRC`."""

    mistakes = (
        *(name for name in SHARED if name not in (mistakes.REPLACED, mistakes.BOUND)),
        *(mistakes.NOT_CUT, mistakes.CUT_LATE, mistakes.NOT_LARGEST),
        *(mistakes.NO_TARGET_GRADIENT, mistakes.NO_H, mistakes.NO_BETA),
    )

    def _rules(self) -> list[Any]:
        return [self.agent.optimizer, self.agent.h_optimizer]

    def observe(self, state: Arrays, row: dict[str, Any], found: Arrays) -> Any:
        at = super().observe(state, row, found)
        return at, self._valued(self.nets[1], at.turn)

    def expected(self, at: Any, mistake: str = "") -> Arrays:
        (q, h), agent = at, self.agent
        turn, state = q.turn, q.turn.state
        found, reward = self.inputs(turn, mistake)
        delta = self._error(q, reward, mistake)
        h_t = 0.0 if turn.first else h.q_t[int(turn.taken[0])]
        e = agent.gamma * agent.lambda_ * state["e"] + h_t
        discount = self._discount(q, mistake)
        discount = 1.0 if mistake == mistakes.NO_GAMMA and discount else discount
        lambda_ = 1.0 if mistake == mistakes.NO_LAMBDA else agent.lambda_
        decay = 1.0 if mistake == mistakes.NO_DECAY else discount * lambda_
        chosen = np.eye(q.q_next.size)[int(turn.found["action"][DRAWN, 0])]
        best = np.eye(q.q_next.size)[int(np.argmax(q.q_next))]
        target = agent.gamma * self.q.along(q.gradient, best) * (0.0 if turn.terminated else 1.0)
        directions = [
            self._direction_of_q(state, (delta, e, h_t), target, mistake),
            self._direction_of_h(state, delta, h_t, mistake),
        ]
        for net, part, direction in zip(self.nets, at, directions, strict=True):
            gradient, z = net.along(part.gradient, chosen), net.traces(state)
            found |= net.of_flat("params", net.flat(net.params(state)))
            found |= {} if turn.first else net.step(state, direction, 1.0, mistake)
            forgets = turn.ends and mistake != mistakes.MEMORY_STAYS
            found |= net.memory(part.moved.state, part.moved.y, forgets)
            stays = 0.0 if turn.ends and mistake != mistakes.TRACES_STAY else 1.0
            found |= net.of_flat("traces", stays * (decay * z + gradient))
            found[f"{net.prefix}gradient"] = net.padded(gradient)
        found["e"] = e if decay != 0 and not turn.ends else 0.0 * e
        found |= self.around(turn, found, delta, q.q_next)
        self.confine(turn, found, mistake)
        return found

    def _direction_of_q(self, state: Arrays, errors: tuple[float, Any, float], target: Any, mistake: str) -> np.ndarray:
        (delta, e, h_t), own = errors, state["q.gradient"]
        target = 0.0 * target if mistake == mistakes.NO_TARGET_GRADIENT else target
        h_t = 0.0 if mistake == mistakes.NO_H else h_t
        return delta * self.q.traces(state) - e * (target - own) - h_t * own

    def _direction_of_h(self, state: Arrays, delta: float, h_t: float, mistake: str) -> np.ndarray:
        net = self.nets[1]
        beta = 0.0 if mistake == mistakes.NO_BETA else self.agent.beta
        return delta * net.traces(state) - h_t * state["h.gradient"] - beta * net.flat(net.params(state))
