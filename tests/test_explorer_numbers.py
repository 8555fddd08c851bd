"""The explorer computes in the browser what rtu_np computes (docs/explorer)."""

import numpy as np
import pytest
from browser import EXPLORER, Browser
from browser import browser as browser
from browser import spoiled as spoiled
from cases import in_plain_python
from tolerances import DIFFERENCES

from rtu_np import RTRL, SGD, TBPTT, LinearRTU, ObGD, TDLambda
from rtu_np.cells.eigenvalues import FASTEST, SLOWEST
from rtu_np.learning import optimizers

pytestmark = in_plain_python

STEPS = 20
RADII = [0.0, 0.5, 0.9, 0.99, 0.9999]
PHASES = [1e-4, 0.3, np.pi / 2, np.pi, 5.5, 2 * np.pi]
WINDOWS = [1, 4, STEPS]
DECAYS = [0.0, 0.9, 1.0]
GRID = [(r, theta) for r in RADII for theta in PHASES]
LEARNING = [
    {"r": 0.9, "theta": 0.3, "gap": 10, "window": None, "learnsReadout": False},
    {"r": 0.9, "theta": 0.3, "gap": 10, "window": 11, "learnsReadout": True},
    {"r": 0.9, "theta": 0.3, "gap": 10, "window": 4, "learnsReadout": False},
    {"r": 0.5, "theta": np.pi, "gap": 5, "window": 1, "learnsReadout": True},
    {"r": 0.99, "theta": 6.2, "gap": 1, "window": 1, "learnsReadout": False},
    {"r": 0.9999, "theta": 0.0, "gap": 8, "window": None, "learnsReadout": True},
    {"r": 0.0, "theta": 0.0, "gap": 3, "window": 2, "learnsReadout": False},
]
TRIALS = 60


def close(actual, expected) -> bool:
    """Within 1e-6 of the largest; all zero only if zero is expected."""
    actual, expected = np.array(actual, float), np.array(expected, float)
    return actual.shape == expected.shape and np.abs(actual - expected).max() <= DIFFERENCES * np.abs(expected).max()


def stored(r: float, theta: float) -> dict[str, float]:
    """The parameters of a unit; exp(-exp(7)) is 0 in float64."""
    with np.errstate(divide="ignore"):
        return {"nu_log": np.log(-np.log(r)) if r else 7.0, "theta_log": np.log(theta), "W1": 1.0, "W2": 0.0}


def unit(r: float, theta: float, gradient=None, parameterization="nu_log/theta_log"):
    layer = LinearRTU(1, "identity", parameterization=parameterization).build(1, gradient)
    values = {**stored(r, theta), "r": r, "theta": theta}
    for name, view in layer.parameters.items():
        view[:] = values[name]
    return layer


