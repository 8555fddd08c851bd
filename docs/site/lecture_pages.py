"""The lectures as pages: notebooks as they are committed, with their outputs, and programs as code. Nothing is run."""

import ast
from pathlib import Path

import nbformat
from mkdocs.exceptions import PluginError
from nbconvert import MarkdownExporter
from repository import ROOT, Page

FOLDER = ROOT / "lectures"
HEAD = "# Lectures\n\nEach is read in about fifteen minutes. A notebook stands in `lectures/` next to the same code as `.py`.\n\n"


def pages(folder: Path = FOLDER) -> tuple[list[Page], dict[str, bytes]]:
    """The pages, the first of which lists the others, and the pictures {place on the site: bytes}."""
    made, pictures = [], {}
    notebooks = sorted(folder.glob("*.ipynb"))
    stems = {path.stem for path in notebooks}
    for path in sorted(path for path in folder.glob("*.py") if path.stem not in stems and path.stem[0] != "_"):
        made.append(_program(path))
    for path in notebooks:
        text, found = _notebook(path)
        made.append(Page(f"lectures/{path.stem}.md", text, f"lectures/{path.name}"))
        pictures.update({f"lectures/{name}": data for name, data in found.items()})
    titles = [(page.text.partition("\n")[0].lstrip("# "), page.origin) for page in made]
    contents = HEAD + "".join(f"- [{title}]({Path(origin).name})\n" for title, origin in titles)
    return [Page("lectures/index.md", contents, "lectures/README.md"), *made], pictures


def _program(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    title = (ast.get_docstring(ast.parse(text)) or path.stem).partition("\n")[0].rstrip(".")
    code = f"# {title}\n\n`python lectures/{path.name}`\n\n```python\n{text}```\n"
    return Page(f"lectures/{path.stem}.md", code, f"lectures/{path.name}")


def _notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, KeyError, nbformat.validator.ValidationError) as error:
        raise PluginError(f"{path}: expected a Jupyter notebook, and reading it says: {error}") from error
    resources = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
    text, made = MarkdownExporter().from_notebook_node(notebook, resources)
    if not text.lstrip().startswith("# "):
        text = f"# {path.stem.replace('_', ' ')}\n\n{text}"
    return text.lstrip(), made.get("outputs", {})
