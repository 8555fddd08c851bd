"""What each committed figure shows, in a sentence, which `python -m experiments.pages` writes below figures of docs.

A sentence is a function of the table in docs/results (`prediction_takeaways`, `control_takeaways`). It returns the
sentence with its numbers, and whether the table bears it out. If it does not, the sentence is refused by name. If
too few seeds, or intervals that overlap, decide nothing, the sentence says *open*.
"""

import json
from pathlib import Path

from experiments import control_takeaways, prediction_takeaways  # noqa: F401   register sentences
from experiments.claims import EARLIER
from experiments.engine.rows import SENTENCES

DOCS = Path(__file__).parent.parent / "docs"


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
