"""What each committed figure shows, in a sentence: python -m experiments.takeaways writes it below figures of docs.

A sentence is a function of the table in docs/results (`prediction_takeaways`, `control_takeaways`). It returns the
sentence with its numbers, and whether the table bears it out. If it does not, the command stops and names the file. If
too few seeds, or intervals that overlap, decide nothing, the sentence says *open*.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from experiments import control_takeaways, prediction_takeaways  # noqa: F401   register sentences
from experiments.claims import EARLIER
from experiments.engine.rows import SENTENCES
from rtu_np import files
from rtu_np.commands import exit_code

DOCS = Path(__file__).parent.parent / "docs"
MARK = re.compile(r"<!-- takeaway: (\S+)/(\S+) -->\n.*?<!-- end of takeaway -->", re.DOTALL)


class TakeawayError(Exception):
    """A sentence that the committed numbers do not bear out, or results that are missing."""


def sentence(experiment: str, preset: str, results: Path = DOCS / "results") -> str:
    """The sentence of a figure.

    Raises
    ------
    TakeawayError : if there is no sentence or no table, or if the table does not bear the sentence out
    """
    file = results / experiment / f"{preset}.json"
    if (experiment, preset) not in SENTENCES:
        raise TakeawayError(
            f"{experiment}/{preset} has no sentence: expected one in control_ or prediction_takeaways.py"
        )
    try:
        page = json.loads(file.read_text())
        text, holds = SENTENCES[experiment, preset](page.get("scores", page))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TakeawayError(f"{file}: expected a table with rows for its takeaway ({error!r})") from error
    if not holds:
        raise TakeawayError(f"{file} does not bear out its takeaway any more: {text}")
    if (experiment, preset) in EARLIER:
        text += " *Open:* the results are of an earlier task or agent."
    return text


def filled(page: str, results: Path = DOCS / "results") -> str:
    """A page with the sentence of each figure between its two comments."""

    def one(mark: re.Match[str]) -> str:
        text = sentence(mark[1], mark[2], results)
        return f"<!-- takeaway: {mark[1]}/{mark[2]} -->\n**{text}**\n<!-- end of takeaway -->"

    return MARK.sub(one, page)


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m experiments.takeaways", description=__doc__).parse_args(argv)
    for file in sorted(DOCS.glob("*.md")):
        text = file.read_text()
        try:
            new = filled(text)
        except TakeawayError as error:
            print(error, file=sys.stderr)
            return 1
        if new != text:
            with files.replacing(file) as part:
                part.write_text(new)
            print(file)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
