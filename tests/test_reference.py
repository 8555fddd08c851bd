"""Each public name says its parameters, errors, shapes, units and source, and has an example, which doctest runs.

The rules look at words. They are few, so that a writer can keep them in mind:

- shapes: the entry of an array has a shape, such as (T, d), (n,), (n/2, 2, 2) or (T, ...). A parameter is an array if
  its annotation says so, or if its name is in `ARRAYS`. A cell or readout has the name of each array that it learns
  before its shape;
- units: the entry of a parameter whose name matches a line of `UNITS` has a word of that line;
- source: a docstring cites an equation of docs/derivations.md, or a paper by authors and year, or names the function or
  page that does. `NO_METHOD` has the names that implement nothing that was published.

An entry may instead name the one that it shares all this with: "as `cumulants`", "see `Agent.evaluate`".
"""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rtu_np
from rtu_np import intervals, metrics, plot

ROOT = Path(__file__).parent.parent
_SIZE = r"(?:\d*[A-Za-z_]\w*(?:/\d)?(?: \+ \w+)?|\d+|\.\.\.)"
SHAPE = re.compile(rf"\({_SIZE},?\)|\({_SIZE}(?:, {_SIZE})+\)")
ARRAYS = {
    *("observation", "observations", "cumulants", "discounts", "ratios", "terminated", "truncated", "observed", "ends"),
    *(
        "x",
        "xs",
        "dy",
        "times",
        "targets",
        "target",
        "predictions",
        "samples",
        "returns",
        "curves",
        "weights",
        "values",
    ),
}
SCALARS = {"Agent.step: terminated", "Agent.step: truncated", "TDLambda.step: terminated", "TDLambda.step: truncated"}
SCALARS |= {"OnlineRegressor.learn_one: ends", "OnlineRegressor.step: ends"}
UNITS = {
    r"(.*_)?steps|every|log_every|tau|start_step": "steps? |steps?$|transitions|life",
    r"horizon|chunk": r"\brows?\b",
    r".*phase|theta.*|angle.*": "radians|degrees",
    r".*half_life": "samples|steps",
    r"gamma": "per step|per unit of time|each row",
    r"clip(_observations)?": "deviations|root mean squares|probability ratio",
    r"seconds|timeout|.*_time": "seconds",
    r"n_threads|threads|n_processes": "core",
    r"tolerance": "relative",
}
_CITED = re.compile(
    r"derivations(?:\.md)?,? (?:\(\d+\)|\*)|[A-Z]\w+(?: et al\.| & [A-Z]\w+| and [A-Z]\w+|(?:, [A-Z]\w+)+)? \d{4}"
)
_SHARED = re.compile(r"\bas `\w+`|\bsee `\w+\.\w+`")
_POINTS = re.compile(r"those of `\w+`|as in `\w+`|docs/\w+\.md|`rtu_np\.[\w.]+`")
NO_METHOD = {
    *("Checkpoints", "Evaluation", "continue_run", "every", "learn_many", "make_again", "run_many"),  # runs
    *("check_learner", "check_recurrence", "check_gradients", "gradient_angles"),  # they compare
    *("Dense", "Identity", "WithLambda", "LinearReadout", "Normalize"),
}
METHODS = ("act", "step", "run", "run_stream", "predict", "predict_one", "learn_one", "partial_fit", "evaluate")


def parts_of(kind: Any) -> dict[str, str]:
    """{heading: text} of a docstring; what stands before the first heading has the name ""."""
    head, *parts = re.split(r"^(\w+)\n-{3,}\n", inspect.getdoc(kind) or "", flags=re.MULTILINE)
    return {"": head, **dict(zip(parts[::2], parts[1::2], strict=True))}


def entries_of(kind: Any) -> dict[str, str]:
    """{parameter: text of its entry}."""
    found: dict[str, str] = {}
    for names, text in re.findall(r"^(\S[^\n]*?) : (.*?)(?=^\S|\Z)", parts_of(kind).get("Parameters", ""), re.M | re.S):
        found |= dict.fromkeys(re.findall(r"\w+", names), " ".join(text.split()))
    return found


def is_borrowed(kind: Any) -> bool:
    return bool(re.search(r"rguments(, result)? and errors are those of", inspect.getdoc(kind) or ""))


def lacking(name: str, kind: Any) -> list[str]:
    """What the docstring of a public name leaves out of parameters, errors and example."""
    part = parts_of(kind)
    if is_borrowed(kind):
        return [] if "Examples" in part else [f"{name}: an example"]
    needed = list(inspect.signature(kind).parameters)
    found = [f"{name}: the parameter {each}" for each in needed if each not in entries_of(kind)]
    return found + [
        f"{name}: {each}" for each in ("Raises", "Examples") if each not in part and (needed or each != "Raises")
    ]


