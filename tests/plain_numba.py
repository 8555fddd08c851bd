"""What `test_plain_numba` runs twice: with the private parts of Numba, and in a process without them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

# Import the package without one of Numba's private names, or with the environment saying so; then learn.
IMPORT = """
import json, sys, warnings
import numba.core.codegen
if sys.argv[1] != "none":
    delattr(numba.core.codegen, sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import rtu_np
    from rtu_np import numba_compiler
said = [str(each.message) for each in caught if issubclass(each.category, RuntimeWarning)]
print(json.dumps({"warnings": said, "plain": numba_compiler.PLAIN}))
sys.stdout.flush()
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


def in_a_process(path: Path, missing: str = "none", **environment: str) -> tuple[dict, dict[str, np.ndarray]]:
    """(what the import said, `learned()`) of a process in whose Numba the name `missing` is missing."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, missing, str(path)],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(path) as file:
        return json.loads(done.stdout.splitlines()[0]), dict(file)
