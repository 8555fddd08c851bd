"""docs/derivations.md as chapters, each equation with its anchor and the code that cites it; a section as a page."""

import html
import re

from citations import citing
from pymdownx.slugs import slugify
from repository import ROOT, Page

FILE = "docs/derivations.md"
FOLDER = "derivations"
BLOCK = re.compile(r"^\$\$\n(.*?)\$\$$", re.MULTILINE | re.DOTALL)
TAG = re.compile(r"\s*\\tag\{(\d+)\}")
EQUATION = """<div class="equation" id="eq{k}">
<div class="arithmatex">\\[{maths}\\]</div>
<a href="#eq{k}" aria-label="equation {k}">({k})</a>
</div>
"""
slug = slugify(case="lower")


def split(text: str) -> list[tuple[str, str]]:
    """(heading, text) of what stands before the first heading of second order, and behind each of them."""
    head, *rest = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return [("", head), *zip(rest[::2], rest[1::2], strict=True)]


class Chapters:
    """The pages of docs/derivations.md, and the page of each anchor and equation."""

    def __init__(self) -> None:
        first, *rest = split((ROOT / FILE).read_text(encoding="utf-8"))
        names = [slug(heading, "-") for heading, _ in rest]
        self.uris = {name: f"{FOLDER}/{name}.md" for name in names}
        contents = "\n".join(f"{k}. [{heading}](#{slug(heading, '-')})" for k, (heading, _) in enumerate(rest, 1))
        texts = {f"{FOLDER}/index.md": f"{first[1]}\n## Chapters\n\n{contents}\n"}
        for name, (heading, body) in zip(names, rest, strict=True):
            texts[self.uris[name]] = f"# {heading}\n{body}".replace("\n### ", "\n## ")
        self.equations = {int(k): uri for uri, text in texts.items() for k in re.findall(r"\\tag\{(\d+)\}", text)}
        headings = "|".join(re.escape(heading) for heading, _ in rest)
        self._named = re.compile(rf"(?<!\*)\*({headings})\*(?!\*)")  # "see *Exactness*"
        self.pages = [Page(uri, BLOCK.sub(_equation, self._linked(text)), FILE) for uri, text in texts.items()]

    def _linked(self, text: str) -> str:
        return self._named.sub(lambda found: f"[{found[0]}](#{slug(found[1], '-')})", text)

    def place(self, anchor: str) -> str:
        """The page on which an anchor of docs/derivations.md stands."""
        if re.fullmatch(r"eq\d+", anchor) and int(anchor[2:]) in self.equations:
            return self.equations[int(anchor[2:])]
        for page in self.pages:
            if anchor in {slug(heading, "-") for heading in re.findall(r"^#+ (.+)$", page.text, re.MULTILINE)}:
                return page.uri
        return f"{FOLDER}/index.md"


def _equation(block: re.Match[str]) -> str:
    tag = TAG.search(block[1])
    if tag is None:
        return block[0]
    k = int(tag[1])
    maths = html.escape(TAG.sub("", block[1]).strip(), quote=False)
    lines = citing().get(k, [])
    cited = f'\n<div class="cited" markdown>\n{"; ".join(lines)}\n</div>\n' if lines else ""
    return EQUATION.format(k=k, maths=maths) + cited


def section(file: str, heading: str, title: str) -> Page:
    """One section of a page as a page of its own."""
    text = dict(split((ROOT / file).read_text(encoding="utf-8")))[heading]
    return Page(f"{slug(title, '-')}.md", f"# {title}\n{text}", file)
