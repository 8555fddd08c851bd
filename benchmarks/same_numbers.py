"""Compare the learned parameters of this checkout with those of an earlier commit, to the bit, and the speed.

    python benchmarks/same_numbers.py b918572

Every learner, cell, gradient method and optimiser of a small grid learns from the same 2,000 steps, once with the
package of the earlier commit (in a `git worktree` of its own) and once with this one, in both precisions. Equal means:
all parameters have the same bits. The two commits take turns, each in a new process with an empty cache for each case.
So the table also has the times of the first step (compiling included) and of later steps, and their ratios, from one
run each.

`--only TEXT` restricts the grid to cases whose name contains the text. `--output` writes the rows as JSON. The exit
code is 1 if any parameter differs. The whole grid takes about an hour on two cores. `--keep FOLDER` stores parameters
and times of the earlier commit in a folder; later runs read them from there.
"""

import argparse
import functools
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

STEPS = 2000
ROOT = Path(__file__).parent.parent
# {keyword of this checkout: keyword of commits before the renaming}
OLD_KEYWORDS = {
    "n_steps": "rollout",
    "n_minibatches": "minibatches",
    "n_epochs": "epochs",
    "value_coef": "value",
    "entropy_coef": "entropy",
    "gae_lambda": "gae",
    "max_grad_norm": "max_norm",
    "refresh": "fresh",
    "previous_action_reward": "previous",
}
OLD_VALUES = {"none": "nothing"}


# ------------------------------------------------------------------------------------------------------- the grid


