"""The gradients of a leaky vanilla network, here and by braintrace: are they the same, and what does a step take?

    pip install braintrace
    python benchmarks/braintrace_gradients.py

braintrace (JAX; Wang et al. 2026, pypi.org/project/braintrace) compiles online gradients for any model, and tests them
against backpropagation. Its `SnAp(2)` of a dense network is full real-time recurrent learning (RTRL), its `SnAp(1)` is
SnAp-1, and its `D_RTRL` leaves recurrent weights out of the Jacobian, so that what a leak keeps remains: RFLO's rule.

Both sides have the same weights, inputs and dy, in float64. The first numbers are the largest difference of the
gradient of dy . h_T after 12 steps, relative to the largest entry. The second are microseconds per step, with the
gradient of dy . h_t added up at every step: one compiled call over the whole sequence on each side, on one core, the
least of several, alternating, by the clock or by the processor, if the machine is busy. Writes
docs/results/braintrace/braintrace.json and the table in docs/speed.md. Takes about two minutes.
"""

import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from experiments.engine import marks, results
from rtu_np import RFLO, RTRL, SnAp1, VanillaRNN, files, protocol
from rtu_np.jit import compile_for
from rtu_np.numerics.buffers import clear
from rtu_np.timing.machine import processor

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
ROOT = Path(__file__).parents[1]
PAGE, NUMBERS = ROOT / "docs" / "speed.md", ROOT / "docs" / "results" / "braintrace" / "braintrace.json"
METHODS = {"RTRL": (RTRL(), "SnAp", {"n": 2}), "SnAp-1": (SnAp1(), "SnAp", {"n": 1}), "RFLO": (RFLO(), "D_RTRL", {})}
LEAK, D, REPEATS = 0.3, 8, 7
SIZES = {16: 2000, 64: 200}  # units: steps that are timed


def ours(n: int, gradient: Any) -> Any:
    return VanillaRNN(n, leak=LEAK).build(D, gradient, seed=1)


def stacked(named: dict[str, np.ndarray]) -> np.ndarray:
    """The parameters, or a gradient, as the one matrix that multiplies (x, h, 1)."""
    return np.concatenate([named["W_input"], named["W_recurrent"], named["b"][None]])


def theirs(n: int, kind: str, options: dict[str, Any]) -> Any:
    """A function of inputs (T, d), dy and a mask of steps that returns the gradient by that matrix."""
    import brainstate
    import braintrace
    import jax.numpy as jnp

    weights = stacked(ours(n, RTRL()).parameters)

    class Leaky(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W = brainstate.ParamState(jnp.asarray(weights))
            self.h = brainstate.HiddenState(jnp.zeros(n))

        def init_state(self, *_: Any, **__: Any) -> None:
            self.h.value = jnp.zeros(n)

        def update(self, x: Any) -> Any:
            h = self.h.value
            drive = braintrace.matmul(jnp.concatenate([x, h, jnp.ones(1)]), self.W.value)
            self.h.value = (1 - LEAK) * h + LEAK * jnp.tanh(drive)
            return self.h.value

    def gradient(xs: Any, dy: Any, mask: Any) -> Any:
        learner = braintrace.compile(Leaky(), getattr(braintrace, kind), xs[0], **options)
        found = learner.etrace_grad(xs, step_fn=lambda x: jnp.dot(learner(x), dy), mask=mask, reduction="sum")
        (matrix,) = found.values()
        return matrix

    return gradient


def run(spec, params, memory, xs, dy, out):
    """out <- the sum of the gradients of dy . h_t over all steps"""
    weights, views = protocol.parameters(spec, params)[0], protocol.memory(spec, memory)[0]
    total, one = protocol.parameters(spec, out)[0], dy.dtype.type(1)
    clear(out)
    clear(memory)
    for t in range(xs.shape[0]):
        protocol.move(spec, weights, views, xs[t])
        protocol.credit(spec, weights, views, dy)
        protocol.accumulate(spec, views, one, total)


def seconds(work: Callable[[], Any]) -> float:
    """What `work` takes by the clock or by the processor, the lesser: the machine may be busy, or threads may wait."""
    clock, processors = time.perf_counter(), time.process_time()
    work()
    return min(time.perf_counter() - clock, time.process_time() - processors)


def measure() -> list[dict[str, Any]]:
    import brainstate
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    brainstate.environ.set(precision=64)
    rows, rng = [], np.random.default_rng(0)
    for n, steps in SIZES.items():
        for method, (gradient, kind, options) in METHODS.items():
            layer, xs, dy = ours(n, gradient), rng.standard_normal((steps, D)), rng.standard_normal(n)
            for x in xs[:12]:
                layer.advance(x)
            last = jnp.arange(12) == 11
            compiled = jax.jit(theirs(n, kind, options))
            other = np.asarray(compiled(jnp.asarray(xs[:12]), jnp.asarray(dy), last.astype(float)))
            expected = stacked(layer.gradient(dy))
            kernel, out = compile_for(run, layer.spec), np.zeros_like(layer._params)
            took: dict[str, list[float]] = {"rtu_np": [], "braintrace": []}
            given = jnp.asarray(xs), jnp.asarray(dy), jnp.ones(steps)
            for k in range(REPEATS + 1):  # the first compiles
                here = seconds(lambda: kernel(layer.spec, layer._params, layer._memory, xs, dy, out))  # noqa: B023
                there = seconds(lambda: compiled(*given).block_until_ready())  # noqa: B023
                if k:
                    took["rtu_np"].append(here / steps * 1e6)
                    took["braintrace"].append(there / steps * 1e6)
            error = float(np.abs(other - expected).max() / np.abs(expected).max())
            name = kind + "".join(f"({value})" for value in options.values())
            least = {name: min(each) for name, each in took.items()}
            rows.append({"method": method, "units": n, "braintrace": name, "difference": error, "microseconds": least})
            print(rows[-1])
    return rows


def table(rows: list[dict[str, Any]], packages: dict[str, str]) -> str:
    lines = [
        "| gradient | units | in braintrace | largest difference | rtu_np, us | braintrace, us | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        here, there = row["microseconds"]["rtu_np"], row["microseconds"]["braintrace"]
        numbers = f"{row['difference']:.1e} | {here:.3g} | {there:.3g} | {there / here:.3g}"
        lines.append(f"| {row['method']} | {row['units']} | `{row['braintrace']}` | {numbers} |")
    return "\n".join([*lines, "", f"Versions: {', '.join(f'{name} {text}' for name, text in packages.items())}."])


def main() -> int:
    try:
        packages = {name: version(name) for name in ("braintrace", "jax", "numba")}
    except ImportError as error:
        print(f"{error.name} is not installed, and nothing is measured: pip install braintrace", file=sys.stderr)
        return 1
    rows = measure()
    page = {
        "command": "python benchmarks/braintrace_gradients.py",
        "machine": processor(),
        "packages": packages,
        "rows": rows,
    }
    results.write(NUMBERS, page)
    begin, end = "<!-- braintrace -->", "<!-- end of braintrace -->"
    text = marks.replaced(PAGE.read_text(encoding="utf-8"), begin, end, table(rows, packages))
    with files.replacing(PAGE) as part:
        part.write_text(text, encoding="utf-8")
    print(table(rows, packages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
