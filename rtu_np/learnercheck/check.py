"""Check a learner's whole update against a reference, one step at a time from the learner's own state.

A free comparison of two learners says little: under ObGD a difference in the last digit grows until they are far apart.
So the reference makes one step from the state that the learner has, and the next step begins from the learner's state
again. What parts at a step is wrong at this step.

What a reference takes for granted: the plain step of the cell (`protocol.plain_forward`), which `check_gradients`
compares; the bounds of parameters; and from the learner the network's input, once it has been compared.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rtu_np.checkpoint import name_of_function
from rtu_np.control.actor_critic import ActorCritic
from rtu_np.control.agent import Agent
from rtu_np.control.ppo.agent import PPO
from rtu_np.control.q_lambda import QRC, QLambda
from rtu_np.gradcheck.needed import check_functions
from rtu_np.gradients.rtrl import RTRL
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.learnercheck import hints
from rtu_np.learnercheck.action_values import QLambdaReference, QRCReference
from rtu_np.learnercheck.actor_critic import ActorCriticReference
from rtu_np.learnercheck.body import Arrays
from rtu_np.learnercheck.learners import Row, copy_of, flat, is_state, rows_of, state_of
from rtu_np.learnercheck.many import ManyTD
from rtu_np.learnercheck.ppo import PPOReference
from rtu_np.learnercheck.regression import Regression
from rtu_np.learnercheck.report import TOLERANCE, Difference, LearnerReport, PartCheck
from rtu_np.learnercheck.rough import Rough
from rtu_np.learnercheck.td import TD
from rtu_np.prediction.regressor import OnlineRegressor
from rtu_np.prediction.td import TDLambda
from rtu_np.prediction.td_many import ManyPredictions
from rtu_np.validation import brief, check_choice, check_real

_ROUNDING = 16  # units in the last place of a number that a change is added to
_NOISE = 30.0  # times what a change in the last digits of float32 makes of a reference
_SHADOWS = 8  # such references
_RECORDED = 100  # steps on either side of the first that is wrong, for hints
_CARRIED = RTRL(), RTRL(dense=True), RTRL(exact=True)
# By name: the class that has the rule, and its reference. A class comes before those that it is made from.
RULES: dict[str, tuple[type, Any]] = {
    "TD(lambda) of many predictions": (ManyPredictions, ManyTD),
    "TD(lambda)": (TDLambda, TD),
    "online regression": (OnlineRegressor, Regression),
    "actor-critic(lambda)": (ActorCritic, ActorCriticReference),
    "Q(lambda)": (QLambda, QLambdaReference),
    "QRC(lambda)": (QRC, QRCReference),
    "PPO": (PPO, PPOReference),
}


def check_learner(
    learner: Any,
    stream: Any = 60,
    rule: str | None = None,
    reference: Callable | None = None,
    tolerance: float | None = None,
) -> LearnerReport:
    """Compare every step of a learner with a reference in plain NumPy that starts from the learner's own state.

    Parameters
    ----------
    learner : a `TDLambda` of one or many predictions, an `OnlineRegressor`, an `ActorCritic`, `QLambda`, `QRC` or `PPO`
        (of which the stream has to complete a rollout); or an object of your own with a method `step`, whose attributes
        (numbers, arrays, dicts and lists of them) are its state. A copy of it learns, that of a learner of this package
        from the start of an episode on
    stream : the rows of `step`, one for each step, as a tuple or as a dict of its arguments. Or a number of steps, for
        a learner of this package: of a random stream with ends of both kinds, which also has missing values, discounts
        and importance ratios if the learner takes them
    rule : the name of the rule that the learner must have; by default that of its class. "TD(lambda)",
        "TD(lambda) of many predictions", "online regression", "actor-critic(lambda)", "Q(lambda)", "QRC(lambda)",
        "PPO"
    reference : instead of a rule, a function reference(state, step) -> state: of the attributes before a step and the
        arguments of `step`, both by name, it returns those behind the step that it knows, by name
    tolerance : of an error, relative to the largest expected change of an array in one step; by default 1e-9, in
        float32 3e-4

    Returns
    -------
    LearnerReport : errors by part of the state, the first step and entry at which they part, and hints

    Raises
    ------
    ValueError, TypeError : by name, if the learner, the rule, a row or what the reference returns is not usable

    A step costs as many plain steps of the cell as it has parameters and numbers in its state: check a small network.
    Sensitivities are seen in the traces: the reference carries its own, dense, with the parameters that the learner
    has. SnAp1(), RFLO(), UORO() and RTRL(taylor=True) are refused; `check_gradients` compares them.

    Examples
    --------
    >>> from rtu_np import LinearRTU, ObGD, TDLambda
    >>> report = check_learner(TDLambda(LinearRTU(2), n_inputs=1, optimizer=ObGD()), stream=20)
    >>> report.passed
    True
    >>> class Mean:
    ...     def __init__(self):
    ...         self.n, self.mean = 0, 0.0
    ...
    ...     def step(self, x):
    ...         self.n, self.mean = self.n + 1, self.mean + (x - self.mean) / (self.n + 2)
    >>> def running(state, step):
    ...     n = state["n"] + 1
    ...     return {"n": n, "mean": state["mean"] + (step["x"] - state["mean"]) / n}
    >>> print(check_learner(Mean(), [(3.0,), (5.0,), (4.0,)], reference=running))
    Update of Mean against running: 3 steps, float64
    part of the state  size  largest error  parts at step
    n                     1        0.0e+00              -
    mean                  1        5.0e-01              1
    they part at step 1: mean is 1.5, expected 3
    FAILED: largest error 5.0e-01, allowed 1e-09
    """
    subject = copy_of(learner)
    rows = rows_of(subject, stream)
    single = getattr(subject, "dtype", None) == np.float32
    allowed = TOLERANCE["float32" if single else "float64"]
    if tolerance is not None:
        allowed = check_real("tolerance", tolerance, low=0.0, low_open=True)
    name, by = _reference(subject, rule, reference)
    of = f" of {brief(subject.cell)}" if hasattr(subject, "cell") and name in RULES else ""
    what = f"{type(subject).__name__}{of} against {name}"
    title = f"Update of {what}: {len(rows)} steps, {'float32' if single else 'float64'}"
    least = _ROUNDING * np.finfo(np.float32 if single else np.float64).eps / allowed
    if isinstance(by, PPOReference):
        by.check_length(rows)
    if name in RULES:
        subject.reset()  # what a reference carries begins with an episode
    shadows = [type(by)(subject) for _ in range(_SHADOWS if single and name in RULES else 0)]
    for nets in zip(*(shadow.nets for shadow in shadows), strict=True):
        Rough([net.body for net in nets])
    comparison = _Comparison(by, allowed, float(least), shadows)
    for t, row in enumerate(rows):
        comparison.step(t, subject, row)
    return comparison.report(title)


def _reference(subject: Any, rule: str | None, reference: Callable | None) -> tuple[str, Any]:
    """(name of the rule, what is compared with)"""
    if reference is not None:
        if rule is not None:
            raise ValueError(f"rule is {rule!r} and reference is given: expected one of the two")
        if not callable(reference):
            raise TypeError(f"reference is {brief(reference)}: expected a function reference(state, step) -> state")
        return name_of_function(reference), _Given(reference)
    if rule is not None:
        check_choice("rule", rule, RULES)
    own = next((name for name, (kind, _) in RULES.items() if isinstance(subject, kind)), None)
    if own is None:
        raise ValueError(
            f"learner is a {type(subject).__name__} without reference=...: expected one, or a learner of this package; "
            f"by name there are {', '.join(RULES)}"
        )
    if rule not in (None, own):
        raise ValueError(f"rule is {rule!r} for a {type(subject).__name__}: expected {own!r}")
    gradient = subject.gradient
    if not (isinstance(gradient, TBPTT) or gradient in _CARRIED):
        raise ValueError(
            f"learner has gradient={gradient!r}: expected {', '.join(map(brief, _CARRIED))} or TBPTT(T), which a "
            "reference can carry; check_gradients compares another one, without the learner"
        )
    by = RULES[own][1](subject)
    for net, cell in zip(by.nets, (subject.cell, getattr(subject, "critic_cell", None)), strict=False):
        check_functions(cell or subject.cell, net.spec.cell, gradient)
    return own, by


class _Given:
    """A function of the user's as a reference."""

    mistakes: tuple[str, ...] = ()

    def __init__(self, function: Callable) -> None:
        self._function = function

    def observe(self, state: Any, row: Row, found: Arrays) -> tuple[Any, Row]:
        return state, row

    def expected(self, at: tuple[Any, Row], mistake: str = "") -> Arrays:
        found = self._function(*at)
        if not isinstance(found, dict) or not found:
            raise TypeError(f"reference returned {brief(found)}: expected a dict of attributes of the learner")
        return flat(found)


