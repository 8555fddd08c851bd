"""A committed table as Markdown: a row for each task, a row for each method, or some rows and numbers as they stand.

Rows are named "TASK: METHOD", as `experiments.control` names them. A number is shown with its 95 % interval, if it has
one, and with the count of diverged runs, if there are any.
"""

import math
from typing import Any

from experiments.engine.curves import with_intervals
from experiments.engine.rows import Table, short

Row = dict[str, Any]
CORNER = "return, last tenth"
NOTHING = 1e-9  # what is smaller is rounding, and is shown as 0


def by_task(
    table: Table,
    number: str = "return",
    *,
    methods: dict[str, str] | None = None,
    first: dict[str, str] | None = None,
    last: dict[str, str] | None = None,
    corner: str = CORNER,
) -> str:
    """A row for each task, a column for each method.

    Parameters
    ----------
    number : what a cell shows
    methods : {method: its heading}; None: all, by their names
    first, last : {name: heading} of numbers of the task that stand in front of those of methods, or behind them
    corner : the heading of the first column

    Examples
    --------
    >>> table = {f"TMaze: {way}": {"return": 0.5, "low": 0.25, "high": 1.0, "diverged": 0} for way in ("RTRL", "none")}
    >>> print(by_task(table, methods={"RTRL": "with RTRL"}))
    | return, last tenth | with RTRL |
    |---|---|
    | TMaze | 0.50 [0.25, 1.00] |
    """
    head, *rows = _grid(table, number, methods, first or {}, last or {}, corner)
    return _markdown(head, rows)


def by_method(
    table: Table,
    number: str = "return",
    *,
    methods: dict[str, str] | None = None,
    first: dict[str, str] | None = None,
    last: dict[str, str] | None = None,
    corner: str = CORNER,
) -> str:
    """A row for each method, a column for each task: `by_task`, turned.

    Examples
    --------
    >>> of_hopper = {"seeds": 5, "return": 900.4, "diverged": 2, "best": 1000}
    >>> print(by_method({"Hopper-P: RTRL": of_hopper, "Ant-P: RTRL": {"return": 1.0}}, last={"best": "possible"}))
    | return, last tenth | Hopper-P | Ant-P |
    |---|---|---|
    | RTRL | 900, 2 of 5 diverged | 1 |
    | possible | 1,000 |  |
    """
    head, *rows = zip(*_grid(table, number, methods, first or {}, last or {}, corner), strict=True)
    return _markdown(list(head), [list(row) for row in rows])


def as_rows(table: Table, columns: dict[str, str], start: str = "", corner: str = "") -> str:
    """The rows whose names begin with `start`, without it, and the numbers of `columns`, {name: heading}.

    Examples
    --------
    >>> print(as_rows({"angle: GRU": {"degrees": 18.25}, "bias: GRU": {"rms": 1}}, {"degrees": "degrees"}, "angle: "))
    |  | degrees |
    |---|---|
    | GRU | 18.2 |
    """
    rows = [
        [name.removeprefix(start), *(_value(row, column) for column in columns)]
        for name, row in table.items()
        if name.startswith(start)
    ]
    return _markdown([corner, *columns.values()], rows)


def _grid(
    table: Table,
    number: str,
    methods: dict[str, str] | None,
    first: dict[str, str],
    last: dict[str, str],
    corner: str,
) -> list[list[str]]:
    """The cells of `by_task`, with its head as the first row."""
    cells = _cells(table)
    if methods is None:
        methods = {method: method for of_task in cells.values() for method in of_task}
    grid = [[corner, *first.values(), *methods.values(), *last.values()]]
    for task, of_task in cells.items():
        any_row = next(iter(of_task.values()))
        numbers = [_value(of_task[method], number) if method in of_task else "" for method in methods]
        grid.append([task, *(_value(any_row, k) for k in first), *numbers, *(_value(any_row, k) for k in last)])
    return grid


def _cells(table: Table) -> dict[str, dict[str, Row]]:
    """{task: {method: row}}"""
    cells: dict[str, dict[str, Row]] = {}
    for name, row in table.items():
        task, _, method = name.partition(": ")
        cells.setdefault(task, {})[method] = row
    return cells


def _value(row: Row, name: str) -> str:
    """A number with its interval; empty if the row has none of this name. Diverged runs belong to the main number."""
    if name not in row:
        return ""
    diverged = int(row.get("diverged", 0)) if name == _main(row) else 0
    return with_interval(row[name], *with_intervals(row).get(name, (0, 0, 0))[1:]) + (
        f", {diverged} of {row['seeds']} diverged" if diverged else ""
    )


def with_interval(value: float, low: float, high: float) -> str:
    """A number with as many decimals as its interval needs: 10 to 100 last places. Alone, if it has none.

    Examples
    --------
    >>> with_interval(0.66, 0.60435, 0.7084), with_interval(1250.9, 1172.9, 1388.3), with_interval(135281, 0, 0)
    ('0.66 [0.60, 0.71]', '1251 [1173, 1388]', '135,281')
    >>> with_interval(-0.0004, -0.022, 0.024)  # not -0.000
    '0.000 [-0.022, 0.024]'
    """
    width = high - low
    if max(abs(value), width) < NOTHING:
        return "0"
    if not 0 < width < math.inf:
        return f"{value:,.0f}" if abs(value) >= 1000 else short(value)
    decimals = max(0, math.ceil(math.log10(10 / width)))
    return f"{value:z.{decimals}f} [{low:z.{decimals}f}, {high:z.{decimals}f}]"


def _main(row: Row) -> str:
    """The number that the runs were made for: the first with an interval, or the first but `seeds`."""
    return next(iter(with_intervals(row)), next(name for name in row if name != "seeds"))


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        raise ValueError("no rows")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)
