"""What the tests of TD(lambda) share: learners, and how to run them."""

import numpy as np
import oracles

from rtu_np import SGD, Adam, LinearRTU, NonlinearRTU, ObGD, RMSProp, TDLambda

OPTIMIZERS = {
    "SGD": SGD(0.01),
    "ObGD": ObGD(0.01, kappa=20.0),  # greater steps amplify rounding from step to step, and nothing could be compared
    "Adam": Adam(0.003, beta1=0.9, beta2=0.99, epsilon=1e-6),
    "RMSProp": RMSProp(0.003, beta=0.9, epsilon=1e-5),
}
# Compiling takes seconds for each: every optimiser with one cell, one optimiser with the other, and float32 once.
LEARNERS = [*((LinearRTU, optimizer) for optimizer in OPTIMIZERS), (NonlinearRTU, "SGD")]
PRECISIONS = [*((*pair, "float64") for pair in LEARNERS), (LinearRTU, "SGD", "float32"), (LinearRTU, "Adam", "float32")]
N, D = 3, 2


def learner(kind=LinearRTU, optimizer="Adam", **settings) -> TDLambda:
    own = {"gamma": 0.9, "lambda_": 0.8, "seed": 1, **settings}
    return TDLambda(kind(N, r_max=0.95), n_inputs=D, optimizer=OPTIMIZERS[optimizer], **own)


def run(agent: TDLambda, s: oracles.Stream) -> np.ndarray:
    return agent.run(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, progress=False)


def steps(agent: TDLambda, s: oracles.Stream) -> np.ndarray:
    rows = zip(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, strict=True)
    return np.array([agent.step(*row) for row in rows])


def everything(agent: TDLambda) -> bytes:
    return b"".join(array.tobytes() for array in agent._arrays().values())
