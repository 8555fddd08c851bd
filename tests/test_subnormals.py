"""Subnormal numbers are zero while compiled code runs, and the caller's floating-point register stays as it was."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import numba
import numpy as np
import ppo_cases
import pytest
from cases import KINDS
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rtu_np import LRU, SGD, Adam, LinearRTU, NonlinearRTU, ObGD, TDLambda, jit, run_many
from rtu_np.control.ppo import update
from rtu_np.prediction import parallel

switched = pytest.mark.skipif(not jit.FLUSHES, reason="no switch here: nothing compiled, plain Numba or no x86-64")
SWITCHES = 0x8040
# The caller's register: as Python starts; every flag raised; rounding toward zero; both switches set already.
CALLERS = [0x1F80, 0x1FBF, 0x7F80, 0x9FC0]


def _access(name, context, builder, value=None):
    pointer = builder.alloca(ir.IntType(32))
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    function = builder.module.declare_intrinsic(f"llvm.x86.sse.{name}mxcsr", (), kind)
    if value is not None:
        builder.store(value, pointer)
    builder.call(function, [builder.bitcast(pointer, kind.args[0])])
    return builder.load(pointer)


@intrinsic
def read_register(typing_context):
    return types.uint32(), lambda context, builder, signature, arguments: _access("st", context, builder)


@intrinsic
def write_register(typing_context, value):
    return types.uint32(types.uint32), lambda context, builder, signature, arguments: _access(
        "ld", context, builder, arguments[0]
    )


@numba.njit  # not ours, so that it sees the caller's register
def register():
    return read_register()


@numba.njit
def set_register(value):
    return write_register(numba.uint32(value))


def unchanged(action, flags=True):
    """Assert that `action` leaves this thread's register as it was, whatever that is; with `flags`, those, too."""
    action()  # compiles, with Python's own register: a decimal number is not read as well with another
    had, compared = register(), 0xFFFF if flags else 0xFFC0
    for before in CALLERS:
        set_register(before)
        try:
            action()
            after = register()
        finally:
            set_register(had)
        assert after & compared == before & compared, f"{after:#x} after {before:#x}"


def subnormal(array) -> int:
    """How many numbers are."""
    return int(((np.abs(array) < np.finfo(array.dtype).tiny) & (array != 0)).sum())


def decay(x, factor, steps):
    for _ in range(steps):
        for i in range(x.shape[0]):
            x[i] *= factor
    return 0


def within(seen):
    seen[0] = read_register()
    return 0


def check_package(jit):
    """What rtu_np/subnormals.py promises, of a package with this `jit`."""
    had = register()
    try:
        _check_numbers(jit.njit(decay))
        set_register(had)
        _check_register(jit.njit(within))
    finally:
        set_register(had)


def _check_numbers(run):
    def after(real, start, factor, steps=1):
        x = np.full(40, start, real)
        run(x, real(factor), steps)
        return x

    for real in (np.float32, np.float64):
        tiny = np.finfo(real).tiny
        assert not after(real, 1, 0.9, 20_000).any(), "a decay does not reach zero"
        assert not after(real, tiny, 0.5).any(), "a result is subnormal"
        assert not after(real, tiny / 2, 4).any(), "an operand is subnormal"
        assert (after(real, tiny, 1) == tiny).all(), "the smallest normal number is a number"


def _check_register(look):
    seen = np.zeros(1, np.uint32)
    look(seen)
    for before in CALLERS:
        set_register(before)
        look(seen)
        after = register()
        assert after == before, "the caller's register has changed"
        assert seen[0] == before | SWITCHES, "other bits than the two switches differ"


@switched
def test_a_decay_reaches_zero_and_the_register_is_restored():
    check_package(jit)


@switched
def test_code_from_a_file_does_the_same():
    jit.njit(decay)(np.ones(3), 0.5, 1)
    stored = jit.njit(decay)
    stored(np.ones(3), 0.5, 1)
    assert sum(stored.stats.cache_hits.values()) == 1
    _check_numbers(stored)


BUGS = {
    "results only": ("_SWITCHES = 0x8000 | 0x0040", "_SWITCHES = 0x8000", "an operand is subnormal"),
    "operands only": ("_SWITCHES = 0x8000 | 0x0040", "_SWITCHES = 0x0040", "a result is subnormal"),
    "never restored": (
        "    builder.position_after(call)\n    builder.call(write, [builder.bitcast(callers, accesses.args[0])])\n",
        "",
        "the caller's register has changed",
    ),
    "the caller's rounding is lost": (
        "builder.or_(builder.load(callers), ir.Constant(number, _SWITCHES))",
        "ir.Constant(number, 0x1F80 | _SWITCHES)",
        "other bits than the two switches differ",
    ),
    "never set": ('"noinline" in', '"no inline" in', "a decay does not reach zero"),
}


