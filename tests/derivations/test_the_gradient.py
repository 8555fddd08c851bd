"""The gradient: (15) to (17)."""

import numpy as np
from tolerances import COMPLEX_STEP, DIFFERENCES

from derivations.calculus import Array, Parameters, by_complex_step, error
from derivations.units import (
    BLOCKS,
    STEPS,
    N,
    both_cells,
    direct_effect,
    every_f,
    f_prime,
    gradient,
    material,
    rotation,
    run,
    sensitivities,
)


@both_cells
@every_f
def test_eq15_gradient_from_sensitivities(cell: str, kind: str) -> None:
    params, c_0, xs, rng = material(15)
    dy, y = rng.standard_normal((2, N)), run(cell, kind, params, c_0, xs)[1][-1]
    es = {block: sensitivities(cell, kind, params, c_0, xs, block)[-1] for block in BLOCKS}
    for block in BLOCKS:
        expected = by_complex_step(lambda q: (dy * run(cell, kind, q, c_0, xs)[1][-1]).sum(), params, block)
        assert error(gradient(cell, kind, es[block], y, dy), expected) < COMPLEX_STEP
    if cell == "linear":  # that of W2 from the sensitivity of W1; `expected` is still of W2
        a1, a2 = f_prime(kind, y) * dy
        assert error(a2 * es["W1"][0] - a1 * es["W1"][1], expected) < COMPLEX_STEP


@both_cells
@every_f
def test_eq16_gradient_by_the_input_is_one_step(cell: str, kind: str) -> None:
    params, c_0, xs, rng = material(16)
    dy, y = rng.standard_normal((2, N)), run(cell, kind, params, c_0, xs)[1][-1]
    b = f_prime(kind, y) * dy
    actual = (rotation(params)[2] * (b[0] * params["W1"] + b[1] * params["W2"])).sum(axis=1)
    c_0 = run(cell, kind, params, c_0, xs[:-2])[0][-1]
    last = by_complex_step(lambda q: (dy * run(cell, kind, params, c_0, q["xs"])[1][-1]).sum(), {"xs": xs[-2:]}, "xs")
    assert error(actual, last[1]) < COMPLEX_STEP
    assert np.abs(last[0]).max() > 1e-3  # the input before matters too, and is left out


@both_cells
@every_f
def test_eq17_reverse_mode_equals_rtrl(cell: str, kind: str) -> None:
    params, c_0, xs, rng = material(17)
    dys = rng.standard_normal((STEPS, 2, N))
    cs, ys = run(cell, kind, params, c_0, xs)
    cs_tm1, slopes = np.concatenate([c_0[None], cs[:-1]]), f_prime(kind, ys)
    g, p, _ = rotation(params)
    a_hat, total = np.zeros((2, N)), {block: np.zeros_like(value) for block, value in params.items()}
    for t in reversed(range(STEPS)):
        b = slopes[t] * dys[t] + (a_hat if cell == "linear" else slopes[t] * a_hat)
        for block in BLOCKS:
            effect = direct_effect(params, block, cs_tm1[t], xs[t])
            total[block] += b[0] * effect[0] + b[1] * effect[1]
        a_hat = np.stack([g * b[0] + p * b[1], g * b[1] - p * b[0]])

    def loss(q: Parameters) -> Array:
        return np.asarray((dys * run(cell, kind, q, q["c_0"], xs)[1]).sum())

    everything = params | {"c_0": c_0}
    assert error(a_hat, by_complex_step(loss, everything, "c_0")) < COMPLEX_STEP
    for block in BLOCKS:
        assert error(total[block], by_complex_step(loss, everything, block)) < COMPLEX_STEP
        es = sensitivities(cell, kind, params, c_0, xs, block)
        rtrl = sum(gradient(cell, kind, es[t], ys[t], dys[t]) for t in range(STEPS))
        assert error(rtrl, total[block]) < COMPLEX_STEP
    direction = {name: 1e-6 * rng.standard_normal(value.shape) for name, value in params.items()}
    ahead, behind = (loss({n: v + s * direction.get(n, 0) for n, v in everything.items()}) for s in (1, -1))
    assert error(sum((total[n] * direction[n]).sum() for n in BLOCKS), (ahead - behind) / 2) < DIFFERENCES
