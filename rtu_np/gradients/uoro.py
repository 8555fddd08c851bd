"""UORO: sensitivities as one product of two vectors, right on average over random signs (Tallec & Ollivier 2018).

All sensitivities of a dense cell are a matrix S (n, m), which full RTRL carries at a cost of n^2 m. UORO carries s (n,)
and w (m,) with E[s w^T] = S, from random signs nu (n,) of each step (derivations (95)):

    s_t = rho0 J_t s_{t-1} + rho1 nu        w_t = w_{t-1} / rho0 + (nu^T F_t) / rho1
    rho0 = sqrt(|w_{t-1}| / |J_t s_{t-1}|)   rho1 = sqrt(|nu^T F_t| / |nu|)

rho0 and rho1 keep s and w of like size, and with it the variance small; the mean is right for any of them. The share of
the present step is exact, so dL/dparameters = (its share) + (dL/dh_{t-1} s_{t-1}) w_{t-1}.

The signs are a hash of the seed and of how many steps have drawn, `draws`, so no generator has to be stored. `draws` is
a part of the memory, and a fresh start of the memory leaves it as it is.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.gradients.layers import by_layer, draw_on, drawn, name_of, step_cell
from rtu_np.gradients.recurrent_slopes import push, recurrent_slopes, slope_flops
from rtu_np.gradients.stored_gradient import prepare_again, register_stored_gradient
from rtu_np.jit import kernel, like
from rtu_np.numerics.buffers import aligned, allocate, clear, copy, count_numbers, overlapping, size
from rtu_np.numerics.layout import layout_of
from rtu_np.numerics.products import dot
from rtu_np.protocol import PerInput, PerOutput, PerUnit
from rtu_np.validation import check_count, make_plain

LOW, HIGH = 0, 1  # slots of `draws`: a count of steps, in two numbers that float32 holds exactly
_TURN = 1 << 20
_MASK = 0xFFFFFFFF
_BITS = 32  # in a word of the hash


@dataclass(frozen=True)
class UORO:
    """Unbiased online recurrent optimisation (Tallec & Ollivier 2018; derivations (95)), for VanillaRNN and GRU.

    Its gradient is right on average and noisy; its cost is that of a few steps of the cell, whatever its size.

    Parameters
    ----------
    seed : of the random signs, in [0, 2^32); equal seeds give equal signs

    Raises
    ------
    ValueError, TypeError : if seed is not such an integer
    TypeError : when a learner or layer is made, if the cell is not dense

    Examples
    --------
    >>> from rtu_np import GRU, TBPTT, flops
    >>> round(flops(GRU(64), 64, UORO(0)) / flops(GRU(64), 64, TBPTT(1)), 1)
    2.6
    """

    seed: int = 0

    def __post_init__(self) -> None:
        check_count("seed", self.seed, low=0, high=_MASK, hint="the random signs are made from it")
        make_plain(self)

    def spec(self, cell_spec: Any, dtype: Any) -> Any:
        """The spec whose memory carries this gradient."""
        return by_layer(cell_spec, self._of_layer)

    def _of_layer(self, cell: Any) -> Any:
        if type(cell) not in recurrent_slopes.table:
            raise TypeError(
                f"gradient is UORO({self.seed}) for {name_of(cell)}: expected a dense cell, VanillaRNN or GRU; is "
                "RTRL() meant, which is exact for a cell with sensitivities of its own, or TBPTT(T)?"
            )
        n_params = size(protocol.parameters, cell)
        views, _ = protocol.parameters(cell, allocate(n_params, np.float32))
        sizes = (n_params, views.W_recurrent.shape[1])
        return UOROSpec(cell.n_inputs, cell.n_hidden, cell.n_outputs, cell, self.seed, *sizes)


class UOROSpec(NamedTuple):
    n_inputs: int
    n_hidden: int
    n_outputs: int
    cell: Any
    seed: int
    n_params: int
    n_recurrent: int  # columns of W_recurrent


protocol.delegate(UOROSpec)
protocol.without_sensitivities(UOROSpec)  # PPO, which stores them, refuses this gradient

PerParameter = Annotated[np.ndarray, "spec.n_params"]
PerRecurrent = Annotated[np.ndarray, "spec.n_recurrent"]


class UOROMemory(NamedTuple):
    state: Annotated[Any, protocol.state, "spec.cell"]
    flat_state: Annotated[np.ndarray, aligned]
    flat_state_tm1: PerUnit
    y: PerOutput
    s: PerUnit  # of the step before
    w: PerParameter
    pushed: PerUnit  # J s of the latest step
    pulled: PerParameter  # nu^T F of the latest step
    signs: PerUnit  # nu of the latest step
    draws: Annotated[np.ndarray, 2]  # LOW, HIGH
    keep: PerUnit
    by: PerRecurrent
    scratch: PerRecurrent
    x: PerInput
    flat_state_t: Annotated[np.ndarray, overlapping, "spec.n_hidden"]  # the same numbers as `record.state`
    record: Annotated[Any, protocol.record, "spec.cell"]
    work: Annotated[Any, protocol.work, "spec.cell"]
    gradient: PerParameter  # of the latest `credit`
    dstate: PerUnit
    dx: PerInput
    no_dy: PerOutput  # zeros


protocol.memory.register(UOROSpec)(layout_of(UOROMemory))


# ---------------------------------------------------------------------------------------------------- random signs


@kernel
def _mix(x):
    """The final mix of MurmurHash3, on 32 bits: every bit of x changes half of the others."""
    x ^= x >> 16
    x = (x * 0x85EBCA6B) & _MASK
    x ^= x >> 13
    x = (x * 0xC2B2AE35) & _MASK
    return x ^ (x >> 16)


@kernel
def draw_signs(seed, draws, out):
    """out <- random signs of the step that `draws` counts; `draws` counts on."""
    word = _mix(_mix(_mix(seed + 1) ^ int(draws[LOW])) ^ int(draws[HIGH]))
    one = out.dtype.type(1)
    for start in range(0, out.shape[0], _BITS):
        word = _mix((word + 0x9E3779B9) & _MASK)
        for k in range(start, min(start + _BITS, out.shape[0])):
            out[k] = one if (word >> (k - start)) & 1 else -one
    low = int(draws[LOW]) + 1
    draws[HIGH] = int(draws[HIGH]) + low // _TURN
    draws[LOW] = low % _TURN


@drawn.register(UOROSpec)
def _drawn(spec, memory):
    return memory.draws[LOW], memory.draws[HIGH]


@draw_on.register(UOROSpec)
def _draw_on(spec, memory, counts):
    memory.draws[LOW] = counts[0]
    memory.draws[HIGH] = counts[1]


# --------------------------------------------------------------------------------------------------------- kernels


@kernel
def _backward(spec, params, memory, dy, gradient, dx):
    """The latest step's reverse mode, from memory.dstate."""
    cell = spec.cell
    state_tm1, _ = protocol.state(cell, memory.flat_state_tm1)
    views, _ = protocol.parameters(cell, gradient)
    adjoint = protocol.Adjoint(protocol.state(cell, memory.dstate)[0], views, dx)
    protocol.backward(cell, params, memory.work, state_tm1, memory.x, memory.record, dy, adjoint)


