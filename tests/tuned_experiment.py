"""A small experiment for tests of committed scores: it chooses a step size, and its runs take as long as they should.

As a script it is the command line of the experiments, with this one among them.
"""

import sys
import time

import numpy as np

from experiments.engine import selection

SCORES = ("final", "curve", "diverged")
SETTINGS = [{"method": method, "steps": 100} for method in ("a", "b")]
PRESETS: dict = {
    "tiny": {"settings": SETTINGS, "tuning": {"step_sizes": [0.1, 0.2, 0.3], "seeds": range(50, 52)}, "seeds": range(3)}
}
PRESETS["slow"] = PRESETS["tiny"] | {"settings": [{**setting, "seconds": 0.1} for setting in SETTINGS]}

PRESETS["own stages"] = PRESETS["tiny"] | {"rules": [{"rule": rule, "method": "a", "step_size": 0.1} for rule in "xyz"]}


def stages(preset):
    """With "rules": the best two, then a step size for each, then the reported runs."""
    if "rules" not in preset:
        return selection.stages(preset)

    def two(earlier):
        best = sorted(earlier[0], key=lambda trial: selection.rank(trial[1]))[:2]
        return [{"method": "b", "steps": 9, "rule": config["rule"]} for config, _ in best]

    return [
        (lambda _: preset["rules"], [7]),
        (lambda earlier: selection.trials(two(earlier), preset["tuning"]), [8, 9]),
        (lambda earlier: selection.chosen(two(earlier), earlier[1]), list(preset["seeds"])),
    ]


def run(config, seed):
    time.sleep(config.get("seconds", 0))
    best = {"a": 0.1, "b": 0.3}[config["method"]]
    noise = np.random.default_rng(seed).standard_normal(3) / 100
    final = {"x": 0, "y": 2, "z": 1}.get(config.get("rule"), 0) + noise[0] - abs(config["step_size"] - best)
    return {
        "final": np.array(final),
        "curve": np.array([np.nan, *noise]),
        "diverged": np.array(config["step_size"] == 0.2),
        "returns": np.arange(10_000),
    }


def label(config):
    return config["method"] + config.get("rule", "")


def describe(arrays):
    return f"final {arrays['final']:.3f}"


def score(results):
    return {
        label(config): {"step size": config["step_size"], "final": float(np.mean([r["final"] for r in runs]))}
        for config, runs in results
    }


def plot(results):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    for config, runs in results:
        ax.plot(np.mean([r["curve"] for r in runs], axis=0), label=label(config))
    return figure


if __name__ == "__main__":
    from experiments import __main__ as command

    command.EXPERIMENTS["tuned"] = "tuned_experiment"
    sys.exit(command.main())
