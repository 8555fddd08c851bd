"""The usual alternatives: a plain recurrent trace unit (RTU) in JAX, and PyTorch's GRUCell. Each is timed if installed.

Both do what `TDLambda` with SGD and a linear readout does, in float32 on one core: predict, compute the temporal
difference (TD) error with the present readout, update along accumulating traces, and add the new gradient to the
traces. We wrote them for this benchmark as their users would, with the same equations as ours.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np import SGD, LinearRTU, TDLambda
from rtu_np.timing import stream

GAMMA, LAMBDA, STEP_SIZE = 0.9, 0.9, 1e-6


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def timed(function: Callable[[], Any], n_steps: int) -> Callable[[], float]:
    """A function that calls `function`, which makes `n_steps` steps, and returns the seconds per step.

    `function` is called once before, to compile.
    """
    function()

    def seconds() -> float:
        began = time.perf_counter()
        function()
        return (time.perf_counter() - began) / n_steps

    return seconds


# ------------------------------------------------------------------------------------------------------------- JAX


def jax_rtu(learner: TDLambda, observations: np.ndarray, cumulants: np.ndarray) -> dict[str, Callable[[], Any]]:
    """{"scanned", "per call"}: functions that learn as `learner` does, from its parameters, and return the predictions.

    One complex sensitivity per weight pair, as two real arrays. `scanned` runs over the whole stream in one compiled
    loop. `per call` makes one compiled call per step, buffers donated, and waits for each prediction, as an agent must.
    """
    import jax
    import jax.numpy as jnp

    gamma, decay, step_size = learner.gamma, learner.gamma * learner.lambda_, learner.optimizer.step_size

    def step(carry, row):
        params, traces, memory = carry
        (nu_log, theta_log, W1, W2, w, b), (c1, c2, a1, a2, t1, t2, e1, e2) = params, memory
        x, c = row
        nu, theta = jnp.exp(nu_log), jnp.exp(theta_log)
        r = jnp.exp(-nu)
        g, p, scale = r * jnp.cos(theta), r * jnp.sin(theta), jnp.sqrt(-jnp.expm1(-2 * nu))
        slope = nu * r * r / scale
        v_tm1 = jnp.dot(w, jnp.tanh(jnp.concatenate([c1, c2]))) + b[0]

        drive1, drive2 = x @ W1, x @ W2
        turned1, turned2 = g * c1 - p * c2, g * c2 + p * c1
        c1, c2 = turned1 + scale * drive1, turned2 + scale * drive2
        a1, a2 = g * a1 - p * a2 - nu * turned1 + slope * drive1, g * a2 + p * a1 - nu * turned2 + slope * drive2
        t1, t2 = g * t1 - p * t2 - theta * turned2, g * t2 + p * t1 + theta * turned1
        e1, e2 = g * e1 - p * e2 + jnp.outer(x, scale), g * e2 + p * e1

        y = jnp.tanh(jnp.concatenate([c1, c2]))
        v_t = jnp.dot(w, y) + b[0]
        d1, d2 = jnp.split((1 - y * y) * w, 2)
        one_each = (d1 * a1 + d2 * a2, d1 * t1 + d2 * t2, d1 * e1 + d2 * e2, d2 * e1 - d1 * e2)
        gradient = (*one_each, y, jnp.ones(1, jnp.float32))
        delta = c + gamma * v_t - v_tm1
        params = tuple(q + step_size * delta * z for q, z in zip(params, traces, strict=True))
        traces = tuple(decay * z + q for z, q in zip(traces, gradient, strict=True))
        return (params, traces, (c1, c2, a1, a2, t1, t2, e1, e2)), v_t

    def start():
        params = tuple(jnp.asarray(q, jnp.float32) for q in learner.parameters.values())
        traces = tuple(jnp.zeros_like(q) for q in params)
        n, d = learner.cell.n_hidden, learner.n_inputs
        return params, traces, tuple(jnp.zeros(shape, jnp.float32) for shape in [n] * 6 + [(d, n)] * 2)

    xs, cs = jnp.asarray(observations, jnp.float32), jnp.asarray(cumulants, jnp.float32)
    compiled = jax.jit(lambda carry: jax.lax.scan(step, carry, (xs, cs)))
    one = jax.jit(step, donate_argnums=0)

    begun = start()

    def scanned():
        return np.asarray(compiled(begun)[1])

    rows = [np.asarray(x, np.float32) for x in observations]
    values = [np.float32(c) for c in cumulants]

    def per_call():
        carry, predictions = start(), []
        for x, c in zip(rows, values, strict=True):
            carry, v_t = one(carry, (x, c))
            predictions.append(float(v_t))
        return predictions

    return {"scanned": scanned, "per call": per_call}


# --------------------------------------------------------------------------------------------------------- PyTorch


def torch_gru(n: int, d: int, window: int, observations: np.ndarray, cumulants: np.ndarray) -> Callable[[], Any]:
    """GRUCell with T-BPTT through `window` steps, one update per step."""
    import torch

    torch.set_num_threads(1)

    def run():
        torch.manual_seed(0)
        cell, readout = torch.nn.GRUCell(d, n), torch.nn.Linear(n, 1)
        params = [*cell.parameters(), *readout.parameters()]
        traces = [torch.zeros_like(q) for q in params]
        rows = torch.as_tensor(observations, dtype=torch.float32)[:, None]
        states = [torch.zeros(1, n)]
        for t, c in enumerate(cumulants.tolist()):
            h = states[max(len(states) - window, 0)]
            with torch.no_grad():
                v_tm1 = readout(states[-1])
            for x in rows[max(t - window + 1, 0) : t + 1]:
                h = cell(x, h)
            v_t = readout(h)
            gradient = torch.autograd.grad(v_t.sum(), params)
            with torch.no_grad():
                delta = c + GAMMA * v_t.item() - v_tm1.item()
                for q, z, g in zip(params, traces, gradient, strict=True):
                    q += STEP_SIZE * delta * z
                    z.mul_(GAMMA * LAMBDA).add_(g)
                states = [*states[-window:], h.detach()]

    return run


def contenders(n: int, d: int, windows: list[int], n_steps: int = 2000) -> dict[str, Callable[[], float]]:
    """{peer: a function that returns its seconds per step}, of the installed peers."""
    observations, cumulants = stream(n_steps, d, "float32")
    out = {}
    if installed("jax"):
        learner = TDLambda(LinearRTU(n), d, GAMMA, LAMBDA, SGD(STEP_SIZE))
        for kind, function in jax_rtu(learner, observations, cumulants).items():
            out[f"JAX, RTU, RTRL, {kind}"] = timed(function, n_steps)
    if installed("torch"):
        for window in windows:
            few = max(n_steps // (10 * window), 50)
            function = torch_gru(n, d, window, observations[:few], cumulants[:few])
            out[f"PyTorch, GRUCell, T-BPTT({window})"] = timed(function, few)
    return out
