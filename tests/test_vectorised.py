"""The inner loops of a learning step are vectorised, in their own precision, with no test for overlap before them.

Read off the code that LLVM has optimised: a loop of one block is an inner loop; it works on vectors, or it is what is
left over of one that does, which LLVM marks.
"""

import re
from types import SimpleNamespace
from typing import NamedTuple

import numba
import numpy as np
import pytest
from cases import COMPILED
from gymnasium.spaces import Box

from rtu_np import (
    ELSTM,
    GRU,
    PPO,
    SGD,
    TBPTT,
    BlockDiagonalRNN,
    Dense,
    GatedRTU,
    Identity,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    TDLambda,
    jit,
)
from rtu_np.control import agent
from rtu_np.control.ppo import update as ppo_update
from rtu_np.control.ppo.loss import accumulate_gradient
from rtu_np.numerics.buffers import any_nonzero, cut
from rtu_np.numerics.products import add_four_rows
from rtu_np.prediction.td_kernels import run
from rtu_np.prediction.td_many_kernels import run as run_many_predictions

pytestmark = [
    pytest.mark.skipif(not COMPILED, reason="there is no machine code"),
    pytest.mark.skipif(jit.numba_compiler.PLAIN, reason="plain Numba cannot promise that arrays do not overlap"),
]
WIDTH = {"float64": "double", "float32": "float"}


class Inner(NamedTuple):
    """One function's inner loops."""

    vectors: int  # loops on vectors
    scalar: list[str]  # loops that are neither on vectors nor a remainder
    checks: int  # tests at run time whether arrays overlap
    types: set[str]  # element types of vectors


def inner_loops(function, *arguments) -> Inner:
    """Of `function` compiled anew for `arguments`: what comes from the cache has no code to look at."""
    compiled = numba.njit(**jit.OPTIONS)(function)
    types = tuple(map(numba.typeof, arguments))
    compiled.compile(types)
    code = compiled.inspect_llvm(types)
    notes = dict(re.findall(r"^!(\d+) = (.*)$", code, re.M))
    body = next(part for part in code.split("\ndefine ") if f"{function.__name__}B" in part.splitlines()[0])
    body = body.split("\n}\n")[0]
    vectors, scalar = 0, []
    for block in re.split(r'\n(?=[\w.$"-]+:)', body):
        name = block.split(":")[0].strip('"')
        jumps = [line for line in block.splitlines() if line.strip().startswith("br ")]
        if jumps and re.search(rf'label %"?{re.escape(name)}"?(?:[,\s]|$)', jumps[-1]):
            note = re.search(r"!llvm.loop !(\d+)", jumps[-1])
            about = [notes[k] for k in re.findall(r"!(\d+)", notes[note.group(1)])] if note else []
            if re.search(r"<\d+ x (?:float|double)>", block):
                vectors += 1
            elif not any("isvectorized" in text for text in about):
                scalar.append(block)
    return Inner(vectors, scalar, body.count("memcheck"), set(re.findall(r"<\d+ x (float|double)>", body)))


@pytest.mark.parametrize(
    ("cell", "dtype"),
    [
        (LinearRTU(10), "float64"),
        (LinearRTU(10), "float32"),
        (NonlinearRTU(10), "float32"),
        (MinGRU(10), "float64"),
        (MinGRU(10), "float32"),
        (ELSTM(10), "float64"),
        (ELSTM(10), "float32"),
        (GatedRTU(10), "float64"),
        (GatedRTU(10), "float32"),
    ],
    ids=str,
)
def test_every_inner_loop_of_a_step(cell, dtype):
    learner = TDLambda(cell, 2, optimizer=SGD(1e-3), dtype=dtype)
    found = inner_loops(run, *learner._to_step)
    assert found.vectors >= 15
    assert not found.scalar, found.scalar[0]
    assert found.checks == 0
    assert found.types == {WIDTH[dtype]}


@pytest.mark.parametrize("body", ["traces", "frozen"])
def test_inner_loops_of_many_predictions(body):
    learner = TDLambda(LinearRTU(10), 2, gamma=[0.5, 0.9] * 3, optimizer=SGD(1e-3), dtype="float32", body=body)
    found = inner_loops(run_many_predictions, *learner._to_step)
    assert found.vectors >= 15
    assert not found.scalar, found.scalar[0]
    assert found.checks == 0
    assert found.types == {"float"}


@pytest.mark.parametrize(
    ("cell", "gradient"), [(GRU(10), TBPTT(4)), (BlockDiagonalRNN(10), None)], ids=["GRU", "block"]
)
def test_precision_of_other_cells(cell, gradient):
    learner = TDLambda(cell, 2, optimizer=SGD(1e-3), dtype="float32", gradient=gradient)
    found = inner_loops(run, *learner._to_step)
    assert found.vectors >= 15
    assert found.types == {"float"}


def test_precision_of_ppo(monkeypatch):
    """Of a part of a minibatch's gradient, which is compiled here alone."""
    for module in (agent, ppo_update):
        monkeypatch.setattr(module, "entry", lambda function, *arguments: function)
    world = SimpleNamespace(observation_space=Box(-1, 1, (3,)), action_space=Box(-1, 1, (2,)))
    made = PPO(world, LinearRTU(10), actor=Dense(8, "tanh"), critic=Identity())
    parts, moments = made._update._parts, made._update._moments
    found = inner_loops(accumulate_gradient, made._spec, made._flat, None, parts[0], np.arange(4), 0, 1, moments)
    assert found.vectors >= 30
    assert found.types == {"float"}


@pytest.mark.parametrize("dtype", WIDTH)
@pytest.mark.parametrize("function", [any_nonzero, cut])
def test_what_a_window_asks_of_each_step(function, dtype):
    found = inner_loops(function, np.ones(40, dtype))
    assert found.vectors
    assert not found.scalar, found.scalar[0]
    assert found.types <= {WIDTH[dtype]}


def test_the_product_of_full_rtrl():
    """It was scalar as long as its loop began at a column other than 0, and took six times as long."""
    found = inner_loops(add_four_rows, np.ones((8, 8)), 4, np.ones((8, 40)), *np.ones((4, 40)))
    assert found.vectors
    assert not found.scalar, found.scalar[0]
    assert found.types == {"double"}


def ordered_sum(x, y):
    total = x[0]
    for k in range(x.shape[0]):
        total += x[k] * y[k]
    return total


def may_overlap(x, y):
    for k in range(x.shape[0]):
        y[k] += 2 * x[k]


def test_planted_a_loop_that_must_keep_its_order_is_found():
    assert inner_loops(ordered_sum, np.ones(3), np.ones(3)).scalar


def test_planted_arrays_that_may_overlap_are_found():
    assert inner_loops(may_overlap, np.ones(3), np.ones(3)).checks


def test_the_promise_is_checked_where_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(jit.config, "DISABLE_JIT", 1)
    checked = jit.noalias(may_overlap)
    x = np.ones(6)
    checked(x[:3], x[3:])
    with pytest.raises(ValueError, match="may_overlap: two of its arrays overlap"):
        checked(x[:4], x[2:])
    with pytest.raises(ValueError, match="overlap"):
        jit.noalias(lambda a: None)((x, (x[:1],)))
