"""What a learner of predictions holds: arrays, parameters, files, copies, and numbers about its learning."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rtu_np import checkpoint
from rtu_np.cells.layer import Cell, GradientMethod, check_parameters
from rtu_np.fixed_settings import FixedSettings
from rtu_np.gradients.layers import reset_memory
from rtu_np.interrupts import HoldCtrlC
from rtu_np.learning import network
from rtu_np.learning.diagnostics import Watch, of_network
from rtu_np.learning.network import NamedNetwork, NetworkSpec, forward_arrays, network_arrays
from rtu_np.learning.optimizers import Optimizer, cure_of_divergence
from rtu_np.learning.outcomes import IS_FIRST, LOOK_EVERY, STEPS
from rtu_np.learning.readout import Readout
from rtu_np.prediction.input_stage import InputStage


class Learner(FixedSettings, ABC):
    """Base of learners with one network. A subclass makes `_spec` and the arrays, and names its settings."""

    _PARTS: tuple[str, ...] = ("cell", "readout", "optimizer", "gradient")  # the arguments of `_parts`
    _NUMBERS: tuple[str, ...] = ("n_inputs", "gamma", "lambda_", "dtype")  # those of `_numbers`
    _spec: NetworkSpec
    _flat: np.ndarray  # laid out by `network_arrays`
    _clock: np.ndarray  # STEPS, IS_FIRST
    _prediction: np.ndarray  # laid out by `forward_arrays`
    _watch: Watch
    optimizer: Optimizer
    _inputs: InputStage
    _signals: np.ndarray  # (rows, ...) of a stretch of stream
    dtype: np.dtype
    _layout: Callable = staticmethod(network_arrays)

    # Shapes of one prediction. A learner of many has others.

    def _stage(self, rows: int) -> tuple[Any, np.ndarray, np.ndarray]:
        """Arrays for the observations, signals and predictions of `rows` steps."""
        return self._inputs.rows(rows), np.zeros((rows, 3), self.dtype), np.zeros(rows, self.dtype)

    def _write(self, slot: int, signal: np.ndarray) -> None:
        """Write rows of a signal of a checked stream to where compiled code reads them."""
        self._signals[: len(signal), slot] = signal

    def _result(self, prediction: np.ndarray) -> Callable[[], Any]:
        """The function that returns what a step has written."""
        return prediction.item

    def empty(self, n_steps: int) -> np.ndarray:
        """An array for the predictions of `n_steps` steps."""
        return np.empty(n_steps, self.dtype)

    @classmethod
    def _saved_as(cls) -> str:
        return cls.__name__

    @abstractmethod
    def _parts(self) -> dict[str, Any]:
        """{argument: settings} of cell, readout, optimizer and gradient."""

    @abstractmethod
    def _numbers(self) -> dict[str, Any]:
        """{argument: number} of the other arguments except the seed."""

    @cached_property  # Python takes 100 us to make those of many predictions, and each call of `run` needs them twice
    def _views(self) -> Any:
        """Named views into `_flat`: a `Network`, or what else `_layout` makes."""
        return self._layout(self._spec, self._flat)[0]

    @property
    def _network(self) -> NamedNetwork:
        return NamedNetwork("", self._spec, self._views, "readout")

    def _check_parameters(self) -> None:
        check_parameters(self._spec.cell, self._views.params.cell)

    def _diverged(self) -> FloatingPointError:
        """The error of a learner that is no longer finite."""
        return FloatingPointError(
            f"learning diverged by step {self.steps}: predictions or parameters are no longer finite. The usual cure "
            f"is {cure_of_divergence(self.optimizer)}. To go on, load a checkpoint saved earlier."
        )

    @property
    def steps(self) -> int:
        """Steps made by `step` and `run` so far, including first steps after a clear."""
        return int(self._clock[STEPS])

    @property
    def bytes_held(self) -> int:
        """Bytes of all that learning needs: parameters, traces, the optimiser's moments, memory."""
        return self._flat.nbytes

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view} by block (`rtu_np.learning.blocks`): "cell.nu_log", "readout.w" and so on."""
        return network.Views(network.named(self._spec, self._views.params))

    @property
    def traces(self) -> dict[str, np.ndarray]:
        """{name: writable view} of the eligibility traces, named as the parameters are."""
        return network.Views(network.named(self._spec, self._views.traces))

    def _between_steps(self) -> None:
        """The work of a pause: wrap phases if necessary, and look whether learning goes on."""
        with HoldCtrlC():
            network.wrap(self._network)
        if self.steps % LOOK_EVERY == 0:
            self._watch.check([self._network], self.steps)
        self._inputs.warn_if_silent(self.steps)

    def diagnostics(self) -> dict[str, float]:
        """{name: number} about learning: half-lives and periods of units, how many are at a bound, dead or saturated,
        ||z||_1 of the traces, the last step and its share by block (`rtu_np.learning.diagnostics`).

        step_size, last_step and the shares are for a TD error of 1; with Adam, of the latest update.

        Examples
        --------
        >>> from rtu_np import LinearRTU, TDLambda
        >>> learner = TDLambda(LinearRTU(8), n_inputs=2)
        >>> _ = learner.run(np.ones((100, 2)), np.ones(100), progress=False)
        >>> found = learner.diagnostics()
        >>> found["share.cell"] + found["share.readout"] > 0.999, found["cell.at_bound"]
        (True, 0.0)
        """
        return of_network(self._network, self.dtype.type(1))

    def reset(self) -> None:
        """Forget the stream: memory, traces, held inputs and the memory of `predict` are cleared.

        Parameters, and the statistics by which inputs are normalised, stay.
        """
        views = self._views
        reset_memory(self._spec.cell, views.memory, views.flat_memory)
        views.flat_traces[:] = 0
        self._prediction[:] = 0
        self._inputs.forget()
        self._clock[IS_FIRST] = 1

    def save(self, path: str | os.PathLike) -> Path:
        """Write everything to `path`, so that `load` continues in mid-stream, bit for bit; returns the file's path.

        A path without a suffix gets `.npz`. The file is written completely, or not at all.
        """
        settings = {role: checkpoint.describe(part) for role, part in self._parts().items()}
        page = {"learner": self._saved_as(), **settings, **self._numbers(), **self._inputs.saved()}
        return checkpoint.save(path, page, self._arrays())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        cell: Cell | None = None,
        optimizer: Optimizer | None = None,
        readout: Readout | None = None,
        gradient: GradientMethod | None = None,
    ) -> Any:
        """The learner that was saved at `path`.

        Pass `cell`, `optimizer`, `readout` or `gradient` only if it is not part of this package: a file holds no code.

        Raises
        ------
        ValueError : if the file is damaged, cut short, or of another program or learner
        OSError : what the system says: the file is missing, or may not be read
        """
        given = {"cell": cell, "optimizer": optimizer, "readout": readout, "gradient": gradient}
        settings, arrays = checkpoint.load(path)
        if settings.pop("learner", None) != cls._saved_as():
            raise ValueError(
                f"path {os.fspath(path)!r} is not a checkpoint of {cls._saved_as()}; was it saved by another learner?"
            )
        with checkpoint.building(path, settings, arrays):
            parts: dict[str, Any] = {
                role: checkpoint.build(role, settings[role]) if given[role] is None else given[role]
                for role in cls._PARTS
            }
            numbers = {name: settings[name] for name in cls._NUMBERS}
            numbers |= {name: settings[name] for name in ("body",) if name in settings}  # of many predictions
            learner = cls(**parts, **numbers, **InputStage.built(settings))
            learner._inputs.name_columns(settings.get("columns"))
        checkpoint.restore(path, learner._arrays(), arrays)
        return learner

    def __reduce__(self) -> tuple[Any, ...]:
        """Settings and arrays for `copy.deepcopy` and `pickle`, which would copy a view as an array of its own."""
        arrays = {name: view.copy() for name, view in self._arrays().items()}
        settings = {**self._parts(), **self._numbers(), **self._inputs.settings()}
        return _revived, (type(self), settings, arrays, self._inputs.columns)

    def _arrays(self) -> dict[str, np.ndarray]:
        """{name: view} of all arrays that change while learning."""
        prediction = forward_arrays(self._spec, self._prediction)[0].flat_state
        own = {"clock": self._clock, "prediction": prediction, **self._inputs.arrays()}
        return {**network.checkpoint_arrays(self._spec, self._views), **own}


def _revived(kind: Any, settings: dict[str, Any], arrays: dict[str, np.ndarray], columns: Any = None) -> Any:
    learner = kind(**settings)
    learner._inputs.name_columns(columns)
    for name, view in learner._arrays().items():
        view[...] = arrays[name]
    return learner
