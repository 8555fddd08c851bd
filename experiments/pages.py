"""What docs/*.md say of committed results: python -m experiments.pages writes sentences and tables between comments.

`<!-- takeaway: EXPERIMENT/PRESET -->` is for the sentence below a figure (`experiments.takeaways`), `<!-- table: NAME
-->` for a table (`experiments.tables`); `<!-- end of takeaway -->` and `<!-- end of table -->` end them. If results are
missing, or do not bear a sentence out, the command stops before it changes the page, and names the file.
"""

import argparse
import sys
from pathlib import Path

from experiments.engine import marks
from experiments.tables import TableError, table
from experiments.takeaways import DOCS, TakeawayError, sentence
from rtu_np import files
from rtu_np.commands import exit_code


def filled(page: str, results: Path = DOCS / "results") -> str:
    """A page with each sentence and each table between its two comments.

    Raises
    ------
    MarkError : if a comment has no other that belongs to it
    TableError, TakeawayError : if results are missing, or do not bear a sentence out
    """

    def one(kind: str, name: str) -> str:
        if kind == "table":
            return f"\n{table(name, results)}\n"
        experiment, _, preset = name.partition("/")
        return f"**{sentence(experiment, preset, results)}**"

    return marks.filled(page, "takeaway|table", one)


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m experiments.pages", description=__doc__).parse_args(argv)
    for file in sorted(DOCS.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        try:
            new = filled(text)
        except (marks.MarkError, TakeawayError, TableError) as error:
            print(f"{file.name}: {error}", file=sys.stderr)
            return 1
        if new != text:
            with files.replacing(file) as part:
                part.write_text(new, encoding="utf-8")
            print(file)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
