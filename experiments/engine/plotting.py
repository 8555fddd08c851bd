"""The style of all figures, whose curves `rtu_np.plot` draws. This module knows no experiment."""

import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rtu_np import files
from rtu_np.intervals import interval

_STYLE: Any = {
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
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


def save(figure: Any, path: Path, warning: str = "") -> Path:
    """Write `figure` to `path` and close it. A `warning` stands in red at its foot."""
    import matplotlib.pyplot as plt

    if warning:
        figure.supxlabel(warning, x=0.01, ha="left", fontsize=6, color="red")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        figure.savefig(part)
    plt.close(figure)
    return path


def headline(figure: Any, text: str, seeds: int, published: str = "") -> None:
    """Write the title of the whole figure: its subject, its seeds, and the published size if that is larger."""
    text = f"{text}; mean of {seeds} seeds, 95 % intervals{published and f' (published: {published})'}"
    figure.suptitle(text, x=0.01, ha="left", fontsize=9)


def legend_columns(figure: Any, labels: Iterable[str]) -> int:
    """The number of legend entries in one row below a figure: four, or fewer if the figure is narrow."""
    texts = list(labels)
    entry = 0.6 + 0.07 * max(map(len, texts))  # inches
    return max(1, min(len(texts), 4, int(figure.get_figwidth() / entry)))


def points(axes: Any, x: list[Any], samples: list[Any], **line: Any) -> None:
    """Draw means with 95 % intervals for the samples at each x. If the only x is None, draw a line across the axes."""
    means, (low, high) = [s.mean() for s in samples], zip(*map(interval, samples), strict=True)
    if x == [None]:
        line.pop("marker")
        axes.axhline(means[0], **line)
        axes.axhspan(low[0], high[0], color=line["color"], alpha=0.2, linewidth=0)
        return
    axes.errorbar(x, means, [np.subtract(means, low), np.subtract(high, means)], **line)