def after_an_impulse(layer) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(STEPS, 2) the state, and {parameter: (STEPS, 2)} its derivatives."""
    states, gradients = [], {name: [] for name in layer.parameters}
    for t in range(STEPS):
        states.append(layer.advance([float(t == 0)]))
        parts = [layer.gradient(dy) for dy in ([1.0, 0.0], [0.0, 1.0])]
        for name, rows in gradients.items():
            rows.append([part[name].item() for part in parts])
    return np.array(states), {name: np.array(rows) for name, rows in gradients.items()}


def weight_credit(layer) -> np.ndarray:
    """The length of the gradient of c1 by both weights, at each lag of an input of 1."""
    out = []
    for t in range(STEPS):
        layer.advance([float(t == 0)])
        gradient = layer.gradient([1.0, 0.0])
        out.append(np.hypot(gradient["W1"].item(), gradient["W2"].item()))
    return np.array(out)


def check_impulse(browser: Browser) -> None:
    for r, theta in GRID:
        states, gradients = after_an_impulse(unit(r, theta))
        page = browser.ask("rtu.impulse(...arguments)", r, theta, STEPS)
        assert close(np.transpose([page["c1"], page["c2"]]), states), (r, theta)
        assert close(page["envelope"], np.hypot(*states.T)), (r, theta)
        page = browser.ask("rtu.sensitivities(...arguments, 'nu_log/theta_log')", r, theta, STEPS)
        for number, name in (("a", "nu_log"), ("b", "theta_log")):
            assert close(np.transpose([page[number]["c1"], page[number]["c2"]]), gradients[name]), (r, theta, name)


def check_sensitivities_to_r(browser: Browser) -> None:
    for r, theta in GRID:
        page = browser.ask("rtu.sensitivities(...arguments, 'r/theta')", r, theta, STEPS)
        got = {name: np.transpose([page[k]["c1"], page[k]["c2"]]) for k, name in (("a", "r"), ("b", "theta"))}
        if r > 0:
            expected = after_an_impulse(unit(r, theta, parameterization="r/theta"))[1]
        else:  # of sqrt(1 - r^2) r^t e^(i theta t): rtu_np clips this r
            expected = {name: np.zeros((STEPS, 2)) for name in got}
            expected["r"][1] = np.cos(theta), np.sin(theta)
        for name in got:
            assert close(got[name], expected[name]), (r, theta, name)


def check_credit(browser: Browser) -> None:
    for r, theta in GRID[::2]:
        whole = weight_credit(unit(r, theta, RTRL()))
        for window in WINDOWS:
            page = browser.ask("rtu.credit(...arguments)", r, theta, STEPS, window, 0.5)
            cut = weight_credit(unit(r, theta, TBPTT(window)))
            assert close(page["rtrl"], whole / whole[0]), (r, theta)
            assert close(page["tbptt"], cut / whole[0]), (r, theta, window)


def traced(r: float, theta: float, gradient, decay: float) -> np.ndarray:
    """The credit in the traces of a real learner; its steps are too small to change anything."""
    learner = TDLambda(LinearRTU(1, "identity"), 1, decay, 1.0, SGD(1e-300), gradient)
    values = {**{f"cell.{name}": value for name, value in stored(r, theta).items()}, "readout.w": [1.0, 0.0]}
    for name, value in values.items():
        learner.parameters[name][:] = value
    out = []
    for t in range(STEPS):
        learner.step([float(t == 0)], 0.0)
        out.append(np.hypot(learner.traces["cell.W1"].item(), learner.traces["cell.W2"].item()))
    return np.array(out)


def check_traces(browser: Browser) -> None:
    for r, theta in GRID[::2]:
        for decay in DECAYS:
            page = browser.ask("rtu.credit(...arguments)", r, theta, STEPS, 4, decay)
            whole, cut = (traced(r, theta, gradient, decay) for gradient in (RTRL(), TBPTT(4)))
            assert close(page["rtrlTrace"], whole / whole[0]), (r, theta, decay)
            assert close(page["tbpttTrace"], cut / whole[0]), (r, theta, decay)


def check_clock(browser: Browser) -> None:
    for r, theta in [(0.5, 0.3), (0.9, np.pi), (0.99, 2.0)]:
        learner = TDLambda(LinearRTU(1, "identity"), 1)
        for name, value in stored(r, theta).items():
            learner.parameters[f"cell.{name}"][:] = value
        found, page = learner.diagnostics(), browser.ask("rtu.clock(...arguments)", r, theta)
        assert close(page["halfLife"], found["cell.half_life.median"])
        assert close(page["period"], found["cell.period.median"])


def learned(r: float, theta: float, gap: int, window: int | None, learns_readout: bool) -> dict[str, list]:
    """A unit that learns to bridge a gap, with the package's own steps."""
    layer = unit(max(r, np.exp(-FASTEST)), max(theta, SLOWEST), TBPTT(window) if window else RTRL())
    parameters, readout, spec = layer.parameters, np.array([1.0, 0.0]), ObGD(1.0, 2.0).spec()
    errors, path = [], [[r if r else np.exp(-FASTEST), max(theta, SLOWEST)]]
    for _ in range(TRIALS):
        layer.reset()
        for t in range(gap + 1):
            y = layer.advance([float(t == 0)])
        delta = 1.0 - readout @ y
        gradient = layer.gradient(readout)
        trace = np.concatenate([*(each.ravel() for each in gradient.values()), y if learns_readout else []])
        eta = optimizers.step(spec, trace, delta)
        for name, view in parameters.items():
            view += eta * gradient[name]
        if learns_readout:
            readout = readout + eta * y
        parameters["nu_log"][:] = np.clip(parameters["nu_log"], np.log(SLOWEST), np.log(FASTEST))
        parameters["theta_log"][:] = np.maximum(parameters["theta_log"], np.log(SLOWEST))
        errors.append(delta**2)
        path.append([np.exp(-np.exp(parameters["nu_log"].item())), np.exp(parameters["theta_log"].item())])
    return {"errors": errors, "path": path, "W": [parameters[w].item() for w in ("W1", "W2")], "readout": [*readout]}


