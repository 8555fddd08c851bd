"""`check_learner`: that it passes right learners, finds bugs, says what they are, and refuses what it cannot check."""

import copy
from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest
from agent_cases import everything
from cases import COMPILED, in_plain_python
from control_bug_cases import CONTROL_BUGS
from learner_cases import LEARNERS, RULE, agent, moved, ppo, regressor, td
from planting import planted
from ppo_bug_cases import PPO_BUGS
from prediction_bug_cases import PREDICTION_BUGS

import rtu_np
from rtu_np import (
    GRU,
    LRU,
    QRC,
    RTRL,
    SGD,
    TBPTT,
    ActorCritic,
    Adam,
    Dense,
    Gaussian,
    HiddenReadout,
    LayerNorm,
    LinearRTU,
    MinGRU,
    ObGD,
    QLambda,
    RMSProp,
    Stack,
    TDLambda,
    check_learner,
)
from rtu_np.__main__ import main
from rtu_np.learnercheck import LearnerReport, check, mistakes
from rtu_np.learnercheck.learners import rows_of, state_of

BUGS = {**PREDICTION_BUGS, **CONTROL_BUGS, **PPO_BUGS}
STEPS = 20
ENCODED = Stack([Dense(3), LinearRTU(2), LayerNorm(), MinGRU(2)])  # layer-local


def on_lru(**settings):
    return moved(TDLambda(LRU(2, projection=False), 2, optimizer=RULE, **settings))


OTHERS = {
    **LEARNERS,
    "layer-local RTRL": lambda: TDLambda(ENCODED, 2, optimizer=RULE),
    "full RTRL": lambda: TDLambda(GRU(2), 2, optimizer=RULE, readout=HiddenReadout(3)),
    "full RTRL of a stack": lambda: TDLambda(ENCODED, 2, gradient=RTRL(dense=True), optimizer=RULE),
    "T-BPTT": lambda: td(gradient=TBPTT(3), missing="zero"),
    # Four predictions have a pass of their own, whose cell may have a free input scale.
    "five predictions": lambda: td(gamma=[0.5, 0.6, 0.7, 0.8, 0.9]),
    "five predictions on an LRU": lambda: on_lru(gamma=[0.5, 0.6, 0.7, 0.8, 0.9]),
    "one trace for all": lambda: td(gamma=[0.9, 0.9], body="shared"),
    "traces of features": lambda: td(Adam(1e-3), gamma=[0.5, 0.9], body="lambda0", missing="hold"),
    "a frozen body": lambda: td(gamma=[0.5, 0.9], body="frozen"),
    "stored gradients": lambda: regressor(horizon=2, delay="stored", missing="hold"),
    "probabilities": lambda: regressor(loss="logistic", n_targets=2),
    "several choices": lambda: agent(ActorCritic, gymnasium.spaces.MultiDiscrete([2, 3]), previous_action_reward=True),
    "a free deviation": lambda: agent(ActorCritic, False, policy=Gaussian("free"), previous_action_reward=True),
    "clipped observations": lambda: agent(QLambda, clip_observations=1.5, previous_action_reward=True),
    "agent behind T-BPTT": lambda: agent(QRC, gradient=TBPTT(2), scale_rewards=False, normalize_observations=False),
}


@in_plain_python
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.replace(" ", "-"))
def test_a_planted_bug_turns_it_red(bug):
    name, file, replacements, part, hint = BUGS[bug]
    with planted(file, replacements):
        report = check_learner(LEARNERS[name](), STEPS)
    assert not report.passed, str(report)
    red = [each for each in report.parts if each.error > report.tolerance]
    assert min(red, key=lambda each: each.parts_at).name == part, str(report)
    assert [each.startswith(hint) for each in report.hints[:1]] == [True] * bool(hint), str(report)


@in_plain_python
@pytest.mark.parametrize("name", OTHERS)
def test_a_right_learner_passes(name):
    report = check_learner(OTHERS[name](), STEPS)
    assert report.passed, str(report)
    assert not report.hints
    assert len(report.notes) == (name == "a frozen body")