def without_shape(name: str, kind: Any) -> Iterator[str]:
    if is_borrowed(kind):
        return
    entries, whole = entries_of(kind), " ".join((inspect.getdoc(kind) or "").split())
    for each, parameter in inspect.signature(kind).parameters.items():
        is_array = each in ARRAYS or "ndarray" in str(parameter.annotation)
        text = entries.get(each, "" if entries else whole)  # a line of text may say all of a short function
        if is_array and f"{name}: {each}" not in SCALARS and not (SHAPE.search(text) or _SHARED.search(text)):
            yield f"{name}: the shape of {each}"
    for weight in _weights(kind):
        if not re.search(rf"(?<!\w){weight}(?!\w)[^.(]*{SHAPE.pattern}", whole):
            yield f"{name}: the shape of its {weight}"


def _weights(kind: Any) -> list[str]:
    """The arrays that a cell or a readout learns, if it can be made of a number of units."""
    if not hasattr(kind, "initialise") or kind is rtu_np.Stack:
        return []
    takes = [p.name for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
    made = kind(*[4] * len(takes))
    if hasattr(made, "build"):
        return list(made.build(3).parameters)
    learner = rtu_np.TDLambda(rtu_np.Dense(3), 2, readout=made)
    return [each.removeprefix("readout.") for each in learner.parameters if each.startswith("readout.")]


def without_unit(name: str, kind: Any) -> Iterator[str]:
    entries = entries_of(kind)
    for each in inspect.signature(kind).parameters:
        for pattern, words in UNITS.items():
            is_said = each not in entries or re.search(words, entries[each]) or _SHARED.search(entries[each])
            if re.fullmatch(pattern, each) and not is_said:
                yield f"{name}: the unit of {each}, as {words}"


def without_source(name: str, kind: Any) -> Iterator[str]:
    text = " ".join((inspect.getdoc(kind) or "").split())
    if name not in NO_METHOD and not _CITED.search(text) and not _POINTS.search(text):
        yield f"{name}: its source"


def public() -> dict[str, Any]:
    return {name: getattr(rtu_np, name) for name in rtu_np.__all__}


def methods() -> dict[str, Callable]:
    """What users call of learners and agents, once for each definition."""
    kinds = [kind for kind in public().values() if inspect.isclass(kind)]
    found = [getattr(kind, name) for kind in kinds for name in METHODS if hasattr(kind, name)]
    return {each.__qualname__: each for each in found}


def functions() -> dict[str, Callable]:
    """The functions of public modules that measure and draw."""
    return {
        f"{module.__name__}.{name}": each
        for module in (intervals, metrics, plot)
        for name, each in vars(module).items()
        if inspect.isfunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
    }


def faults(name: str, kind: Any) -> list[str]:
    return [*without_shape(name, kind), *without_unit(name, kind)]


def test_each_public_name_says_its_parameters_errors_and_an_example():
    assert not [each for name, kind in public().items() for each in lacking(name, kind)]


def test_each_array_has_its_shape_and_each_quantity_its_unit():
    looked_at = {**public(), **methods(), **functions()}
    assert len(looked_at) > 90
    assert not [each for name, kind in looked_at.items() for each in faults(name, kind)]


def test_each_method_has_its_source_and_the_equations_exist():
    assert not [each for name, kind in public().items() for each in without_source(name, kind)]
    assert set(public()) >= NO_METHOD
    text = (ROOT / "docs" / "derivations.md").read_text(encoding="utf-8")
    known = set(map(int, re.findall(r"\\tag\{(\d+)\}", text)))
    for name, kind in public().items():
        for found in re.findall(r"derivations ((?:\(\d+\)[-, ]*)+)", " ".join((inspect.getdoc(kind) or "").split())):
            assert set(map(int, re.findall(r"\d+", found))) <= known, name


def planted(xs, gamma, max_phase, out: np.ndarray):
    """Nothing much, after (Nobody 20).

    Parameters
    ----------
    xs : rows
    gamma : (m,) discount
    max_phase : as `xs`
    """


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ("", "", ["shape of xs", "shape of out", "unit of gamma", "source", "parameter out", "Raises", "Examples"]),
        ("xs : rows", "xs : (T, d) rows", ["shape of out", "unit of gamma", "source"]),
        ("(m,) discount", "discount per step", ["shape of xs", "shape of out", "source"]),
        ("(Nobody 20)", "Nobody & Others 2020", ["shape of xs", "shape of out", "unit of gamma"]),
        ("(Nobody 20)", "derivations (11)", ["shape of xs", "shape of out", "unit of gamma"]),
        ("as `xs`", "the largest", ["shape of xs", "shape of out", "unit of gamma", "unit of max_phase", "source"]),
    ],
)
def test_what_a_docstring_leaves_out_is_found(old, new, left, monkeypatch):
    text = planted.__doc__
    monkeypatch.setattr(planted, "__doc__", text.replace(old, new) if old else text)
    found = [*faults("planted", planted), *without_source("planted", planted)]
    found += [] if old else lacking("planted", planted)
    assert len(found) == len(left)
    assert all(any(word in each for each in found) for word in left)
