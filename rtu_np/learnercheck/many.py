"""TD(lambda) of many predictions on one body, one step from the state of its learner: derivations (65)-(72)."""

from typing import Any

import numpy as np

from rtu_np.learnercheck import inputs, mistakes
from rtu_np.learnercheck.body import Arrays
from rtu_np.learnercheck.networks import Net, cleared
from rtu_np.learnercheck.td import TD, Predicted, Step
from rtu_np.learning.network import NamedNetwork


class ManyTD(TD):
    """The reference of `TDLambda` with an array of discounts."""

    mistakes = (
        *(mistakes.END_BOOTSTRAPS, mistakes.TRUNCATED_AS_END, mistakes.TRACES_STAY, mistakes.MEMORY_STAYS),
        *(mistakes.FIRST_LEARNS, mistakes.NEW_TRACE, mistakes.NO_GAMMA, mistakes.NO_LAMBDA, mistakes.NO_DECAY),
        *(mistakes.SIGN, mistakes.STALE_VALUE, mistakes.NO_CORRECTION, mistakes.RATIO_LEFT, mistakes.OWN_KAPPA),
        mistakes.LATE,
    )

    def __init__(self, learner: Any) -> None:
        super().__init__(learner)
        network, learns = NamedNetwork("", learner._spec, learner._views, "readout"), learner.body != "frozen"
        self.net = Net(network, learner.optimizer, 0.0, learner.dtype, learns)
        self.nets, self._m = [self.net], learner.gamma.size

    def _error(self, at: Predicted, mistake: str) -> Any:
        step, (v_tm1, v_t) = at.step, at.values
        if step.first and mistake != mistakes.FIRST_LEARNS:
            return np.zeros(self._m)
        target = self._cumulants(step) + self._discount(step) * self._bootstrapped(step, v_t, mistake)
        errors = self._ratio(step) * (target - (0.0 if mistake == mistakes.STALE_VALUE else v_tm1))
        return np.nan_to_num(-errors if mistake == mistakes.SIGN else errors, nan=0.0)

    @staticmethod
    def _cumulants(step: Step) -> np.ndarray:
        return np.array([np.nan if c is None else c for c in step.row["c"]])

    def _ratio(self, step: Step) -> Any:
        ratio = step.row.get("ratio")
        return 1.0 if ratio is None else np.asarray(ratio)

    def expected(self, at: Predicted, mistake: str = "") -> Arrays:
        step, state, learner = at.step, at.step.state, self.learner
        errors = self._error(at, mistake)
        discount: Any = 1.0 if mistake == mistakes.NO_GAMMA else self._discount(step)
        decays: Any = discount * (1.0 if mistake == mistakes.NO_LAMBDA else learner.lambda_)
        decays = decays * (1.0 if mistake == mistakes.RATIO_LEFT else self._ratio(step)) + np.zeros(self._m)
        decays = decays if mistake != mistakes.NO_DECAY else np.ones(self._m)
        z = {name: array for name, array in state.items() if name.startswith("traces.")}
        behind = {name: self._decayed(name, array, decays, at) for name, array in z.items()}
        used = behind if mistake == mistakes.NEW_TRACE else z
        learns = not step.first or mistake == mistakes.FIRST_LEARNS
        found = self.net.of_flat("params", self.net.flat(self.net.params(state)))
        if learns and not np.isnan(self._cumulants(step)).all():
            found |= self._update(state, used, errors, mistake)
        found |= cleared(behind) if step.ends and mistake != mistakes.TRACES_STAY else behind
        found |= self.net.memory(at.moved.state, at.moved.y, step.ends and mistake != mistakes.MEMORY_STAYS)
        found |= inputs.of_stage(learner._inputs, state, step.row["x"], step.first, mistake)
        if learner.body != "frozen":
            self.net.confine(found, step.clock()["clock"], mistake)
        return {**found, **step.clock(), "returned": self._bootstrapped(step, at.values[1], mistake)}

    def _decayed(self, name: str, z: np.ndarray, decays: np.ndarray, at: Predicted) -> np.ndarray:
        """The trace with the gradient of now."""
        body = self.learner.body
        if name == "traces.readout.w":
            return decays[:, None] * z + at.moved.y
        if name == "traces.readout.b":
            return decays * z + 1
        if body == "traces":  # of each prediction
            w = self.net.params(at.step.state)["readout.w"]
            gradient = np.tensordot(w, at.moved.gradient[name.removeprefix("traces.")], 1)
            return decays.reshape(-1, *[1] * (z.ndim - 1)) * z + gradient
        return (decays[0] if body == "shared" else 0.0) * z + self._by_unit(name, z, at)

    def _by_unit(self, name: str, z: np.ndarray, at: Predicted) -> np.ndarray:
        """(features of a unit, *shape): the gradient of each feature by the parameters of its unit."""
        gradient, units = at.moved.gradient[name.removeprefix("traces.")], z.shape[-1]
        of_unit = [gradient[k * units : (k + 1) * units] for k in range(len(z))]
        return np.stack([np.stack([part[i, ..., i] for i in range(units)], axis=-1) for part in of_unit])

    def _update(self, state: Arrays, z: Arrays, errors: np.ndarray, mistake: str) -> Arrays:
        rule, net, body = self.learner.optimizer, self.net, self.learner.body
        bounded = type(rule).__name__ == "ObGD"
        if bounded:
            kappa = rule.kappa * (self._m if body == "traces" and mistake != mistakes.OWN_KAPPA else 1)
            size = sum(np.abs(each.reshape(self._m, -1)).sum(axis=1) for each in z.values())
            bound = rule.step_size * kappa * np.maximum(np.abs(errors), 1.0) * size
            errors = errors * rule.step_size / np.maximum(1.0, bound)
        w = net.params(state)["readout.w"]
        direction = {}
        for name in net.params(state):
            trace = z.get(f"traces.{name}")
            if name.startswith("readout."):
                direction[name] = errors.reshape(-1, *[1] * (trace.ndim - 1)) * trace  # type: ignore[union-attr]
            elif trace is None:
                direction[name] = np.zeros_like(net.params(state)[name])
            elif body == "traces":
                direction[name] = np.tensordot(errors, trace, 1)
            else:
                dy = (errors @ w).reshape(len(trace), -1)
                direction[name] = sum(part * by for part, by in zip(trace, dy, strict=True))
        flat = net.flat(direction)
        if bounded:
            return net.of_flat("params", net.flat(net.params(state)) + flat)
        return net.step(state, flat, 1.0, mistake)