@pytest.mark.skipif(not COMPILED, reason="compiled code is checked")
def test_a_compiled_learner_in_float32_passes():
    """Also with steps that ObGD bounds, under which a free comparison is soon far off."""
    report = check_learner(moved(TDLambda(LinearRTU(4), 2, optimizer=ObGD(), dtype="float32")))
    assert report.passed, str(report)
    assert report.max_error > 1e-9  # it was float32 that was checked


@in_plain_python
def test_the_learner_stays_as_it_is_and_may_be_in_mid_stream():
    for made in (td(), agent(QRC)):
        made.step([1.0] * (2 if isinstance(made, TDLambda) else 3), 0.5)
        earlier = everything(made)
        assert check_learner(made, STEPS).passed
        assert everything(made) == earlier


# ---------------------------------------------------------------------------------------------------- one's own learner


class LinearTD:
    """TD(lambda), linear."""

    def __init__(self):
        self.w, self.z, self.x, self.delta = np.full(2, 0.5), np.zeros(2), np.zeros(2), 0.0

    def step(self, x, c, terminated=False):
        v = 0.0 if terminated else self.w @ x
        self.delta = c + 0.9 * v - self.w @ self.x
        self.w = self.w + 0.1 * self.delta * self.z
        self.z = 0.0 * self.z if terminated else 0.72 * self.z + x
        self.x = 0.0 * x if terminated else x
        return v


def linear_td(state, step):
    w, z, x, end = state["w"], state["z"], step["x"], step.get("terminated", False)
    delta = step["c"] + (0 if end else 0.9 * w @ x) - w @ state["x"]
    return {"w": w + 0.1 * delta * z, "z": z * 0 if end else 0.72 * z + x, "x": x * 0 if end else x}


def own_rows(n=12):
    rng = np.random.default_rng(0)
    return [(rng.standard_normal(2), rng.standard_normal(), t == 5) for t in range(n)]


def wrong(**changes):
    """A learner with other values behind each step."""

    class Wrong(LinearTD):
        def step(self, x, c, terminated=False):
            start = copy.deepcopy(vars(self))
            super().step(x, c, terminated)
            for name, change in changes.items():
                setattr(self, name, change(start, vars(self), terminated))

    return Wrong()


OWN = {
    "traces left at an end": (
        wrong(z=lambda start, end, last: start["z"] if last else end["z"]),
        "z: it is not set to zero at steps that terminate",
    ),
    "the sign": (wrong(w=lambda start, end, last: 2 * start["w"] - end["w"]), "w: its change has the wrong sign"),
    "a factor": (
        wrong(w=lambda start, end, last: 1.1 * end["w"] - 0.1 * start["w"]),
        "w: its change is 1.1 times what is expected",
    ),
    "no update": (wrong(w=lambda start, end, last: start["w"]), "w: it does not change"),
    "features left at an end": (
        wrong(x=lambda start, end, last: end["x"] + last * 1.0),
        "x: it is not set to zero at steps that terminate",
    ),
    "the old error": (
        wrong(w=lambda start, end, last: start["w"] + 0.1 * start["delta"] * start["z"]),
        "",
    ),
}


@in_plain_python
def test_a_learner_of_one_s_own():
    report = check_learner(LinearTD(), own_rows(), reference=linear_td)
    assert report.passed, str(report)
    assert report.notes == ("not compared, since the reference does not return it: delta",)
    assert report._repr_html_().count("<table>") == 1
    for name, (made, hint) in OWN.items():
        report = check_learner(made, own_rows(), reference=linear_td)
        assert not report.passed, name
        assert report.hints == ((hint,) if hint else ()), (name, report.hints)


class Careless(LinearTD):
    """Its answer is no number, and it changes the rows that it has kept."""

    def __init__(self):
        super().__init__()
        self.counts, self.rng = {"steps": [0]}, np.random.default_rng(0)

    def step(self, x, c, terminated=False):
        self.x *= 1.0
        super().step(x, c, terminated)
        self.counts["steps"][0] += 1
        return "done"


def in_place(state, step):
    """A reference that works in the state that it was given."""
    right = linear_td(state, step)
    for name in ("w", "z", "x"):
        state[name][:] = right[name]
    state["counts"]["steps"][0] += 1
    del state["delta"]
    return state


