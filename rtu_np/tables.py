"""A report as text and for notebooks: a title, a table, lines below it, and a verdict."""

from collections.abc import Sequence
from html import escape

Rows = Sequence[Sequence[str]]  # the first has the heads of the columns


def as_text(title: str, rows: Rows, alignment: str, *lines: str) -> str:
    """The table in plain text; `alignment` has < or > for each column.

    Examples
    --------
    >>> print(as_text("Ages", [["name", "age"], ["Ada", "36"]], "<>", "two columns"))
    Ages
    name  age
    Ada    36
    two columns
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(f"{entry:{side}{width}}" for entry, side, width in zip(row, alignment, widths, strict=True))
        for row in rows
    ]
    return "\n".join([title, *table, *lines])


def as_html(title: str, rows: Rows, *lines: str) -> str:
    """The same for notebooks; the last line is bold.

    Examples
    --------
    >>> as_html("A", [["b"], ["1"]], "passed")
    '<p>A</p><table><tr><th>b</th></tr><tr><td>1</td></tr></table><p><b>passed</b></p>'
    """
    head, *body = rows
    cells = [f"<tr>{''.join(f'<th>{escape(entry)}</th>' for entry in head)}</tr>"]
    cells += [f"<tr>{''.join(f'<td>{escape(entry)}</td>' for entry in row)}</tr>" for row in body]
    *others, last = map(escape, lines)
    notes = "".join(f"<p>{line}</p>" for line in others)
    return f"<p>{escape(title)}</p><table>{''.join(cells)}</table>{notes}<p><b>{last}</b></p>"
