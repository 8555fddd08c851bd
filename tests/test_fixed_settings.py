"""Settings of learners that exist cannot be set, and their arrays cannot be replaced: neither would change anything."""

import copy

import numpy as np
import pytest
from agent_cases import World

from rtu_np import (
    PPO,
    QRC,
    SGD,
    ActorCritic,
    Dense,
    Epsilon,
    LinearRTU,
    OnlineRegressor,
    QLambda,
    TDLambda,
)

CELL = LinearRTU(2)
NARROW = {"actor": Dense(2), "critic": Dense(2), "n_steps": 8, "n_minibatches": 2, "threads": 1}
LEARNERS = {
    "TDLambda": (lambda: TDLambda(CELL, 2), {"lambda_": 0.0, "optimizer": SGD(1e-4), "gamma": 0.0}),
    "many": (lambda: TDLambda(CELL, 2, [0.5, 0.9]), {"gamma": [0.1, 0.2], "body": "frozen"}),
    "regressor": (lambda: OnlineRegressor(CELL, 2), {"horizon": 3, "loss": "huber"}),
    "actor-critic": (lambda: ActorCritic(World(True), CELL), {"actor_optimizer": SGD(1.0), "entropy_coef": 1.0}),
    "Q": (lambda: QLambda(World(True), CELL), {"epsilon": Epsilon(0.0, 0.0, 1), "gamma": 0.5}),
    "QRC": (lambda: QRC(World(True), CELL), {"beta": 0.0}),
    "PPO": (lambda: PPO(World(True), CELL, **NARROW), {"clip": 0.1, "threads": 2}),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_setting_cannot_be_set_again(name):
    make, settings = LEARNERS[name]
    learner = make()
    for setting, value in settings.items():
        before = getattr(learner, setting)
        with pytest.raises(AttributeError, match=f"^{setting} is a setting of this .* expected a new"):
            setattr(learner, setting, value)
        assert getattr(learner, setting) is before
    learner.note = learner.note_2 = "of the user's own"
    learner.note = "may change"


@pytest.mark.parametrize("name", ["TDLambda", "actor-critic", "PPO"])
def test_an_array_of_parameters_is_written_not_replaced(name):
    learner = LEARNERS[name][0]()
    first = next(iter(learner.parameters))
    with pytest.raises(TypeError, match=r"is a view of the learner's own array: expected .*\[:\] = numbers"):
        learner.parameters[first] = 0.0
    learner.parameters[first][:] = 0.25
    assert (learner.parameters[first] == 0.25).all()
    own = copy.deepcopy(learner.parameters)
    own[first] = np.zeros(1)  # a copy is the user's
    assert (learner.parameters[first] == 0.25).all()