def _spelled(kind: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` with the keywords that `kind` accepts."""
    known = inspect.signature(kind).parameters
    out = {}
    for name, value in settings.items():
        old = name not in known
        out[OLD_KEYWORDS[name] if old else name] = OLD_VALUES.get(value, value) if old and name == "refresh" else value
    return out


def cases() -> dict[str, Callable[[str], tuple[Any, Callable, Callable]]]:
    """{name: a function of the dtype, which makes (learner, a function for the first step, one for 2,000 steps)}"""
    import rtu_np as r

    cells = {
        "LinearRTU": r.LinearRTU(9),
        "LinearRTU relu nu_log/theta": r.LinearRTU(9, "relu", parameterization="nu_log/theta"),
        "NonlinearRTU": r.NonlinearRTU(9),
        "LRU": r.LRU(9, 5, direct=True),
        "LRU tanh recurrence": r.LRU(9, projection=False, recurrence="tanh"),
        "GRU": r.GRU(7),
        # an earlier commit may have none of these
        **{name: getattr(r, name)(9) for name in ("MinGRU", "ELSTM", "GatedRTU") if hasattr(r, name)},
        "VanillaRNN": r.VanillaRNN(7),
        "BlockDiagonalRNN": r.BlockDiagonalRNN(10),
        "Stack": r.Stack([r.Dense(6, "tanh"), r.LayerNorm("leaky_relu"), r.LinearRTU(9), r.Dense(5, "relu")]),
    }
    gradients = {"RTRL": r.RTRL(), "TBPTT": r.TBPTT(4)}
    optimizers = {"SGD": r.SGD(1e-3), "ObGD": r.ObGD(), "Adam": r.Adam(1e-3), "RMSProp": r.RMSProp(1e-3)}
    grid: dict[str, Any] = {}
    for (cell, made), (gradient, method) in product(cells.items(), gradients.items()):
        grid[f"TDLambda, {cell}, {gradient}, Adam"] = functools.partial(_prediction, made, method, optimizers["Adam"])
    for optimizer in ("SGD", "ObGD", "RMSProp"):
        for gradient in gradients:
            make = functools.partial(_prediction, cells["LinearRTU"], gradients[gradient], optimizers[optimizer])
            grid[f"TDLambda, LinearRTU, {gradient}, {optimizer}"] = make
    dense = r.RTRL(dense=True)
    grid["TDLambda, NonlinearRTU, dense RTRL, SGD"] = functools.partial(
        _prediction, cells["NonlinearRTU"], dense, optimizers["SGD"]
    )
    grid["TDLambda, hidden readout, ObGD"] = functools.partial(
        _prediction, cells["LinearRTU"], r.RTRL(), optimizers["ObGD"], readout=r.HiddenReadout(6)
    )
    body, bare = r.streaming_network(r.LinearRTU(8), 12), r.LinearRTU(8)
    cart, pole = "CartPole-v1", "Pendulum-v1"
    for name, env_id, kind, settings in (
        ("ActorCritic", cart, r.ActorCritic, {"cell": body}),
        ("ActorCritic, Gaussian, previous", pole, r.ActorCritic, {"cell": bare, "previous_action_reward": True}),
        ("ActorCritic, TBPTT, Adam", cart, r.ActorCritic, {"cell": bare, "gradient": r.TBPTT(3), **_both(r.Adam)}),
        ("ActorCritic, shared", pole, r.ActorCritic, {"cell": body, "shared": True, "entropy_coef": 0.02}),
        ("ActorCritic, shared, GRU", cart, r.ActorCritic, {"cell": r.GRU(6), "shared": True}),
        ("QLambda", cart, r.QLambda, {"cell": body, "epsilon": r.Epsilon(steps=1000)}),
        ("QLambda, GRU, TBPTT", cart, r.QLambda, {"cell": r.GRU(6), "gradient": r.TBPTT(3)}),
        ("QLambda, SGD, previous", cart, r.QLambda, {"cell": bare, "optimizer": r.SGD(1e-4), **_PREVIOUS}),
        ("QRC", cart, r.QRC, {"cell": body, "epsilon": r.Epsilon(steps=1000)}),
        ("QRC, Adam", cart, r.QRC, {"cell": bare, "optimizer": r.Adam(1e-4), "h_optimizer": r.Adam(1e-4)}),
        ("PPO", cart, r.PPO, {"cell": bare, **_ROLLOUT}),
        ("PPO, Gaussian, both fresh", pole, r.PPO, {"cell": r.NonlinearRTU(6), **_ROLLOUT, "refresh": "both"}),
        ("PPO, TBPTT", cart, r.PPO, {"cell": r.GRU(6), "gradient": r.TBPTT(4), **_ROLLOUT, **_PREVIOUS}),
    ):
        grid[name] = functools.partial(_control, kind, env_id, settings)
    return grid


_PREVIOUS = {"previous_action_reward": True}
_ROLLOUT = {"n_steps": 128, "n_minibatches": 4, "n_epochs": 2, "entropy_coef": 0.01, "gae_lambda": 0.9, "threads": 1}


def _both(optimizer: Any) -> dict[str, Any]:
    return {"actor_optimizer": optimizer(1e-4), "critic_optimizer": optimizer(1e-4)}


def _prediction(cell: Any, gradient: Any, optimizer: Any, dtype: str, **settings: Any) -> Any:
    from rtu_np import TDLambda

    learner = TDLambda(cell, 3, 0.9, 0.8, optimizer, gradient, seed=5, dtype=dtype, **settings)
    rng = np.random.default_rng(1)
    observations, cumulants = rng.uniform(-1, 1, (STEPS, 3)), (rng.random(STEPS) < 0.05).astype(float)
    ends = np.zeros((2, STEPS), bool)
    ends[0, 299::400], ends[1, 499::600] = True, True

    def learn() -> None:
        learner.run(observations, cumulants, terminated=ends[0], truncated=ends[1], progress=False)

    return learner, lambda: learner.step(observations[0], 0.0), learn


def _control(kind: Any, env_id: str, settings: dict[str, Any], dtype: str) -> Any:
    import gymnasium

    env = gymnasium.make(env_id)
    agent = kind(env, **_spelled(kind, settings), seed=5, dtype=dtype)

    def learn(steps: int) -> None:
        agent.learn(env, steps, progress=False, log=None)

    return agent, lambda: learn(1), lambda: learn(STEPS)


def run_case(name: str, dtype: str, output: Path) -> None:
    """One case in this process; writes its parameters and its times to `output`."""
    make = cases()[name]
    began = time.perf_counter()
    learner, first, learn = make(dtype)
    first()
    cold = time.perf_counter() - began
    start = np.concatenate([view.ravel() for view in learner.parameters.values()])
    times = []
    for _ in range(1 if name.startswith("PPO") else 3):
        began = time.perf_counter()
        learn()
        times.append((time.perf_counter() - began) / STEPS * 1e6)
    parameters = np.concatenate([view.ravel() for view in learner.parameters.values()])
    np.savez(output, parameters=parameters, moved=np.abs(parameters - start).max(), first=cold, each=min(times))


# -------------------------------------------------------------------------------------------------- the two sides


def measure(name: str, dtype: str, package: Path, folder: Path) -> dict[str, Any]:
    """The results of one case, in a new process with an empty cache, with the package in the folder `package`."""
    output = folder / f"{name}-{dtype}.npz".replace("/", "-")
    if not output.exists():
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "PYTHONPATH": str(package), "NUMBA_CACHE_DIR": cache}
            command = [sys.executable, str(Path(__file__).resolve()), "--case", name, dtype, str(output)]
            subprocess.run(command, cwd=folder, env=environment, check=True)
    with np.load(output) as file:
        return {key: file[key] for key in file.files}


def known(package: Path) -> list[str]:
    """The cases that the package in this folder has the cells for."""
    command = [sys.executable, str(Path(__file__).resolve()), "--list"]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(command, cwd=package, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def compare(commit: str, only: str, keep: Path | None, dtypes: list[str]) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        here, there = Path(temporary) / "new", keep or Path(temporary) / "old"
        tree = Path(temporary) / "tree"
        for folder in (here, there):
            folder.mkdir(exist_ok=True, parents=True)
        subprocess.run(["git", "worktree", "add", "--detach", "-q", str(tree), commit], cwd=ROOT, check=True)
        try:
            for name, dtype in product((name for name in known(tree) if only in name), dtypes):
                old, new = measure(name, dtype, tree, there), measure(name, dtype, ROOT, here)
                row = {"case": name, "dtype": dtype, "numbers": old["parameters"].size, "moved": float(old["moved"])}
                row["equal"] = old["parameters"].tobytes() == new["parameters"].tobytes()
                if old["parameters"].shape == new["parameters"].shape:
                    row["difference"] = float(np.abs(old["parameters"] - new["parameters"]).max())
                for key in ("first", "each"):
                    row |= {f"{key} old": float(old[key]), f"{key} new": float(new[key])}
                rows.append(row)
                print(line(row), flush=True)
        finally:
            shutil.rmtree(tree, ignore_errors=True)
            subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
    return rows


COLUMNS = (
    "case",
    "dtype",
    "parameters",
    "moved",
    "same bits",
    "first step, s, old",
    "new / old",
    "us, old",
    "new / old",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def line(row: dict[str, Any]) -> str:
    same = "yes" if row["equal"] else f"NO, {row.get('difference', float('nan')):.1e}"
    first, each = (row[f"{key} new"] / row[f"{key} old"] for key in ("first", "each"))
    return (
        f"| {row['case']} | {row['dtype']} | {row['numbers']} | {row['moved']:.1e} | {same} "
        f"| {row['first old']:.1f} | {first:.2f} | {row['each old']:.2f} | {each:.2f} |"
    )


def main(typed: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commit", nargs="?", help="the earlier commit")
    parser.add_argument("--only", default="", help="part of the name of the cases to compare")
    parser.add_argument("--dtype", nargs="+", default=["float64", "float32"])
    parser.add_argument("--keep", type=Path, help="folder for the earlier commit's numbers, reused if they are there")
    parser.add_argument("--output", type=Path, help="JSON file for the table")
    parser.add_argument("--list", action="store_true", help="print the cases that can be compared, and nothing else")
    parser.add_argument("--case", nargs=3, metavar=("NAME", "DTYPE", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(typed)
    if arguments.case:
        run_case(arguments.case[0], arguments.case[1], Path(arguments.case[2]))
        return 0
    if arguments.list:
        print(*cases(), sep="\n")
        return 0
    if not arguments.commit:
        parser.error("commit is missing: expected the commit to compare with, such as b918572")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)  # an error now costs less than one at the end
    print(HEAD)
    rows = compare(arguments.commit, arguments.only, arguments.keep, arguments.dtype)
    ratios = {key: np.array([row[f"{key} new"] / row[f"{key} old"] for row in rows]) for key in ("first", "each")}
    equal = sum(row["equal"] for row in rows)
    print(f"\n{equal} of {len(rows)} cases have the same bits.")
    for key, ratio in ratios.items():
        print(f"{key} step, new / old: median {np.median(ratio):.2f}, {ratio.min():.2f} to {ratio.max():.2f}")
    if arguments.output:
        from experiments.engine import results  # a --case runs with an earlier package, which may lack it

        results.write(arguments.output, {"commit": arguments.commit, "rows": rows})
    return 0 if equal == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
