"""The gradient that a learner carries while its parameters change, and the one that today's parameters would have.

At `MOMENTS` moments, `SPACING` steps apart, after training on trace conditioning. The replay with today's parameters
starts `REPLAY` steps earlier from zero.
"""

import numpy as np

from envs import TraceConditioning
from experiments.engine.results import Config
from rtu_np import RTRL, SGD, Adam, TDLambda, checkpoint, metrics

Gradient = dict[str, np.ndarray]
MOMENTS, SPACING, REPLAY = 5, 200, 20_000
LAMBDA = 0.9


def compare(carried: Gradient, today: Gradient, only: str = "") -> tuple[float, float]:
    """(angle in degrees, ratio of norms) of two gradients, over the parameters whose names end in `only`."""
    names = [name for name in carried if name.endswith(only)]
    a, b = (np.concatenate([g[name].ravel() for name in names]) for g in (carried, today))
    return metrics.angle(a, b), float(np.linalg.norm(a) / np.linalg.norm(b))


def gradients(config: Config, seed: int, method: RTRL) -> list[tuple[Gradient, Gradient]]:
    """(the gradient that the learner carries, today's) at each moment: {name: array} of the cell's parameters."""
    stream_seed, learner_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
    env, cell = TraceConditioning(), checkpoint.build("cell", config["cell"])
    optimizer = Adam(config["step_size"], beta2=0.9999)
    learner = TDLambda(cell, env.n_inputs, env.gamma, LAMBDA, optimizer, method, seed=learner_seed)
    observations, cumulants = env.generate(config["steps"] + MOMENTS * SPACING, seed=stream_seed)
    names = [name for name in learner.parameters if not name.startswith("readout")]

    def learn(upto: int) -> None:
        rows = slice(learner.steps, upto)
        learner.run(observations[rows], cumulants[rows], progress=False)

    pairs = []
    for k in range(1, MOMENTS + 1):
        t = config["steps"] + k * SPACING - 1
        learn(t)
        parameters = {name: view.copy() for name, view in learner.parameters.items()}
        previous = {name: learner.traces[name].copy() for name in names}
        learn(t + 1)
        carried = {name: learner.traces[name] - env.gamma * LAMBDA * previous[name] for name in names}
        # Step t computes v_t with the parameters before its update. With lambda 0 traces are gradients, and a step size
        # of 1e-300 moves no parameter.
        replayed = TDLambda(cell, env.n_inputs, env.gamma, 0.0, SGD(1e-300), RTRL())
        for name, view in replayed.parameters.items():
            view[:] = parameters[name]
        rows = slice(max(t - REPLAY, 0), t + 1)
        replayed.run(observations[rows], cumulants[rows], progress=False)
        pairs.append((carried, {name: replayed.traces[name] for name in names}))
    return pairs
