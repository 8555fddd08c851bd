"""One network of a learner as its reference sees it: names, settings, and one update from a given state."""

from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.learnercheck import mistakes, phases, rules
from rtu_np.learnercheck.body import Arrays, Body, Moved, derivatives
from rtu_np.learning import passes
from rtu_np.learning.network import NamedNetwork, named, weights
from rtu_np.learning.outcomes import EXAMINE_EVERY, STEPS
from rtu_np.learning.parts import DELTA, DISCOUNT, Parts
from rtu_np.learning.per_block import Blocks, WithLambda
from rtu_np.learning.readout import HiddenReadoutSpec
from rtu_np.numerics.activations import plain_activate
from rtu_np.numerics.buffers import rebuild, size

_READOUTS = ("LinearReadoutSpec", "HiddenReadoutSpec", "RowsSpec", "HeadSpec", "TwoHeadsSpec")


class Rule(NamedTuple):
    """The rule of a range of the weights."""

    settings: Any
    start: int
    stop: int
    lambda_: float
    name: str  # before the names of its moments


class Added(NamedTuple):
    """What is added to the traces, and what is learned."""

    gradient: np.ndarray  # flat
    discount: float  # of the traces
    delta: float
    learns: bool
    mistake: str = ""


class Net:
    """A network by the names of its learner's arrays.

    optimizer, gamma : the settings of the learner for this network; learns : whether its body has a gradient
    """

    def __init__(self, of: NamedNetwork, optimizer: Any, gamma: float, dtype: Any, learns: bool = True) -> None:
        self.prefix, self.spec, self.gamma = of.prefix, of.spec, gamma
        flat = np.arange(size(weights, of.spec), dtype=dtype)
        self._index = {k: v.astype(int) for k, v in named(of.spec, weights(of.spec, flat)[0], "", of.readout).items()}
        self.n = flat.size
        self._used = np.zeros(self.n, bool)
        for index in self._index.values():
            self._used[index] = True
        self._views = of.network.params.cell
        self.body = Body(of.spec.cell, self._views, "", learns)
        self.stored = isinstance(passes.spec_of(of.spec.optimizer), Parts)
        self._rules = self._rules_of(optimizer)
        if type(of.spec.readout).__name__ not in _READOUTS:
            raise ValueError(
                f"learner has a readout of {of.spec.readout!r}: expected LinearReadout() or HiddenReadout(n), whose "
                "equations are known; for any other, give a reference"
            )

    def _rules_of(self, optimizer: Any) -> list[Rule]:
        if not self.stored:
            return [Rule(_known(optimizer), 0, self.n, self.spec.lambda_, "")]
        found = []
        for part in passes.spec_of(self.spec.optimizer).parts:
            rule = optimizer
            if isinstance(optimizer, Blocks):
                rule = optimizer.rules().get(part.block, optimizer.others)
            lambda_ = rule.lambda_ if isinstance(rule, WithLambda) else self.spec.lambda_
            rule = rule.rule if isinstance(rule, WithLambda) else rule
            found.append(Rule(_known(rule), part.start, part.stop, lambda_, f"{part.block or 'rule'}."))
        return found

    # ------------------------------------------------------------------------------------------------------ its arrays

    def params(self, state: Arrays) -> Arrays:
        """The parameters, without the prefix."""
        return {name: state[f"{self.prefix}params.{name}"] for name in self._index}

    def traces(self, state: Arrays) -> np.ndarray:
        return self.flat({name: state[f"{self.prefix}traces.{name}"] for name in self._index})

    def flat(self, arrays: Arrays) -> np.ndarray:
        """(n,) with zeros in the padding"""
        flat = np.zeros(self.n)
        for name, index in self._index.items():
            flat[index] = arrays[name]
        return flat

    def of_flat(self, part: str, flat: np.ndarray) -> Arrays:
        """{name in the learner: array} of "params" or "traces"."""
        return {f"{self.prefix}{part}.{name}": flat[index] for name, index in self._index.items()}

    def padded(self, flat: np.ndarray, start: int = 0) -> np.ndarray:
        """NaN for the padding, which is not compared."""
        return np.where(self._used[start : start + flat.size], flat, np.nan)

    def state(self, state: Arrays) -> np.ndarray:
        """(n_state,) that of the body, flat"""
        return state[f"{self.prefix}memory.state"]

    def memory(self, state: np.ndarray, y: np.ndarray, forgets: bool = False) -> Arrays:
        factor = 0.0 if forgets else 1.0
        return {f"{self.prefix}memory.state": factor * state, f"{self.prefix}memory.y": factor * y}

    # ----------------------------------------------------------------------------------------------------- its outputs

    def read(self, params: Arrays, y: np.ndarray) -> np.ndarray:
        """(outputs,) of every head, a value last"""
        outputs = []
        for block in ("policy", "value", "readout"):
            p = {name.partition(".")[2]: a for name, a in params.items() if name.startswith(f"{block}.")}
            if "W" in p:
                outputs += [p["W"] @ y + p["b"], p.get("log_std", np.zeros(0))]
            elif "w" in p:
                hidden = self.spec.readout
                if isinstance(hidden, HiddenReadoutSpec):
                    y = plain_activate(hidden.activation, y @ p["W_hidden"] + p["b_hidden"])
                outputs.append(np.atleast_1d(p["w"] @ y + p["b"]))
        return np.concatenate(outputs)

    def gradient(self, params: Arrays, moved: Moved) -> Arrays:
        """{name: (outputs, *shape)} of the outputs by all parameters."""
        own = {name: array for name, array in params.items() if name not in moved.gradient}
        found = derivatives(lambda p: self.read(p, p["y"]), {**own, "y": moved.y})
        dy = found.pop("y")
        body = {name: np.tensordot(dy, by, 1) for name, by in moved.gradient.items()}
        return {name: body[name] if name in body else found[name] for name in self._index}

    def along(self, gradient: Arrays, do: np.ndarray) -> np.ndarray:
        """The flat gradient of the outputs weighed with `do`."""
        return self.flat({name: np.tensordot(do, by, 1) for name, by in gradient.items()})

    # ----------------------------------------------------------------------------------------------------- its updates

    def step(self, state: Arrays, z: np.ndarray, delta: float, mistake: str = "") -> Arrays:
        """Parameters and moments after a step along the traces `z`, of a rule without a gradient."""
        return self._update(state, z, np.zeros(self.n), delta, (1.0, mistake))

    def step_with_gradient(self, state: Arrays, gradient: np.ndarray, discount: float, at: Added) -> Arrays:
        """The same and the traces, which advance first, of rules that have the gradient beside the traces."""
        z = self.traces(state)
        for rule in self._rules:
            part = slice(rule.start, rule.stop)
            z[part] = _decay(discount, rule.lambda_, at.mistake) * z[part] + _own_gradient(rule, gradient[part])
        return self._update(state, z, gradient, at.delta, (discount, at.mistake))

    def _update(self, state: Arrays, z: np.ndarray, g: np.ndarray, delta: float, how: tuple[float, str]) -> Arrays:
        params, expected = self.flat(self.params(state)), {}
        traces = self.traces(state) if self.stored else z
        for rule in self._rules:
            part, first = slice(rule.start, rule.stop), f"{self.prefix}moments.{rule.name}"
            moments = {k.removeprefix(first): a for k, a in state.items() if k.startswith(first)}
            restart = not traces[part].any()
            moments["decay"] = 0.0 if restart else how[0] * rule.lambda_  # type: ignore[assignment]
            at = rules.Seen(z[part], g[part], delta, moments, self.gamma * rule.lambda_, restart, how[1])
            with np.errstate(divide="ignore"):
                change, found = rules.RULES[type(rule.settings).__name__](rule.settings, at)
            params[part] += change
            z[part] = found.pop("z", z[part])
            for name, array in found.items():
                whole = np.shape(array) == change.shape
                expected[first + name] = self.padded(array, rule.start) if whole else np.reshape(array, -1)
        expected |= self.of_flat("params", params)
        return expected | (self.of_flat("traces", z) if self.stored else {})

    def learn_then_add(self, state: Arrays, at: Added) -> Arrays:
        """The update with the traces of the state, then the gradient of now into the traces: TD(lambda), Q(lambda)."""
        z, latest = self.traces(state), state.get(f"{self.prefix}moments.latest")
        behind = _decay(at.discount, self.spec.lambda_, at.mistake) * z + at.gradient
        if latest is None:
            used = behind if at.mistake == mistakes.NEW_TRACE else z
            expected = self.step(state, used, at.delta, at.mistake) if at.learns else {}
            if at.mistake == mistakes.REPLACED:
                behind = at.gradient
            return {
                **self.of_flat("params", self.flat(self.params(state))),
                **expected,
                **self.of_flat("traces", behind),
            }
        expected = {**self.of_flat("params", self.flat(self.params(state))), **self.of_flat("traces", z)}
        stored = state[f"{self.prefix}moments.gradient"]
        if at.learns:
            expected |= self.step_with_gradient(state, stored, latest[DISCOUNT], at)
        return expected | self.stores(at.gradient, at.discount, at.delta if at.learns else latest[DELTA])

    def add_then_learn(self, state: Arrays, at: Added) -> Arrays:
        """The gradient into the traces, then the update: actors, and regression (with discount 0)."""
        if self.stored:
            expected = self.step_with_gradient(state, at.gradient, at.discount, at)
            return expected | self.stores(at.gradient, at.discount, at.delta)
        z = _decay(at.discount, self.spec.lambda_, at.mistake) * self.traces(state) + at.gradient
        if at.mistake == mistakes.REPLACED:
            z = at.gradient
        used = self.traces(state) if at.mistake == mistakes.OLD_TRACE else z
        return {**self.step(state, used, at.delta, at.mistake), **self.of_flat("traces", z)}

    def stores(self, gradient: np.ndarray, discount: float, delta: float) -> Arrays:
        """What a rule with a gradient stores for the next update."""
        latest = np.zeros(2)
        latest[DISCOUNT], latest[DELTA] = discount, delta
        return {f"{self.prefix}moments.gradient": self.padded(gradient), f"{self.prefix}moments.latest": latest}

    def confine(self, expected: Arrays, clock: np.ndarray, mistake: str = "") -> None:
        """Bring expected parameters to the bounds of the cell, and wrap its phases, if it is time."""
        if clock[STEPS] % EXAMINE_EVERY != 0:
            return
        params = {name: expected[f"{self.prefix}params.{name}"] for name in self.body.names}
        if not protocol.confine(self.spec.cell, rebuild(self._views, list(params.values()))):
            return
        factors = phases.wrap(params)
        if not factors:
            raise phases.refuse(int(clock[STEPS]))
        self._rescale(expected, factors)
        if not mistake:
            self.body.scale(factors)

    def _rescale(self, expected: Arrays, factors: Arrays) -> None:
        """Multiply what is linear in the derivatives by the wrapped phases by the factors: (53)."""
        flat = np.ones(self.n)
        for name, factor in factors.items():
            flat[self._index[name]] = factor
            expected[f"{self.prefix}traces.{name}"] *= factor
        for name in (f"{self.prefix}gradient", f"{self.prefix}moments.gradient", "delayed.gradients"):
            if name in expected:
                expected[name] = expected[name] * flat
        for rule in self._rules:
            first = f"{self.prefix}moments.{rule.name}"
            moments = {k.removeprefix(first): a for k, a in expected.items() if k.startswith(first)}
            rescaled = phases.rescaled(moments, flat[rule.start : rule.stop])
            expected.update({first + name: array for name, array in rescaled.items()})


def _known(optimizer: Any) -> Any:
    """The optimiser, if its step is known here. ValueError if it is not."""
    if type(optimizer).__name__ not in rules.RULES:
        raise ValueError(
            f"learner has the optimiser {optimizer!r}: expected {', '.join(rules.RULES)}, whose steps are known; "
            "for any other, give a reference"
        )
    return optimizer


def _decay(discount: float, lambda_: float, mistake: str) -> float:
    wrong = {mistakes.NO_LAMBDA: discount, mistakes.NO_GAMMA: lambda_, mistakes.NO_DECAY: 1.0}
    return wrong.get(mistake, discount * lambda_)


def _own_gradient(rule: Rule, gradient: np.ndarray) -> np.ndarray:
    """SwiftTD adds its gradient times step sizes by itself."""
    return 0.0 * gradient if type(rule.settings).__name__ == "SwiftTD" else gradient


def cleared(arrays: Arrays) -> Arrays:
    return {name: 0.0 * array for name, array in arrays.items()}
