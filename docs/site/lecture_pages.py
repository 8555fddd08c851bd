"""The lectures as pages: notebooks as they are committed, with their outputs, and programs as code. Nothing is run."""

import ast
from pathlib import Path

import nbformat
from mkdocs.exceptions import PluginError
from nbconvert import MarkdownExporter
from repository import ROOT, Page

FOLDER = ROOT / "lectures"
PROGRAMS = ("micro_rtrl.py",)  # lectures that are programs and no notebooks
HEAD = "# Lectures\n\nEach is read in about fifteen minutes.\n\n"


def pages(folder: Path = FOLDER) -> tuple[list[Page], dict[str, bytes]]:
    """The pages, the first of which lists the others, and the pictures {place on the site: bytes}."""
    made = [_program(folder / name) for name in PROGRAMS if (folder / name).exists()]
    pictures = {}
    notebooks = sorted(folder.glob("*.ipynb"))
    for path in notebooks:
        text, found = _notebook(path)
        made.append(Page(f"lectures/{path.stem}.md", text, f"lectures/{path.name}"))
        pictures.update({f"lectures/{name}": data for name, data in found.items()})
    contents = folder / "README.md"
    titles = [f"- [{page.text.partition(chr(10))[0].lstrip('# ')}]({Path(page.origin).name})\n" for page in made]
    text = contents.read_text(encoding="utf-8") if contents.exists() else HEAD + "".join(titles)
    return [Page("lectures/index.md", text, "lectures/README.md"), *made], pictures


def _program(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    title = (ast.get_docstring(ast.parse(text)) or path.stem).partition(".")[0]
    code = f"# {title}\n\n`python lectures/{path.name}`\n\n```python\n{text}```\n"
    return Page(f"lectures/{path.stem}.md", code, f"lectures/{path.name}")


def _notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    try:
        notebook = nbformat.read(path, as_version=4)
    except (AttributeError, KeyError, TypeError, ValueError, nbformat.ValidationError) as error:  # by kind of damage
        raise PluginError(f"{path}: expected a Jupyter notebook, and reading it says: {error}") from error
    resources = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
    text, made = MarkdownExporter().from_notebook_node(notebook, resources)
    if not text.lstrip().startswith("# "):
        text = f"# {path.stem.replace('_', ' ')}\n\n{text}"
    return text.lstrip(), made.get("outputs", {})
