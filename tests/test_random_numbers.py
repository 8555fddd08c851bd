"""Random numbers in compiled code: the bits that NumPy draws from the same generator."""

import numpy as np
import pytest

from rtu_np import numba_compiler
from rtu_np.compiled_environment import integer, shuffle
from rtu_np.jit import njit

pytestmark = pytest.mark.skipif(numba_compiler.PLAIN, reason="with plain Numba all goes step by step")


@pytest.mark.parametrize("n", [1, 2, 3, 6, 2**31, 2**32 - 1])
def test_integers_are_those_of_numpy(n):
    one, other = np.random.default_rng(n), np.random.default_rng(n)
    draw = njit(_draw)
    assert [draw(one, n) for _ in range(300)] == [int(other.integers(n)) for _ in range(300)]
    assert one.bit_generator.state == other.bit_generator.state


def _draw(rng, n):
    return integer(rng, n)


def test_an_integer_is_an_index():
    one, other, items = np.random.default_rng(8), np.random.default_rng(8), np.arange(5, 11)
    choose = njit(_choose)
    assert [choose(one, items) for _ in range(9)] == [items[other.integers(6)] for _ in range(9)]


def _choose(rng, items):
    return items[integer(rng, items.shape[0])]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 52, 832, 1 << 17])
def test_shuffles_are_those_of_numpy(n):
    one, other = np.random.default_rng(n), np.random.default_rng(n)
    mix, items, others = njit(_mix), np.arange(n), np.arange(n)
    for _ in range(3):
        mix(one, items), other.shuffle(others)
        assert np.array_equal(items, others)
    assert one.bit_generator.state == other.bit_generator.state


def _mix(rng, items):
    shuffle(rng, items)
