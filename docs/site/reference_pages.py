"""The reference: every public name, read from the sources by mkdocstrings, on a page for each subject."""

import ast
from collections import defaultdict

from mkdocs.exceptions import PluginError
from repository import ROOT, Page

# {subject: rooms of rtu_np whose public names it has}
SUBJECTS = {
    "Cells": ("cells",),
    "Gradients": ("gradients",),
    "Optimisers and readouts": ("learning",),
    "Prediction": ("prediction",),
    "Control": ("control",),
    "Checks and costs": ("gradcheck", "learnercheck", "recurrence", "costs"),
}
# {subject: classes that its names derive from, or return, and whose methods users call}
SHARED = {
    "Cells": ("rtu_np.cells.layer.Cell", "rtu_np.cells.ring.Ring", "rtu_np.cells.layer.Layer"),
    "Prediction": ("rtu_np.prediction.learner.Learner", "rtu_np.prediction.td_many.ManyPredictions"),
    "Control": ("rtu_np.control.agent.Agent", "rtu_np.control.many.Learned"),
    "Checks and costs": (
        "rtu_np.gradcheck.report.GradientReport",
        "rtu_np.learnercheck.report.LearnerReport",
        "rtu_np.recurrence.report.RecurrenceReport",
    ),
}
INHERITED = "\n    options:\n      inherited_members: true\n"  # an agent's `learn` and `evaluate` are in its base
# {subject: public modules; what such a module offers is in its `__all__`, or what has no underscore before its name}
MODULES = {
    "Measures and figures": ("rtu_np.metrics", "rtu_np.intervals", "rtu_np.plot", "rtu_np.tables"),
    "Time and machine": ("rtu_np.timing", "rtu_np.provenance", "rtu_np.warm"),
    "River": ("rtu_np.river",),
    "Cells and environments of your own": (
        "rtu_np.protocol",
        "rtu_np.numerics.layout",
        "rtu_np.numerics.buffers",
        "rtu_np.jit",
        "rtu_np.compiled_environment",
    ),
    "Files": ("rtu_np.checkpoint",),
    "Environments": ("envs",),
}


def names() -> dict[str, str]:
    """{public name of rtu_np: the module that defines it}."""
    tree = ast.parse((ROOT / "rtu_np" / "__init__.py").read_text(encoding="utf-8"))
    return {
        alias.name: node.module or ""
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != "rtu_np"
    }


def subject_of(module: str) -> str:
    room = module.split(".")[1]
    for subject, rooms in SUBJECTS.items():
        if room in rooms:
            return subject
    raise PluginError(f"{module} has public names, and no subject in SUBJECTS of {__file__}: expected its room there")


def pages() -> list[Page]:
    grouped = defaultdict(list)
    for name, module in names().items():
        grouped[subject_of(module)].append(f"::: {module}.{name}\n")
    for subject, shared in SHARED.items():
        grouped[subject] += [f"::: {name}{INHERITED}" for name in shared]
    for subject, modules in MODULES.items():
        grouped[subject] = [f"::: {module}\n" for module in modules]
    return [_page(subject, grouped[subject]) for subject in (*SUBJECTS, *MODULES)]


def _page(subject: str, blocks: list[str]) -> Page:
    text = "\n".join([f"# {subject}\n", *blocks])
    return Page(f"reference/{subject.lower().replace(' ', '-')}.md", text, "docs/reference.md")
