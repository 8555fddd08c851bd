"""The adapter for river: river's own checks, its own pipelines, and the same predictions as the learner."""

import warnings

import numpy as np
import pytest
from cases import COMPILED

from rtu_np import SGD, LinearRTU, OnlineRegressor

river = pytest.importorskip("river", reason="extra river")
pytest.importorskip("sklearn", reason="river's checks read data sets of scikit-learn")
with warnings.catch_warnings():  # river's and pandas' own, while they are imported
    warnings.simplefilter("ignore")
    from river import checks, compose, datasets, evaluate, metrics, preprocessing

from rtu_np.river import MultiTargetRegressor, Regressor  # noqa: E402   it imports river

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*which the first row did not have:UserWarning"),
]


@pytest.mark.parametrize("model", [Regressor, MultiTargetRegressor])
def test_river_finds_nothing_to_object_to(model):
    """Compiled alone: river learns from some ten thousand rows."""
    if not COMPILED:
        pytest.skip("compiled, it takes seconds")
    checks.check_estimator(model(LinearRTU(4)))


@pytest.mark.parametrize("model", [Regressor, MultiTargetRegressor])
def test_the_memory_that_river_shows_is_the_learners(model):
    made = model(LinearRTU(4))
    assert made._raw_memory_usage == 0
    made.learn_one({"a": 1.0}, 1.0 if model is Regressor else {"up": 1.0})
    assert made._raw_memory_usage == made._learner.bytes_held > 0
    assert " K" in made._memory_usage


def test_a_model_that_breaks_a_convention_is_found():
    class Forgetful(Regressor):
        def predict_one(self, x):
            x.clear()
            return 0.0

    with pytest.raises(AssertionError):
        checks.check_estimator(Forgetful(LinearRTU(4)))


def rows(n=120):
    rng = np.random.default_rng(5)
    for x in rng.standard_normal((n, 2)).cumsum(axis=0):
        yield {"b": float(x[0]), "a": float(x[1])}, float(x[0] + x[1])


def test_predictions_are_those_of_the_learner():
    model, learner = Regressor(LinearRTU(4), missing="zero"), OnlineRegressor(LinearRTU(4), 2, missing="zero")
    for t, (x, y) in enumerate(rows()):
        array = np.array([x["a"], x["b"]])
        if t > 0:
            assert model.predict_one(x) == learner.predict_one(array)
        model.learn_one(x, y)
        learner.learn_one(array, y)


def test_it_stands_in_a_pipeline_and_under_progressive_validation():
    model = compose.Select("a", "b") | preprocessing.StandardScaler() | Regressor(LinearRTU(4))
    score = evaluate.progressive_val_score(rows(600), model, metrics.RMSE())
    base = evaluate.progressive_val_score(
        rows(600), preprocessing.TargetStandardScaler(Regressor(LinearRTU(4), optimizer=SGD(1e-9))), metrics.RMSE()
    )
    assert score.get() < base.get()


def test_a_row_without_features_teaches_nothing_at_first():
    model = Regressor(LinearRTU(4))
    model.learn_one({}, 1.0)
    assert model.predict_one({"a": 1.0}) == 0.0
    model.learn_one({"a": 1.0}, 1.0)
    model.learn_one({}, 1.0)
    assert model._learner.steps == 2


def test_a_clone_has_learned_nothing():
    model = Regressor(LinearRTU(4), optimizer=SGD(0.1))
    for x, y in rows(5):
        model.learn_one(x, y)
    assert model.clone()._learner is None
    assert model.clone().optimizer == SGD(0.1)
    assert datasets.TrumpApproval().n_features == 6
