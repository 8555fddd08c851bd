"""What docs/*.md say of committed results: python -m experiments.pages writes sentences and tables between comments.

`<!-- takeaway: EXPERIMENT/PRESET -->` is for the sentence below a figure (`experiments.takeaways`), `<!-- table: NAME
-->` for a table (`experiments.tables`); `<!-- end of takeaway -->` and `<!-- end of table -->` end them. If results are
missing, or do not bear a sentence out, the command stops before it changes the page, and names the file.
"""

import argparse
import re
import sys
from pathlib import Path

from experiments.engine import marks
from experiments.tables import TableError, table
from experiments.takeaways import DOCS, TakeawayError, sentence
from rtu_np import files
from rtu_np.commands import exit_code

MARK = re.compile(r"<!-- (takeaway|table): ([^\n]+?) -->\n.*?<!-- end of \1 -->", re.DOTALL)


def filled(page: str, results: Path = DOCS / "results") -> str:
    """A page with each sentence and each table between its two comments.

    Raises
    ------
    MarkError : if a comment has no other that belongs to it
    TableError, TakeawayError : if results are missing, or do not bear a sentence out
    """

    def one(mark: re.Match[str]) -> str:
        kind, name = mark[1], mark[2]
        if kind == "table":
            text = f"\n{table(name, results)}\n"
        else:
            experiment, _, preset = name.partition("/")
            text = f"**{sentence(experiment, preset, results)}**"
        return f"<!-- {kind}: {name} -->\n{text}\n<!-- end of {kind} -->"

    marks.check_pairs(page, "takeaway|table")
    return MARK.sub(one, page)


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
