"""Learners in which bugs are planted for `check_learner`: {name: a function that makes it}."""

from typing import NamedTuple

import numpy as np
from agent_cases import World

from rtu_np import (
    PPO,
    QRC,
    SGD,
    TBPTT,
    TIDBD,
    ActorCritic,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    Blocks,
    Dense,
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


def ppo(discrete=True, **settings):
    """With steps so large that ratios, values and the gradient are clipped."""
    own = {"n_steps": 6, "n_minibatches": 2, "n_epochs": 2, "gamma": 0.9, "gae_lambda": 0.8, "entropy_coef": 0.05}
    own |= {"clip": 0.02, "optimizer": Adam(0.02), "max_grad_norm": 0.3, "dtype": "float64", "threads": 1, **settings}
    cell, narrow = own.pop("cell", LinearRTU(1)), Dense(2, "tanh")
    return moved(PPO(World(discrete), cell, actor=narrow, critic=narrow, **own))


def stepped(made, steps):
    """Not at the start of its stream, or of its rollout."""
    for t in range(steps):
        made.step([1.0, 0.3 * t, -1.0][: getattr(made, "n_inputs", 3)], 0.5)
    return made


def wrapped(made, after=14):
    """With a phase above 4 pi, which is wrapped when parameters are examined: soon, and in mid-episode."""
    stepped(made, after)
    for name, view in made.parameters.items():
        if name.endswith("theta_log"):
            view[0] = np.log(13.0)
    return made


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
    "actor-critic, shared body": lambda: agent(ActorCritic, shared=True, actor_optimizer=RULE),
    "Q(lambda)": lambda: agent(QLambda, optimizer=RULE),
    "QRC(lambda)": lambda: agent(QRC, optimizer=RULE, h_optimizer=RULE),
    "TD(lambda), a wrapped phase": lambda: wrapped(td(Adam(1e-3))),
    "QRC(lambda), a wrapped phase": lambda: wrapped(agent(QRC, optimizer=RULE, h_optimizer=RULE)),
    "PPO, a wrapped phase": lambda: wrapped(ppo(n_steps=4), 0),
    "PPO": ppo,
    "PPO, one minibatch": lambda: stepped(ppo(n_steps=16, n_minibatches=1, n_epochs=1), 6),
    "PPO, refreshed": lambda: ppo(refresh="both"),
    "PPO, T-BPTT": lambda: ppo(False, n_steps=8, gradient=TBPTT(2), previous_action_reward=True),
}
