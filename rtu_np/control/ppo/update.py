"""PPO's update: epochs of minibatches over a rollout, each minibatch's gradient made by several threads at once.

A minibatch is cut into a fixed number of parts, whose gradients are added up in their order, whichever thread made
them: the number of threads changes no bit.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from rtu_np.control.ppo import loss as ppo_loss
from rtu_np.control.ppo.network import STATISTICS, agent, chunk
from rtu_np.control.ppo.rollout import run_again
from rtu_np.jit import compile_for, entry
from rtu_np.numerics.buffers import allocate, size

PARTS = 4
_PAGE = 1024  # elements: the parts' memory is kept apart, whatever the precision
TOLD = ("updates", *STATISTICS[:-1], "gradient_norm")  # how many updates there were; of the latest


def bytes_of_parts(spec: Any, dtype: np.dtype) -> int:
    return PARTS * _width(spec) * dtype.itemsize


def _width(spec: Any) -> int:
    return -(-size(chunk, spec) // _PAGE) * _PAGE


class Update:
    """What `PPO` does with a complete rollout, and what it says of the latest.

    Parameters
    ----------
    spec, flat : of the agent, all that it holds
    epochs : how often the rollout is gone through
    fresh : whether states, and whether values, are made anew before each epoch but the first
    rng : of the order of minibatches
    threads : how many work at a time
    """

    def __init__(
        self, spec: Any, flat: np.ndarray, epochs: int, fresh: tuple[bool, bool], rng: np.random.Generator, threads: int
    ) -> None:
        self._spec, self._flat, self._epochs, self._fresh = spec, flat, epochs, fresh
        self._rng, self._threads = rng, min(threads, PARTS)
        self._parts = allocate(PARTS * _width(spec), flat.dtype).reshape(PARTS, -1)
        self._statistics, self._advantages = np.zeros(len(STATISTICS)), np.zeros(2)
        order = np.arange(spec.rollout // spec.sequence)
        self.told, self.seconds = np.zeros(len(TOLD)), 0.0
        self._before: list[np.ndarray] = []
        self.run = {
            function.__name__: entry(compile_for(function, spec), spec, flat, *arguments)
            for function, arguments in (
                (run_again, self._fresh),
                (ppo_loss.estimate, ()),
                (ppo_loss.spread, (order, 0, 1, self._advantages)),
                (ppo_loss.add_up, (self._parts[0], order, 0, 1, self._advantages)),
                (ppo_loss.descend, (self._parts, self._statistics)),
            )
        }

    def __call__(self) -> str:
        """Learn from the rollout; where that fails, what was learned is as before, and the place is returned."""
        began = time.perf_counter()
        self._before = [array.copy() for array in self._changing()]
        if self._threads == 1:
            fault = self._learn(lambda function: [function(k) for k in range(PARTS)])
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                fault = self._learn(lambda function: list(pool.map(function, range(PARTS))))
        if fault:
            self.undo()
        else:
            self.seconds = time.perf_counter() - began
        return fault

    def undo(self) -> None:
        """Make what was learned what it was before the latest update, where there was one."""
        for array, values in zip(self._changing(), self._before, strict=False):
            array[:] = values

    def _changing(self) -> tuple[np.ndarray, ...]:
        known = agent(self._spec, self._flat)[0].learned
        return known.flat_params, *known.moments

    def _learn(self, each: Callable[[Callable[[int], Any]], Any]) -> str:
        """`each(function)` calls function(k) for all parts."""
        spec, flat, run, per = self._spec, self._flat, self.run, self._spec.minibatch // self._spec.sequence
        n_sequences, norms = spec.rollout // spec.sequence, 0.0
        self._statistics[:] = 0
        run["estimate"](spec, flat)
        for epoch in range(self._epochs):
            if epoch > 0 and any(self._fresh):
                run["run_again"](spec, flat, *self._fresh)
                run["estimate"](spec, flat)
            order = self._rng.permutation(n_sequences)
            for start in range(0, n_sequences, per):
                each(self._gradient_of(order, start, per))
                norm = float(run["descend"](spec, flat, self._parts, self._statistics))
                if not np.isfinite(norm):
                    return f"epoch {epoch + 1}, minibatch {start // per + 1}"
                norms += norm
        steps = self._epochs * (n_sequences // per)
        self.told[0] += 1
        self.told[1:-1] = self._statistics[:-1] / (steps * spec.minibatch)
        self.told[-1] = norms / steps
        return ""

    def _gradient_of(self, order: np.ndarray, start: int, per: int) -> Callable[[int], None]:
        """The function that makes the gradient of one part of the minibatch order[start : start + per]."""
        spec, flat = self._spec, self._flat
        self.run["spread"](spec, flat, order, start, start + per, self._advantages)
        bounds = [start + per * k // PARTS for k in range(PARTS + 1)]

        def add_up(k: int) -> None:
            self.run["add_up"](spec, flat, self._parts[k], order, bounds[k], bounds[k + 1], self._advantages)

        return add_up
