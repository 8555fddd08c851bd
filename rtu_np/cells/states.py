"""What several cells have for a state: the units' outputs, or nothing; and what a layer without parameters learns."""

from typing import Annotated, NamedTuple

import numpy as np

from rtu_np.jit import kernel
from rtu_np.numerics.buffers import packed
from rtu_np.numerics.layout import layout_of


class HiddenState(NamedTuple):
    h: Annotated[np.ndarray, packed, "spec.n_hidden"]


class NoState(NamedTuple):
    pass


class NoParameters(NamedTuple):
    pass


hidden_state = kernel(layout_of(HiddenState))
no_state = kernel(layout_of(NoState))
no_parameters = layout_of(NoParameters)


def nothing_to_accumulate(spec, memory, decay, out):
    pass


def nothing_to_learn(spec, params, traces, memory, decay, step):
    pass
