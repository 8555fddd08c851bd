"""The Bayes floor: (25), and the numbers in its table."""

import re

import numpy as np
import pytest
from tolerances import PLAIN, SAMPLING

from derivations.calculus import Array, error
from derivations.page import PAGE

ITIS, US_LENGTH = np.arange(80, 121), 2
conditioning = pytest.mark.parametrize(("isi", "discount"), [(10, 0.9), (20, 0.95), (40, 0.975)])


def bayes(isis: Array, itis: Array, us_length: int, discount: float) -> tuple[Array, Array]:
    """(25): values by time since CS onset and since US onset, solved for the one unknown U, the value at US onset."""
    one, U = np.array([1.0, 0.0]), np.array([0.0, 1.0])  # a + b U as (a, b)
    v_cs, v_us = np.zeros((isis.max() + 1, 2)), np.zeros((itis.max() + 1, 2))
    for k in reversed(range(isis.max())):
        hazard = (isis == k + 1).sum() / (isis >= k + 1).sum()
        v_cs[k] = hazard * (one + discount * U) + (1 - hazard) * discount * v_cs[k + 1]
    for m in reversed(range(itis.max())):
        hazard = (itis == m + 1).sum() / (itis >= m + 1).sum()
        v_us[m] = (m + 1 < us_length) * one + discount * (hazard * v_cs[0] + (1 - hazard) * v_us[m + 1])
    solved = np.array([1.0, v_us[0, 0] / (1 - v_us[0, 1])])
    return v_cs[:-1] @ solved, v_us[:-1] @ solved


def around(isi: int) -> Array:
    return np.arange(isi - isi // 3, isi + isi // 3 + 1)


@conditioning
def test_eq25_bayes_prediction_solves_the_markov_chain(isi: int, discount: float) -> None:
    isis = around(isi)
    v_cs, v_us = bayes(isis, ITIS, US_LENGTH, discount)
    a, b = len(v_cs), len(v_us)
    chain, cumulant = np.zeros((a + b, a + b)), np.zeros((a + b, a + b))
    for k in range(a):
        chain[k, a] = np.mean(isis[k < isis] == k + 1)
        chain[k, min(k + 1, a)] += 1 - chain[k, a]
    for m in range(b):
        chain[a + m, 0] = np.mean(ITIS[m < ITIS] == m + 1)
        chain[a + m, (a + m + 1) % (a + b)] += 1 - chain[a + m, 0]
    cumulant[:, a : a + US_LENGTH] = 1  # while the US is on, whichever step leads there
    v = np.linalg.solve(np.eye(a + b) - discount * chain, (chain * cumulant).sum(1))
    assert error(np.concatenate([v_cs, v_us]), v) < PLAIN
    # The closed form, and the table of what is left.
    to_us, to_cs = np.mean(discount ** (isis - 1.0)), np.mean(discount ** ITIS.astype(float))  # the page's D and Q
    S = sum(discount ** (m - 1) for m in range(1, US_LENGTH))
    assert error(v_us[0], (S + to_cs * to_us) / (1 - discount * to_cs * to_us)) < PLAIN
    assert error(v_cs[0], to_us * (1 + discount * v_us[0])) < PLAIN
    surprise = (chain * (cumulant + discount * v - v[:, None]) ** 2).sum(1)
    M = np.linalg.solve(np.eye(a + b) - discount**2 * chain, surprise)
    visits = np.array([np.mean(k < isis) for k in range(a)] + [np.mean(m < ITIS) for m in range(b)])
    floor = np.average(M, weights=visits)
    spread = np.average(M + v**2, weights=visits) - np.average(v, weights=visits) ** 2
    assert f"| {isi} | {discount} | {floor:.5f} | {spread:.5f} |" in PAGE


@conditioning
def test_eq25_bayes_prediction_on_a_simulated_stream(isi: int, discount: float) -> None:
    rng, isis = np.random.default_rng(isi), around(isi)
    v_cs, v_us = bayes(isis, ITIS, US_LENGTH, discount)
    us, v = [], []
    for _ in range(2000):
        i, j = rng.choice(isis), rng.choice(ITIS)
        us += [0] * i + [1] * US_LENGTH + [0] * (j - US_LENGTH)
        v += [*v_cs[:i], *v_us[:j]]
    G, returns = 0.0, np.zeros(len(us))
    for t in reversed(range(len(us) - 1)):
        G = us[t + 1] + discount * G
        returns[t] = G
    settled = slice(0, -1000)
    msre = np.mean((np.array(v) - returns)[settled] ** 2)
    stated = re.search(rf"\| {isi} \| {discount} \| ([.\d]+) \|", PAGE)
    assert stated
    assert error(msre, float(stated[1])) < SAMPLING
    shifted = np.mean((np.array([v[0], *v])[:-1] - returns)[settled] ** 2)
    assert shifted > 1.1 * msre  # a prediction late by one step is seen
