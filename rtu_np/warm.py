"""Compile the common learners before they are needed: for images of containers, continuous integration and classrooms.

    python -m rtu_np warm

A learner is compiled for the types of its parts, not for their sizes. So learners of two units serve those of any size.
Compiled code is stored in the folder of `rtu_np.kernel_files`. Code of other types is compiled at its first use, as
ever: other activations, readouts, layers, policies, optimisers and precisions than those of `STARTS`, several actions
at once, cells of your own, and the environments of `envs`.

RTRL is real-time recurrent learning, T-BPTT truncated backpropagation through time.
"""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

from rtu_np import kernel_files, numba_compiler
from rtu_np.cells.gru import GRU
from rtu_np.cells.layer import Cell, GradientMethod
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.nonlinear_rtu import NonlinearRTU
from rtu_np.control.actor_critic import ActorCritic
from rtu_np.control.ppo.agent import PPO, ppo_network
from rtu_np.control.q_lambda import QRC, QLambda
from rtu_np.control.streaming import recurrent_network
from rtu_np.fingerprint import digest
from rtu_np.gradcheck import check_gradients
from rtu_np.gradients.rtrl import RTRL
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.jit import config
from rtu_np.learning.optimizers import SGD, Adam, ObGD, Optimizer, RMSProp
from rtu_np.prediction.td import TDLambda
from rtu_np.progress import progress_bar


class NotStoredError(Exception):
    """What is compiled here would not be stored; the message says why."""


class Start(NamedTuple):
    """The first use of a learner. `compile(dtype)` makes it, with the smallest sizes."""

    learner: str  # the name on the command line
    parts: str
    dtype: str  # the learner's default
    compile: Callable[[str], object]


class _Env(NamedTuple):
    """Enough of an environment to make an agent for it."""

    observation_space: Any
    action_space: Any


def _td(cell: Cell, gradient: GradientMethod, optimizer: Optimizer, dtype: str) -> None:
    learner = TDLambda(cell, 2, optimizer=optimizer, gradient=gradient, dtype=dtype)
    learner.step(np.zeros(2), 0.0)
    learner.predict(np.zeros(2))
    learner.diagnostics()


def _agent(make: Callable[..., Any], discrete: bool, dtype: str) -> None:
    """Learning, acting and what the log of `learn` shows."""
    from gymnasium import spaces  # takes a while to import, and only agents need it

    env = _Env(spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(2) if discrete else spaces.Box(-1.0, 1.0, (1,)))
    agent = make(env, dtype=dtype)
    agent.step(np.zeros(2))
    agent.step(np.zeros(2), 0.0)
    agent.act(np.zeros(2))
    agent.diagnostics()


def _starts() -> Iterator[Start]:
    methods: dict[str, tuple[Cell, GradientMethod]] = {
        "LinearRTU, RTRL": (LinearRTU(2), RTRL()),
        "NonlinearRTU, RTRL": (NonlinearRTU(2), RTRL()),
        "GRU, T-BPTT": (GRU(2), TBPTT(2)),
    }
    for name, method in methods.items():
        for optimizer in (Adam(1e-3), SGD(1e-3), ObGD(), RMSProp(1e-3)):
            parts = f"{name}, {type(optimizer).__name__}"
            yield Start("TDLambda", parts, "float64", partial(_td, *method, optimizer))
    networks = {"LinearRTU alone": LinearRTU(2), "default network": recurrent_network(LinearRTU(2), 2)}
    for kind, of_actions in ((ActorCritic, (False, True)), (QLambda, (True,)), (QRC, (True,))):
        for network, cell in networks.items():
            for discrete in of_actions:
                yield _agent_start(kind, network, partial(kind, cell=cell), discrete)
    for discrete in (False, True):
        ppo = partial(PPO, cell=ppo_network(LinearRTU(2), 2), n_steps=4, n_minibatches=2)
        yield _agent_start(PPO, "default network", ppo, discrete)
    yield Start("check", "LinearRTU, RTRL", "float64", lambda dtype: check_gradients(LinearRTU(2), 2, 3, dtype=dtype))


