"""The style of all figures, whose curves `rtu_np.plot` draws. This module knows no experiment."""

import math
import os
import textwrap
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiments.engine.curves import Band, with_intervals
from rtu_np import files
from rtu_np.intervals import interval
from rtu_np.plot import curve_style

WIDTH = 7.3  # inches: a page shows a figure in 700 pixels, 96 to the inch, so a point of its text is a point there

_STYLE: Any = {
    "figure.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.4,
    "interactive": False,  # a figure for a file opens no window
}


def without_display() -> None:
    """Let this process, and those that it starts, draw to files: unless the user chose a backend."""
    os.environ.setdefault("MPLBACKEND", "Agg")


@contextmanager
def style():
    """Matplotlib in this style. The import takes half a second, so it stands here.

    The backend stays as it is: a notebook shows its figures before and after. `without_display` is for commands.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    # A backend that is loaded inside the context would lose what it sets then: that of notebooks shows no figure later.
    plt.switch_backend(mpl.get_backend())
    with mpl.rc_context(_STYLE):
        yield


def panels(n: int, columns: int = 3, height: float = 2.4, foot: float = 0.7, **options: Any) -> tuple[Any, Any]:
    """A figure of a page's width, with `n` panels: (figure, (rows, columns) of axes). Places without panel are empty.

    height, foot : inches of a panel, and of what stands below all panels
    """
    import matplotlib.pyplot as plt

    columns = min(columns, n)
    rows = -(-n // columns)
    size = (WIDTH, height * rows + foot)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **options)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return figure, axes


def save(figure: Any, path: Path, warning: str = "") -> Path:
    """Write `figure` to `path` and close it. A `warning` stands in red at its foot, above the legend of all panels."""
    import matplotlib.pyplot as plt

    if warning:
        _warn(figure, {"fontsize": 7, "color": "#c00000"}, _wrapped(figure, warning, 7))
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        figure.savefig(part)
    plt.close(figure)
    return path


def _warn(figure: Any, font: dict[str, Any], text: str) -> None:
    # Matplotlib would put a label of the whole figure upon its legend.
    if figure.legends:
        figure.legends[0].set_title(text)
        figure.legends[0].get_title().update(font)
    else:
        figure.supxlabel(text, x=0.01, ha="left", **font)


def _wrapped(figure: Any, text: str, size: float) -> str:
    """The text in lines that the figure has room for, at this size of the font."""
    return textwrap.fill(text, int(figure.get_figwidth() * 72 / (0.56 * size)))


def headline(figure: Any, text: str, seeds: int, published: str = "") -> None:
    """Write the title of the whole figure: its subject, its seeds, and the published size if that is larger."""
    one = "one seed" if seeds == 1 else f"mean of {seeds} seeds, 95 % intervals"
    title(figure, f"{text}{' ' if text.endswith('?') else '; '}{one}{published and f' (published: {published})'}")


def title(figure: Any, text: str) -> None:
    """Write the title of the whole figure."""
    figure.suptitle(_wrapped(figure, text, 9), x=0.01, ha="left", fontsize=9)


def legend_below(figure: Any, axes: Iterable[Any] = ()) -> None:
    """One legend of all panels or of some, below them: each label once, in as many columns as there is room for."""
    shown = [ax.get_legend_handles_labels() for ax in axes or figure.axes]
    handles = {text: line for lines, texts in shown for line, text in zip(lines, texts, strict=True)}
    if handles:
        entry = 0.65 + 0.062 * max(map(len, handles))  # inches
        columns = max(1, min(len(handles), 4, int(figure.get_figwidth() / entry)))
        texts = [_wrapped(figure, text, 8.5) for text in handles]
        figure.legend(handles.values(), texts, loc="outside lower center", ncols=columns)


_FINE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


def plain_numbers(ax: Any) -> None:
    """Ticks of a logarithmic y axis as 0.02, not 2 x 10^-2: the more decades, the fewer of each."""
    from matplotlib import ticker

    low, high = ax.get_ylim()
    powers = math.floor(math.log10(high)) - math.ceil(math.log10(low)) + 1
    subs = (1.0,) if powers > 1 and high > 50 * low else (1.0, 2.0, 5.0) if high > 7 * low else _FINE
    ax.yaxis.set_major_locator(ticker.LogLocator(subs=subs) if high > 2 * low else ticker.MaxNLocator(4))
    ax.yaxis.set_major_formatter(lambda number, _: f"{number:g}")
    ax.yaxis.set_minor_formatter(ticker.NullFormatter())


def dots(table: dict[str, dict[str, float]], subject: str, seeds: int, sharex: bool = False) -> Any:
    """A figure of a table: each number that has an interval, in a panel of its own, with a line for each row.

    Rows "PANEL: NAME" are in the panel of that name.
    """
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for row, numbers in table.items():
        panel, colon, name = row.rpartition(": ")
        groups.setdefault(panel, {})[name if colon else row] = numbers
    shown = [(panel, number) for panel, rows in groups.items() for number in _with_intervals(rows)]
    names = list(dict.fromkeys(name for rows in groups.values() for name in rows))
    if not shown:
        figure, ((ax,),) = panels(1)
        ax.set_title("these runs have no numbers and no curves")
        return figure
    texts = [textwrap.fill(name, 30) for name in names]
    columns = 2 if max(map(len, names)) > 16 or len(shown) < 3 else 3
    height = 0.2 * len(names) * max(text.count("\n") + 1 for text in texts)
    figure, axes = panels(len(shown), columns, 0.8 + height, 0.3, sharex=sharex)
    for ax, (panel, number) in zip(axes.flat, shown, strict=False):
        for name, numbers in groups[panel].items():
            value, low, high = _with_intervals({name: numbers}).get(number, (np.nan,) * 3)
            line = {**curve_style(names.index(name)), "linestyle": "none", "markersize": 5}
            ax.errorbar(value, names.index(name), xerr=[[value - low], [high - value]], **line)
        is_first = ax.get_subplotspec().is_first_col()
        ax.set(title=panel or number, xlabel=number if panel else "", ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), texts if is_first else [""] * len(names))
        ax.grid(axis="x", color="0.9", linewidth=0.6)
        ax.locator_params(axis="x", nbins=4)
        ax.ticklabel_format(axis="x", style="plain", useOffset=False)
        low, high = ax.get_xlim()
        if high - low < 0.01 * max(abs(low), abs(high)):  # what differs by less is level
            ax.margins(x=0.01 * max(abs(low), abs(high)) / (high - low))
    headline(figure, subject, seeds)
    return figure


def _with_intervals(rows: dict[str, dict[str, float]]) -> dict[str, tuple[float, float, float]]:
    """{number: (value, low, high) of its last row} of the numbers with an interval."""
    found: dict[str, tuple[float, float, float]] = {}
    for row in rows.values():
        found |= with_intervals(row)
    return found


def curve(ax: Any, x: Any, band: Band, **line: Any) -> None:
    """Draw means with their intervals as a band. A point that is not finite for every seed is left out."""
    finite = np.isfinite(band.mean)
    (drawn,) = ax.plot(np.asarray(x)[finite], band.mean[finite], **line)
    colour = drawn.get_color()
    ax.fill_between(np.asarray(x)[finite], band.low[finite], band.high[finite], color=colour, alpha=0.2, linewidth=0)


def band_points(ax: Any, x: list[Any], bands: list[Band], **line: Any) -> None:
    """Draw bands of one point each, as `points` does."""
    points(ax, x, [band.mean[0] for band in bands], [(band.low[0], band.high[0]) for band in bands], **line)


def points(axes: Any, x: list[Any], means: Any, intervals: Any, **line: Any) -> None:
    """Draw means with their intervals (points, 2). If the only x is None, draw a line across the axes."""
    low, high = np.transpose(intervals)
    if x == [None]:
        line.pop("marker")
        axes.axhline(means[0], **line)
        axes.axhspan(low[0], high[0], color=line["color"], alpha=0.2, linewidth=0)
        return
    axes.errorbar(x, means, [np.subtract(means, low), np.subtract(high, means)], **line)


def of_samples(samples: list[Any]) -> tuple[list[Any], list[Any]]:
    """(means, intervals) of the samples at each point, as `points` draws them."""
    return [each.mean() for each in samples], [interval(each) for each in samples]
