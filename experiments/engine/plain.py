"""What an experiment of the user's need not write: labels, a table and a figure of whatever its runs return.

An array of one number in each run is a column of the table, with its 95 % interval. An array `curve`, or else the first
one with several numbers, is drawn against `steps`, if the runs have an array of this name and length.
"""

import json
from typing import Any

import numpy as np

from experiments.engine import plotting
from experiments.engine.results import Config, Results
from rtu_np.intervals import interval
from rtu_np.plot import COLOURS, band, step_axis


def leaves(setting: Any, above: str = "") -> dict[str, Any]:
    """{dotted name: value} of all that stands in a setting, in any depth.

    Examples
    --------
    >>> leaves({"isi": 10, "cell": {"name": "GRU", "n_hidden": 4}})
    {'isi': 10, 'cell.name': 'GRU', 'cell.n_hidden': 4}
    """
    if isinstance(setting, dict) and setting:
        parts = setting.items()
    elif isinstance(setting, list | tuple) and any(isinstance(part, dict) for part in setting):
        parts = {str(k): part for k, part in enumerate(setting)}.items()
    else:
        return {above: setting}
    out: dict[str, Any] = {}
    for name, part in parts:
        out |= leaves(part, f"{above}.{name}" if above else str(name))
    return out


def written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def label(config: Config) -> str:
    """A setting in a few words: its parts have their names alone.

    Examples
    --------
    >>> label({"isi": 10, "cell": {"name": "GRU", "n_hidden": 4}})
    'isi 10, cell GRU'
    """
    words = {name: part.get("name", "...") if isinstance(part, dict) else part for name, part in config.items()}
    return ", ".join(f"{name} {written(value)}" for name, value in words.items())


def labels(configs: list[Config]) -> list[str]:
    """What distinguishes each of some settings from the others; if nothing does, their labels.

    Examples
    --------
    >>> labels([{"isi": 10, "steps": 5}, {"isi": 20, "steps": 5}])
    ['isi 10', 'isi 20']
    """
    flat = [leaves(config) for config in configs]
    names = list(dict.fromkeys(name for each in flat for name in each))
    varied = [name for name in names if len({json.dumps(each.get(name)) for each in flat}) > 1]
    return [
        ", ".join(f"{name} {written(each[name])}" for name in varied if name in each) or label(config)
        for config, each in zip(configs, flat, strict=True)
    ]


def told_apart(texts: list[str], configs: list[Config]) -> list[str]:
    """The labels of some settings; those that are equal, with what distinguishes their settings: of parts that vary
    together, the one with the shortest name.

    Examples
    --------
    >>> told_apart(["a", "a", "b"], [{"size": 0.1, "cell": {"size": 0.2}}, {"size": 0.3, "cell": {"size": 0.6}}, {}])
    ['a, size 0.1', 'a, size 0.3', 'b']
    """
    told = list(texts)
    for text in {text for text in texts if texts.count(text) > 1}:
        places = [k for k, each in enumerate(texts) if each == text]
        flat = [leaves(configs[k]) for k in places]
        shown: dict[tuple[int, ...], str] = {}  # {which settings have the same value: name}
        for name in sorted(
            {name for each in flat for name in each}, key=lambda name: (name.count("."), len(name), name)
        ):
            values = [json.dumps(each.get(name)) for each in flat]
            shown.setdefault(tuple(map(values.index, values)), name)
        shown.pop((0,) * len(flat), None)  # what is the same in all
        for k, each in zip(places, flat, strict=True):
            parts = [
                f"{name.rpartition('.')[2].replace('_', ' ').strip()} {written(each.get(name))}"
                for name in shown.values()
            ]
            told[k] = ", ".join([text, *parts])
    return told


def describe(arrays: dict[str, np.ndarray]) -> str:
    """The numbers of one finished run."""
    return ", ".join(f"{name} {float(array.item()):.4g}" for name, array in arrays.items() if _is_number(array))


def _is_number(array: np.ndarray) -> bool:
    return array.size == 1 and array.dtype.kind in "biuf"


def _numbers(results: Results) -> list[str]:
    return [name for name, array in results[0][1][0].items() if _is_number(array)]


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: the mean over seeds of each number, with a 95 % bootstrap interval."""
    table = {}
    for text, (_, runs) in zip(labels([config for config, _ in results]), results, strict=True):
        row: dict[str, float] = {"seeds": len(runs)}
        for name in _numbers(results):
            samples = np.array([arrays[name].item() for arrays in runs])
            low, high = interval(samples)
            row |= {name: float(samples.mean()), f"{name} low": float(low), f"{name} high": float(high)}
        table[text] = row
    return table


def plot(results: Results) -> Any:
    """A curve for each setting; or, if runs have no curves, their numbers side by side."""
    first = results[0][1][0]
    curves = [name for name, a in first.items() if a.ndim == 1 and a.size > 1 and a.dtype.kind in "biuf"]
    curves = [name for name in ("curve", *curves) if name in curves and name != "steps"]
    texts = labels([config for config, _ in results])
    if curves:
        figure, ((axes,),) = plotting.panels(1, height=3.5)
        for k, (text, (_, runs)) in enumerate(zip(texts, results, strict=True)):
            samples = [arrays[curves[0]] for arrays in runs]
            n = min(map(len, samples))  # runs that stopped early have shorter curves
            steps = runs[0].get("steps", np.zeros(0))
            x = steps if steps.shape == samples[0].shape else np.arange(samples[0].size)
            line = {"color": COLOURS[k % len(COLOURS)]}
            line["linestyle"] = ("-", "--", ":")[k // len(COLOURS) % 3]
            band(axes, x[:n], np.array([sample[:n] for sample in samples], float), label=text, **line)
        axes.set(xlabel="step", ylabel=curves[0])
        step_axis(axes)
        plotting.legend_below(figure)
        plotting.headline(figure, curves[0], len(results[0][1]))
        return figure
    return plotting.dots(score(results), ", ".join(_numbers(results)), len(results[0][1]))
