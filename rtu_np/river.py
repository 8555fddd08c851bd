"""`OnlineRegressor` as a model of river (extra `river`), for its pipelines, metrics and progressive validation.

    from river import datasets, evaluate, metrics
    from rtu_np.river import Regressor

    evaluate.progressive_val_score(datasets.TrumpApproval(), Regressor(), metrics.RMSE())

The learner is made at the first `learn_one`, whose names are its inputs. Before that, predictions are 0. A feature that
is missing later is taken as missing; a new one is ignored, with one warning.
"""

from collections.abc import Iterator
from typing import Any

from river import base

from rtu_np.cells.layer import Cell, GradientMethod
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.learning.optimizers import Optimizer
from rtu_np.prediction.regressor import OnlineRegressor


class _Model:
    """What both models share: settings, and the learner once there is a row."""

    _settings: dict[str, Any]
    _learner: OnlineRegressor | None = None

    def _set(self, settings: dict[str, Any]) -> None:
        self._settings = {name: value for name, value in settings.items() if not name.startswith(("self", "_"))}
        for name, value in self._settings.items():
            setattr(self, name, value)

    def _learn(self, x: dict[Any, Any], y: Any, n_targets: int) -> None:
        learner = self._learner
        if learner is None:
            if not x:  # a row without features teaches nothing before there are inputs
                return
            settings = dict(self._settings)
            cell = settings.pop("cell") or LinearRTU(32)
            learner = OnlineRegressor(cell, n_inputs=len(x), n_targets=n_targets, **settings)
        learner.learn_one(x, y)
        self._learner = learner

    @property
    def _raw_memory_usage(self) -> int:
        """Bytes of what the model learns. River's own count walks into compiled functions, which all models share, and
        fails at references there that are no longer alive."""
        return 0 if self._learner is None else self._learner.bytes_held

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        """Settings for `river.checks.check_estimator`."""
        yield {"cell": LinearRTU(4)}


class Regressor(_Model, base.Regressor):
    """`OnlineRegressor` with one target, as a regressor of river.

    Parameters
    ----------
    cell : a recurrent cell; LinearRTU(32) by default
    missing : "hold" or "zero", what stands for a missing feature
    others : as in `OnlineRegressor`

    Raises
    ------
    ValueError, TypeError : at the first `learn_one`, if a setting is out of its range or of the wrong type

    Examples
    --------
    >>> from rtu_np import Adam
    >>> model = Regressor(LinearRTU(8), optimizer=Adam(3e-3))
    >>> model.predict_one({"a": 1.0})
    0.0
    >>> for t in range(1000):
    ...     model.learn_one({"a": float(t % 3), "b": 1.0}, float(t % 3 == 1))
    >>> round(model.predict_one({"a": 1.0, "b": 1.0}), 1)
    1.0
    """

    def __init__(
        self,
        cell: Cell | None = None,
        loss: str = "squared",
        horizon: int = 0,
        predict_changes: Any = None,
        normalize: Any = True,
        missing: str = "hold",
        optimizer: Optimizer | None = None,
        gradient: GradientMethod | None = None,
        delay: str = "behind",
        seed: int | None = 0,
        dtype: str = "float64",
    ) -> None:
        self._set(locals())

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        """Learn from the features x and the target y."""
        self._learn(x, y, 1)

    def predict_one(self, x: dict[Any, Any]) -> float:
        """The prediction for the features x; 0 before the first target."""
        return 0.0 if self._learner is None else self._learner.predict_one(x)


class MultiTargetRegressor(_Model, base.MultiTargetRegressor):
    """`OnlineRegressor` with as many targets as the first `y` has, as a multi-target regressor of river.

    Parameters and errors are those of `Regressor`.

    Examples
    --------
    >>> model = MultiTargetRegressor(LinearRTU(8))
    >>> model.learn_one({"a": 1.0}, {"up": 2.0, "down": -2.0})
    >>> sorted(model.predict_one({"a": 1.0}))
    ['down', 'up']
    """

    def __init__(
        self,
        cell: Cell | None = None,
        loss: str = "squared",
        horizon: int = 0,
        predict_changes: Any = None,
        normalize: Any = True,
        missing: str = "hold",
        optimizer: Optimizer | None = None,
        gradient: GradientMethod | None = None,
        delay: str = "behind",
        seed: int | None = 0,
        dtype: str = "float64",
    ) -> None:
        self._set(locals())

    def learn_one(self, x: dict[Any, Any], y: dict[Any, Any], **kwargs: Any) -> None:
        """Learn from the features x and the targets y, a dict."""
        self._learn(x, y, len(y))

    def predict_one(self, x: dict[Any, Any]) -> dict[Any, Any]:
        """{name: prediction}; empty before the first targets."""
        return {} if self._learner is None else self._learner.predict_one(x)
