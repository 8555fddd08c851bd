"""One page per experiment, from its docstring and its results in docs/results: table, figure, command, seeds, machine.

A result that is missing or of another shape stops the build, by name.
"""

import ast
import json
from pathlib import Path
from typing import Any

from docstrings import with_columns
from mkdocs.exceptions import PluginError
from repository import ROOT, Page

RESULTS = ROOT / "docs" / "results"
# What a page says about how numbers were made; the first two are in every result.
FACTS = ("seeds", "tuning", "machine", "python", "versions", "commit", "runs", "core minutes", "task")
HEAD = "preset", "experiment", "seeds", "scores"


def experiments() -> dict[str, str]:
    """{experiment: its module}, as `python -m experiments` knows them."""
    tree = ast.parse((ROOT / "experiments" / "__main__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXPERIMENTS":
            return ast.literal_eval(node.value)
    raise PluginError("experiments/__main__.py assigns no EXPERIMENTS: expected a dict of names and modules")


def read(file: Path) -> dict[str, Any]:
    """Results of a preset. PluginError if the file is damaged or of another shape; the message names it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PluginError(f"{file}: expected results as JSON, and reading them says: {error}") from error
    if not isinstance(found, dict) or not set(HEAD) <= found.keys():
        has = list(found) if isinstance(found, dict) else type(found).__name__
        raise PluginError(f"{file}: expected {', '.join(HEAD)}, and it has {has}")
    scores = found["scores"]
    if not isinstance(scores, dict) or not scores:
        raise PluginError(f"{file}: expected scores of one row or more, and they are {scores!r}")
    for row, columns in scores.items():
        if not isinstance(columns, dict) or not columns:
            raise PluginError(f"{file}, row {row!r}: expected numbers by name, and it is {columns!r}")
        for column, value in columns.items():
            if not isinstance(value, int | float | str | None):
                raise PluginError(f"{file}, row {row!r}: expected a number {column!r}, and it is {value!r}")
    if not file.with_suffix(".png").exists():
        raise PluginError(f"{file.with_suffix('.png')} is missing: expected the figure next to {file.name}")
    return found


def pages(folder: Path = RESULTS) -> list[Page]:
    """The pages. PluginError if an experiment has no results, or if they have another shape."""
    return [_page(name, module, folder / name) for name, module in experiments().items()]


def measurements(folder: Path = RESULTS) -> list[Page]:
    """Pages of what commands have measured that are not experiments: the command, and links to the files."""
    others = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in experiments())
    return [_files(path) for path in others]


def _files(folder: Path) -> Page:
    lines = [f"# {folder.name}\n"]
    for file in sorted(folder.iterdir()):
        found = json.loads(file.read_text(encoding="utf-8")) if file.suffix == ".json" else {}
        command = found.get("command")
        command = " ".join(command) if isinstance(command, list) else command
        made = f", made by `{command}`" if command else ""
        lines.append(f"- [{file.name}](results/{folder.name}/{file.name}){made}")
    return Page(f"results/{folder.name}/index.md", "\n".join(lines) + "\n", "docs/results.md")


def _page(name: str, module: str, folder: Path) -> Page:
    origin = f"{module.replace('.', '/')}.py"
    title, _, text = (ast.get_docstring(ast.parse((ROOT / origin).read_text(encoding="utf-8"))) or "").partition("\n")
    files = sorted(file for file in folder.glob("*.json") if not file.name.endswith(".curves.json"))
    if not files:
        raise PluginError(f"{folder} has no results: expected PRESET.json, which `python -m experiments {name}` writes")
    parts = [
        f"# {title.rstrip('.')}\n\n`{name}`, [{origin}](../{origin}){_section(name)}\n\n{with_columns(text.strip())}"
    ]
    parts += [_preset(name, file, read(file)) for file in files]
    return Page(f"results/{name}/index.md", "\n\n".join(parts) + "\n", "docs/results.md")


def _section(name: str) -> str:
    """A link to the section of docs/results.md that shows the experiment."""
    heading = ""
    for line in (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif f"(results/{name}/" in line:
            from chapters import slug

            return f"; [what was found](results.md#{slug(heading, '-')})"
    return ""


def _preset(name: str, file: Path, found: dict[str, Any]) -> str:
    path = f"results/{name}/{file.stem}"
    facts = "\n".join(f"| {fact} | {_fact(found[fact])} |" for fact in FACTS if fact in found)
    return f"""## {file.stem}

![{name}, preset {file.stem}]({path}.png)

**{_takeaway(name, file)}**

| made by | `python -m experiments {name} --preset {file.stem}` |
|---|---|
{facts}

{_table(found["scores"])}

[The numbers as JSON]({path}.json){_curves(file, path)}"""


def _curves(file: Path, path: str) -> str:
    """A link to what the figure shows, if git has it."""
    return f", [the curves of the figure]({path}.curves.json)" if file.with_suffix(".curves.json").exists() else ""


def _takeaway(name: str, file: Path) -> str:
    """What the figure shows, in a sentence. PluginError if it has no sentence, or if the numbers do not bear it out."""
    from experiments.takeaways import TakeawayError, sentence

    try:
        return sentence(name, file.stem, file.parent.parent)
    except TakeawayError as error:
        raise PluginError(str(error)) from error


def _fact(value: Any) -> str:
    """In words: {"numba": "1"} as "numba 1", [0, 1, 2] as "0 to 2"."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {_fact(each)}" for key, each in value.items())
    if isinstance(value, list):
        first = value[0] if value and isinstance(value[0], int) else 0
        if len(value) > 2 and value == list(range(first, first + len(value))):
            return f"{value[0]} to {value[-1]}"
        return ", ".join(map(_fact, value))
    return _cell(value)


def _table(scores: dict[str, dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in scores.values() for column in row))
    rows = [[name, *(_cell(row.get(column)) for column in columns)] for name, row in scores.items()]
    lines = [["", *columns], ["---"] * (len(columns) + 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
