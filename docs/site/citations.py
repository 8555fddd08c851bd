"""Which code cites an equation, and citations such as (61) as links."""

import ast
import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache

from repository import CODE, ROOT

FOLDERS = ("rtu_np", "envs", "experiments")
# As tests/test_derivations.py reads them: "derivations (11)", "(9)-(11)", "(3), (4) and (7)", also across lines.
CITED = re.compile(r"[Dd]erivations?(?:\.md|</a>|\]\([^)]*\))?[\s#,]*((?:\(\d+\)(?:[\s#]*(?:-|–|,|and|to)?[\s#]*)?)+)")
NUMBER = re.compile(r"(?<![\w)])\((\d+)\)(?![\w(])")
# Left as it is: an equation that is HTML already, maths, lines of HTML.
MATHS = re.compile(r"(\\\[.*?\\\]|\$\$.*?\$\$|\$[^$\n]+\$|^<[^\n]*?(?:$|(?=\\\[)))", re.DOTALL | re.MULTILINE)
MATHS_OR_LINK = re.compile(rf"{MATHS.pattern[:-1]}|!?\[[^\]]*\]\([^)]*\))", MATHS.flags)


def numbers(text: str) -> list[int]:
    """The equations that a list such as "(9)-(11), (13)" names."""
    named: list[int] = []
    for first, last in re.findall(r"\((\d+)\)(?:\s*[-–]\s*\((\d+)\))?", text):
        named += range(int(first), int(last or first) + 1)
    return named


@cache
def citing() -> dict[int, list[str]]:
    """{equation: links to the files and functions that cite it, and to its tests}, relative to docs/."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        cited = list(CITED.finditer(text))
        spans = _spans(text) if cited else []
        file = path.relative_to(ROOT).as_posix()
        for match in cited:
            line = text.count("\n", 0, match.start()) + 1
            start, _, name = _inside(spans, line)
            link = f"[{file}{name and ', '}{name}](../{file}#L-{start})"
            for k in numbers(match[1]):
                found[k] += [link] * (link not in found[k])
    for path in sorted((ROOT / "tests" / "derivations").glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        spans = _spans(text)
        for match in re.finditer(r"eq(\d\d)", text):
            start, _, name = _inside(spans, text.count("\n", 0, match.start()) + 1)
            # Outside of a test it is a case in a list of cases.
            label = name.replace("_", " ") if name.startswith("test_") else f"test {match[0]}"
            link = f"[{label}](../tests/derivations/{path.name}#L-{start})"
            found[int(match[1])] += [link] * (link not in found[int(match[1])])
    return found


def _spans(text: str) -> list[tuple[int, int, str]]:
    """(first line, last line, name) of each function and class, with the comments above it."""
    lines, spans = text.splitlines(), []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            while first > 1 and lines[first - 2].lstrip().startswith("#"):
                first -= 1
            spans.append((first, node.end_lineno or first, node.name))
    return spans


def _inside(spans: list[tuple[int, int, str]], line: int) -> tuple[int, int, str]:
    return max((span for span in spans if span[0] <= line <= span[1]), default=(line, line, ""))


def linked(markdown: str, place: Callable[[int], str], everywhere: bool) -> str:
    """`markdown` with citations as links: each (61) if `everywhere`, else those behind the word "derivations"."""

    def link(found: re.Match[str]) -> str:
        target = place(int(found[1]))
        return f"[{found[0]}]({target})" if target else found[0]

    def each(text: str) -> str:
        return NUMBER.sub(link, text)

    def behind_the_word(text: str) -> str:
        return CITED.sub(lambda found: found[0].replace(found[1], each(found[1])), text)

    parts = CODE.split(markdown)
    for k in range(0, len(parts), 2):
        pieces = (MATHS_OR_LINK if everywhere else MATHS).split(parts[k])
        pieces[::2] = [each(piece) if everywhere else behind_the_word(piece) for piece in pieces[::2]]
        parts[k] = "".join(pieces)
    return "".join(parts)