LEARN = """(() => {
  const unit = new rtu.Bridge({ ...arguments[0], window: arguments[0].window ?? Infinity });
  for (let k = 0; k < arguments[1] * (unit.gap + 1); k++) unit.step();
  return { errors: unit.errors, path: unit.path, W: unit.W, readout: unit.readout };
})()"""


def check_learning(browser: Browser) -> None:
    for setting in LEARNING:
        r, theta, gap, window, learns_readout = setting.values()
        expected, page = learned(r, theta, gap, window, learns_readout), browser.ask(LEARN, setting, TRIALS)
        for name, values in expected.items():
            assert close(page[name], values), (setting, name)


CHECKS = [check_impulse, check_sensitivities_to_r, check_credit, check_traces, check_clock, check_learning]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_page_computes_what_rtu_np_computes(browser, check):
    browser.open(EXPLORER / "index.html")
    check(browser)


def test_a_window_that_reaches_the_cue_learns_as_rtrl_does(browser):
    browser.open(EXPLORER / "index.html")
    whole, just, short = (
        browser.ask(LEARN, {**LEARNING[0], "window": window}, TRIALS)["errors"] for window in (None, 11, 10)
    )
    np.testing.assert_allclose(just, whole, rtol=1e-9)
    assert whole[-1] < 0.03 < 0.5 < short[-1], "the panel's takeaway"


def test_the_answers_on_the_page_hold(browser):
    browser.open(EXPLORER / "index.html")
    start = LEARNING[0]
    whole, short, forgetful, scaled = (
        browser.ask(LEARN, {**start, **change}, 300)
        for change in ({}, {"window": 10}, {"r": 0.5}, {"window": 1, "learnsReadout": True})
    )
    assert short["W"] == [1, 0], "no credit reaches the weights"
    assert short["path"][-1][0] > whole["path"][-1][0] + 0.01, "the pole moves on towards 1"
    assert forgetful["errors"][-1] > 0.99
    assert scaled["errors"][-1] < 1e-3
    assert scaled["W"] == [1, 0], "the readout does it alone"
    assert np.hypot(*scaled["readout"]) > 3


BUGS = {
    "the hand turns the wrong way": (
        "u.g * c[0] - u.p * c[1], u.g * c[1] + u.p",
        "u.g * c[0] + u.p * c[1], u.g * c[1] - u.p",
        0,
    ),
    "no factor theta": ("g: -u.theta * u.p, p: u.theta * u.g", "g: -u.p, p: u.g", 0),
    "gamma does not depend on r": ("gamma: -u.r / u.gamma", "gamma: 0", 1),
    "nothing is carried": ("plus(turned(u, each), direct[k])", "direct[k]", 1),
    "a window of one more": ("past.length - window)", "past.length - window - 1)", 2),
    "the way back is not the transpose": (
        "u.g * b[0] + u.p * b[1], u.g * b[1] - u.p",
        "u.g * b[0] - u.p * b[1], u.g * b[1] + u.p",
        5,
    ),
    "the trace does not fade": ("plus([decay * zCut[0], decay * zCut[1]], cut)", "plus(zCut, cut)", 3),
    "a half-life of 1 / nu": ("Math.LN2 / -Math.log(r)", "1 / -Math.log(r)", 4),
    "steps without a bound": ("Math.max(1, 2 *", "Math.min(1, 2 *", 5),
    "no bound of nu": ("Math.max(nuLog, Math.log(SLOWEST)), Math.log(FASTEST)", "nuLog, Infinity", 5),
    "the readout always learns": ("if (this.learnsReadout)", "if (true)", 5),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(browser, spoiled, bug):
    old, new, check = BUGS[bug]
    browser.open(spoiled("equations.js", old, new))
    with pytest.raises(AssertionError):
        CHECKS[check](browser)