@in_plain_python
def test_what_a_learner_or_a_reference_changes_in_place_does_not_count():
    report = check_learner(Careless(), own_rows(), reference=in_place)
    assert report.passed, str(report)
    assert [part.name for part in report.parts] == ["w", "z", "x", "counts.steps.0"]


@in_plain_python
def test_a_reference_for_a_learner_of_the_package():
    def held(state, step):
        return {"params.readout.w": state["params.readout.w"], "clock": state["clock"] + [1, 0]}

    report = check_learner(td(), [([1.0, 0.0], 0.5)] * 3, reference=held)
    assert [part.parts_at for part in report.parts] == [2, 1]
    assert str(report.difference) == "they part at step 1: clock[1] is 0, expected 1"


@in_plain_python
def test_nan_in_a_learner_is_an_error():
    report = check_learner(wrong(w=lambda start, end, last: end["w"] * np.nan), own_rows(2), reference=linear_td)
    assert report.max_error == np.inf


def set_to(learner, **attributes):
    """A subject whose copy has these attributes."""
    learner.__class__ = type("Changed", (type(learner),), {"__deepcopy__": lambda self, memo: self})
    vars(learner).update(attributes)
    return learner


REFUSED = {
    "a number": (lambda: check_learner(3), TypeError, "learner is 3: expected an object with a method `step`"),
    "a class": (lambda: check_learner(TDLambda), TypeError, "learner is <class.*: expected an object"),
    "a generator": (
        lambda: check_learner(Generator(), [], reference=linear_td),
        TypeError,
        "learner is .*, which cannot be copied .*generator",
    ),
    "an optimiser of one's own": (
        lambda: check_learner(td(Slow())),
        ValueError,
        r"learner has the optimiser Slow\(step_size=0.001\): expected SGD, .*give a reference",
    ),
    "a gradient that is not known": (
        lambda: check_learner(set_to(td(), gradient="UORO()")),
        ValueError,
        r"learner has gradient='UORO\(\)': expected RTRL\(\), RTRL\(dense=True\), RTRL\(exact=True\) or TBPTT",
    ),
    "no reference": (lambda: check_learner(LinearTD(), own_rows()), ValueError, "a LinearTD without reference="),
    "no rows": (lambda: check_learner(td(), []), ValueError, "stream has no rows"),
    "no steps": (lambda: check_learner(td(), 0), ValueError, "stream is 0: expected an integer of at least 1"),
    "steps of one's own": (
        lambda: check_learner(LinearTD(), 5, reference=linear_td),
        TypeError,
        "stream is 5: expected the rows of `step`, since the learner is your own",
    ),
    "a word": (lambda: check_learner(td(), "abc"), TypeError, "stream is 'abc': expected a number of steps"),
    "a short row": (
        lambda: check_learner(td(), [([1.0, 2.0],)]),
        TypeError,
        r"stream\[0\] is .*: expected the arguments of step\(.*missing a required argument: 'c'",
    ),
    "a wrong name": (lambda: check_learner(td(), [{"x": [1.0, 2.0], "r": 1.0}]), TypeError, r"stream\[0\] .*'c'"),
    "a rule of others": (
        lambda: check_learner(td(), rule="Q(lambda)"),
        ValueError,
        r"rule is 'Q\(lambda\)' for a TDLambda: expected 'TD\(lambda\)'",
    ),
    "no such rule": (lambda: check_learner(td(), rule="Q"), ValueError, "rule is 'Q': expected one of 'TD"),
    "both": (
        lambda: check_learner(td(), rule="TD(lambda)", reference=linear_td),
        ValueError,
        r"rule is 'TD\(lambda\)' and reference is given",
    ),
    "a dict for a reference": (
        lambda: check_learner(td(), reference={}),
        TypeError,
        "reference is .*: expected a func",
    ),
    "nothing returned": (
        lambda: check_learner(td(), reference=lambda state, step: None),
        TypeError,
        "reference returned None: expected a dict",
    ),
    "an unknown attribute": (
        lambda: check_learner(LinearTD(), own_rows(), reference=lambda state, step: {"u": 1.0}),
        ValueError,
        "reference returned 'u': expected an attribute of the learner: w, z, x, delta",
    ),
    "no numbers": (
        lambda: check_learner(LinearTD(), own_rows(), reference=lambda state, step: {"w": []}),
        ValueError,
        "reference returned no numbers",
    ),
    "a wrong shape": (
        lambda: check_learner(LinearTD(), own_rows(), reference=lambda state, step: {"w": np.zeros(3)}),
        ValueError,
        r"reference returned w of shape \(3,\): expected \(2,\), as in the learner",
    ),
    "a tolerance": (lambda: check_learner(td(), tolerance=0), ValueError, "tolerance is 0"),
    "a bad row": (lambda: check_learner(td(), [([1.0, 2.0, 3.0], 1.0)]), ValueError, r"x has shape \(3,\)"),
}


