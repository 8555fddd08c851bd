"""The page docs/derivations.md: its numbers, its maths, and that tests/derivations has a test of each equation."""

import re
import subprocess
import sys

from derivations.page import PAGE, ROOT

LAST = 102


def cited(text: str) -> list[int]:
    """Numbers after "derivations": (11), (9)-(11), (3), (4) and (7), also across a line break in a comment."""
    lists = re.findall(r"[Dd]erivations?(?:\.md)?[\s#]*((?:\(\d+\)(?:[\s#]*(?:-|,|and|to)?[\s#]*)?)+)", text)
    return [int(k) for found in lists for k in re.findall(r"\d+", found)]


def collected() -> list[str]:
    """The names of all tests in tests/derivations, with their parameters."""
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "--collect-only", "-q"]
    done = subprocess.run([*command, "derivations"], cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split("::", 1)[1] for line in done.stdout.splitlines() if "::" in line]


def test_every_equation_is_numbered_in_order_and_tested() -> None:
    assert [int(k) for k in re.findall(r"\\tag\{(\d+)\}", PAGE)] == list(range(1, LAST + 1))
    assert LAST < 110, "`pytest -k eq10` also runs (100) to (109); -k eq11 must run (11) alone"
    named = [re.findall(r"eq(\d+)", test) for test in collected()]
    assert all(named), "a test without an equation"
    assert {k for ks in named for k in ks} == {f"{k:02}" for k in range(1, LAST + 1)}


def test_every_file_of_equations_is_named_after_a_chapter() -> None:
    chapters = {re.sub(r"\W+", "_", heading.lower()) for heading in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)}
    files = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "derivations").glob("test_*.py")}
    assert files
    assert files <= chapters


def test_code_cites_equations_that_exist() -> None:
    found = {
        path: cited(path.read_text(encoding="utf-8"))
        for folder in ("rtu_np", "envs", "experiments")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    assert any(found.values()), "no citation was found"
    wrong = [f"{path.relative_to(ROOT)}: ({k})" for path, ks in found.items() for k in ks if not 1 <= k <= LAST]
    assert not wrong
    assert cited("as in derivations (3), (4) and\n    # (7)-(99); see (2).") == [3, 4, 7, 99]


def test_maths_survives_markdown() -> None:
    """GitHub takes the backslash off escaped punctuation, such as a double backslash, before it sets the maths."""
    blocks = re.findall(r"\$\$(.+?)\$\$", PAGE, re.DOTALL)
    inline = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.+?\$\$|`[^`]*`", "", PAGE, flags=re.DOTALL))
    assert len(blocks) >= LAST
    assert len(inline) > 100
    for maths in blocks + inline:
        assert not re.search(r"\\[^A-Za-z]", maths), maths
        assert maths.count("{") == maths.count("}"), maths
    assert not any("\n" in maths for maths in inline)
