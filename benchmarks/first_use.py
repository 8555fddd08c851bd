"""The first use of a learner in a fresh process, and the CPU seconds that it took. `compiling.py` starts it.

    python benchmarks/first_use.py CASE            prints JSON: seconds of imports, and of the first use
    python benchmarks/first_use.py CASE --profile  prints JSON: seconds by kind of work, and by function

The package is the one that Python finds (PYTHONPATH), of any version. `job` compiles one fixed function with Numba
alone: a yardstick for the seconds of compiling on this machine at this time.
"""

import argparse
import functools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm


class Case(NamedTuple):
    use: Callable[[Any], object]  # with the package rtu_np
    earlier: Callable[[Any], object] = lambda r: None  # what the process has done already; not counted
    needs_environment: bool = False


class Noise(NamedTuple):
    """An environment's spaces: the input and the actions of Ant without velocities, or three actions."""

    observation_space: Any
    action_space: Any


def noise(discrete: bool) -> Noise:
    import numpy as np
    from gymnasium import spaces

    actions = spaces.Discrete(3) if discrete else spaces.Box(-1.0, 1.0, (8,), np.float32)
    return Noise(spaces.Box(-np.inf, np.inf, (13,)), actions)


def prediction(r: Any, cell: Any = None, **settings: Any) -> None:
    r.TDLambda(r.LinearRTU(16) if cell is None else cell, 2, **settings).step([1.0, 0.0], 0.0)


def control(name: str, bare: bool = False) -> Case:
    def use(r: Any) -> None:
        env = noise(discrete=name.startswith("Q"))
        agent = getattr(r, name)(env, *([r.LinearRTU(8)] if bare else []))
        agent.step([0.0] * 13)

    return Case(use, needs_environment=True)


CASES = {
    "TDLambda": Case(prediction),
    "SGD after Adam": Case(lambda r: prediction(r, optimizer=r.SGD(1e-3)), earlier=prediction),
    "ObGD after Adam": Case(lambda r: prediction(r, optimizer=r.ObGD()), earlier=prediction),
    "RMSProp after Adam": Case(lambda r: prediction(r, optimizer=r.RMSProp(1e-3)), earlier=prediction),
    "TDLambda, GRU, T-BPTT(8)": Case(lambda r: prediction(r, r.GRU(16), gradient=r.TBPTT(8))),
    "check_gradients": Case(lambda r: r.check_gradients(r.LinearRTU(8), n_inputs=3)),
    "ActorCritic, bare": control("ActorCritic", bare=True),
    "ActorCritic": control("ActorCritic"),
    "QLambda, bare": control("QLambda", bare=True),
    "QLambda": control("QLambda"),
    "QRC": control("QRC"),
    "PPO": control("PPO"),
}
JOB = "job"

# ----------------------------------------------------------------------------------------------------- the fixed job

_NEST = """
    for i in range(n):
        s = 0.0
        for j in range(m):
            s += a[i, j] * x[{k} % m] + x[j]
            b[j, i] = {k}.0 * s - a[i, j]
        y[i] = s if s > {k}.0 else math.exp(-s)
"""


def job() -> None:
    """Compile a function of a dozen loop nests over arrays. It must stay as it is: ratios are to its seconds."""
    import math

    import numba

    source = "def f(a, b, x, y):\n    n, m = a.shape\n" + "".join(_NEST.format(k=k) for k in range(12))
    found: dict[str, Any] = {"math": math}
    exec(source, found)
    matrix, vector = numba.float64[:, ::1], numba.float64[::1]
    numba.njit((matrix, matrix, vector, vector), error_model="numpy")(found["f"])


# ------------------------------------------------------------------------------------------------------- the profile

TYPES, LOWERING, FUNCTIONS, MODULES = "type inference", "lowering", "LLVM, function passes", "LLVM, module passes"
MACHINE, LINKING, OTHER = "machine code", "LLVM, reading and linking", "other"
KINDS = (TYPES, LOWERING, LINKING, FUNCTIONS, MODULES, MACHINE, OTHER)


class Profile:
    """CPU seconds by kind of work and by function, each without what it started."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was counted."""
        self.by_kind: Counter[str] = Counter()
        self.by_function: Counter[str] = Counter()
        self._open: list[tuple[str, str]] = []
        self._since = time.process_time()

    def begin(self, kind: str, function: str = "") -> None:
        self._count()
        self._open.append((kind, function or (self._open[-1][1] if self._open else "")))

    def end(self) -> None:
        self._count()
        self._open.pop()

    def _count(self) -> None:
        """Give the time since the last change to what was at work."""
        now = time.process_time()
        kind, function = self._open[-1] if self._open else (OTHER, "")
        self.by_kind[kind] += now - self._since
        self.by_function[function] += now - self._since
        self._since = now

    def result(self) -> dict[str, Any]:
        self._count()
        del self.by_function[""]
        most = dict(self.by_function.most_common(15))
        return {"by kind": {kind: self.by_kind[kind] for kind in KINDS}, "by function": most}

    def watch(self, owner: Any, name: str, kind: str) -> None:
        """Count calls of a function of llvmlite. Numba takes some at import, so this comes first."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            self.begin(kind)
            try:
                return function(*arguments, **options)
            finally:
                self.end()

        setattr(owner, name, timed)

    def watch_llvm(self) -> None:
        self.watch(llvm.newpassmanagers.FunctionPassManager, "run", FUNCTIONS)
        self.watch(llvm.newpassmanagers.ModulePassManager, "run", MODULES)
        self.watch(llvm.ExecutionEngine, "finalize_object", MACHINE)
        self.watch(llvm.ModuleRef, "link_in", LINKING)
        self.watch(llvm.ModuleRef, "verify", LINKING)
        self.watch(llvm, "parse_assembly", LINKING)

    def watch_numba(self) -> None:
        from numba.core import event

        begin, end = self.begin, self.end

        class Passes(event.Listener):
            def on_start(self, event: Any) -> None:
                name = event.data["name"]
                kind = TYPES if "type_inference" in name else LOWERING if "native_lowering" in name else OTHER
                begin(kind, event.data["qualname"])

            def on_end(self, event: Any) -> None:
                end()

        event.register("numba:run_pass", Passes())


# ------------------------------------------------------------------------------------------------------ the process


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=[*CASES, JOB])
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    profile = Profile()
    if arguments.case == JOB:
        import numba  # noqa: F401

        began = time.process_time()
        job()
        print(json.dumps({"imports": began, "first use": time.process_time() - began}))
        return 0
    if arguments.profile:
        profile.watch_llvm()
    import rtu_np

    case = CASES[arguments.case]
    if case.needs_environment:
        noise(discrete=True)
    imported = time.process_time()
    case.earlier(rtu_np)
    if arguments.profile:
        profile.watch_numba()
    profile.restart()  # what came before does not count
    began = time.process_time()
    case.use(rtu_np)
    seconds = {"imports": imported, "first use": time.process_time() - began}
    print(json.dumps(seconds | (profile.result() if arguments.profile else {})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
