"""Figures: what stands on the axis is what was given; wrong shapes are named; Matplotlib stays as it was."""

import pickle
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from rtu_np import plot
from rtu_np.intervals import interval

mpl.use("Agg")


@pytest.fixture
def ax():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    yield axes
    figure.canvas.draw()  # what cannot be drawn raises here
    plt.close(figure)


def data_of(line):
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_learning_curves_are_means_with_intervals(ax, rng):
    curves = {"a": rng.standard_normal((5, 8)), "b": rng.standard_normal((3, 8))}
    curves["a"][2, 0] = np.nan  # no episode had ended for this seed
    steps = np.arange(8) * 100
    assert plot.learning_curves(curves, steps, ax) is ax
    for line, (label, samples), first in zip(ax.get_lines(), curves.items(), (1, 0), strict=True):
        x, y = data_of(line)
        assert line.get_label() == f"{label} ({len(samples)} seeds)"
        assert np.array_equal(x, steps[first:])
        assert np.allclose(y, samples[:, first:].mean(0), rtol=1e-12)
    low, high = interval(curves["b"])
    edges = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert {low.min(), high.max()} <= set(edges)
    assert ax.get_xlabel() == "step"
    assert pickle.loads(pickle.dumps(ax.figure)).axes


def test_many_curves_differ():
    styles = [plot.curve_style(k) for k in range(32)]
    assert len({tuple(style.values()) for style in styles}) == 32
    assert len({(style["marker"], style["linestyle"]) for style in styles}) == 32  # in grey


def test_a_close_up_shows_every_array(ax):
    t = np.arange(50)
    shown = {"predictions": {"one": np.cos(t), "other": np.sin(t)}, "reference": {"Bayes": t / 50.0}}
    assert plot.prediction_closeup(t / 25.0, ax=ax, **shown, signals={"cue": t == 9}, first=700) is ax
    lines = {line.get_label(): data_of(line) for line in ax.get_lines()}
    assert list(lines) == ["return", "Bayes", "one", "other"]
    assert all(np.array_equal(x, 700 + t) for x, _ in lines.values())
    assert np.array_equal(lines["other"][1], np.sin(t))
    bottom = ax.collections[0].get_paths()[0].vertices[:, 1].min()
    assert bottom == pytest.approx(-0.15 * 49 / 25)


def test_half_lives_are_shares_of_units(ax):
    assert plot.half_lives({"at first": [8.0, 1.0, 2.0, np.inf]}, ax) is ax
    x, share = data_of(ax.get_lines()[0])
    assert x.tolist() == [1.0, 2.0, 8.0, 80.0]
    assert share.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_credit_leaves_out_what_has_no_weight(ax):
    weight = 0.5 ** np.arange(20)
    plot.credit({"RTRL": [weight, weight], "T-BPTT(3)": [weight * (np.arange(20) < 3)]}, ax)
    assert [data_of(line)[0].size for line in ax.get_lines()] == [20, 3]
    assert np.allclose(data_of(ax.get_lines()[0])[1], weight)


T = np.zeros(5)
REFUSED = {
    r"curves has the shape \(5,\): expected \(seeds, points\)": lambda: plot.learning_curves(T),
    r"curves\['a'\] has the shape \(2, 5\): expected \(seeds, 4\)": lambda: plot.learning_curves(
        {"a": np.zeros((2, 5))}, np.arange(4)
    ),
    r"curves is {}: expected an array, or several by their labels": lambda: plot.learning_curves({}),
    r"predictions\['prediction'\] has the shape \(4,\): expected that of target, \(5,\)": lambda: (
        plot.prediction_closeup(T, T[1:])
    ),
    r"signals\['cue'\] has the shape \(4,\)": lambda: plot.prediction_closeup(T, T, signals={"cue": T[1:]}),
    r"reference\['best possible'\] has the shape \(6,\)": lambda: plot.prediction_closeup(T, T, reference=np.zeros(6)),
    r"values\['a'\] is array.*: expected positive numbers of steps": lambda: plot.half_lives({"a": [1.0, -2.0]}),
    r"weights has the shape \(5,\)": lambda: plot.credit(T),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(message):
    import matplotlib.pyplot as plt

    figures = plt.get_fignums()
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
    assert plt.get_fignums() == figures


def test_matplotlib_stays_as_it_was():
    code = """
import sys
import numpy as np
from rtu_np import plot
assert "matplotlib" not in sys.modules
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["font.size"] = 17
before = dict(matplotlib.rcParams)
plot.learning_curves(np.zeros((2, 3))); plot.half_lives([1.0]); plot.credit(np.ones((2, 3)))
plot.prediction_closeup(np.ones(3), np.ones(3))
assert dict(matplotlib.rcParams) == before and matplotlib.get_backend() == "svg"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
