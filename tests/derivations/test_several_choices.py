"""Several choices: (54)."""

import itertools

import numpy as np
from tolerances import COMPLEX_STEP, PLAIN

from derivations.calculus import Array, Parameters, by_complex_step, error

SIZES = (2, 3, 4)


def log_softmax(o: Array) -> Array:
    return np.asarray(o - np.log(np.exp(o).sum()))


def log_pi(q: Parameters) -> Array:
    """Of all combinations, by one softmax whose outputs are sums."""
    return log_softmax(np.array([sum(q[f"{j}"][k] for j, k in enumerate(a)) for a in combinations()]))


def combinations() -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, SIZES)))


def test_eq54_independent_choices() -> None:
    rng = np.random.default_rng(54)
    o: Parameters = {f"{j}": rng.standard_normal(n) for j, n in enumerate(SIZES)}
    p = {j: np.exp(log_softmax(part)) for j, part in o.items()}
    H = {j: -(part * np.log(part)).sum() for j, part in p.items()}
    joint = log_pi(o)
    assert error(sum(H.values()), -(np.exp(joint) * joint).sum()) < PLAIN
    for place, a in enumerate(combinations()):
        assert error(sum(np.log(p[f"{j}"][k]) for j, k in enumerate(a)), joint[place]) < PLAIN
    a = (1, 0, 2)
    place = combinations().index(a)
    for j, n in enumerate(SIZES):
        name = f"{j}"
        score = by_complex_step(lambda q: log_pi(q)[place], o, name)
        assert error((np.arange(n) == a[j]) - p[name], score) < COMPLEX_STEP
        slope = by_complex_step(lambda q: -(np.exp(log_pi(q)) * log_pi(q)).sum(), o, name)
        assert error(-p[name] * (np.log(p[name]) + H[name]), slope) < COMPLEX_STEP


def test_eq54_a_bit_is_a_logistic_function() -> None:
    o = np.random.default_rng(53).standard_normal(2)
    assert error(np.exp(log_softmax(o))[1], 1 / (1 + np.exp(o[0] - o[1]))) < PLAIN
