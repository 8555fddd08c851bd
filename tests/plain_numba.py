"""What `test_plain_numba` runs twice: with the private parts of Numba, and in a process without them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

# Import the package without one of Numba's private names, or with the environment saying so; then learn, if asked to.
IMPORT = """
import json, sys, warnings
import numba.core.codegen
if sys.argv[1] != "none":
    delattr(numba.core.codegen, sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import rtu_np
    from rtu_np import jit, numba_compiler as compiler
said = [str(each.message) for each in caught if issubclass(each.category, RuntimeWarning)]
how = [compiler.ENTRY, compiler.CALLED, compiler.INLINED, compiler.FLUSHES, compiler._lean is None, jit.versions()]
print(json.dumps({"warnings": said, "plain": compiler.PLAIN, "how": repr(how)}))
sys.stdout.flush()
if sys.argv[2:]:
    import numpy as np
    import plain_numba
    np.savez(sys.argv[2], **plain_numba.learned())
"""


def learned() -> dict[str, np.ndarray]:
    """{name: parameters} of a TDLambda and an ActorCritic that have learned for a while, in float64."""
    import oracles
    from agent_cases import World, make
    from td_cases import D, learner, run, steps

    learner, agent = learner(), make(False)
    run(learner, oracles.stream(100, D, seed=1))
    steps(learner, oracles.stream(50, D, seed=2))
    agent.learn(World(False), 20, progress=False, log=None)
    named = {"TDLambda": learner.parameters, "ActorCritic": agent.parameters}
    return {f"{kind} {name}": view for kind, views in named.items() for name, view in views.items()}


def in_a_process(path: Path | None, missing: str = "none", **environment: str) -> tuple[dict, dict[str, np.ndarray]]:
    """(what the import said, `learned()`) of a process in whose Numba the name `missing` is missing.

    Without a path it learns nothing. `how`, a part of what it said, is all that its compiled code depends on.
    """
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, missing, *([] if path is None else [str(path)])],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[0])
    if path is None:
        return said, {}
    with np.load(path) as file:
        return said, dict(file)
