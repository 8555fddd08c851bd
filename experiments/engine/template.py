"""The experiment that `python -m experiments new FILE` writes: a start for one's own."""

import os
from pathlib import Path

LINES = '''"""{title}: what is asked, and what to expect. Run it: python -m experiments {file} --preset smoke"""

import numpy as np
from envs import TraceConditioning
from rtu_np import Adam, LinearRTU, TDLambda, checkpoint, metrics

SETTING = {{
    "isi": 10,  # steps from the cue to what is predicted
    "steps": 20_000,
    "cell": checkpoint.describe(LinearRTU(16, "tanh", max_phase=1.0)),
    "optimizer": checkpoint.describe(Adam(3e-4)),
}}
PRESETS = {{"smoke": {{"settings": [SETTING], "seeds": range(2)}}}}
PRESETS["laptop"] = {{"settings": [{{**SETTING, "steps": 500_000}}], "seeds": range(5)}}


def run(config, seed):
    """One setting and one seed: numbers for the table, and a curve for the figure."""
    env = TraceConditioning(isi=config["isi"])
    cell, optimizer = (checkpoint.build(part, config[part]) for part in ("cell", "optimizer"))
    learner = TDLambda(cell, env.n_inputs, env.gamma, 0.9, optimizer, seed=seed)
    observations, cumulants = env.generate(config["steps"], seed=seed)
    predictions = learner.run(observations, cumulants, progress=False)
    error = (predictions - metrics.returns(cumulants, env.gamma)) ** 2
    return {{"final": error[-len(error) // 10 :].mean(), "curve": [part.mean() for part in np.array_split(error, 50)]}}
'''


def write(path: Path) -> None:
    """Write the template to `path`. FileExistsError if there is something; ValueError if it is no name of a module."""
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ValueError(f"{path} is no name of a module: expected one such as my_sweep.py")
    title = path.stem.replace("_", " ").strip().capitalize() or path.stem
    with path.open("x", encoding="utf-8") as file:
        file.write(LINES.format(title=title, file=os.fspath(path)))
