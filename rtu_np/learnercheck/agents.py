"""What the references of all streaming agents share: one step, its inputs, and the next action."""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.control.exploration import Epsilon
from rtu_np.control.inputs import COUNT, DRAWN, HIGHEST, LATEST, LOWEST, SUM_ABS, SUM_SQUARES
from rtu_np.control.policies import Gaussian
from rtu_np.control.softmax import Softmax
from rtu_np.learnercheck import mistakes, policies
from rtu_np.learnercheck.body import Arrays
from rtu_np.learnercheck.inputs import AgentInputs
from rtu_np.learnercheck.td import flag
from rtu_np.learning.outcomes import IS_FIRST, STEPS

SHARED = (
    *(mistakes.END_BOOTSTRAPS, mistakes.TRUNCATED_AS_END, mistakes.TRACES_STAY, mistakes.MEMORY_STAYS),
    *(mistakes.OLD_ERROR, mistakes.NO_GAMMA, mistakes.NO_LAMBDA, mistakes.NO_DECAY, mistakes.REPLACED),
    *(mistakes.SIGN, mistakes.STALE_VALUE, mistakes.NO_CORRECTION, mistakes.OLD_MOMENT, mistakes.BOUND),
    *(mistakes.LATE, mistakes.DONE_LATE),
)


class Turn(NamedTuple):
    """One step of an agent."""

    state: Arrays
    found: Arrays
    row: dict[str, Any]
    first: bool
    terminated: bool
    truncated: bool

    @property
    def ends(self) -> bool:
        return self.terminated or self.truncated

    @property
    def x(self) -> np.ndarray:
        return self.found["inputs.x"]

    @property
    def taken(self) -> np.ndarray:
        """The action whose result this step is."""
        return self.state["action"][DRAWN]

    def bootstraps(self, mistake: str) -> bool:
        if self.terminated:
            return mistake == mistakes.END_BOOTSTRAPS
        return not (self.truncated and mistake == mistakes.TRUNCATED_AS_END)


class AgentReference:
    """A base: it makes turns of rows, and expects inputs, the clock and actions."""

    def __init__(self, agent: Any, policy: Any) -> None:
        if not isinstance(policy, Softmax | Gaussian | Epsilon):
            raise ValueError(
                f"learner has the policy {policy!r}: expected Softmax or Gaussian, whose equations are known; for any "
                "other, give a reference"
            )
        self.agent, self.policy, self._inputs = agent, policy, AgentInputs(agent)
        self.nets: list[Any] = []
        n = agent.actions.n
        self.choices = [] if not agent.actions.discrete else list(n) if isinstance(n, tuple) else [n]

    def turn(self, state: Arrays, row: dict[str, Any], found: Arrays) -> Turn:
        first, terminated = bool(state["clock"][IS_FIRST]), flag(row, "terminated")
        return Turn(state, found, row, first, terminated, flag(row, "truncated") and not terminated)

    def inputs(self, turn: Turn, mistake: str) -> tuple[Arrays, float]:
        """(what the inputs become, the reward that is learned from)"""
        observation = np.zeros(self.agent._inputs.n_observation)
        self.agent._write(turn.row["observation"], observation)
        reward = 0.0 if turn.first else float(turn.row.get("reward", 0.0))
        found = self._inputs.expected(turn.state, observation, reward, (turn.first, turn.ends, mistake))
        return found, float(found.pop("reward").item())

    def around(self, turn: Turn, found: Arrays, delta: float, o: np.ndarray | None) -> Arrays:
        """The clock, the sums of TD errors and the next action with the input that it becomes.

        o : the outputs from which the next action is drawn, if one is
        """
        clock, errors = turn.state["clock"].copy(), turn.state["td_errors"].copy()
        clock[STEPS] += not turn.first
        clock[IS_FIRST] = turn.ends
        if not turn.first:
            errors[SUM_ABS] += abs(delta)
            errors[SUM_SQUARES] += delta**2
            errors[COUNT] += 1
            errors[LATEST] = delta
        around = {"clock": clock, "td_errors": errors}
        return around if turn.ends or o is None else around | self.acts(turn, found, o, int(clock[STEPS]))

    def acts(self, turn: Turn, found: Arrays, o: np.ndarray, steps: int) -> Arrays:
        """The next action, drawn from the outputs `o`, and the input that it becomes."""
        drawn = policies.drawn(self.policy, self.choices, o, turn.state["noise"], steps)
        executed = drawn
        if isinstance(self.policy, Gaussian):
            bounds = self.agent._buffers.bounds
            executed = np.clip(drawn, bounds[LOWEST], bounds[HIGHEST])
        previous = found["previous"].copy()
        if previous.size:
            previous[:-1] = policies.as_input(self.policy, self.choices, turn.found["action"][1 - DRAWN])
        return {"action": np.stack([drawn, executed]), "previous": previous}

    def confine(self, turn: Turn, found: Arrays, mistake: str) -> None:
        for net in self.nets if not turn.first else []:
            net.confine(found, found["clock"], mistake)
