"""A homework: a gated cell as two plain functions, and the mistakes that are made in it."""

import inspect

import numpy as np

STEPS, D, N = 12, 3, 4


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def gated(params, h, x):
    u = sigmoid(x @ params["Wu"] + h @ params["Uu"] + params["bu"])
    g = np.tanh(x @ params["Wg"] + h @ params["Ug"] + params["bg"])
    h = (1 - u) * h + u * g
    return h, h


def backward(params, h, xs, dy):
    """Backpropagation through time, by hand."""
    tape = []
    for x in xs:
        u = sigmoid(x @ params["Wu"] + h @ params["Uu"] + params["bu"])
        g = np.tanh(x @ params["Wg"] + h @ params["Ug"] + params["bg"])
        h_new = (1 - u) * h + u * g
        tape.append((x, h, u, g, h_new))
        h = h_new
    d = {name: np.zeros_like(array) for name, array in params.items()}
    dh = dy
    for x, h, u, g, h_new in reversed(tape):  # noqa: B007  a mistake takes the new state
        du = dh * (g - h) * u * (1 - u)
        dg = dh * u * (1 - g**2)
        d["Wu"] += np.outer(x, du)
        d["Wg"] += np.outer(x, dg)
        d["Uu"] += np.outer(h, du)
        d["Ug"] += np.outer(h, dg)
        d["bu"] += du
        d["bg"] += dg
        dh = dh * (1 - u) + params["Uu"] @ du + params["Ug"] @ dg
    return d


def forward_mode(params, h, sensitivities, x):
    """Real-time recurrent learning, by hand: a step that carries sensitivities."""
    u = sigmoid(x @ params["Wu"] + h @ params["Uu"] + params["bu"])
    g = np.tanh(x @ params["Wg"] + h @ params["Ug"] + params["bg"])
    by_u, by_g = (g - h) * u * (1 - u), u * (1 - g**2)
    J = np.diag(1 - u) + by_u[:, None] * params["Uu"].T + by_g[:, None] * params["Ug"].T
    S = {name: np.tensordot(J, s, 1) for name, s in sensitivities.items()}
    for k in range(len(h)):
        S["Wu"][k, :, k] += by_u[k] * x
        S["Wg"][k, :, k] += by_g[k] * x
        S["Uu"][k, :, k] += by_u[k] * h
        S["Ug"][k, :, k] += by_g[k] * h
        S["bu"][k, k] += by_u[k]
        S["bg"][k, k] += by_g[k]
    h = (1 - u) * h + u * g
    return h, h, S


def homework(steps=STEPS, seed=0):
    """(params, state, xs)"""
    rng = np.random.default_rng(seed)
    shapes = {"Wu": (D, N), "Uu": (N, N), "bu": (N,), "Wg": (D, N), "Ug": (N, N), "bg": (N,)}
    params = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}
    return params, np.zeros(N), rng.standard_normal((steps, D))


def changed(function, *replacements, **names):
    """`function` with parts of its source replaced, and with other values of its global names."""
    source = inspect.getsource(function)
    for old, new in replacements:
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {function.__name__}"
        source = source.replace(old, new)
    namespace = {**function.__globals__, **names}
    exec(source, namespace)
    return namespace[function.__name__]


EVERY = "Wu, Uu, bu, Wg, Ug, bg: "
# A name, what is written instead of what, and the hint.
MISTAKES = {
    "the sign of a gate": (
        [("dh * (g - h) * u", "dh * (h - g) * u")],
        f"{EVERY}the derivative by the preactivation with Wu and Uu and bu has the wrong sign",
    ),
    "the sign of one gradient": ([('d["bg"] += dg', 'd["bg"] -= dg')], "bg: its sign is wrong"),
    "a matrix transposed, in the gradient": ([("np.outer(h, dg)", "np.outer(dg, h)")], "Ug: it is transposed"),
    "a matrix transposed, on the way back": (
        [('params["Ug"] @ dg', 'dg @ params["Ug"]')],
        f"{EVERY}Ug is transposed in d state / d state",
    ),
    "a lost factor 1 - g²": (
        [(" * (1 - g**2)", "")],
        f"{EVERY}the derivative of tanh is left out",
    ),
    "a lost factor u (1 - u)": ([(" * u * (1 - u)\n", "\n")], f"{EVERY}the derivative of sigmoid is left out"),
    "a factor for all": (
        [("    return d\n", "    return {k: v / len(tape) for k, v in d.items()}\n")],
        f"{EVERY}it is 1 / T times",
    ),
    "the last step left out": (
        [("in reversed(tape)", "in reversed(tape[:-1])")],
        f"{EVERY}it is off by one step: the gradient after T - 1 steps",
    ),
    "the first step left out": (
        [("in reversed(tape)", "in reversed(tape[1:])")],
        "Wu, bu, Wg, bg: what the first step does is missing",  # from a state of zero, it does nothing to Uu and Ug
    ),
    "three steps back only": ([("in reversed(tape)", "in reversed(tape[-3:])")], f"{EVERY}it is truncated to 3 steps"),
    "no steps back": (
        [("in reversed(tape)", "in reversed(tape[-1:])")],
        f"{EVERY}it is truncated to 1 step: nothing is carried through the state",
    ),
    "the new state for the old": (
        [("np.outer(h, du)", "np.outer(h_new, du)"), ("np.outer(h, dg)", "np.outer(h_new, dg)")],
        "Uu, Ug: the new state is used where the state before the step is expected",
    ),
    "a gate taken as constant": (
        [(' + params["Uu"] @ du', "")],
        f"{EVERY}d state / d state lacks the path through Uu",
    ),
    "the leak forgotten": (
        [("dh * (1 - u) + ", "")],
        f"{EVERY}d state / d state lacks what the state does to the next without a matrix",
    ),
    "added up, not replaced": (
        [("dh = dh * (1 - u)", "dh = dh + dh * (1 - u)")],
        f"{EVERY}d state / d state has 1 too much on its diagonal",
    ),
    "replaced, not added up": ([('d["bu"] += du', 'd["bu"] = du')], "bu: it is not added up"),
    "a direct effect forgotten": ([('d["Wg"] += np.outer(x, dg)', "pass")], "Wg: it is zero"),
    "two arrays confused": ([("    return d\n", '    return {**d, "bu": d["bg"]}\n')], "bu: it is the gradient by bg"),
    "dy at every step": (
        [("du = dh * ", "dh = dh + (h_new is not tape[-1][-1]) * dy\n        du = dh * ")],
        f"{EVERY}it is the sum over all steps",
    ),
    "dy forgotten": ([("dh = dy\n", "dh = np.ones_like(dy)\n")], f"{EVERY}dy is left out"),
}
