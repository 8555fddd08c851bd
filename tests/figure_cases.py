"""What makes a figure hard to read on a page, by the boxes of Matplotlib's own renderer."""

from itertools import combinations

import numpy as np

PAGE = 700 * 72 / 96  # points: the width of a page's figure, 96 pixels to the inch
SMALLEST = 7.0  # points of text on the page


def faults(figure):
    """Sentences that say what is wrong; empty if nothing is."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    return [
        *_small(figure),
        *(fault for ax in figure.axes if ax.axison for fault in _crowded(ax, renderer)),
        *_outside(figure, renderer),
        *_covered(figure, renderer),
        *(fault for ax in figure.axes for fault in _hidden(ax, renderer)),
    ]


def _texts(figure):
    """Every text that is drawn. Ticks also have labels beyond the ends of their axis, which are not."""
    ticks = [tick for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for tick in _all_ticks(axis)]
    labels = {label for tick in ticks for label in (tick.label1, tick.label2)}
    shown = {label for ax in figure.axes if ax.axison for axis in (ax.xaxis, ax.yaxis) for label in axis_labels(axis)}
    found = figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
    return [text for text in found if (text in shown or text not in labels) and _is_shown(text)]


def _is_shown(text):
    return bool(text.get_text().strip()) and text.get_visible() and (text.axes is None or text.axes.axison)


def _all_ticks(axis):
    return [*axis.get_major_ticks(), *axis.get_minor_ticks()]


def axis_labels(axis):
    """The labels of the ticks that are in view."""
    low, high = sorted(axis.get_view_interval())
    margin = 1e-9 * (high - low)
    ticks = [tick for tick in _all_ticks(axis) if low - margin <= tick.get_loc() <= high + margin]
    return [tick.label1 for tick in ticks if tick.label1.get_visible() and tick.label1.get_text().strip()]


def _small(figure):
    scale = PAGE / (figure.get_figwidth() * 72)
    for text in _texts(figure):
        if text.get_fontsize() * scale < SMALLEST - 0.05:
            yield f"{text.get_text()!r} has {text.get_fontsize() * scale:.1f} points on a page"


def _crowded(ax, renderer):
    """Tick labels of one axis that touch each other."""
    for axis in (ax.xaxis, ax.yaxis):
        boxes = [(label.get_text(), label.get_window_extent(renderer)) for label in axis_labels(axis)]
        for (one, box), (other, next_box) in combinations(boxes, 2):
            if box.overlaps(next_box):
                yield f"tick labels {one!r} and {other!r} of {ax.get_title(loc='left')!r} overlap"


def _outside(figure, renderer):
    """Text that is cut at the edge of the figure."""
    width, height = figure.canvas.get_width_height()
    for text in _texts(figure):
        box = text.get_window_extent(renderer)
        if not (box.x0 > -2 and box.x1 < width + 2 and box.y0 > -2 and box.y1 < height + 2):
            yield f"{text.get_text()!r} is cut at the edge"


def _covered(figure, renderer):
    """Titles and warnings of the whole figure, and its legends, that touch each other."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in (legend.get_title(), *legend.get_texts()))]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if _is_shown(text)]
    for (one, box), (other, next_box) in combinations(boxes, 2):
        if box.overlaps(next_box):
            yield f"{one!r} and {other!r} overlap"


def _hidden(ax, renderer):
    """Points of lines below the legend of their panel."""
    legend = ax.get_legend()
    if legend is None:
        return
    box = legend.get_window_extent(renderer)
    for line in ax.get_lines():
        points = ax.transData.transform(np.column_stack([*map(np.asarray, line.get_data())]).astype(float))
        if any(box.contains(*point) for point in points[np.isfinite(points).all(1)]):
            yield f"the legend of {ax.get_title(loc='left')!r} hides points of {line.get_label()!r}"
