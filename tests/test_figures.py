"""Figures can be read on a page of 700 pixels: those of committed scores and tables, and what plotting does with much.

tests/test_experiments.py looks at the figure of each experiment's smallest preset in the same way.
"""

import struct

import matplotlib as mpl
import numpy as np
import pytest
from figure_cases import axis_labels, faults
from matplotlib.text import Text

from experiments import figures
from experiments.engine import curves, plotting, protocol
from rtu_np import plot
from rtu_np.intervals import interval

mpl.use("Agg")
SCORES = [file.with_name(f"{file.name.partition('.')[0]}.json") for file in figures.RESULTS.glob("*/*.scores.jsonl")]
TABLES = [
    figures.RESULTS / name / "laptop.json" for name in ("fig02-resources", "fig08-three-state", "fig16-step-sizes")
]
CURVES = sorted(figures.RESULTS.glob("*/*.curves.json"))
DRAWN = figures.RESULTS / "trace-conditioning" / "paper.json"
PAGES = [file for file in sorted({*SCORES, *TABLES, DRAWN}) if file in set(figures.pages(figures.RESULTS))]


@pytest.fixture
def new_figure():
    import matplotlib.pyplot as plt

    with plotting.style():
        yield
    plt.close("all")


@pytest.mark.parametrize("file", PAGES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_committed_figures_can_be_read_and_are_those_that_the_command_draws(file, new_figure):
    figure, _ = figures.drawn(file)
    if figure is None:
        pytest.skip("its command alone draws it")
    assert not faults(figure)
    width, height = struct.unpack(">II", file.with_suffix(".png").read_bytes()[16:24])
    drawn = figure.canvas.get_width_height()
    assert width == drawn[0]
    assert abs(height - drawn[1]) <= 1


def test_scores_that_do_not_give_the_committed_table_are_not_drawn():
    """As the scores of robots, whose table is of earlier agents."""
    file = figures.RESULTS / "memory-chain" / "longer.json"
    page = figures.read(file)
    experiment = figures.experiment_of(file)
    assert figures.from_scores(experiment, "longer", page, figures.RESULTS)
    row = page["scores"]["RTU, RTRL, lambda 0.8, length 256"]
    row["return"] += 0.01
    assert not figures.from_scores(experiment, "longer", page, figures.RESULTS)
    row["return"] -= 0.01
    assert not figures.from_scores(experiment, "longer", {**page, "seeds": [0, *page["seeds"]]}, figures.RESULTS)


def crowded(ax):
    ax.set_xticks([0, 0.01, 0.02, 1], ["one", "two", "three", "four"])


def small(ax):
    ax.set_title("tiny", fontsize=6)


def hidden(ax):
    ax.plot([0, 1], [0, 1], label="line")
    ax.legend(loc="upper right")


def cut(ax):
    ax.figure.text(0.9, 0.5, "words that go on")


def covered(ax):
    ax.figure.suptitle("a title")
    ax.figure.text(0.5, 0.97, "words upon it", va="top")


def test_committed_curves_agree_with_their_tables_and_are_small():
    assert len(CURVES) >= 5
    for path in CURVES:
        file = path.with_name(path.name.replace(".curves", ""))
        page = figures.read(file)
        assert figures.from_curves(figures.experiment_of(file), file, page), path
        assert path.stat().st_size < 30_000, path
        row = next(iter(page["scores"].values()))
        name, (_, _, high) = next(iter(curves.with_intervals(row).items()), (list(row)[-1], (0, 0, row[list(row)[-1]])))
        shifted = {**row, name: 2 * abs(high) + 1}
        scores, _ = curves.read(path)
        first = next(iter(scores))
        assert not curves.agree(page["scores"], {**scores, first: shifted}), path


def test_a_figure_of_curves_is_that_of_its_file(tmp_path):
    """What the experiment shows of its runs, written and read, is the same to the bit: so the figures are the same."""
    rng = np.random.default_rng(0)
    runs = [{"curve": np.r_[np.nan, rng.normal(size=49)], "approximate_kl": rng.random(50)} for _ in range(3)]
    config = {"task": "Ant-P", "method": "stale", "steps": 1000}
    shown = protocol.find("fig18-staleness", figures.EXPERIMENTS).shown([(config, runs), (config, runs[:2])])
    path = curves.write(tmp_path / "laptop.curves.json", {"seeds": [0, 1, 2]}, {"A": {"KL": np.nan, "us": 2.0}}, shown)
    table, (first, second) = curves.read(path)
    assert np.isnan(table["A"]["KL"])
    assert first["seeds"] == 3
    assert np.isnan(first["return"].mean[0])
    assert first["return"].mean[7] == pytest.approx(np.mean([run["curve"][7] for run in runs]), rel=1e-3)
    low, high = interval(np.array([run["approximate_kl"] for run in runs]))
    np.testing.assert_allclose([first["KL"].low, first["KL"].high], [low, high], rtol=1e-3)
    for ours, theirs in zip(shown, (first, second), strict=True):
        assert list(ours) == list(theirs)
        for name in ("return", "KL"):
            np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("fault", [crowded, small, hidden, cut, covered])
def test_a_planted_fault_is_found(fault, new_figure):
    figure, ((ax,),) = plotting.panels(1)
    assert not faults(figure)
    fault(ax)
    assert faults(figure)


def test_long_titles_and_many_labels_fit(new_figure):
    figure, axes = plotting.panels(5, 3)
    for k, ax in enumerate(axes.flat[:5]):
        curves = {f"a label of some length, {j}": np.random.default_rng(j).random((2, 50)) for j in range(7)}
        lines = {label: {**plot.curve_style(j), "label": label} for j, label in enumerate(curves)}
        plot.learning_curves(curves, np.arange(1, 51) * 10.0 ** (2 + k), ax, lines=lines, ylabel="")
    plotting.legend_below(figure)
    plotting.headline(figure, "a title that goes on and on, as titles of those do who want to say all " * 2, 3)
    assert not faults(figure)
    row = {"error": 1.0, "error low": 0.5, "error high": 2.0}
    table = {
        f"a row of many words, as the settings of an experiment of a user's have them, number {k}": row for k in (1, 2)
    }
    assert not faults(plotting.dots(table, "error", 5))


@pytest.mark.parametrize("legend", [True, False])
def test_a_warning_does_not_touch_the_legend(legend, tmp_path, monkeypatch, new_figure):
    figure, axes = plotting.panels(3)
    for k in range(12):
        axes[0, 0].plot([0, 1], [k, 1], label=f"method {k}")
    if legend:
        plotting.legend_below(figure)
    found = []
    monkeypatch.setattr(figure, "savefig", lambda part: found.extend([faults(figure), part.touch()]))
    plotting.save(figure, tmp_path / "figure.png", "479 of 1000 runs are finished")
    assert found == [[], None]
    texts = figure.findobj(lambda artist: isinstance(artist, Text) and "479 of 1000" in artist.get_text())
    assert [text.get_color() for text in texts] == ["#c00000"]


@pytest.mark.parametrize("ratio", [1.3, 2, 5, 8, 30, 69, 200, 3e4])
def test_a_logarithmic_axis_has_labels_that_can_be_read(ratio, new_figure):
    """Times of a machine may have any range. From 1.34 to 92, Matplotlib's own labels touch."""
    lows = (1.0, 1.34, 3.3, 7.5)
    figure, axes = plotting.panels(len(lows), 2, 2.3, foot=0.3)
    for ax, low in zip(axes.flat, lows, strict=True):
        ax.set(yscale="log", ylim=(low, low * ratio))
        plotting.plain_numbers(ax)
    assert not faults(figure)
    assert all(len(axis_labels(ax.yaxis)) >= 2 for ax in axes.flat)


def test_dots_are_the_numbers_of_a_table(new_figure):
    rows = {"A: one": {"seeds": 3, "return": 1.0, "low": 0.5, "high": 1.25}, "A: two": {"return": 2.0}}
    figure = plotting.dots({**rows, "B: one": {"return": -1.0, "low": -1.0, "high": -1.0, "us": 4.0}}, "Title", 3)
    first, second = figure.axes
    assert [first.get_title(loc="left"), second.get_title(loc="left")] == ["A", "B"]
    (point, *_), (bar,) = first.containers[0][0:1], first.containers[0][2]
    assert point.get_xdata().tolist() == [1.0]
    assert bar.get_segments()[0][:, 0].tolist() == [0.5, 1.25]
    assert [label.get_text() for label in first.get_yticklabels()] == ["one", "two"]
    assert not faults(figure)