@dataclass(frozen=True)
class Slow(SGD):
    """An optimiser of one's own."""


class Generator:
    def __init__(self):
        self.rows = (row for row in ())

    def step(self, x):
        pass


@in_plain_python
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@in_plain_python
def test_an_error_of_the_learner_says_which_row():
    with pytest.raises(ValueError, match="x has shape") as caught:
        check_learner(td(), [([1.0, 2.0], 1.0), ([1.0], 1.0)])
    assert caught.value.__notes__ == ["in stream[1] of check_learner"]


@in_plain_python
def test_a_reference_can_make_every_mistake_that_it_names():
    made, named = {}, {}
    rules = [Adam(1e-3), RMSProp(1e-3), ObGD()]
    learners = [make() for make in LEARNERS.values()] + [regressor(optimizer=rule) for rule in rules]
    learners += [
        agent(kind, **{name: rule})
        for kind, name in ((QLambda, "optimizer"), (ActorCritic, "actor_optimizer"))
        for rule in rules
    ]
    for subject in [
        *learners,
        td(rules[0], gamma=[0.5, 0.9], normalize=True),
        ppo(optimizer=RMSProp(1e-3, epsilon=0.1)),
        agent(QRC, optimizer=rules[0], h_optimizer=rules[1]),
    ]:
        _, by = check._reference(subject, None, None)
        for row in rows_of(subject, STEPS):
            state = state_of(subject)
            subject.step(**row)
            at = by.observe(state, row, state_of(subject))
            right = by.expected(at)
            for mistake in set(by.mistakes) - made.setdefault(type(by), set()):
                changed = by.expected(at, mistake)
                if any(not np.array_equal(changed[name], right[name], equal_nan=True) for name in right):
                    made[type(by)].add(mistake)
        named[type(by)] = set(by.mistakes)
    assert {kind.__name__: names - made[kind] for kind, names in named.items()} == {k.__name__: set() for k in named}


@in_plain_python
def test_flags_of_the_command_line(capsys):
    for learner in ("td", "many", "regression", "actor-critic", "q"):
        assert main(["learnercheck", "--learner", learner, "--n-hidden", "1", "--steps", "9", "--cell", "min-gru"]) == 0
        assert "passed: largest error" in capsys.readouterr().out
    words = ["--n-hidden", "1", "--steps", "9"]
    assert main(["learnercheck", "--stack", "linear-rtu", "--exact", *words]) == 0
    assert "Stack([LinearRTU(1), LinearRTU(1)])" in capsys.readouterr().out
    assert (
        main(["learnercheck", "--learner", "ppo", "--optimizer", "sgd", "--tbptt", "2", *words, "--steps", "30"]) == 0
    )
    for more, message in {
        "--learner qrc": "optimizer is ObGD",
        "--cell gru --gradient snap1": "learner has gradient=SnAp1(): expected RTRL()",
        "--tbptt 2 --dense": "--dense and --tbptt exclude each other",
        "--leak .5": "--leak is 0.5 for linear-rtu",
    }.items():
        assert main(["learnercheck", *words, *more.split()]) == 2
        assert f"learnercheck: {message}" in capsys.readouterr().err


def test_every_mistake_of_a_rule_has_a_sentence_of_its_own():
    sentences = [value for name, value in vars(mistakes).items() if name.isupper()]
    assert len(sentences) == len(set(sentences))
    assert LearnerReport is rtu_np.learnercheck.LearnerReport
