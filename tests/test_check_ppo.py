"""`check_learner` of PPO and of wrapped phases: other settings than those in which bugs are planted, and refusals."""

import numpy as np
import pytest
from agent_cases import everything
from cases import in_plain_python
from control_bug_cases import CONTROL_BUGS
from learner_cases import RULE, moved, ppo, stepped, td, wrapped
from planted_page import _learner_bugs
from planting import planted
from ppo_bug_cases import PPO_BUGS
from prediction_bug_cases import PREDICTION_BUGS

from rtu_np import (
    GRU,
    PPO,
    RTRL,
    Adam,
    Dense,
    GatedRTU,
    LayerNorm,
    LinearRTU,
    MinGRU,
    OnlineRegressor,
    Stack,
    TDLambda,
    check_learner,
)


def normalised():
    """What its gradient is made of cancels, but for rounding."""
    return moved(TDLambda(Stack([LinearRTU(1), LayerNorm()]), 2, optimizer=RULE, dtype="float32", seed=3))


SINGLE = {"dtype": "float32", "stored_dtype": "bfloat16"}
RIGHT = {
    "continuous": lambda: ppo(False, cell=Stack([Dense(3), LinearRTU(2)]), refresh="gradients"),
    "full RTRL": lambda: ppo(cell=GRU(2), refresh="gradients"),
    "two layers": lambda: ppo(cell=Stack([LinearRTU(2), LinearRTU(2)]), gradient=RTRL(exact=True)),
    "two layers, one by one": lambda: ppo(cell=Stack([LinearRTU(2), MinGRU(2)]), refresh="targets"),
    "feedforward": lambda: ppo(cell=Dense(3, "tanh"), normalize_observations=False, scale_rewards=False),
    "bfloat16": lambda: wrapped(ppo(**SINGLE), 0),
    "wrapped, two predictions": lambda: wrapped(td(gamma=[0.9, 0.9], body="shared"), 0),
    "wrapped, stored gradients": lambda: wrapped(OnlineRegressor(LinearRTU(2), 2, horizon=2, delay="stored")),
    "wrapped, a stack": lambda: wrapped(TDLambda(Stack([LinearRTU(2), LinearRTU(2)]), 2, optimizer=Adam(1e-3))),
    "float32, two features normalised": normalised,
    "bounded": lambda: wrapped(TDLambda(GatedRTU(2), 2)),
}


@in_plain_python
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_learner_passes(name):
    learner = RIGHT[name]()
    report = check_learner(learner, 12 if isinstance(learner, PPO) else 20)
    assert report.passed, str(report)
    assert not report.hints


@in_plain_python
def test_ppo_stays_as_it_is_and_may_be_in_mid_rollout():
    made = stepped(ppo(refresh="both"), 9)
    earlier, order = everything(made), made._rng.bit_generator.state
    assert check_learner(made, 20).passed
    assert (everything(made), made._rng.bit_generator.state) == (earlier, order)


@in_plain_python
def test_a_rounding_that_cuts_is_red():
    """Toward zero: the stored number may then be off by twice as much as to the nearest."""
    with planted("control/ppo/storage.py", [("bits + 0x7FFF + ((bits >> 16) & 1)", "bits")]):
        report = check_learner(ppo(**SINGLE), 8)
    assert not report.passed
    assert report.difference.name.startswith("rollout.sensitivities.")


@in_plain_python
def test_a_bug_is_red_where_float32_cancels():
    with planted("cells/layer_norm.py", [("memory.dk[i] - mean - memory.k[i] * along", "memory.dk[i] - mean")]):
        report = check_learner(normalised(), 20)
    assert report.difference.name.startswith("traces.cell."), str(report)


def always_wrapped():
    with planted("cells/eigenvalues.py", [("    return above > 0", "    return True")]):
        return check_learner(td(), 16)


REFUSED = {
    "no update": (
        lambda: check_learner(ppo(n_steps=60), 60),
        r"stream has 60 steps, of which 48 complete transitions: expected an update.*n_steps=60",
    ),
    "rounded again": (
        lambda: check_learner(ppo(refresh="gradients", **SINGLE)),
        "learner has stored_dtype='bfloat16' with refresh='gradients': expected refresh='none' or 'targets'",
    ),
    "a wrap of another kind": (
        always_wrapped,
        "stream takes a parameter of the learner out of its range by step 16.*expected phases theta_log",
    ),
}


@in_plain_python
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_no_bug_hides_another_of_its_name():
    assert len(_learner_bugs()) == len(PREDICTION_BUGS) + len(CONTROL_BUGS) + len(PPO_BUGS)


def test_cases_name_their_phases():
    assert np.exp(wrapped(td(), 0).parameters["cell.theta_log"][0]) == pytest.approx(13.0)
