"""TD(lambda) of many predictions on one recurrent body. `td_many_kernels` has the compiled step."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np import protocol
from rtu_np.cells.many import UNITWISE
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.learning import network, optimizers, passes
from rtu_np.learning.blocks import named_layers
from rtu_np.learning.diagnostics import of_network
from rtu_np.learning.network import NamedNetwork, forward_arrays
from rtu_np.learning.optimizers import SGD, Adam, ObGD, RMSProp
from rtu_np.learning.outcomes import CONTINUES, END, PAUSED, how_it_ends
from rtu_np.learning.readout import LinearReadout
from rtu_np.numerics.buffers import leaves, size
from rtu_np.numerics.units import add_scaled_units
from rtu_np.prediction.td import TDLambda
from rtu_np.prediction.td_kernels import CUMULANT, DISCOUNT
from rtu_np.prediction.td_many_kernels import predict, run
from rtu_np.prediction.td_many_network import (
    RATIO,
    SLOTS,
    Frozen,
    FrozenBelowTraces,
    Lambda0,
    ManySpec,
    RowsSpec,
    Shared,
    Traces,
    many_arrays,
)
from rtu_np.validation import check_array, check_choice, check_number, count_dimensions

_BODIES: dict[str, Any] = {"traces": Traces(), "shared": Shared(), "lambda0": Lambda0(), "frozen": Frozen()}
_LINE = 16  # numbers; a row of traces is a multiple of it
_RULES: dict[str, tuple[type, ...]] = dict.fromkeys(("traces", "frozen"), (SGD, Adam, RMSProp, ObGD))
_RULES |= dict.fromkeys(("shared", "lambda0"), (SGD, Adam, RMSProp))


class ManyPredictions(TDLambda):
    """TD(lambda) of m predictions on one recurrent body: `TDLambda(cell, n_inputs, gamma=array of m)`.

    Prediction j is of its own cumulant with its own discount (derivations (65)-(72); Horde, Sutton et al. 2011;
    nexting, Modayil et al. 2014). The readout is linear, with a row for each prediction. The body's sensitivities are
    carried once. `step` takes cumulants (m,) and returns predictions (m,); `run` takes (T, m) and returns (T, m). A
    discount, or an importance ratio, is one for all predictions, or one for each.

    Parameters
    ----------
    gamma : (m,) the discount of each prediction, in [0, 1]
    readout : LinearReadout() alone. A hidden layer that predictions share belongs to the body: Stack([cell, Dense(8)])
    optimizer : SGD, Adam, RMSProp or ObGD (derivations (70)-(72)). ObGD only for the bodies "traces" and "frozen"
    body : how the cell learns

        "traces"   from the sum of all predictions' updates, with a trace of each: exact. A step costs O(m parameters)
        "shared"   the same with one trace of the features for all, O(parameters), if all gamma are equal: a trace then
                   has today's readout, and not those of the past. For LinearRTU, NonlinearRTU and MinGRU with RTRL()
        "lambda0"  as "shared" with traces of the latest gradient alone, for any gamma. The readout's have lambda_
        "frozen"   not at all, and `gradient` has no meaning

    ratios : importance ratios rho_t, of `run` and `step`: of the action that led to the observation, the probability
        under the policy that the prediction is about, divided by that under the policy that acted (derivations (69))

    The other parameters are those of `TDLambda`.

    Examples
    --------
    >>> from rtu_np import LinearRTU
    >>> learner = TDLambda(LinearRTU(8), n_inputs=2, gamma=[0.5, 0.9, 0.99])
    >>> learner.step([1.0, 0.0], [0.0, 0.0, 1.0])
    array([0., 0., 0.])
    >>> learner.run(np.ones((100, 2)), np.ones((100, 3)), progress=False).shape
    (100, 3)
    >>> learner.parameters["readout.w"].shape, learner.traces["cell.W1"].shape
    ((3, 16), (3, 2, 8))
    """

    _layout = staticmethod(many_arrays)
    _kernels: tuple[Callable, Callable] = run, predict
    _slots = CUMULANT, DISCOUNT, END, RATIO
    _spec: Any

    @classmethod
    def _saved_as(cls) -> str:
        return "TDLambda"  # whose `load` makes any number of predictions

    # -------------------------------------------------------------------------------------------------- construction

    def _check_predictions(self, gamma: Any, body: Any) -> tuple[np.ndarray, str]:
        gamma = check_array("gamma", gamma, (None,), dtype=np.float64, interval=(0, 1)).astype(np.float64)
        if gamma.size == 0:
            raise ValueError(f"gamma has shape {gamma.shape}: expected one discount for each prediction")
        gamma.flags.writeable = False
        kind = check_choice("body", body, _BODIES)
        if not isinstance(self.readout, LinearReadout):
            raise ValueError(
                f"readout is {self.readout!r}: expected LinearReadout() for many predictions; a hidden layer that they "
                "share belongs to the body, Stack([cell, Dense(8)])"
            )
        if not isinstance(self.optimizer, _RULES[body]):
            known = ", ".join(rule.__name__ for rule in _RULES[body])
            raise ValueError(
                f"optimizer is {self.optimizer!r}: expected one of {known} for many predictions with body={body!r}; no "
                "other rule has a meaning there (docs/derivations.md)"
            )
        if isinstance(kind, Shared) and np.any(gamma != gamma[0]):
            raise ValueError(
                f"gamma is {gamma.tolist()} with body='shared': expected equal discounts, since predictions share a "
                "trace; body='traces' has one for each"
            )
        return gamma, body

    def _make_spec(self) -> ManySpec:
        kind, m = _BODIES[self.body], self.gamma.size
        gradient = TBPTT(1) if isinstance(kind, Frozen) else self.gradient
        cell = gradient.spec(self.cell.spec(self._inputs.width), self.dtype)
        by_unit = isinstance(kind, Shared | Lambda0)
        if by_unit and not isinstance(cell, UNITWISE):
            raise ValueError(
                f"cell is {self.cell!r} with {self.gradient!r} and body={self.body!r}: expected LinearRTU, "
                "NonlinearRTU or MinGRU with RTRL(): a parameter there acts on one unit; body='traces' is for any cell"
            )
        n_body, n_outputs, bounded = size(protocol.parameters, cell), cell.n_outputs, isinstance(self.optimizer, ObGD)
        counts = {
            "n_body": n_body,
            "n_shared": n_outputs // cell.n_hidden if by_unit else 0,
            "n_own": n_body if isinstance(kind, Traces) else 0,
            "n_tail": -(-(n_outputs + 1) // _LINE) * _LINE if bounded else 0,
        }
        spec = ManySpec(cell, RowsSpec(n_outputs, m), None, self.lambda_, kind, bounded, **counts)
        rule = self.optimizer.spec()
        if bounded and isinstance(kind, Traces):
            rule = rule._replace(kappa=m * rule.kappa)  # each prediction has a share of the bound
        apart = passes.compiled_apart(rule, size(network.weights, spec), self.dtype)
        if isinstance(kind, Frozen) and isinstance(apart, passes.AlongTraces):
            kind = FrozenBelowTraces()
        return spec._replace(optimizer=apart, body=kind)

    def _initialise(self, rng: np.random.Generator) -> None:
        super()._initialise(rng)
        m = np.arange(self.gamma.size)
        _, first, which = np.unique(self.gamma, return_index=True, return_inverse=True)
        self._views.group[:] = m if self.body == "traces" else first[which]
        self._gamma, self._one = self.gamma.astype(self.dtype), self.dtype.type(1)
        self._standing: dict[int, bytes] = {}  # by slot, the row that all staged rows have

    def _rows(self) -> int:
        return max(256, super()._rows() // self.gamma.size)

    def _stage(self, rows: int) -> tuple[Any, np.ndarray, np.ndarray]:
        m = self.gamma.size
        return self._inputs.rows(rows), np.zeros((rows, SLOTS * m), self.dtype), np.zeros((rows, m), self.dtype)

    def _write(self, slot: int, signal: np.ndarray) -> None:
        m = self.gamma.size
        if slot == END:
            self._signals[: len(signal), slot * m] = signal
            return
        staged = self._signals[:, slot * m : (slot + 1) * m]
        if signal.strides[0]:
            staged[: len(signal)] = signal
            self._standing.pop(slot, None)
        elif self._standing.get(slot) != (row := next(iter(signal))).tobytes():  # a row for all steps is written once
            staged[:] = row
            self._standing[slot] = row.tobytes()

    def _result(self, prediction: np.ndarray) -> Callable[[], np.ndarray]:
        return prediction[0].copy

    def empty(self, n_steps: int) -> np.ndarray:
        return np.empty((n_steps, self.gamma.size), self.dtype)

    # ------------------------------------------------------------------------------------------------------ learning

    def step(  # type: ignore[override]
        self,
        x: Any,
        c: Any,
        discount: Any = None,
        terminated: bool = False,
        truncated: bool = False,
        ratio: Any = None,
    ) -> np.ndarray:
        """Learn from one step; returns the predictions (m,), which are 0 if terminated.

        Parameters
        ----------
        x : (n_inputs,) the observation
        c : (m,) the cumulants that arrive with the observation
        discount : of this step, in place of gamma: a number, or (m,)
        terminated, truncated : as in `TDLambda.step`
        ratio : importance ratio of the action that led to the observation: a number, or (m,); 1 by default

        Raises
        ------
        ValueError, TypeError : if an argument or the parameters are not usable; nothing has changed
        FloatingPointError : if learning diverges

        Examples
        --------
        >>> from rtu_np import LinearRTU
        >>> learner = TDLambda(LinearRTU(8), n_inputs=1, gamma=[0.5, 0.9])
        >>> learner.step([1.0], [0.0, 1.0], discount=[0.0, 0.9], ratio=1.5)
        array([0., 0.])
        """
        m = self.gamma.size
        observation, gaps = self._inputs.check("x", x, self._shape), self._inputs.gaps
        cumulants = check_array("c", c, (m,), hint="one cumulant for each prediction", dtype=self.dtype, **gaps)
        discounts = self.gamma if discount is None else self._of_step("discount", discount, (0.0, 1.0))
        ratios = 1.0 if ratio is None else self._of_step("ratio", ratio, (0.0, np.inf))
        end = how_it_ends(terminated, truncated) if terminated or truncated else CONTINUES
        self._x[...] = observation
        with np.errstate(all="ignore"):  # a tiny number becomes zero in float32
            for slot, signal in ((CUMULANT, cumulants), (DISCOUNT, discounts), (END, end), (RATIO, ratios)):
                self._signal[slot * m : (slot + 1) * m] = signal
        done = self._run(*self._to_step)
        if done < 1:
            if done != PAUSED:
                self._explain(done)
            self._between_steps()
        return self._prediction_made()

    def _of_step(self, name: str, value: Any, interval: tuple[float, float]) -> Any:
        """A signal of one step: a number for all predictions, or (m,)."""
        if count_dimensions(name, value) == 0:
            return check_number(name, value, dtype=self.dtype, interval=interval)
        hint = "a number for all predictions, or one for each"
        signal = check_array(name, value, (self.gamma.size,), hint=hint, dtype=self.dtype, interval=interval)
        self._separate(name, signal)
        return signal

    def _check_signals(
        self, cumulants: Any, discounts: Any, ratios: Any, n_steps: int, hint: str
    ) -> tuple[np.ndarray, ...]:
        shape = n_steps, self.gamma.size
        rows = f"{hint}, and a column for each of {shape[1]} predictions"
        cumulants = check_array("cumulants", cumulants, shape, hint=rows, dtype=self.dtype, **self._inputs.gaps)
        signals = [cumulants]
        given = ("discounts", discounts, self._gamma, 1.0), ("ratios", ratios, self._one, np.inf)
        for name, value, default, high in given:
            signal = default
            if value is not None and count_dimensions(name, value) == 1:  # for all predictions
                signal = check_array(name, value, shape[:1], hint=hint, dtype=self.dtype, interval=(0.0, high))[:, None]
            elif value is not None:
                signal = check_array(name, value, shape, hint=rows, dtype=self.dtype, interval=(0.0, high))
                self._separate(name, signal)
            signals.append(np.broadcast_to(signal, shape))
        return tuple(signals)

    def _separate(self, name: str, signal: np.ndarray) -> None:
        """Give each prediction a trace of its own, if a signal (..., m) differs where predictions share a trace."""
        group, rows = self._views.group, self._views.traces.readout.w
        leader = group.astype(int)
        if np.array_equal(signal, signal[..., leader]):
            return
        if self.body == "shared":
            raise ValueError(
                f"{name} has a number for each prediction with body='shared': expected one number per step, since the "
                "predictions share a trace; body='traces' has one for each"
            )
        rows[:] = rows[leader]
        group[:] = np.arange(group.size)

    # --------------------------------------------------------------------------------------------------------- state

    def _numbers(self) -> dict[str, Any]:
        return {**super()._numbers(), "gamma": self.gamma.tolist(), "body": self.body}

    @property
    def traces(self) -> dict[str, np.ndarray]:
        """{name: writable view} of the eligibility traces: (m, ...) with the shapes of one prediction's parameters.

        With body "shared" and "lambda0", the cell has one trace for each feature of a unit: the gradient of that
        feature. With "frozen", the cell has none. Predictions with equal traces of the readout share one: there, only
        what is written into the first of them counts.
        """
        cell, (own, shared, readout) = self._spec.cell, self._views.traces
        readout.w[:] = readout.w[self._views.group.astype(int)]
        rows = own[:, : self._spec.n_own] if self._spec.n_own else shared
        body = named_layers(cell, _stacked(rows, lambda row: protocol.parameters(cell, row)[0])) if len(rows) else {}
        return body | leaves(readout, "readout.")

    @property
    def _network(self) -> NamedNetwork:
        return self._summed(np.ones(self.gamma.size, self.dtype), self._spec.optimizer)

    def _summed(self, factors: np.ndarray, optimizer: Any) -> NamedNetwork:
        """The network of the parameters, with the sum of all traces, each times its factor."""
        spec, views, traces = self._spec, self._views, self.traces
        flat = np.zeros_like(views.flat_params)
        out, of_cell = network.weights(spec, flat)[0], views.traces.shared
        if spec.n_own:
            of_cell = views.traces.own[:, : spec.n_own]
            flat[: spec.n_own] = factors @ of_cell
        by_feature = (factors @ views.params.readout.w).reshape(-1, spec.cell.n_hidden) if spec.n_shared else []
        for trace, dy in zip(views.traces.shared, by_feature, strict=True):
            add_scaled_units(out.cell, protocol.parameters(spec.cell, trace)[0], dy)
        out.readout.w[:] = factors[:, None] * traces["readout.w"]
        out.readout.b[:] = factors * traces["readout.b"]
        summed = views._replace(traces=out, flat_traces=flat)
        return NamedNetwork("", spec._replace(optimizer=optimizer), summed, "readout", (of_cell,))

    def diagnostics(self) -> dict[str, float]:
        rule, one, traces = passes.spec_of(self._spec.optimizer), self.dtype.type(1), self.traces
        own, _, readout = self._views.traces
        rows = np.column_stack([own[:, : self._spec.n_own], readout.w, readout.b])
        steps = [optimizers.step(rule, row, one) for row in rows]
        if steps[0] is None:
            found = of_network(self._network, one)
        else:
            found = of_network(self._summed(np.array(steps, self.dtype), SGD(1.0).spec()), one)
            found["step_size"] = float(min(steps))
        return found | {f"trace.{name}": float(np.abs(trace).sum()) for name, trace in traces.items()}

    def _arrays(self) -> dict[str, np.ndarray]:
        views, prediction = self._views, forward_arrays(self._spec, self._prediction)[0].flat_state
        moments = passes.named_moments(self._spec.optimizer, views.flat_params.size, views.moments)
        return {
            **{f"params.{name}": view for name, view in network.named(self._spec, views.params).items()},
            **{f"traces.{name}": view for name, view in self.traces.items()},
            **{f"moments.{name}": view for name, view in moments.items()},
            "group": views.group,
            "memory": views.flat_memory,
            "clock": self._clock,
            "prediction": prediction,
            **self._inputs.arrays(),
        }


def _stacked(rows: np.ndarray, layout: Callable[[np.ndarray], Any]) -> Any:
    """The views of `layout` of all rows of a matrix: each gets a first axis, for the row."""
    views = layout(rows[0])

    def stack(part: Any) -> Any:
        if isinstance(part, tuple):
            return type(part)(*map(stack, part))
        return np.lib.stride_tricks.as_strided(part, (len(rows), *part.shape), (rows.strides[0], *part.strides))

    return stack(views)
