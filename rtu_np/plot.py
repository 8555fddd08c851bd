"""Figures of learning: each function takes arrays and an axis of Matplotlib, and returns the axis.

Without an axis, a function makes a figure of its own. Matplotlib is imported when a function draws, and its backend and
settings stay as they are.

>>> from rtu_np import plot
>>> curves = {"RTU": np.cumsum(np.ones((5, 20)), axis=1), "GRU": np.ones((3, 20))}
>>> ax = plot.learning_curves(curves, steps=np.arange(20) * 1000)
>>> [line.get_label() for line in ax.get_lines()]
['RTU (5 seeds)', 'GRU (3 seeds)']
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rtu_np.intervals import interval

# The first four differ in lightness as well as in hue, so they are readable in grey (after Okabe & Ito 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#D55E00", "0.5")
GREY = "0.45"
_MARKERS, _LINES = "os^DvXP*", ("-", "--", "-.", ":")
_SIGNAL = 0.15  # height of the bars of signals, relative to the range of what is predicted


def curve_style(k: int) -> dict[str, Any]:
    """Colour, marker and line style of the k-th curve. Curves differ even in grey, the first 32 of them.

    Examples
    --------
    >>> curve_style(0)
    {'color': '#0072B2', 'marker': 'o', 'linestyle': '-', 'markersize': 4}
    """
    return {
        "color": COLOURS[k % len(COLOURS)],
        "marker": _MARKERS[k % len(_MARKERS)],
        "linestyle": _LINES[(k + k // len(COLOURS)) % len(_LINES)],
        "markersize": 4,
    }


def learning_curves(
    curves: Any,
    steps: Any = None,
    ax: Any = None,
    *,
    lines: Mapping[str, Mapping[str, Any]] | None = None,
    ylabel: str = "return of an episode",
) -> Any:
    """Means over seeds, with their 95 % bootstrap intervals as bands.

    Parameters
    ----------
    curves : (seeds, points), or {label: (seeds, points)}; for example `Learned.curves()`. A point that is not finite
        for every seed is left out
    steps : (points,) at which step each point stands; by default 1, 2, ...
    lines : {label: settings of Matplotlib's lines}, in place of colours by turns
    ylabel : what the curves show; "" leaves the axis without labels

    Raises
    ------
    ValueError : if an array has another shape; the message says which

    Examples
    --------
    >>> ax = learning_curves(np.random.default_rng(0).normal(size=(4, 10)))
    >>> ax.get_xlabel()
    'step'
    """
    named = _named("curves", curves, 2)
    n = max(samples.shape[1] for samples in named.values())
    x = np.arange(1, n + 1) if steps is None else _array("steps", steps, 1)
    for label, samples in named.items():
        if samples.shape[1] != x.size or not len(samples):
            expected = f"(seeds, {x.size}), a point for each of steps"
            raise ValueError(f"curves[{label!r}] has the shape {samples.shape}: expected {expected}")
    ax = _axis(ax)
    for k, (label, samples) in enumerate(named.items()):
        finite = np.isfinite(samples).all(0)
        line: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)]} if lines is None else dict(lines[label])
        text = line.pop("label", f"{label} ({len(samples)} seeds)" if label else None)
        line.setdefault("markevery", max(1, x.size // 8))  # fifty markers would hide each other
        band(ax, x[finite], samples[:, finite], label=text, **line)
    step_axis(ax)
    if ylabel:
        ax.set(xlabel="step", ylabel=ylabel)
        if lines is None and any(named):
            ax.legend(fontsize=8)
    return ax


def step_axis(ax: Any) -> Any:
    """Numbers of steps as ticks of the x axis: 500, 20k, 1.5M.

    Examples
    --------
    >>> ax = step_axis(learning_curves(np.ones((2, 3)), steps=[500_000, 1_000_000, 1_500_000]))
    >>> [ax.xaxis.get_major_formatter()(step) for step in (0, 500, 20_000, 1_500_000)]
    ['0', '500', '20k', '1.5M']
    """
    ax.xaxis.set_major_formatter(_short)
    ax.locator_params(axis="x", nbins=5)
    return ax


def _short(number: float, _: Any = None) -> str:
    """What a tick says. A function of the module, so that a figure can be pickled."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g}"


def band(ax: Any, x: Any, samples: Any, **line: Any) -> Any:
    """The mean of samples (seeds, points), with its 95 % bootstrap interval as a band."""
    (drawn,) = ax.plot(x, samples.mean(0), **line)
    ax.fill_between(x, *interval(samples), color=drawn.get_color(), alpha=0.2, linewidth=0)
    return ax


def prediction_closeup(
    target: Any,
    predictions: Any,
    ax: Any = None,
    *,
    reference: Any = None,
    signals: Mapping[str, Any] | None = None,
    first: int = 0,
    ylabel: str = "discounted sum",
) -> Any:
    """A few hundred steps of a stream: what was to be predicted, and what was predicted.

    Parameters
    ----------
    target : (T,) the return, or whatever is predicted
    predictions : (T,), or {label: (T,)}
    reference : (T,) the best possible prediction, dotted; or {label: (T,)}
    signals : {label: (T,)} of inputs, as bars below zero; 1 is the full height
    first : the number of the first step

    Raises
    ------
    ValueError : if an array has another length; the message says which

    Examples
    --------
    >>> t = np.arange(100)
    >>> ax = prediction_closeup(np.cos(t / 9), np.cos(t / 9 - 0.2), signals={"cue": t % 50 == 0}, first=1000)
    >>> [line.get_label() for line in ax.get_lines()], int(ax.get_lines()[0].get_xdata()[0])
    (['return', 'prediction'], 1000)
    """
    target = _array("target", target, 1)
    named = _named("predictions", predictions, 1, "prediction")
    shown = {"target": target, **{f"predictions[{label!r}]": values for label, values in named.items()}}
    dotted = {} if reference is None else _named("reference", reference, 1, "best possible")
    shown |= {f"reference[{label!r}]": values for label, values in dotted.items()}
    bars = {label: _array(f"signals[{label!r}]", values, 1) for label, values in (signals or {}).items()}
    shown |= {f"signals[{label!r}]": values for label, values in bars.items()}
    for name, values in shown.items():
        if values.shape != target.shape or not target.size:
            raise ValueError(f"{name} has the shape {values.shape}: expected that of target, ({target.size},)")
    ax, t = _axis(ax), first + np.arange(target.size)
    height = _SIGNAL * (np.nanmax(target) - min(np.nanmin(target), 0.0) or 1.0)
    for k, (label, values) in enumerate(bars.items()):
        colour = COLOURS[(2, 1, 3, 4)[k % 4]]  # not that of the first prediction
        ax.fill_between(t, -height * values, 0, step="post", color=colour, linewidth=0, label=label)
    ax.plot(t, target, color=GREY, linewidth=1, label="return")
    for label, values in dotted.items():
        ax.plot(t, values, color="k", linestyle=":", linewidth=1, label=label)
    for k, (label, values) in enumerate(named.items()):
        ax.plot(t, values, color=COLOURS[(0, 6, 3, 4)[k % 4]], linestyle=_LINES[k // 4 % 4], label=label)
    ax.set(xlabel="step", ylabel=ylabel, xlim=(t[0], t[-1] if t.size > 1 else t[0] + 1))
    ax.ticklabel_format(axis="x", style="plain", useOffset=False)
    ax.locator_params(axis="x", nbins=5)  # steps may have seven digits
    (low, high), rows = ax.get_ylim(), -(-len(ax.get_legend_handles_labels()[0]) // 5)
    ax.set_ylim(low, high + 0.15 * rows * (high - low))  # room for the legend
    ax.legend(ncols=5, loc="upper left", fontsize=8, handlelength=1.2, columnspacing=1.2, borderpad=0.2)
    return ax


def half_lives(values: Any, ax: Any = None) -> Any:
    """For how long units remember: for each half-life, the share of units that forget sooner.

    Parameters
    ----------
    values : (units,), or {label: (units,)}, in steps; for example log 2 / exp(nu_log) before and after learning.
        Infinity is a unit that never forgets

    Examples
    --------
    >>> ax = half_lives({"at first": [1.0, 2.0, 4.0], "at last": [1.0, 20.0, 400.0]})
    >>> ax.get_xscale(), [line.get_label() for line in ax.get_lines()]
    ('log', ['at first (median 2)', 'at last (median 20)'])
    """
    named = _named("values", values, 1)
    for label, found in named.items():
        if not found.size or not (found > 0).all():
            raise ValueError(f"values{label and f'[{label!r}]'} is {found!r}: expected positive numbers of steps")
    ax = _axis(ax)
    longest = max(float(found[np.isfinite(found)].max(initial=1.0)) for found in named.values())
    for k, (label, found) in enumerate(named.items()):
        x = np.sort(np.minimum(found, 10 * longest))
        share = np.arange(1, x.size + 1) / x.size
        style = {"color": COLOURS[k % len(COLOURS)], "linestyle": _LINES[k % len(_LINES)]}
        ax.step(x, share, where="post", label=f"{label} (median {np.median(found):.3g})".strip(), **style)
    ax.set(xscale="log", xlabel="half-life, steps", ylabel="share of units that forget sooner", ylim=(0, 1.02))
    ax.legend(fontsize=8)
    return ax


def credit(
    weights: Any, ax: Any = None, *, lines: Mapping[str, Mapping[str, Any]] | None = None, smallest: float = 1e-4
) -> Any:
    """The weight of a past input in an update, by its lag: means over seeds, with 95 % bootstrap intervals.

    Parameters
    ----------
    weights : (seeds, lags), or {label: (seeds, lags)}, relative to lag 0. Lags of no weight are left out
    lines : {label: settings of Matplotlib's lines}, in place of styles by turns
    smallest : the weight at which the axis begins

    Examples
    --------
    >>> decay = 0.9 ** np.arange(40)
    >>> ax = credit({"RTRL": [decay, decay], "T-BPTT(4)": [decay * (np.arange(40) < 4)] * 2})
    >>> [line.get_xdata().size for line in ax.get_lines()]
    [40, 4]
    """
    named = _named("weights", weights, 2)
    ax = _axis(ax)
    for k, (label, samples) in enumerate(named.items()):
        shown = samples.mean(0) > 0
        line = {**curve_style(k), "markevery": max(1, samples.shape[1] // 8), **(lines or {}).get(label, {})}
        if shown.sum() <= 4:  # few points, on top of other curves
            line |= {"markevery": 1, "markersize": 9, "markerfacecolor": "none", "zorder": 3}
        band(ax, np.flatnonzero(shown), samples[:, shown], label=label or None, **line)
    ax.set(yscale="log", xlabel="lag of the input, steps", ylabel="weight, relative to lag 0", ylim=(smallest, 20))
    if lines is None and any(named):
        ax.legend(fontsize=8)
    return ax


def _axis(ax: Any) -> Any:
    """The axis given, or that of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _named(name: str, given: Any, ndim: int, label: str = "") -> dict[str, np.ndarray]:
    """{label: array} of what is one array or several."""
    if not isinstance(given, Mapping):
        return {label: _array(name, given, ndim)}
    if not given:
        raise ValueError(f"{name} is {given!r}: expected an array, or several by their labels")
    return {str(key): _array(f"{name}[{key!r}]", array, ndim) for key, array in given.items()}


def _array(name: str, given: Any, ndim: int) -> np.ndarray:
    """An array of numbers, of which NaN marks points that do not exist."""
    array = np.asarray(given, float)
    if array.ndim != ndim:
        shape = ("(points,)", "(seeds, points)")[ndim - 1]
        raise ValueError(f"{name} has the shape {array.shape}: expected {shape}")
    return array
