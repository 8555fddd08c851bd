"""Docstrings as Markdown, for the reference.

A part such as "Parameters" has lines `name : what it is`, with no type beside the name, so that no parser of docstrings
reads it right. Here it becomes a list, and examples become code.
"""

import inspect
import re
from pathlib import Path
from typing import Any

from griffe import Extension, Object
from repository import ROOT, source_uri

PART = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
ENTRY = re.compile(r"^(\S[^\n]*?) : ", re.MULTILINE)
COLUMNS = re.compile(r"^(?!>>>)\S+ {2,}\S.*(\n.+)*", re.MULTILINE)  # a word, a gap, and what the word means
EXAMPLE = re.compile(r"^>>> .*?(?=\n\n(?!>>>)|\Z)", re.MULTILINE | re.DOTALL)


class Markdown(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value) + _source(obj)


def _source(obj: Object) -> str:
    """A link to the code, as HTML, since the page of code is made after this."""
    if not (obj.is_class or obj.is_function) or not isinstance(obj.filepath, Path):
        return ""
    path = obj.filepath.resolve().relative_to(ROOT).as_posix()
    return f'\n\n<a href="../{source_uri(path)}#L-{obj.lineno}">{path}, line {obj.lineno}</a>\n'


def as_markdown(docstring: str) -> str:
    """Parts in bold, their entries as lists, examples as code."""
    head, *parts = PART.split(inspect.cleandoc(docstring))
    made = [head, *(_part(name, text) for name, text in zip(parts[::2], parts[1::2], strict=True))]
    made = [with_columns(text) for text in made]
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```\n", "\n".join(made))


def with_columns(text: str) -> str:
    """Words with what each means, in two columns, as they stand in the source: Markdown would join their lines."""
    return COLUMNS.sub(lambda found: f"```text\n{found[0]}\n```", text)


def _part(name: str, text: str) -> str:
    text = ENTRY.sub(lambda entry: f"- `{entry[1]}`: ", text) if name != "Examples" else text
    return f"**{name}**\n\n{text}"
