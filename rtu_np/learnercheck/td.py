"""TD(lambda) of one prediction, one step from the state of its learner: derivations (18)-(20)."""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.learnercheck import inputs, mistakes
from rtu_np.learnercheck.body import Arrays, Moved
from rtu_np.learnercheck.networks import Added, Net, cleared
from rtu_np.learning.network import NamedNetwork
from rtu_np.learning.outcomes import IS_FIRST, STEPS


class Step(NamedTuple):
    """A step of a stream, and what the state before it says."""

    state: Arrays
    x: np.ndarray  # the network's own input
    row: dict[str, Any]
    first: bool
    terminated: bool
    truncated: bool

    @property
    def ends(self) -> bool:
        return self.terminated or self.truncated

    def clock(self) -> Arrays:
        clock = self.state["clock"].copy()
        clock[STEPS] += 1
        clock[IS_FIRST] = self.ends
        return {"clock": clock}


class Predicted(NamedTuple):
    step: Step
    moved: Moved
    values: np.ndarray  # (2, predictions) of the features before and now, with today's readout
    gradient: Arrays
    old_error: float


def flag(row: dict[str, Any], name: str) -> bool:
    return bool(row.get(name) or False)


class TD:
    """The reference of `TDLambda`."""

    mistakes: tuple[str, ...] = (
        *(mistakes.END_BOOTSTRAPS, mistakes.TRUNCATED_AS_END, mistakes.TRACES_STAY, mistakes.MEMORY_STAYS),
        *(mistakes.FIRST_LEARNS, mistakes.OLD_ERROR, mistakes.NEW_TRACE, mistakes.NO_GAMMA, mistakes.NO_LAMBDA),
        *(mistakes.NO_DECAY, mistakes.REPLACED, mistakes.SIGN, mistakes.STALE_VALUE, mistakes.NO_CORRECTION),
        *(mistakes.OLD_MOMENT, mistakes.BOUND, mistakes.LATE),
    )

    def __init__(self, learner: Any) -> None:
        self.learner = learner
        network = NamedNetwork("", learner._spec, learner._views, "readout")
        self.net = Net(network, learner.optimizer, learner.gamma, learner.dtype)
        self.nets, self._old_error = [self.net], 0.0

    def observe(self, state: Arrays, row: dict[str, Any], found: Arrays) -> Predicted:
        """Go on by a step. `found` : the state behind it, of which the network's input is taken."""
        first = state["clock"][IS_FIRST] != 0
        x = found["inputs.x"] if self.learner._inputs.on else np.asarray(row["x"], float)
        terminated = flag(row, "terminated")
        step = Step(state, x, row, first, terminated, flag(row, "truncated") and not terminated)
        if first:
            self.net.body.clear()
        params = self.net.params(state)
        moved = self.net.body.advance(params, self.net.state(state), x)
        values = np.stack([self.net.read(params, state["memory.y"]), self.net.read(params, moved.y)])
        at = Predicted(step, moved, values, self.net.gradient(params, moved), self._old_error)
        self._old_error = self._error(at, "")
        return at

    def _error(self, at: Predicted, mistake: str) -> float:
        step, (v_tm1, v_t) = at.step, at.values[:, 0]
        c = step.row["c"]
        known = c is not None and c == c
        if not known or (step.first and mistake != mistakes.FIRST_LEARNS):
            return 0.0
        delta = c + self._discount(step) * self._bootstrapped(step, v_t, mistake)
        delta -= 0.0 if mistake == mistakes.STALE_VALUE else v_tm1
        return at.old_error if mistake == mistakes.OLD_ERROR else -delta if mistake == mistakes.SIGN else delta

    def _discount(self, step: Step) -> float:
        discount = step.row.get("discount")
        return self.learner.gamma if discount is None else discount

    @staticmethod
    def _bootstrapped(step: Step, v_t: Any, mistake: str) -> Any:
        cut = step.terminated and mistake != mistakes.END_BOOTSTRAPS
        cut = cut or (step.truncated and mistake == mistakes.TRUNCATED_AS_END)
        return 0.0 * v_t if cut else v_t

    def expected(self, at: Predicted, mistake: str = "") -> Arrays:
        """The state behind the step, with a mistake if one is named."""
        step, net = at.step, self.net
        c = step.row["c"]
        learns = not step.first or mistake == mistakes.FIRST_LEARNS
        if not net.stored:
            learns = learns and c is not None and c == c
        added = Added(
            net.along(at.gradient, np.ones(1)), self._discount(step), self._error(at, mistake), learns, mistake
        )
        found = net.learn_then_add(step.state, added)
        if step.ends and mistake != mistakes.TRACES_STAY:
            found |= cleared({name: array for name, array in found.items() if name.startswith("traces.")})
        found |= net.memory(at.moved.state, at.moved.y, step.ends and mistake != mistakes.MEMORY_STAYS)
        found |= inputs.of_stage(self.learner._inputs, step.state, step.row["x"], step.first, mistake)
        net.confine(found, step.clock()["clock"], mistake)
        value = self._bootstrapped(step, at.values[1], mistake)
        return {**found, **step.clock(), "returned": value}
