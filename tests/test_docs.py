"""README and docs: their commands exist and their examples print what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text())


def shell_lines(page: str = "README.md") -> list[str]:
    return [line for kind, text in blocks(page) if kind == "sh" for line in text.splitlines() if line]


def examples(page: str) -> list[tuple[str, str, str]]:
    """(file name or "", code, what it prints) of each Python block; nothing where no text block follows."""
    found = blocks(page)
    out = []
    for (kind, text), (after, printed) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind == "python":
            name = re.match(r"# (\w+\.py)(, continued)?\n", text)
            out.append((name.group(1) if name else "", text, printed if after == "text" else ""))
    return out


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


_PAGES = [
    *("own_stream", "own_environment", "reading_the_logs", "check_your_own", "agents", "rules", "ppo", "tasks"),
    *("reference", "results", "own_cell", "start_experiment", "start_check"),
]


def frame(printed: str) -> str:
    """Without errors that are rounding, which differ from machine to machine."""
    return re.sub(r"\d\.\de-(1\d|0[678])|0\.0e\+00", "#.#e-1#", printed)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{name}.md" for name in _PAGES)])
def test_examples_print_what_the_page_says(page, tmp_path):
    found = examples(page)
    assert any(printed for _, _, printed in found)
    script, expected = "", ""
    for name, code, printed in found:
        if name:
            with open(tmp_path / name, "a") as file:
                file.write(code)
        else:
            script, expected = script + code, expected + printed
    assert frame(run([sys.executable, "-W", "error::UserWarning", "-c", script], tmp_path)) == frame(expected)


def test_the_pages_show_the_gradient_check_as_it_prints(tmp_path):
    """The reference shows all of it, and README whole lines, with dots for those that it leaves out."""
    pages = ("docs/reference.md", "README.md")
    commands = [next(line for line in shell_lines(page) if "gradcheck" in line) for page in pages]
    assert commands[0] == commands[1]
    printed = frame(run([sys.executable, *commands[0].split()[1:]], tmp_path))
    whole, part = (
        next(frame(text) for kind, text in blocks(page) if kind == "text" and "kind of gradient" in text)
        for page in pages
    )
    assert whole == printed
    before, after = part.split("...\n")
    assert before in printed
    assert after in printed.split(before)[1]


def test_the_main_command_leaves_what_it_says(tmp_path):
    command = next(line for line in shell_lines() if "trace-conditioning" in line).split("&&")[-1].split()
    printed = run([sys.executable, *command[1:], "--preset", "smoke"], tmp_path)
    assert "times the Bayes floor" in printed
    assert "us per step" in printed
    for file in ("smoke.json", "smoke.png"):
        assert (tmp_path / "runs" / "trace-conditioning" / file).stat().st_size > 100
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    again = run([sys.executable, *command[1:], "--preset", "smoke"], tmp_path)
    table = printed[printed.index("\n\n") :]
    assert again.endswith(table)  # finished runs are read, not repeated


def test_ci_runs_the_readme_s_test_command():
    test_command = next(line for line in shell_lines() if "[test]" in line)
    assert test_command == 'python -m pip install -e ".[test]" && python -m pytest -n auto --dist loadgroup'
    assert r"python -m pip install -e" in (ROOT / ".ci" / "run").read_text()


def anchors(page: Path) -> set[str]:
    """What a link may name after #: each heading in lower case, without punctuation, with hyphens for spaces."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    own = ROOT / "README.md", ROOT / "lectures" / "README.md", ROOT / "CONTRIBUTING.md"
    for page in (*own, *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if "://" not in target:
                file, _, anchor = target.partition("#")
                place = page.parent / file if file else page
                assert place.exists(), f"{page.name} links to {target}"
                if anchor and place.suffix == ".md":
                    assert anchor in anchors(place), f"{page.name} links to {target}, and that page has no such heading"
