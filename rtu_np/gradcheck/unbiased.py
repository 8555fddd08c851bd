"""Check a gradient that is random, and right on average: the mean of many draws against RTRL, in standard errors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol, tables
from rtu_np.cells.layer import Cell
from rtu_np.gradcheck.case import LAYER_LOCAL, Case, Sequence
from rtu_np.gradients.layers import clear_memory
from rtu_np.gradients.recurrent_slopes import recurrent_slopes
from rtu_np.gradients.rtrl import RTRL
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.gradients.uoro import UORO
from rtu_np.jit import compile_for
from rtu_np.numerics.buffers import clear, leaves
from rtu_np.validation import brief

UNBIASED, UNBIASED_LAYER_LOCAL = "unbiased, random", "layer-local, random"
DRAWS = 1000
LARGEST = 5.0  # standard errors
_SAME = 1e-9  # relative to the largest entry: draws that differ by less are equal


class Draws(NamedTuple):
    """{name: array} of the exact gradient, and of the mean and the standard deviation of `n` draws."""

    exact: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]
    deviation: dict[str, np.ndarray]
    n: int

    def z(self, name: str) -> np.ndarray:
        """The distance of each entry's mean from the exact one, in standard errors of the mean.

        If all draws are equal, as those of layers without a state, it is 0, or infinite if they are wrong.
        """
        scale = max(float(np.abs(values).max(initial=0.0)) for values in self.exact.values())
        apart = np.abs(self.mean[name] - self.exact[name])
        random = self.deviation[name] > _SAME * scale
        error = np.where(random, self.deviation[name], 1.0) / np.sqrt(self.n)
        return np.where(random, apart / error, np.where(apart > _SAME * scale, np.inf, 0.0))


def draw_gradients(
    cell: Cell, gradient: UORO, inputs: np.ndarray, dy: np.ndarray, n: int, seed: int, compiled: Callable = compile_for
) -> Draws:
    """Draw the gradient of dy . y_T for `inputs` (T, n_inputs) `n` times, all with other random signs.

    The cell's parameters are those of `seed`. What the draws should be on average is the gradient of RTRL(). For a
    dense cell alone it is that of T-BPTT through all steps: its RTRL has J from the same slopes as UORO.
    """
    dense = type(cell.spec(inputs.shape[1])) in recurrent_slopes.table
    reference = TBPTT(len(inputs)) if dense else RTRL()
    exact, layer = (cell.build(inputs.shape[1], method, seed) for method in (reference, gradient))
    for x in inputs:
        exact.advance(x)
    expected = exact.gradient(dy)
    centre, sums = np.zeros(layer._params.size), np.zeros((2, layer._params.size))
    for name, view in leaves(protocol.parameters(layer.spec, centre)[0]).items():
        view[...] = expected[name]
    run = compiled(_draw, layer.spec)
    run(layer.spec, layer._params, layer._memory, layer._gradient, (inputs, dy, centre), sums, n)
    apart = sums[0] / n
    deviation = np.sqrt(np.maximum(sums[1] / n - apart**2, 0.0) * n / (n - 1))
    mean, deviations = (leaves(protocol.parameters(layer.spec, flat)[0]) for flat in (centre + apart, deviation))
    return Draws(expected, mean, deviations, n)


def _draw(spec, params, memory, gradient, given, sums, n):
    """sums[0], sums[1] <- sums of the draws' differences from `centre`, and of their squares"""
    inputs, dy, centre = given
    weights, views = protocol.parameters(spec, params)[0], protocol.memory(spec, memory)[0]
    out, _ = protocol.parameters(spec, gradient)
    for _ in range(n):
        clear_memory(spec, views, memory)
        for t in range(inputs.shape[0]):
            if t > 0:
                protocol.propagate(spec, views)
            protocol.move(spec, weights, views, inputs[t])
        protocol.propagate(spec, views)
        protocol.credit(spec, weights, views, dy)
        clear(gradient)
        protocol.accumulate(spec, views, gradient.dtype.type(0), out)
        for k in range(gradient.shape[0]):
            apart = gradient[k] - centre[k]
            sums[0, k] += apart
            sums[1, k] += apart * apart


@dataclass(frozen=True)
class UnbiasedBlock:
    """The mean gradient of one parameter block, in standard errors from the exact one."""

    block: str
    size: int
    kind: str
    largest: float
    rms: float
    deviation: float  # of one draw from the mean, as a vector, relative to the norm of the exact gradient


@dataclass(frozen=True)
class UnbiasedReport:
    """Result of `check_gradients` for UORO; `print` it, or assert `passed`."""

    title: str
    blocks: tuple[UnbiasedBlock, ...]

    @property
    def largest(self) -> float:
        """The largest distance of an entry's mean, in standard errors."""
        return max(block.largest for block in self.blocks)

    @property
    def passed(self) -> bool:
        return self.largest <= LARGEST

    def _rows(self) -> list[list[str]]:
        rows = [["block", "size", "kind of gradient", "largest z", "rms z", "deviation"]]
        for b in self.blocks:
            rows.append([b.block, str(b.size), b.kind, f"{b.largest:.2f}", f"{b.rms:.2f}", f"{b.deviation:.2g}"])
        return rows

    def _verdict(self) -> str:
        return (
            f"{'passed' if self.passed else 'FAILED'}: the mean is at most {self.largest:.2f} standard errors (z) from "
            f"the gradient of RTRL, allowed {LARGEST:g}; deviation is that of one draw, relative to the exact gradient"
        )

    def __str__(self) -> str:
        return tables.as_text(self.title, self._rows(), "<><>>>", self._verdict())

    def _repr_html_(self) -> str:
        """The same table, for notebooks."""
        return tables.as_html(self.title, self._rows(), self._verdict())


def check_unbiased(cell: Cell, gradient: UORO, inputs: np.ndarray, dy: np.ndarray, seed: int) -> UnbiasedReport:
    """`check_gradients` for UORO: the mean of `DRAWS` draws for one sequence and one dy.

    A block is what it is with RTRL(), or its unbiased estimate: below a layer with a state it is layer-local.
    """
    draws = draw_gradients(cell, gradient, inputs, dy, DRAWS, seed)
    of_rtrl = Case(cell.build(inputs.shape[1], RTRL(), seed), Sequence(len(inputs)), np.random.default_rng(seed))
    blocks = []
    for name, exact in draws.exact.items():
        z, deviation = draws.z(name), float(np.linalg.norm(draws.deviation[name]))
        kind = of_rtrl.kind(name)
        if deviation:
            kind = UNBIASED_LAYER_LOCAL if kind == LAYER_LOCAL else UNBIASED
        numbers = float(z.max()), float(np.sqrt(np.mean(z**2))), deviation / (float(np.linalg.norm(exact)) or 1.0)
        blocks.append(UnbiasedBlock(name, exact.size, kind, *numbers))
    steps, n_inputs = inputs.shape
    title = f"Gradient of {brief(cell)}, {n_inputs} inputs, by {brief(gradient)}: {DRAWS} draws of {steps} steps"
    return UnbiasedReport(f"{title}, float64, seed {seed}", tuple(blocks))


def may_be_checked(dtype: Any, reset_at: Any, thorough: Any) -> None:
    """ValueError for arguments of `check_gradients` that have no meaning for a random gradient."""
    for name, value, default in (("dtype", np.dtype(dtype).name, "float64"), ("reset_at", reset_at, None)):
        if value != default:
            raise ValueError(f"{name} is {value!r} for UORO: expected {default!r}; its check is the mean of many draws")
    if thorough:
        raise ValueError("thorough is True for UORO: expected False; its check is the mean of many draws")
