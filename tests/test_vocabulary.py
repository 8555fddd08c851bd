"""Dropped words do not come back (tests/dropped_words.py)."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest
from dropped_words import NAMES, PHRASES

ROOT = Path(__file__).parent.parent
FOLDERS = ("rtu_np", "envs", "experiments", "benchmarks", "lectures", "docs/site")
SOURCES = sorted([*(path for top in FOLDERS for path in (ROOT / top).rglob("*.py")), *ROOT.glob("*.py")])
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(path for path in (ROOT / "docs" / "assets").iterdir() if path.is_file()),
    *sorted((ROOT / "docs" / "explorer").iterdir()),
    ROOT / "lectures" / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "README.md",
]


def defined_names(source: str) -> list[tuple[int, str]]:
    """(line, name) of every function, class, parameter and annotated field."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append((node.lineno, node.name))
        elif isinstance(node, ast.arg):
            found.append((node.lineno, node.arg))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append((node.lineno, node.target.id))
    return found


def sentences(source: str) -> list[tuple[int, str]]:
    """(line, text) of every comment and string, line by line."""
    kinds = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1))
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            found += [(token.start[0] + k, line) for k, line in enumerate(token.string.splitlines())]
    return found


def dropped_names(source: str) -> list[str]:
    return [f"line {n}: {name}; say {NAMES[name]}" for n, name in defined_names(source) if name in NAMES]


def dropped_phrases(lines: list[tuple[int, str]]) -> list[str]:
    return [
        f"line {n}: {match.group(0)!r}; say {instead}"
        for n, line in lines
        for phrase, instead in PHRASES.items()
        for match in re.finditer(phrase, line)
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_dropped_word_in_code(path):
    source = path.read_text()
    assert not dropped_names(source) + dropped_phrases(sentences(source))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_dropped_phrase_in_a_page(path):
    assert not dropped_phrases(list(enumerate(path.read_text().splitlines(), start=1)))


def test_planted_words_are_found():
    assert dropped_names("def spread(carve): pass") == [
        "line 1: spread; say advantage_moments",
        "line 1: carve; say layout",
    ]
    assert dropped_names("class A:\n    before: int") == ["line 2: before; say previous, ..."]
    assert dropped_phrases(sentences('"""A gradient that is nought."""  # told')) == [
        "line 1: 'nought'; say zero",
        "line 1: 'told'; say given",
    ]
