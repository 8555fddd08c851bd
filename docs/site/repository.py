"""Where each file of the repository stands on the site, and links between files as links between pages.

Pages are written for readers of the repository: a link is relative to the file in which it stands. On the site some
pages have other places, long pages are split, and files of code are pages of their own, with an anchor for each line.
"""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

ROOT = Path(__file__).resolve().parents[2]
# Code: between fences, between backticks, or indented behind an empty line.
CODE = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`|(?<=\n\n)(?:    [^\n]*\n)+)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")
SOURCE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{path}</title><style>
body {{ font: 14px/1.5 sans-serif; margin: 1em auto; max-width: 74em; padding: 0 1em }}
pre {{ line-height: 1.4; overflow-x: auto }} a:target {{ background: #ffd54f }}
{style}
</style></head><body><p><a href="{home}">rtu_np</a>: {path}</p>
{code}</body></html>
"""
FORMAT = HtmlFormatter(lineanchors="L")


@dataclass
class Page:
    """A page that is made: its place on the site, its Markdown, and the file to which its links are relative."""

    uri: str
    text: str
    origin: str


class Places:
    """Where files of the repository are on the site.

    pages : {file of the repository: page of the site}
    split : {file that is several pages: a function from an anchor to its page}
    sources : files of code that links lead to; each is a page `source/FILE.html`
    """

    def __init__(self, pages: dict[str, str], split: dict[str, Callable[[str], str]]) -> None:
        self.pages, self.split = pages, split
        self.sources: set[str] = set()

    def rewrite(self, markdown: str, origin: str, uri: str) -> str:
        """`markdown` of the page `uri`, in which each link outside of code leads to a page of the site."""
        parts = CODE.split(markdown)
        parts[::2] = [LINK.sub(lambda found: self._link(found[0], origin, uri), part) for part in parts[::2]]
        return "".join(parts)

    def _link(self, target: str, origin: str, uri: str) -> str:
        if re.match(r"\w+:", target) or (target.startswith("#") and origin not in self.split):
            return target
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path)) if path else origin
        return posixpath.relpath(self._place(path, anchor), posixpath.dirname(uri) or ".") + (anchor and f"#{anchor}")

    def _place(self, path: str, anchor: str) -> str:
        if path in self.split:
            return self.split[path](anchor)
        for place in (path, f"{path}/index.md"):
            if place in self.pages:
                return self.pages[place]
        if path.startswith("docs/") or not (ROOT / path).exists():
            return path.removeprefix("docs/")
        if (ROOT / path).is_dir():
            front = "README.md" if (ROOT / path / "README.md").exists() else "__init__.py"
            return self._place(f"{path}/{front}", anchor)
        self.sources.add(path)
        return source_uri(path)


def source_uri(path: str) -> str:
    return f"source/{path}.html"


@cache
def source_page(path: str) -> str:
    """A file of code as a page with an anchor `L-12` for line 12."""
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = TextLexer()
    code = highlight((ROOT / path).read_text(encoding="utf-8"), lexer, FORMAT)
    home = "../" * (path.count("/") + 1) + "index.html"
    return SOURCE.format(path=path, style=FORMAT.get_style_defs(".highlight"), home=home, code=code)