class Compared(NamedTuple):
    """One step."""

    t: int
    row: Row
    state: Arrays  # of the learner, ahead of the step
    found: Arrays  # behind it
    expected: Arrays
    errors: dict[str, float]
    at: Any  # what the reference has seen


class _Comparison:
    """The steps of a learner next to those of a reference.

    shadows : for float32, others of the same kind. They get the same state with other last digits, and
        have derivatives of the cell's step with the errors of float32 (`rough`). What this changes is noise: if
        numbers cancel, in the update or within the cell, float32 cannot be closer
    """

    def __init__(self, by: Any, allowed: float, least: float, shadows: list[Any]) -> None:
        self._by, self._allowed, self._error = by, allowed, partial(relative_error, least=least)
        self._shadows, self._rng = shadows, np.random.default_rng(0)
        self._worst: dict[str, float] = {}
        self._first: dict[str, int] = {}
        self._sizes: dict[str, dict[str, int]] = {}
        self._changed: dict[str, bool] = {}  # by name, whether the learner changed it at any step
        self._shown: dict[str, bool] = {}  # by name, whether a change was expected
        self._recorded: list[Compared] = []

    def step(self, t: int, subject: Any, row: Row) -> None:
        """Make a step of the learner, and compare it."""
        state = state_of(subject)
        try:
            returned = subject.step(**copy.deepcopy(row))  # which the learner may keep and change
        except Exception as error:
            error.add_note(f"in stream[{t}] of check_learner")
            raise
        start, found = flat(state), flat(state_of(subject))
        if not isinstance(subject, Agent) and is_state(returned):
            found |= flat(returned, "returned")
        at = self._by.observe(state, row, found)
        expected = self._by.expected(at)
        _check_names(expected, found)
        errors = {name: self._error(array, found[name], start.get(name)) for name, array in expected.items()}
        shaken = [each.expected(each.observe(self._shake(start), row, self._shake(found))) for each in self._shadows]
        for name, array in expected.items() if shaken else ():
            apart, *noises = (np.nanmax(np.abs(each[name] - array), initial=0.0) for each in (found, *shaken))
            if np.isfinite(apart) and max(noises) > 0:
                errors[name] = min(errors[name], float(self._allowed * apart / (_NOISE * max(noises))))
        self._take(Compared(t, row, start, found, expected, errors, at))

    def _take(self, step: Compared) -> None:
        for name, array in step.found.items():
            self._changed[name] = self._changed.get(name, False) or _differs(array, step.state.get(name))
        for name, error in step.errors.items():
            part = part_of(name)
            self._worst[part] = max(self._worst.get(part, 0.0), error)
            self._sizes.setdefault(part, {})[name] = int((~np.isnan(step.expected[name])).sum())
            self._shown[name] = self._shown.get(name, False) or _differs(step.expected[name], step.state.get(name))
            if error > self._allowed:
                self._first.setdefault(part, step.t)
        first = min(self._first.values(), default=step.t)
        if step.t < first + _RECORDED:
            self._recorded.append(step)
        if first == step.t:
            self._recorded = self._recorded[-_RECORDED:]

    def _shake(self, arrays: Arrays) -> Arrays:
        """The arrays with other last digits, but for those of integers."""
        shaken = {}
        for name, array in arrays.items():
            signs = self._rng.choice([-1.0, 1.0], array.shape) * np.finfo(np.float32).eps
            shaken[name] = array if np.array_equal(array, np.round(array)) else array * (1 + signs)
        return shaken

    def report(self, title: str) -> LearnerReport:
        parts, difference, said = [], None, []
        for part, worst in self._worst.items():
            at = self._first[part] + 1 if part in self._first else None
            parts.append(PartCheck(part, sum(self._sizes[part].values()), worst, at))
        if self._first:
            difference = self._difference(next(step for step in self._recorded if self._is_wrong(step)))
            said = hints.explain(self._recorded, self._by, self._allowed, self._error)
        return LearnerReport(title, tuple(parts), self._allowed, difference, tuple(self._notes()), tuple(said))

    def _is_wrong(self, step: Compared) -> bool:
        return max(step.errors.values()) > self._allowed

    def _difference(self, step: Compared) -> Difference:
        name = next(name for name, error in step.errors.items() if error > self._allowed)
        expected, found = np.ravel(step.expected[name]), np.ravel(step.found[name])
        apart = np.where(np.isnan(expected), 0.0, np.nan_to_num(np.abs(found - expected), nan=np.inf))
        k, shape = int(np.argmax(apart)), step.found[name].shape
        index = tuple(int(i) for i in np.unravel_index(k, shape)) if shape else ()
        return Difference(step.t + 1, name, index, float(found[k]), float(expected[k]))

    def _notes(self) -> list[str]:
        """What limits the check."""
        notes = []
        if isinstance(self._by, _Given):
            missing = [name for name, changed in self._changed.items() if changed and name not in self._shown]
            if missing := [name for name in missing if name != "returned"]:
                notes.append(f"not compared, since the reference does not return it: {', '.join(missing)}")
        ours = "params.", "traces."  # of other arrays of a learner of this package many have nothing to do
        shown = {part_of(name) for name, changes in self._shown.items() if changes}
        same = [part for part in self._worst if part not in shown]
        if same := [part for part in same if isinstance(self._by, _Given) or any(word in part for word in ours)]:
            notes.append(f"nothing is shown of {', '.join(same)}: no change is expected at any step")
        return notes


