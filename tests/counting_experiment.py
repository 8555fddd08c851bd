"""A small experiment for tests of sweeps: some learning, at a pace and with accidents that its settings ask for."""

import os
import time
from pathlib import Path

import numpy as np

from rtu_np import LinearRTU, TDLambda

PRESETS: dict = {"smoke": {"settings": [{"steps": 200, "lambda_": 0.9}], "seeds": range(2)}}


def run(config, seed):
    time.sleep(config.get("seconds", 0))
    once = config.get("die once at")
    if once and not Path(once).exists():
        Path(once).touch()
        os.kill(os.getpid(), 9)
    if config.get("die"):
        os.kill(os.getpid(), 9)
    if config.get("raise"):
        raise ValueError("this run was asked to fail")
    rng = np.random.default_rng(seed)
    learner = TDLambda(LinearRTU(4), 2, lambda_=config["lambda_"], seed=seed)
    observations = rng.standard_normal((config["steps"], 2))
    return {"predictions": learner.run(observations, observations[:, 0], progress=False)}


def label(config):
    return f"lambda {config['lambda_']}"


def describe(arrays):
    return f"last {arrays['predictions'][-1]:.3f}"


def score(results):
    return {label(config): {"last": float(runs[0]["predictions"][-1])} for config, runs in results}
