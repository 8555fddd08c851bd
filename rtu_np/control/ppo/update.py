"""PPO's update: epochs of minibatches over a rollout. Several threads compute the gradient of one minibatch.

A minibatch is cut into a fixed number of parts. Their gradients are added in the order of the parts, whichever thread
computed them, so the number of threads changes no bit.
"""

import functools
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from rtu_np import protocol
from rtu_np.control.ppo.loss import accumulate_gradient, add_parts, advantage_moments, compute_gae, take_step
from rtu_np.control.ppo.network import LOSS_TERMS, chunk, live, ppo_arrays
from rtu_np.control.ppo.rollout import recompute
from rtu_np.control.ppo.storage import load, round_off
from rtu_np.jit import compile_for, entry
from rtu_np.learning.network import wrap_parameters
from rtu_np.numerics.buffers import allocate, size
from rtu_np.progress import compiling

PARTS = 4
_PAGE = 1024  # elements: separates the memory of the parts, in both precisions
SUMMARY = ("updates", *LOSS_TERMS[:-1], "gradient_norm")  # number of updates; means over the latest
UPDATES = 0  # slot of the summary


class Refresh(NamedTuple):
    """Which numbers are computed again before each epoch except the first."""

    states: bool  # with their sensitivities
    values: bool


def bytes_of_update(spec: Any, refresh: Refresh, dtype: np.dtype) -> int:
    """The memory of the arrays that an update works in."""
    return (PARTS * _width(spec) + (size(live, spec) if any(refresh) else 0)) * dtype.itemsize


