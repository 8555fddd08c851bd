"""How a rollout stores sensitivities: in the agent's precision, or rounded to bfloat16, in half of float32's memory.

A bfloat16 is the upper half of a float32: its sign, its exponent and 7 bits of its fraction. Numbers are rounded to the
nearest, and ties to an even last bit, so each is off by at most 2^-8 of itself. NumPy has no such type: uint16 holds
them.
"""

from typing import NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.jit import generic, kernel, noalias

_NAN = 0x7FC0


class FullPrecision(NamedTuple):
    """Sensitivities are in `Rollout.stored`."""


class BFloat16(NamedTuple):
    """Sensitivities are in an array of their own, `rounded` (n_steps, n_sensitivities), uint16."""


@generic
def store(storage, cell, memory, r, rounded, scratch, t):
    """Store the sensitivities of the present state as those of transition t.

    rounded : the rounded numbers of all transitions, or None
    scratch : (n_sensitivities,) if they are rounded
    """


@store.register(FullPrecision)
def _store_as_is(storage, cell, memory, r, rounded, scratch, t):
    protocol.store_sensitivities(cell, memory, protocol.stored_sensitivities(cell, r.stored[t])[0])


@store.register(BFloat16)
def _store_rounded(storage, cell, memory, r, rounded, scratch, t):
    protocol.store_sensitivities(cell, memory, protocol.stored_sensitivities(cell, scratch)[0])
    round_off(scratch, rounded[t])


@generic
def load(storage, cell, r, rounded, scratch, t):
    """(views of the sensitivities of transition t, rest), as a layout returns them: as stored, or in `scratch`."""


@load.register(FullPrecision)
def _load_as_is(storage, cell, r, rounded, scratch, t):
    return protocol.stored_sensitivities(cell, r.stored[t])


@load.register(BFloat16)
def _load_rounded(storage, cell, r, rounded, scratch, t):
    widen(rounded[t], scratch)
    return protocol.stored_sensitivities(cell, scratch)


@kernel
@noalias
def round_off(numbers, rounded):
    """rounded, uint16 <- the bfloat16 nearest to each of the numbers, float32"""
    for k in range(numbers.shape[0]):
        x = np.float32(numbers[k])
        bits = np.int64(x.view(np.uint32))
        nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        rounded[k] = nearest if x == x else _NAN


@kernel
@noalias
def widen(rounded, numbers):
    """numbers, float32 <- the numbers that are held as bfloat16"""
    for k in range(numbers.shape[0]):
        numbers[k] = np.uint32(np.uint32(rounded[k]) << np.uint32(16)).view(np.float32)
