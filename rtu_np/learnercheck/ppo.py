"""PPO, one step from the state of the agent; a step that completes a rollout has the whole update in it.

Stored sensitivities are compared when they are stored. An update then starts from those that the agent has stored.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.control.inputs import DRAWN
from rtu_np.learnercheck import mistakes, policies
from rtu_np.learnercheck.agents import AgentReference, Turn
from rtu_np.learnercheck.body import Arrays, Moved
from rtu_np.learnercheck.ppo_update import Past, Rows, Update
from rtu_np.learnercheck.rollouts import ROWS, SENSITIVITIES, PPONet, stored_at, stored_first
from rtu_np.learnercheck.td import flag
from rtu_np.learning.outcomes import CONTINUES, STEPS, TERMINATED, TRUNCATED

_HALF = 1.01 * 2.0**-8  # of itself: the most by which rounding to bfloat16 moves a number, and float32's own error


class Acted(NamedTuple):
    """A turn, and what the network says."""

    turn: Turn
    right: Arrays  # all that comes before the next transition, without a mistake
    past: Past | None  # ahead of the update, if there is one
    stored: Arrays  # sensitivities before the step of the next transition
    moved: Moved | None  # the step of the next transition, with the agent's parameters; or None
    start: np.ndarray  # the state before that


class PPOReference(AgentReference):
    """The reference of `PPO`."""

    mistakes: tuple[str, ...] = (
        *(mistakes.END_BOOTSTRAPS, mistakes.TRUNCATED_AS_END, mistakes.OWN_VALUE, mistakes.ACROSS_END),
        *(mistakes.OVER_ROLLOUT, mistakes.SAME_ORDER, mistakes.CLIP_SIDE, mistakes.VALUE_FREE),
        *(mistakes.NO_ENTROPY, mistakes.ENTROPY_SIGN, mistakes.NO_PAST, mistakes.LONG_GRADIENT),
        *(mistakes.NO_CORRECTION, mistakes.OLD_MOMENT, mistakes.NO_REFRESH, mistakes.LATE, mistakes.DONE_LATE),
    )

    def __init__(self, agent: Any) -> None:
        super().__init__(agent, agent.policy)
        if agent.stored_dtype and agent._update._refresh.states:
            raise ValueError(
                f"learner has stored_dtype={agent.stored_dtype!r} with refresh={agent.refresh!r}: expected refresh="
                "'none' or 'targets', since what rounding makes of sensitivities within an update cannot be compared"
            )
        self.net = PPONet(agent)
        self.nets = [self.net]
        self._stores = agent._spec.n_stored + agent._spec.n_rounded > 0
        filled = agent.steps % agent.n_steps
        rows = [stored_at(agent, t) if t < filled else {} for t in range(agent.n_steps)]
        self._rows, self._first = [_plain(row) for row in rows], _plain(stored_first(agent))

    def check_length(self, rows: list[dict[str, Any]]) -> None:
        """ValueError if the rows complete no rollout, so that there would be no update."""
        n, ends = self.agent.n_steps, [flag(row, "terminated") or flag(row, "truncated") for row in rows]
        complete = sum(not end for end in ends[:-1])  # the step behind an end begins an episode
        if self.agent.steps % n + complete < n:
            raise ValueError(
                f"stream has {len(rows)} steps, of which {complete} complete transitions: expected an update of PPO, "
                f"at which a rollout of n_steps={n} is complete; give more steps, or an agent with a smaller n_steps"
            )

    def observe(self, state: Arrays, row: dict[str, Any], found: Arrays) -> Acted:
        turn, body = self.turn(state, row, found), self.net.body
        if turn.first:
            body.clear()
        right, past = self._completed(turn, ""), None
        if self._is_full(turn):
            now = Past(self._rows, self._first, body.carried)
            past = Past([dict(each) for each in now.rows], dict(now.first), dict(now.now))
            right |= self._learned(turn, right, now, "")
            body.carried = now.now
        start = state["memory.state"] * (0.0 if turn.first else 1.0)
        stored: Arrays = {}
        if turn.ends:
            return Acted(turn, right, past, stored, None, start)
        names = [name for name in found if name.startswith(SENSITIVITIES)]
        for name in names:
            stored[name] = body.carried.get(name.removeprefix(SENSITIVITIES), np.zeros_like(found[name]))
        t = int(found["clock"][STEPS]) % self.agent.n_steps
        self._rows[t] = _plain({name: found[name] for name in names})
        if t == 0:
            self._first = dict(self._rows[t])
        params = self.net.params(found)
        moved = body.advance(params, start, turn.x) if self._stores else Moved(*body.forward(params, start, turn.x), {})
        return Acted(turn, right, past, stored, moved, start)

    def _is_full(self, turn: Turn) -> bool:
        return not turn.first and int(turn.state["clock"][STEPS]) % self.agent.n_steps == self.agent.n_steps - 1

    def _completed(self, turn: Turn, mistake: str) -> Arrays:
        """The inputs, the clock, and the rows of the rollout with the transition that ends here."""
        state = turn.state
        found, reward = self.inputs(turn, mistake)
        rows = {f"rollout.{name}": state[f"rollout.{name}"].copy() for name in (*ROWS, "states")}
        clock = state["clock"].copy()
        if not turn.first:
            t, params = int(clock[STEPS]) % self.agent.n_steps, self.net.params(state)
            end = TERMINATED if turn.terminated else TRUNCATED if turn.truncated else CONTINUES
            rows["rollout.rewards"][t], rows["rollout.ends"][t] = reward, end
            clock[STEPS] += 1
            if end == TRUNCATED or (end == CONTINUES and self._is_full(turn)):
                y = self.net.body.forward(params, state["memory.state"], turn.x)[1]
                own = mistake == mistakes.OWN_VALUE
                rows["rollout.finals"][t] = turn.x
                rows["rollout.bootstraps"][t] = state["rollout.values"][t] if own else self.net.value(params, y)
        clock[1 - STEPS] = turn.ends
        unchanged = {f"params.{name}": array for name, array in self.net.params(state).items()}
        return {**found, **rows, **unchanged, "clock": clock}

    def _learned(self, turn: Turn, found: Arrays, past: Past, mistake: str) -> Arrays:
        rows: Rows = {name: found[f"rollout.{name}"] for name in (*ROWS, "states")}
        rows["first"] = turn.state["rollout.first"]
        learned = Update(self.agent, self.net, self.choices, mistake)(turn.state, rows, past)
        return {**learned, **{f"rollout.{name}": rows[name] for name in (*ROWS, "states")}}

    def expected(self, at: Acted, mistake: str = "") -> Arrays:
        """The state behind the turn, with a mistake if one is named."""
        turn, found = at.turn, {name: array.copy() for name, array in at.right.items()}
        if mistake:
            found = self._completed(turn, mistake)
            if at.past is not None:
                past = Past([dict(each) for each in at.past.rows], dict(at.past.first), dict(at.past.now))
                found |= self._learned(turn, found, past, mistake)
        if at.moved is None:
            return found
        clock, params, y = found["clock"], self.net.params(turn.found), at.moved.y
        t = int(clock[STEPS]) % self.agent.n_steps
        o, taken = self.net.actor.read(params, y), turn.found["action"][DRAWN]
        found |= self.acts(turn, found, o, int(clock[STEPS]))
        begun = {
            **dict.fromkeys(("finals", "ends", "rewards", "bootstraps"), 0.0),
            **{"x": turn.x, "states": at.start, "starts": turn.first, "actions": found["action"][DRAWN]},
            "log_p": policies.log_probability(self.policy, self.choices, o, taken),
            "values": self.net.value(params, y),
        }
        for name, value in begun.items():
            found[f"rollout.{name}"][t] = value
        found |= {"memory.state": at.moved.state, "memory.y": y}
        return found | {name: self._as_stored(S, turn.found[name]) for name, S in at.stored.items()}

    def _as_stored(self, S: np.ndarray, found: np.ndarray) -> np.ndarray:
        """The sensitivities, or the agent's if these are rounded, as they should be."""
        if self.agent.stored_dtype is None:
            return S
        return np.where(np.abs(found - S) <= _HALF * np.abs(S) + 1e-6 * np.abs(S).max(initial=0.0), found, S)


def _plain(stored: Arrays) -> Arrays:
    """By the names of the parameters."""
    return {name.removeprefix(SENSITIVITIES): array for name, array in stored.items()}