def _agent_start(kind: type, network: str, make: Callable[..., Any], discrete: bool) -> Start:
    parts = f"{network}, {'Discrete' if discrete else 'Box'} actions"
    return Start(kind.__name__, parts, "float32", partial(_agent, make, discrete))


STARTS = list(_starts())
LEARNERS = tuple(dict.fromkeys(start.learner for start in STARTS))


def warm(learners: Sequence[str] = (), dtypes: Sequence[str] = ()) -> str:
    """Compile the starts of some learners, with a bar on a terminal. Prints a line for each, and returns a summary.

    Parameters
    ----------
    learners : some of `LEARNERS`; all of them by default
    dtypes : "float64", "float32" or both; by default each learner's own

    Raises
    ------
    ValueError : if a learner is not known
    NotStoredError : if what is compiled cannot be stored. What was stored before that stays

    Examples
    --------
    >>> warm(["TDLamda"])
    Traceback (most recent call last):
    ValueError: learner is 'TDLamda': expected some of TDLambda, ActorCritic, QLambda, QRC, PPO, check
    """
    for name in learners:
        if name not in LEARNERS:
            raise ValueError(f"learner is {name!r}: expected some of {', '.join(LEARNERS)}")
    if config.DISABLE_JIT:
        raise NotStoredError("NUMBA_DISABLE_JIT is set, so nothing is compiled: unset it")
    if numba_compiler.PLAIN:
        raise NotStoredError(
            f"this process compiles with public Numba only, and stores nothing; is {numba_compiler.SWITCH} set?"
        )
    try:
        kernel_files.folder()
    except OSError as error:
        raise NotStoredError(f"{error}, so there is no folder for compiled code: set NUMBA_CACHE_DIR") from None
    chosen = [
        (start, dtype)
        for start in STARTS
        if not learners or start.learner in learners
        for dtype in dict.fromkeys(dtypes or [start.dtype])
    ]
    with progress_bar(len(chosen), unit="learner") as bar:
        for k, (start, dtype) in enumerate(chosen, start=1):
            bar.set_postfix_str(f"{start.learner}, {start.parts}")
            done = _compile(start, dtype)
            bar.update()
            with bar.external_write_mode(file=sys.stdout):
                print(f"{k} of {len(chosen)}  {start.learner}, {start.parts}, {dtype}: {done}", flush=True)
    return f"{kernel_files.report()}\n{good_for()}"


def _compile(start: Start, dtype: str) -> str:
    """Compile one start; returns what was done."""
    files, began, said = _files(), time.perf_counter(), io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # a line in between would tear the bar
            start.compile(dtype)
    finally:
        why = kernel_files.why_not_stored()
        if not why:
            sys.stderr.write(said.getvalue())
    if why:
        raise NotStoredError(f"compiled code cannot be stored: {why}")
    new, seconds = len(_files() - files), time.perf_counter() - began
    return f"{new} {'file' if new == 1 else 'files'}, {seconds:.1f} s" if new else f"compiled before, {seconds:.1f} s"


def _files() -> set[str]:
    return {path.name for path, *_ in kernel_files.stored()}


def good_for() -> str:
    """The processor that code is compiled for in this process, as Numba names it, in one line."""
    name, system, given = config.CPU_NAME or llvm.get_host_cpu_name(), llvm.get_process_triple(), config.CPU_FEATURES
    if given == "":
        also = "" if name == "generic" else " and an empty NUMBA_CPU_FEATURES"
        where = f"all processors that have what it has, with NUMBA_CPU_NAME={name}{also}"
        return f"compiled for {name} and no further features, {system}: good for {where}"
    features = llvm.get_host_cpu_features().flatten() if given is None else given
    on = sum(each.startswith("+") for each in features.split(","))
    where = "processors of this name and these features; others compile for themselves"
    return f"compiled for {name}, {on} features ({digest(features)[:8]}), {system}: good for {where}"
