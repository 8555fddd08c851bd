"""More than one layer: (30) to (32)."""

import numpy as np
import pytest
from tolerances import COMPLEX_STEP, DIFFERENCES, PLAIN

from derivations.calculus import Array, Parameters, by_complex_step, error, flat, whole_jacobian
from derivations.dense import NH, dense_material, dense_reverse, dense_step, jacobians
from derivations.diagonal import diagonal_material, diagonal_run, eigenvalue, eigenvalue_derivatives, every_form
from derivations.units import STEPS, D, N, every_f, f, f_prime, material, run


@every_f
def test_eq30_hidden_readout(kind: str) -> None:
    rng = np.random.default_rng(30)
    n_k = 6
    params = {
        "W_hidden": rng.standard_normal((2 * N, n_k)),
        "b_hidden": rng.standard_normal(n_k),
        "w": rng.standard_normal(n_k),
        "b": rng.standard_normal(1),
        "y": rng.standard_normal(2 * N),
    }

    def value(q: Parameters) -> Array:
        return np.asarray(q["w"] @ f(kind, q["y"] @ q["W_hidden"] + q["b_hidden"]) + q["b"][0])

    k = f(kind, params["y"] @ params["W_hidden"] + params["b_hidden"])
    xi = f_prime(kind, k) * params["w"]
    gradient = {
        "W_hidden": np.outer(params["y"], xi),
        "b_hidden": xi,
        "w": k,
        "b": np.ones(1),
        "y": xi @ params["W_hidden"].T,
    }
    for block, actual in gradient.items():
        assert error(actual, by_complex_step(value, params, block)) < COMPLEX_STEP
    # A value read again after a step has moved by gradient . step, to first order: from both sides, to second.
    z = {n: 1e-6 * rng.standard_normal(v.shape) for n, v in params.items() if n != "y"}
    ahead, behind = (value(params | {n: params[n] + s * z[n] for n in z}) for s in (1, -1))
    assert error(sum((gradient[n] * z[n]).sum() for n in z), (ahead - behind) / 2) < DIFFERENCES


def stacked_run(lower: str, upper: str, params: Parameters, h: Array, k: Array, xs: Array) -> tuple[Array, Array]:
    """Two layers with the parameters "low.*" and "up.*": the states of both after each step."""
    low, up = ({n.split(".")[1]: v for n, v in params.items() if n.startswith(part)} for part in ("low.", "up."))
    hs, ks = [], []
    for x in xs:
        h = dense_step(lower, low, h, x)
        k = dense_step(upper, up, k, h) if upper != "feedforward" else np.tanh(h @ up["W_input"])
        hs.append(h)
        ks.append(k)
    return np.array(hs), np.array(ks)


def stacked_material(lower: str, upper: str) -> tuple[Parameters, Parameters, Array, Array, Array, Array]:
    low, h_0, xs, rng = dense_material(lower, 42)
    up, k_0 = dense_material(upper, 43, NH)[:2]
    return low, up, h_0, k_0, xs, rng.standard_normal(NH)


@pytest.mark.parametrize(("lower", "upper"), [("vanilla tanh", "gru"), ("gru", "pairs tanh"), ("pairs relu", "gru")])
def test_eq31_two_layers(lower: str, upper: str) -> None:
    low, up, h_0, k_0, xs, dy = stacked_material(lower, upper)
    both = {f"low.{n}": v for n, v in low.items()} | {f"up.{n}": v for n, v in up.items()}
    h, k, S_low, S_up = h_0, k_0, np.zeros((NH, flat(low, low).size)), np.zeros((NH, flat(low, low).size))
    own = np.zeros((NH, flat(up, up).size))
    for x in xs:
        J, F = jacobians(lower, low, h, x)
        S_low, h = J @ S_low + F, dense_step(lower, low, h, x)
        Y = S_low  # the output of these layers is their state
        J_up, F_up = jacobians(upper, up, k, h)
        X = np.array([dense_reverse(upper, up, k, h, unit)[2] for unit in np.eye(NH)])
        S_up_tm1, S_up, k_tm1 = S_up, J_up @ S_up + X @ Y, k
        own, k = J_up @ own + F_up, dense_step(upper, up, k, h)
    a_up, _, dy_low = dense_reverse(upper, up, k_tm1, h, dy)
    local, exact = dy_low @ Y, a_up @ S_up_tm1 + dy_low @ Y
    jacobian = whole_jacobian(lambda q: stacked_run(lower, upper, q, h_0, k_0, xs)[1][-1], both)
    m = flat(low, low).size
    assert error(S_up, jacobian[:, :m]) < COMPLEX_STEP
    assert error(own, jacobian[:, m:]) < COMPLEX_STEP  # parameters of the upper layer: its own recursion is exact
    assert error(exact, dy @ jacobian[:, :m]) < COMPLEX_STEP
    if "relu" not in lower:
        assert S_up.all()  # every unit above, every parameter below
    # Layer-local: the derivative with the state above held where it was before the last step.
    below = {n: v for n, v in both.items() if n.startswith("low.")}

    def last_step(q: Parameters) -> Array:
        return dy @ dense_step(upper, up, k_tm1, stacked_run(lower, upper, both | q, h_0, k_0, xs)[0][-1])

    assert error(local, whole_jacobian(last_step, below)) < COMPLEX_STEP
    assert error(local, exact) > 1e-2