@kernel
def _advance_product(memory):
    """s, w <- those of the latest step. A vector that is zero carries nothing, and its partner is dropped with it."""
    s, w, signs = memory.s, memory.w, memory.signs
    zero, one = like(s[0], 0.0), like(s[0], 1.0)
    of_w, of_pushed = np.sqrt(dot(w, w)), np.sqrt(dot(memory.pushed, memory.pushed))
    of_pulled, of_signs = np.sqrt(dot(memory.pulled, memory.pulled)), np.sqrt(dot(signs, signs))
    rho0 = np.sqrt(of_w / of_pushed) if of_w > 0 and of_pushed > 0 else zero
    rho1 = np.sqrt(of_pulled / of_signs) if of_pulled > 0 else zero
    shrink0 = one / rho0 if rho0 > 0 else zero
    shrink1 = one / rho1 if rho1 > 0 else zero
    for i in range(s.shape[0]):
        s[i] = rho0 * memory.pushed[i] + rho1 * signs[i]
    for p in range(w.shape[0]):
        w[p] = shrink0 * w[p] + shrink1 * memory.pulled[p]


@protocol.move.register(UOROSpec)
def move(spec, params, memory, x_t):
    """The step, with J s and nu^T F. s and w advance to the step *before*; `credit` adds the present step's share."""
    cell = spec.cell
    _advance_product(memory)
    state_tm1 = step_cell(spec.cell, params, memory, x_t)
    recurrent_slopes(cell, state_tm1, memory.record, memory.keep, memory.by)
    push(params.W_recurrent, memory.keep, memory.by, memory.s, memory.scratch, memory.pushed)
    draw_signs(spec.seed, memory.draws, memory.signs)
    copy(memory.signs, memory.dstate)
    clear(memory.pulled)
    _backward(spec, params, memory, memory.no_dy, memory.pulled, memory.dx[:0])


@protocol.credit.register(UOROSpec)
def credit(spec, params, memory, dy):
    clear(memory.dstate)
    clear(memory.gradient)
    _backward(spec, params, memory, dy, memory.gradient, memory.dx)
    along = dot(memory.dstate, memory.s)
    for p in range(spec.n_params):
        memory.gradient[p] += along * memory.w[p]


register_stored_gradient(UOROSpec)


@protocol.rescale.register(UOROSpec)
def rescale(spec, params, sensitivities, factors):
    """Dense cells have no periodic parameters, so all factors are 1."""
    prepare_again(spec, params, sensitivities)


# ----------------------------------------------------------------------------------------------------------- costs


@protocol.flops.register(UOROSpec)
def flops(spec):
    count, n, columns = protocol.flops(spec.cell), spec.n_hidden, spec.n_recurrent
    m = count_numbers(protocol.parameters, spec.cell)
    product = 4 * n + 4 * m + 3 * n + 3 * m + 10  # norms, sums, and the two rho
    pushed = slope_flops(spec.cell) + 2 * n * columns + n + 2 * columns
    return count._replace(
        move=count.prepare + count.forward + count.backward + product + pushed,
        propagate=0,
        credit=count.backward + count.dx + 2 * n + 2 * m,
        accumulate=2 * m,
        input_gradient=0,
    )