@switched
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_turns_it_red(bug, mutant):
    old, new, message = BUGS[bug]
    package = mutant("subnormals.py", [(old, new)])
    with pytest.raises(AssertionError, match=message):
        check_package(sys.modules[f"{package.__name__}.jit"])


@switched
def test_a_kernel_that_calls_another_flushes_to_its_end():
    inner, seen = jit.njit(decay), np.zeros(1, np.uint32)

    @jit.njit
    def outer(x, factor, seen):
        inner(x, factor, 2)
        seen[0] = read_register()
        return 0

    unchanged(lambda: outer(np.ones(3), 0.5, seen))
    assert seen[0] & SWITCHES == SWITCHES


@switched
def test_the_register_after_an_error():
    @jit.njit
    def fails(x):
        x[0] *= 0.5
        if x[0] < 1:
            raise ValueError("below 1")
        return 0

    entry = jit.entry(fails, np.ones(3))

    def raises():
        with pytest.raises(ValueError, match="below 1"):
            entry(np.ones(3))

    def refuses():
        with pytest.raises(TypeError):
            entry("no array")  # as the arguments are unpacked

    unchanged(lambda: entry(np.full(3, 4.0)))
    unchanged(raises)
    unchanged(refuses)


def stream(steps, d, dtype="float64"):
    rng = np.random.default_rng(0)
    return rng.standard_normal((steps, d)).astype(dtype), rng.standard_normal(steps).astype(dtype)


@switched
def test_the_register_after_what_learners_do():
    """Python itself raises flags, and NumPy clears them: the other bits stay."""
    xs, cs = stream(300, 2)
    learner, layer = TDLambda(LinearRTU(3), 2), LinearRTU(3).build(2)

    def refuses():
        with pytest.raises(ValueError, match="nan"):
            learner.step(xs[0], np.nan)

    def diverges():
        with pytest.raises(FloatingPointError, match="diverged"):
            TDLambda(LinearRTU(3), 2, optimizer=SGD(1e30)).run(xs, cs, progress=False)

    for action in (
        lambda: learner.step(xs[0], 1.0),
        lambda: learner.run(xs, cs, progress=False),
        lambda: learner.predict(xs),
        lambda: (layer.advance(xs[0]), layer.gradient(np.ones(6))),
        refuses,
        diverges,
    ):
        unchanged(action, flags=False)


class Watched(ThreadPoolExecutor):
    """Threads that look at their register before and after each task."""

    seen: list[tuple[int, int]] = []  # noqa: RUF012

    def submit(self, function, /, *arguments, **named):
        def watched():
            before = register()
            try:
                return function(*arguments, **named)
            finally:
                self.seen.append((before & 0xFFC0, register() & 0xFFC0))

        return super().submit(watched)


@switched
def test_the_register_of_threads(monkeypatch):
    monkeypatch.setattr(Watched, "seen", [])
    for module in (parallel, update):
        monkeypatch.setattr(module, "ThreadPoolExecutor", Watched)
    xs, cs = stream(300, 2)
    learners = [TDLambda(LinearRTU(3), 2, seed=k) for k in range(4)]
    unchanged(lambda: run_many(learners, xs, cs, n_threads=2, progress=False), flags=False)
    of_learners = len(Watched.seen)
    agent, world = ppo_cases.make(KINDS["linear RTU"].cell, threads=2)
    agent.learn(world, 2 * agent.n_steps, progress=False, log=None)
    assert 4 * (1 + len(CALLERS)) == of_learners < len(Watched.seen)
    assert all(before == after for before, after in Watched.seen)
    thread = Thread(target=lambda: unchanged(lambda: learners[0].run(xs, cs, progress=False), flags=False))
    thread.start()  # an error in it is pytest's warning, and so a failure
    thread.join()


@switched
@pytest.mark.parametrize(
    ("cell", "optimizer"),
    [(LinearRTU(8), Adam(1e-3)), (NonlinearRTU(8), ObGD()), (LRU(8), SGD(1e-3))],
    ids=["linear RTU", "nonlinear RTU", "LRU"],
)
def test_a_learner_that_is_fed_zeros_holds_no_subnormal_number(cell, optimizer):
    """State, sensitivities, traces and moments decay for as long as nothing comes."""
    learner = TDLambda(cell, 2, 0.9, 0.9, optimizer, dtype="float32")
    xs, cs = stream(100, 2, "float32")
    learner.run(xs, cs, progress=False)
    learner.run(np.zeros((5000, 2), "float32"), np.zeros(5000, "float32"), progress=False)
    arrays = {name: array for name, array in learner._arrays().items() if array.dtype == np.float32}
    assert {name: subnormal(array) for name, array in arrays.items() if subnormal(array)} == {}
    assert arrays["memory"].any()
