"""The page docs/own_sweep.md: its commands print what it says, in a folder of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cases import COMPILED

from experiments.engine import template

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "own_sweep.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def framed(text: str) -> list[str]:
    """Lines without numbers that other machines compute otherwise; runs end in any order."""
    text = re.sub(r"\d+\.\d+\b(?!e-)", "#", re.sub(r"smoke-[0-9a-f]{6}", "smoke-hash", text))
    text = re.sub(r"less than # minutes|about [\d.#]+ minutes", "some minutes", text)
    return sorted(re.sub(r" +", " ", line) for line in text.splitlines())


@pytest.mark.skipif(not COMPILED, reason="learning takes too long in plain Python")
def test_the_session_goes_as_the_page_says(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    sessions = [(text, BLOCKS[k + 1][1]) for k, (kind, text) in enumerate(BLOCKS) if kind == "sh"]
    assert len(sessions) == 3
    for commands, shown in sessions:
        printed = ""
        for command in commands.splitlines():
            # One process is started for each command, and not three; but the page's forecast is of two runs at a time.
            jobs = [] if " new " in command else ["--jobs", "2" if "--dry-run" in command else "1"]
            words = [sys.executable, *command.split()[1:], *jobs]
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            printed += done.stdout
        assert framed(printed) == framed(shown)


def test_the_page_shows_the_template():
    shown = next(text for kind, text in BLOCKS if kind == "python")
    assert shown == template.LINES.format(title="My sweep", file="my_sweep.py")


def test_every_flag_of_the_page_is_one_of_the_command():
    from experiments.__main__ import parser

    known = parser("experiments").format_help()
    for flag in re.findall(r"--[a-z-]+[a-z]", PAGE):
        assert flag in known, flag
