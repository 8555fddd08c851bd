"""Online regression, one step from the state of its learner: derivations (78)-(82).

Which input is the last value of a target, if the learner looks for it, is taken from the learner.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.learnercheck import inputs, mistakes
from rtu_np.learnercheck.body import Arrays, Moved
from rtu_np.learnercheck.networks import Added, Net
from rtu_np.learnercheck.td import flag
from rtu_np.learning.network import NamedNetwork
from rtu_np.learning.outcomes import IS_FIRST, STEPS
from rtu_np.prediction.last_values import LOOKING, NONE
from rtu_np.prediction.regressor_arrays import FILLED, ROW
from rtu_np.prediction.targets import WINDOW

ORIGINS = ("base", "source", "base_tm1", "source_tm1")


class Row(NamedTuple):
    """One row, and what the network says."""

    state: Arrays
    found: Arrays
    row: dict[str, Any]
    moved: Moved | None  # of the body that learns; None if it waits
    gradient: Arrays
    ahead: tuple[np.ndarray, np.ndarray]  # (state, outputs) of the body that predicts


class Regression:
    """The reference of `OnlineRegressor`."""

    mistakes = (
        *(mistakes.MEMORY_STAYS, mistakes.SIGN, mistakes.NO_CORRECTION, mistakes.OLD_MOMENT, mistakes.BOUND),
        *(mistakes.LATE, mistakes.LATE_SCALE, mistakes.NOT_ABOUT_ZERO),
    )

    def __init__(self, learner: Any) -> None:
        self.learner, self._m = learner, learner.n_targets
        network = NamedNetwork("", learner._spec, learner._views, "readout")
        self.net = Net(network, learner.optimizer, 0.0, learner.dtype)
        self.nets = [self.net]
        self._behind = learner.horizon > 0 and learner.delay == "behind"
        self._stored = learner.horizon > 0 and learner.delay == "stored"

    def observe(self, state: Arrays, row: dict[str, Any], found: Arrays) -> Row:
        """Go on by a row. `found` : the state behind it, of which the network's input is taken."""
        net, x = self.net, found["inputs.x"]
        if state["clock"][IS_FIRST]:
            net.body.clear()
        params = net.params(state)
        moved, gradient = None, {}
        if not self._behind or self._due(state):
            learned = state["delayed.inputs"][int(state["clock"][ROW])] if self._behind else x
            moved = net.body.advance(params, net.state(state), learned)
            gradient = net.gradient(params, moved)
        if self._behind or moved is None:
            after, y = net.body.forward(params, state["delayed.state"], x)
        else:
            after, y = moved.state, moved.y
        return Row(state, found, row, moved, gradient, (after, net.read(params, y)))

    def _due(self, state: Arrays) -> bool:
        return bool(state["clock"][FILLED] == self.learner.horizon)

    # ----------------------------------------------------------------------------------------------------- last values

    def _origins(self, known: Arrays, origins: Arrays, raw: np.ndarray) -> Arrays:
        """The last values of a row, with the columns in `known`."""
        base, source = origins["base"].copy(), origins["source"].copy()
        for j, column in enumerate(known["last_values.column"]):
            k = int(column)
            if k == LOOKING and known["last_values.compared"][j] > 0:
                same = np.flatnonzero(known["last_values.differs"][j] == 0)
                k = int(same[0]) if same.size else NONE
            if k < 0:
                base[j], source[j] = 0.0, NONE
            elif not np.isnan(raw[k]):
                base[j], source[j] = raw[k], k
        return {**origins, "base": base, "source": source}

    def _input(self, at: Row, origins: Arrays, mistake: str) -> Arrays:
        """The network's input, and the running mean squares of changes."""
        known = (origins["source"] != NONE) & (origins["source"] == origins["source_tm1"])
        change = np.where(known, origins["base"] - origins["base_tm1"], 0.0)
        n, square = at.state["last_values.n"].copy(), at.state["last_values.square"].copy()
        n[known] = np.minimum(n[known] + 1, WINDOW)
        square[known] += (change[known] ** 2 - square[known]) / n[known]
        raw = np.where(inputs.stage_seen(at.row["x"]), np.asarray(at.row["x"], float), np.nan)
        first = bool(at.state["clock"][IS_FIRST])
        found = inputs.of_stage(self.learner._inputs, at.state, at.row["x"], first, mistake)
        x = found.get("inputs.x", raw)
        more = np.divide(change, np.sqrt(square), out=np.zeros_like(change), where=square > 0)
        n_more = at.found["inputs.x"].size - x.size
        found |= {"inputs.x": np.concatenate([x, more[:n_more]])}
        return {**found, "last_values.n": n, "last_values.square": square}

    # -------------------------------------------------------------------------------------------------------- learning

    def _errors(self, at: Row, base: np.ndarray, o: np.ndarray, mistake: str) -> tuple[np.ndarray, bool, Arrays]:
        """(-dL/do, whether a target is there, the running scales)"""
        n, mean, variance = (at.state[f"scale.{name}"].copy() for name in ("n", "mean", "variance"))
        errors, seen, loss = np.zeros(self._m), False, self.learner.loss
        given = np.atleast_1d(np.asarray(at.row["y"], float))
        for j, column in enumerate(at.found["last_values.column"]):
            if not self._due(at.state) or column == LOOKING or np.isnan(given[j]):
                continue
            seen, distance, old = True, given[j] - base[j], (mean[j], variance[j])
            n[j] = min(n[j] + 1, WINDOW)
            apart = distance - mean[j]
            if column == NONE or mistake == mistakes.NOT_ABOUT_ZERO:
                mean[j] += apart / n[j]
            variance[j] += (apart * (distance - mean[j]) - variance[j]) / n[j]
            about, size = old if mistake == mistakes.LATE_SCALE else (mean[j], variance[j])
            y = (distance - about) / np.sqrt(size) if size > 0 else 0.0
            descent: dict[str, Any] = {
                "squared": lambda y=y, j=j: y - o[j],
                "huber": lambda y=y, j=j: np.clip(y - o[j], -1.0, 1.0),
                "logistic": lambda j=j: given[j] - 1 / (1 + np.exp(-o[j])),
            }
            errors[j] = descent[loss]()
        scale = {"scale.n": n, "scale.mean": mean, "scale.variance": variance}
        return -errors if mistake == mistakes.SIGN else errors, seen, scale

    def expected(self, at: Row, mistake: str = "") -> Arrays:
        """The state behind the row, with a mistake if one is named."""
        state, net, ends = at.state, self.net, flag(at.row, "ends")
        raw = np.where(inputs.stage_seen(at.row["x"]), np.asarray(at.row["x"], float), np.nan)
        origins = self._origins(state, {name: state[f"last_values.{name}"] for name in ORIGINS}, raw)
        found = self._input(at, origins, mistake)
        returned = self._in_units(state, at.ahead[1], origins["base"])
        origins = self._origins(at.found, origins, raw)
        row = int(state["clock"][ROW])
        found |= self._learned(at, origins["base"], row, mistake)
        found |= self._waiting(at, origins["base"], row)
        found |= {f"last_values.{name}": origins[name.removesuffix("_tm1")] for name in ORIGINS}
        clock = state["clock"].copy()
        clock[STEPS] += 1
        clock[IS_FIRST] = ends
        if self.learner.horizon:
            clock[ROW] = (row + 1) % self.learner.horizon
            clock[FILLED] = min(clock[FILLED] + 1, self.learner.horizon)
        if ends:
            found |= self._forgotten(found, mistake)
            clock[ROW] = clock[FILLED] = 0
        net.confine(found, clock, mistake)
        return {**found, "clock": clock, "returned": returned}

    def _learned(self, at: Row, base: np.ndarray, row: int, mistake: str) -> Arrays:
        net, state = self.net, at.state
        found = net.of_flat("params", net.flat(net.params(state)))
        if at.moved is None:
            return {**found, **net.memory(net.state(state), state["memory.y"])}
        found |= net.memory(at.moved.state, at.moved.y)
        here = net.read(net.params(state), at.moved.y)
        if self._stored:
            here, base = state["delayed.outputs"][row], state["delayed.bases"][row]
        elif self._behind:
            base = state["delayed.bases"][row]
        errors, seen, scale = self._errors(at, base, here, mistake)
        single = self._m == 1
        gradient = net.along(at.gradient, np.ones(1) if single else errors)
        if self._stored:
            found["delayed.gradients"] = state["delayed.gradients"].copy()
            gradient, found["delayed.gradients"][row] = found["delayed.gradients"][row].copy(), gradient
        found |= {**scale, **net.of_flat("traces", gradient)}
        if not seen:
            return found
        added = Added(gradient, 0.0, errors[0] if single else 1.0, True, mistake)
        return found | net.add_then_learn({**state, **net.of_flat("traces", gradient)}, added)

    def _waiting(self, at: Row, base: np.ndarray, row: int) -> Arrays:
        """What waits for its targets."""
        found = {}
        for name, now in (("inputs", at.found["inputs.x"]), ("bases", base), ("outputs", at.ahead[1])):
            if f"delayed.{name}" in at.state:
                found[f"delayed.{name}"] = at.state[f"delayed.{name}"].copy()
                found[f"delayed.{name}"][row] = now
        return {**found, "delayed.state": at.ahead[0]} if self._behind else found

    def _forgotten(self, found: Arrays, mistake: str) -> Arrays:
        stays = mistake == mistakes.MEMORY_STAYS
        names = [name for name in found if name.startswith("traces.") or (not stays and name.startswith("memory."))]
        names += [name for name in ("delayed.state",) if name in found and not stays]
        forgotten = {name: 0.0 * found[name] for name in names}
        start = {"base": 0.0, "source": NONE, "source_tm1": NONE}  # without a source, base_tm1 is not read
        return forgotten | {f"last_values.{name}": np.full(self._m, value) for name, value in start.items()}

    def _in_units(self, state: Arrays, o: np.ndarray, base: np.ndarray) -> np.ndarray:
        if self.learner.loss == "logistic":
            return 1 / (1 + np.exp(-o))
        return base + state["scale.mean"] + np.sqrt(state["scale.variance"]) * o