def _width(spec: Any) -> int:
    return -(-size(chunk, spec) // _PAGE) * _PAGE


class Update:
    """The update of `PPO` with a complete rollout, and a summary of the latest update.

    Parameters
    ----------
    spec, flat, rounded : of the agent; `rounded` is None if sensitivities are stored in full precision
    n_epochs : how often the update goes through the rollout
    refresh : which numbers are computed again before each epoch except the first
    rng : of the order of minibatches
    threads : how many threads work at a time
    """

    def __init__(
        self,
        spec: Any,
        flat: np.ndarray,
        rounded: np.ndarray | None,
        n_epochs: int,
        refresh: Refresh,
        rng: np.random.Generator,
        threads: int,
    ) -> None:
        self._spec, self._flat, self._rounded, self._n_epochs, self._refresh = spec, flat, rounded, n_epochs, refresh
        self._rng, self._threads = rng, min(threads, PARTS)
        self._parts = allocate(PARTS * _width(spec), flat.dtype).reshape(PARTS, -1)
        self._loss_terms, self._moments = np.zeros(len(LOSS_TERMS)), np.zeros(2)
        self.summary, self.seconds = np.zeros(len(SUMMARY)), 0.0
        self._backup: list[tuple[np.ndarray, np.ndarray]] = []
        with compiling("the update of PPO", 5 + any(refresh)):
            self._compile()
            if any(refresh):
                _ = self._recompute  # compiled now, and not in mid-update

    def _compile(self) -> None:
        """A function that gets a few arrays, in place of `spec` and `flat`, compiles in a tenth of the time."""
        spec, flat, arrays = self._spec, self._flat, ppo_arrays(self._spec, self._flat)[0]
        r, known = arrays.rollout, arrays.learned
        parts = [chunk(spec, part)[0] for part in self._parts]
        gradients, terms = (tuple(getattr(part, name) for part in parts) for name in ("flat_gradient", "loss_terms"))

        def compiled(function: Callable, *arguments: Any) -> Callable:
            return entry(compile_for(function, *arguments), *arguments)

        sequences = (np.arange(spec.n_steps // spec.sequence), 0, 1)
        targets = (r.rewards, r.ends, r.values, r.bootstraps, r.advantages, r.returns)
        self._of_gae = (spec.inputs.gamma, spec.loss.gae_lambda, *targets)
        self._of_moments = (r.advantages, spec.sequence)
        self._of_sum = (gradients, terms, known.flat_gradient, self._loss_terms)
        self._of_step = (spec.cell, spec.optimizer, known.flat_params, known.flat_gradient, known.moments)
        self._gae = compiled(compute_gae, *self._of_gae)
        self._advantage_moments = compiled(advantage_moments, *self._of_moments, *sequences, self._moments)
        self._accumulate_gradient = compiled(
            accumulate_gradient, spec, flat, self._rounded, self._parts[0], *sequences, self._moments
        )
        self._add_parts = compiled(add_parts, *self._of_sum)
        self._take_step = compiled(take_step, *self._of_step, -1.0)

    def __call__(self) -> str:
        """Learn from the rollout and return "". If a number is not finite, undo the update and return the place."""
        began = time.perf_counter()
        known, self._backup = ppo_arrays(self._spec, self._flat)[0].learned, []
        self._back_up(known.flat_params, *known.moments)
        try:
            if self._threads == 1:
                fault = self._learn(lambda function: function(0, PARTS))
            else:
                with ThreadPoolExecutor(self._threads - 1) as pool:
                    fault = self._learn(functools.partial(self._share, pool))
        except BaseException:
            self.undo()
            raise
        if fault:
            self.undo()
        else:
            self.seconds = time.perf_counter() - began
        return fault

    def _share(self, pool: ThreadPoolExecutor, function: Callable[[int, int], None]) -> None:
        """Call function(first, stop) for all parts, on the threads of the pool and on this one, which else waits."""
        bounds = [PARTS * k // self._threads for k in range(self._threads + 1)]
        others = [pool.submit(function, *each) for each in itertools.pairwise(bounds[1:])]
        function(bounds[0], bounds[1])
        for other in others:
            other.result()

    def undo(self) -> None:
        """Restore parameters and moments from before the latest update, if there was one."""
        for array, values in self._backup:
            array[:] = values

    def _back_up(self, *arrays: np.ndarray) -> None:
        """Copy arrays before their first change in this update, for `undo`."""
        known = {array.ctypes.data for array, _ in self._backup}
        self._backup += [(array, array.copy()) for array in arrays if array.ctypes.data not in known]

    def _learn(self, for_all_parts: Callable[[Callable[[int, int], None]], None]) -> str:
        """`for_all_parts(function)` calls function(first, stop) for ranges that make up all parts."""
        spec, per = self._spec, self._spec.minibatch // self._spec.sequence
        n_sequences, norms = spec.n_steps // spec.sequence, 0.0
        self._loss_terms[:] = 0
        self._compute_gae()
        for epoch in range(self._n_epochs):
            if epoch > 0 and any(self._refresh):
                self._recompute(*self._refresh)
                self._compute_gae()
            order = self._rng.permutation(n_sequences)
            for start in range(0, n_sequences, per):
                for_all_parts(self._gradient_of(order, start, per))
                norm, wrap = self._apply_gradient()
                if not np.isfinite(norm):
                    return f"epoch {epoch + 1}, minibatch {start // per + 1}"
                norms += float(norm)
                if wrap:
                    self._wrap()
        n_updates = self._n_epochs * (n_sequences // per)
        means = self._loss_terms[:-1] / (n_updates * spec.minibatch)
        self.summary[:] = self.summary[UPDATES] + 1, *means, norms / n_updates
        return ""

    @functools.cached_property
    def _recompute(self) -> Callable[[bool, bool], None]:
        """Run the rollout again: `recompute(states, values)`."""
        fixed = self._spec, self._flat, allocate(size(live, self._spec), self._flat.dtype), self._rounded
        return functools.partial(entry(compile_for(recompute, self._spec), *fixed, True, True), *fixed)

    def _compute_gae(self) -> None:
        self._gae(*self._of_gae)

    def _apply_gradient(self) -> tuple[float, bool]:
        """One step of the optimiser on the sum of the parts' gradients, clipped to `max_grad_norm`.

        Returns (norm, whether a phase is to be wrapped). The norm is NaN if it or a loss is not finite, or if the new
        parameters are degenerate.
        """
        norm, limit = self._add_parts(*self._of_sum), self._spec.loss.max_grad_norm
        if np.isnan(norm):
            return norm, False
        degenerate, wrap = self._take_step(*self._of_step, -limit / norm if norm > limit else -1.0)
        return np.nan if degenerate else float(norm), wrap

    def _wrap(self) -> None:
        """Wrap the phases above 4 pi, and rescale moments and sensitivities: of the memory and of the rollout."""
        arrays = ppo_arrays(self._spec, self._flat)[0]
        known, rollout, cell, scratch = arrays.learned, arrays.rollout, self._spec.cell, arrays.live.scratch
        self._back_up(arrays.live.flat_memory, rollout.stored, rollout.memory)
        if self._rounded is not None:
            self._back_up(self._rounded)
        _, factors = wrap_parameters(self._spec, known.params, known.moments, known.flat_params.size)
        for views in (arrays.live.memory, protocol.memory(cell, rollout.memory)[0]):
            protocol.rescale(cell, known.params.cell, views, factors.cell)
        for t in range(self._spec.n_steps):
            stored, _ = load(self._spec.storage, cell, rollout, self._rounded, scratch, t)
            protocol.rescale(cell, known.params.cell, stored, factors.cell)
            if self._rounded is not None:
                round_off(scratch, self._rounded[t])

    def _gradient_of(self, order: np.ndarray, start: int, per: int) -> Callable[[int, int], None]:
        """The function that computes the gradients of a range of parts of the minibatch order[start : start + per]."""
        fixed = self._spec, self._flat, self._rounded
        self._advantage_moments(*self._of_moments, order, start, start + per, self._moments)
        bounds = [start + per * k // PARTS for k in range(PARTS + 1)]

        def accumulate(first: int, stop: int) -> None:
            for k in range(first, stop):
                self._accumulate_gradient(*fixed, self._parts[k], order, bounds[k], bounds[k + 1], self._moments)

        return accumulate
