"""Learners in which bugs are planted for `check_learner`: {name: a function that makes it}."""

from typing import NamedTuple

from agent_cases import World

from rtu_np import (
    QRC,
    SGD,
    TIDBD,
    ActorCritic,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    Blocks,
    Epsilon,
    Intentional,
    LinearRTU,
    Normalize,
    ObGD,
    OnlineRegressor,
    QLambda,
    RMSProp,
    SwiftTD,
    TDLambda,
    WithLambda,
)


class Bug(NamedTuple):
    learner: str
    file: str
    replacements: list
    part: str  # of the state, in which it shows first
    hint: str  # the beginning of the hint; "" if there is no hint


def td(optimizer=None, **settings):
    settings = {"gamma": 0.9, "lambda_": 0.8, "optimizer": optimizer or SGD(0.01), **settings}
    return moved(TDLambda(LinearRTU(2), 2, **settings))


def many(optimizer):
    return td(optimizer, gamma=[0.5, 0.9])


def regressor(**settings):
    return moved(OnlineRegressor(LinearRTU(2), 2, **{"optimizer": SGD(0.01), **settings}))


def moved(learner):
    """With values that do not start at zero, which would hide their gradient."""
    for name, view in learner.parameters.items():
        if "value" in name or "readout" in name:
            view += 0.3
    return learner


def agent(kind, discrete=True, **settings):
    own = {"gamma": 0.9, "lambda_": 0.8, "dtype": "float64", **settings}
    if kind is not ActorCritic:
        own["epsilon"] = Epsilon(0.6, 0.3, 30)
    return moved(kind(World(discrete), LinearRTU(2), **own))


RULE = SGD(0.01)
TWO = {"actor_optimizer": RULE, "critic_optimizer": RULE}
LEARNERS = {
    "TD(lambda), SGD": td,
    "TD(lambda), ObGD": lambda: td(ObGD()),
    "TD(lambda), Adam": lambda: td(Adam(1e-3)),
    "TD(lambda), RMSProp": lambda: td(RMSProp(1e-3, epsilon=0.1)),
    "TD(lambda), Adam, gaps": lambda: td(Adam(1e-3), missing="hold"),
    "TD(lambda), normalised": lambda: td(normalize=Normalize(half_life=20, clip=1.5)),
    "TD(lambda), AdaptiveObGD": lambda: td(AdaptiveObGD(0.01, kappa=5.0, beta=0.9, epsilon=1e-4)),
    "TD(lambda), Adaptive": lambda: td(Adaptive(0.003)),
    "TD(lambda), Intentional": lambda: td(Intentional(0.05, beta=0.9, clip=1.1, clip_beta=0.8)),
    "TD(lambda), TIDBD": lambda: td(TIDBD(0.02, meta_step=0.5, kappa=9.0)),
    "TD(lambda), Autostep": lambda: td(Autostep(0.02, meta_step=0.3, tau=20.0)),
    "TD(lambda), SwiftTD": lambda: td(
        Blocks(cell=RULE, readout=WithLambda(SwiftTD(0.02, meta_step=0.01, eta=0.06, decay=0.9), 0.9))
    ),
    "many predictions, SGD": lambda: many(RULE),
    "many predictions, ObGD": lambda: many(ObGD()),
    "regression": regressor,
    "regression of changes": lambda: regressor(n_targets=2, predict_changes=True),
    "regression, 2 rows ahead": lambda: regressor(horizon=2),
    "regression, huber": lambda: regressor(loss="huber"),
    "actor-critic": lambda: agent(ActorCritic, **TWO),
    "actor-critic, continuous": lambda: agent(ActorCritic, False, **TWO),
    "actor-critic, shared body": lambda: agent(ActorCritic, shared=True, **TWO),
    "Q(lambda)": lambda: agent(QLambda, optimizer=RULE),
    "QRC(lambda)": lambda: agent(QRC, optimizer=RULE, h_optimizer=RULE),
}