def test_eq31_layer_local_is_exact_below_a_feedforward_layer() -> None:
    low, up, h_0, k_0, xs, dy = stacked_material("gru", "vanilla tanh")
    both = {f"low.{n}": v for n, v in low.items()} | {"up.W_input": up["W_input"]}
    h, S = h_0, np.zeros((NH, flat(low, low).size))
    for x in xs:
        J, F = jacobians("gru", low, h, x)
        S, h = J @ S + F, dense_step("gru", low, h, x)
    local = ((1 - np.tanh(h @ up["W_input"]) ** 2) * dy) @ up["W_input"].T @ S
    jacobian = whole_jacobian(lambda q: stacked_run("gru", "feedforward", q, h_0, k_0, xs)[1][-1], both)
    assert error(local, dy @ jacobian[:, : S.shape[1]]) < COMPLEX_STEP


def test_eq31_sensitivities_above_a_layer_sum_over_the_past() -> None:
    """The page's reason why they do not factorise: linear units, row by row."""
    params, _, _, rng = material(44)
    n_low, Y = 4, rng.standard_normal((STEPS, 4, 9))
    lam, X = np.exp(-np.exp(params["nu_log"]) + 1j * np.exp(params["theta_log"])), rng.standard_normal((N, n_low))
    S = np.zeros((N, 9), complex)
    for t in range(STEPS):
        S = lam[:, None] * S + X @ Y[t]
    rows = [X[i] @ sum(lam[i] ** (STEPS - 1 - s) * Y[s] for s in range(STEPS)) for i in range(N)]
    assert error(S, rows) < PLAIN
    # With one input, X is a column, and S would be of rank 1 if all eigenvalues above were equal.
    one = [sum(u ** (STEPS - 1 - s) * Y[s, 0] for s in range(STEPS)) for u in (*lam, lam[0])]
    assert np.linalg.matrix_rank(np.array(one[:-1])) == N
    assert np.linalg.matrix_rank(np.array([one[0], 2 * one[-1]])) == 1


@every_f
@pytest.mark.parametrize("direct", [True, False])
def test_eq32_output_of_the_lru(kind: str, direct: bool) -> None:
    rng = np.random.default_rng(32)
    n_y = 4
    params = {
        "C_re": rng.standard_normal((N, n_y)),
        "C_im": rng.standard_normal((N, n_y)),
        "re": rng.standard_normal(N),
        "im": rng.standard_normal(N),
    }
    if direct:
        params |= {"D": rng.standard_normal((D, n_y)), "x": rng.standard_normal(D)}
    dy = rng.standard_normal(n_y)

    def output(q: Parameters) -> Array:
        z = q["re"] @ q["C_re"] - q["im"] @ q["C_im"]
        return f(kind, z + q["x"] @ q["D"] if direct else z)

    h, C = params["re"] + 1j * params["im"], params["C_re"] + 1j * params["C_im"]
    z = np.array([sum(h[i] * C[i, j] for i in range(N)).real for j in range(n_y)])
    y = output(params)
    assert error(y, f(kind, z + params["x"] @ params["D"] if direct else z)) < PLAIN
    xi = f_prime(kind, y) * dy
    gradient = {
        "C_re": np.outer(params["re"], xi),
        "C_im": -np.outer(params["im"], xi),
        "re": xi @ params["C_re"].T,
        "im": -xi @ params["C_im"].T,
    }
    if direct:
        gradient |= {"D": np.outer(params["x"], xi), "x": xi @ params["D"].T}
    for block, actual in gradient.items():
        assert error(actual, by_complex_step(lambda q: output(q) @ dy, params, block)) < COMPLEX_STEP


@every_form
def test_eq32_lru_and_linear_rtu(form: str) -> None:
    tied, c_0, xs, rng = diagonal_material(form, 45, "tied")
    r = eigenvalue(form, tied["a"], tied["b"])[0]
    gamma = np.sqrt(1 - r**2)
    free = tied | {"gamma_log": np.log(gamma)}
    cs = diagonal_run(form, free, c_0, xs)
    assert error(cs, diagonal_run(form, tied, c_0, xs)) < PLAIN
    if form == "nu_log/theta_log":
        rtu = {"nu_log": tied["a"], "theta_log": tied["b"], "W1": tied["W1"], "W2": tied["W2"]}
        assert error(cs, run("linear", "identity", rtu, c_0, xs)[0]) < PLAIN
    C_re, C_im = np.eye(N, 2 * N), -np.eye(N, 2 * N, N)  # [I, 0] and [0, -I]
    assert error(cs[-1, 0] @ C_re - cs[-1, 1] @ C_im, cs[-1].ravel()) < PLAIN
    dy = rng.standard_normal((2, N))
    rtu, lru = (
        {n: by_complex_step(lambda q: (dy * diagonal_run(form, q, c_0, xs)[-1]).sum(), p, n) for n in p}
        for p in (tied, free)
    )
    dgamma_log = -eigenvalue_derivatives(form, tied["a"], tied["b"])[0] * r**2 / gamma**2
    assert error(lru["a"] + dgamma_log * lru["gamma_log"], rtu["a"]) < COMPLEX_STEP
    assert error(lru["a"], rtu["a"]) > 1e-3
    for block in ("b", "W1", "W2"):
        assert error(lru[block], rtu[block]) < COMPLEX_STEP
    if form == "nu_log/theta_log":
        assert error(dgamma_log, np.exp(tied["a"]) * r**2 / gamma**2) < PLAIN