def _differs(array: np.ndarray, start: np.ndarray | None) -> bool:
    return start is None or not np.array_equal(np.ravel(array), np.ravel(start), equal_nan=True)


def _check_names(expected: Arrays, found: Arrays) -> None:
    if not expected:
        raise ValueError("reference returned no numbers: expected those of at least one attribute of the learner")
    for name, array in expected.items():
        if name not in found:
            raise ValueError(f"reference returned {name!r}: expected an attribute of the learner: {', '.join(found)}")
        if np.size(array) != found[name].size:
            raise ValueError(
                f"reference returned {name} of shape {np.shape(array)}: expected {found[name].shape}, as in the learner"
            )


def relative_error(expected: np.ndarray, found: np.ndarray, start: np.ndarray | None, least: float) -> float:
    """The largest error, relative to the largest expected change, or to the part `least` of the largest number.

    A change that is smaller holds little but the rounding of the numbers that it is added to. NaN is not compared.
    """
    expected, found = np.ravel(expected), np.ravel(found)
    start = np.zeros_like(expected) if start is None else np.ravel(start)
    known = ~np.isnan(expected)
    if not known.any():
        return 0.0
    apart = np.abs(found - expected)[known].max()
    numbers, change = np.maximum(np.abs(expected), np.abs(start))[known].max(), np.abs(expected - start)[known].max()
    if not np.isfinite(apart) or not numbers > 0:
        return float("inf") if apart != 0 else 0.0
    return float(apart / max(change, least * numbers))


def part_of(name: str) -> str:
    """The row of the table: a block of the parameters or of the traces, or one array.

    Examples
    --------
    >>> part_of("actor.params.cell.nu_log"), part_of("moments.mean")
    ('actor.params.cell', 'moments.mean')
    """
    words = name.split(".")
    for part in ("params", "traces"):
        if part in words:
            return ".".join(words[: words.index(part) + 2])
    return name
