"""PPO with sensitivities stored as bfloat16: rounding, its gradient beside float32's, checkpoints, what is refused."""

import copy
import importlib

import numpy as np
import pytest
from cases import COMPILED
from ppo_cases import CELLS, World, collected, gradient_of, make, sequences, stale

import rtu_np
from rtu_np import PPO, RTRL, TBPTT, Adam, Dense, LinearRTU
from rtu_np.jit import njit

LARGEST_ERROR = 4e-3  # of a minibatch's gradient; that of a number is 2^-8
SOME = [("linear RTU", RTRL())]
ALL = [("linear RTU", RTRL()), ("nonlinear RTU", RTRL()), ("GRU", RTRL(dense=True)), ("block-diagonal RNN", RTRL())]
ALL += [("minGRU", RTRL()), ("eLSTM", RTRL()), ("gated RTU", RTRL())]
ALL = [(name, gradient) for name, gradient in ALL if name in CELLS]
HALF = {"dtype": "float32", "stored_dtype": "bfloat16"}


def there_and_back(numbers, package=rtu_np):
    """The numbers as they are read after they have been stored."""
    storage = importlib.import_module(f"{package.__name__}.control.ppo.storage")
    numbers = np.array(numbers, np.float32)
    rounded, found = np.zeros(numbers.size, np.uint16), np.zeros_like(numbers)
    njit(_there_and_back_of(storage))(numbers, rounded, found)
    return found


def _there_and_back_of(storage):
    round_off, widen = storage.round_off, storage.widen

    def both(numbers, rounded, found):
        round_off(numbers, rounded)
        widen(rounded, found)

    return both


def check_rounding(package=rtu_np):
    """To the nearest number of 8 significant bits; a tie goes to the even one. Infinity, NaN and zeros stay."""
    step = 2.0**-7
    given = [1 + 0.49 * step, 1 + 0.5 * step, 1 + 0.51 * step, 1 + 1.5 * step, -1 - 1.5 * step, 1 + 2.5 * step]
    assert there_and_back(given, package).tolist() == [1, 1, 1 + step, 1 + 2 * step, -1 - 2 * step, 1 + 2 * step]
    special = there_and_back([np.inf, -np.inf, np.nan, -0.0, 0.0, 3.4e38, 1e-45], package)
    assert special[:2].tolist() == [np.inf, -np.inf]
    assert np.isnan(special[2])
    assert np.signbit(special[3:5]).tolist() == [True, False]
    assert special[5:].tolist() == [np.inf, 0]
    x = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    assert (np.abs(there_and_back(x, package) - x) <= 2.0**-8 * np.abs(x)).all()


def test_numbers_are_rounded_to_the_nearest():
    check_rounding()


def both(name, gradient, package=rtu_np):
    """(gradient of a minibatch with float32, with bfloat16), from the same rollout, with other parameters since."""
    found = []
    for stored_dtype in (None, "bfloat16"):
        agent, _, _ = stale(name, gradient, False, package=package, dtype="float32", stored_dtype=stored_dtype)
        found.append(np.concatenate([view.ravel() for view in gradient_of(agent, sequences(agent)).values()]))
    return found


def check_gradient(name, gradient, package=rtu_np):
    exact, rounded = both(name, gradient, package)
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 0 < error <= LARGEST_ERROR, f"off by {error}"


@pytest.mark.parametrize(("name", "gradient"), SOME if COMPILED else ALL)
def test_the_gradient_of_a_minibatch_is_float32_s_to_three_digits(name, gradient):
    check_gradient(name, gradient)


STORAGE = "control/ppo/storage.py"
BUGS = {
    "cut off": (check_rounding, "(bits + 0x7FFF + ((bits >> 16) & 1)) >> 16", "bits >> 16"),
    "ties go up": (check_rounding, "(bits + 0x7FFF + ((bits >> 16) & 1)) >> 16", "(bits + 0x8000) >> 16"),
    "NaN becomes infinite": (check_rounding, "nearest if x == x else _NAN", "nearest if x == x else 0x7F80"),
    "another transition": (None, "    widen(rounded[t], scratch)", "    widen(rounded[t - 1], scratch)"),
    "4 bits": (None, "0x7FFF + ((bits >> 16) & 1)) >> 16", "0x7FFF + ((bits >> 16) & 1)) >> 20 << 4"),
}


@pytest.mark.skipif(COMPILED, reason="a copy of the package compiles again; test_modes.py runs it uncompiled")
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug, mutant):
    check, old, new = BUGS[bug]
    package = mutant(STORAGE, [(old, new)])
    with pytest.raises(AssertionError):
        check(package) if check else check_gradient("linear RTU", RTRL(), package)


@pytest.mark.filterwarnings("ignore:steps is .*this call learns nothing:RuntimeWarning")
def test_a_checkpoint_goes_on_bit_for_bit(tmp_path):
    agent, world = make(CELLS["linear RTU"].cell, refresh="both", optimizer=Adam(1e-3), **HALF)
    agent.learn(world, 15, progress=False, log=None)
    assert agent._rounded.dtype == np.uint16
    assert agent._rounded.any(axis=1).sum() >= 3
    loaded, there = PPO.load(agent.save(tmp_path / "agent.npz")), copy.deepcopy(world)
    assert loaded.stored_dtype == "bfloat16"
    loaded.resume(there)
    copied, elsewhere = copy.deepcopy(agent), copy.deepcopy(world)
    copied.resume(elsewhere)
    states = []
    for each, env in ((agent, world), (loaded, there), (copied, elsewhere)):
        each.learn(env, 40, progress=False, log=None)
        states.append(b"".join(array.tobytes() for array in each._arrays().values()))
    assert states[0] == states[1] == states[2]


def test_half_the_memory():
    settings = {"n_steps": 512, "n_minibatches": 8}
    whole = PPO(World(), LinearRTU(32), **settings)
    half = PPO(World(), LinearRTU(32), **settings, stored_dtype="bfloat16")
    stored = 4 * 512 * whole._spec.n_stored
    assert half._views.rollout.stored.size == 0
    # Each of four parts widens four transitions, and acting rounds one; a part is whole pages of 4 kB.
    saved = whole.bytes_held - half.bytes_held
    assert abs(saved - (stored / 2 - 17 * stored / 512)) < 0.02 * stored / 2 + 4 * 4096


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float64"}, r"stored_dtype is 'bfloat16' with dtype float64: expected None, or dtype='float32'"),
        (
            {"gradient": TBPTT(4)},
            r"stored_dtype is 'bfloat16' with cell .* gradient TBPTT\(.*4\): expected None, since",
        ),
        ({"cell": Dense(4, "tanh")}, "this network stores no sensitivities"),
        ({"stored_dtype": "float16"}, "stored_dtype is 'float16': expected one of 'bfloat16'"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        PPO(World(), **{"n_steps": 8, "n_minibatches": 2, "stored_dtype": "bfloat16", **settings})


def test_a_phase_that_is_wrapped_rescales_what_is_stored():
    """As in float32, to the rounding."""
    stored = []
    for stored_dtype in (None, "bfloat16"):
        agent, world = make(CELLS["linear RTU"].cell, dtype="float32", stored_dtype=stored_dtype)
        rollout = collected(agent, world)
        agent.parameters["cell.theta_log"][:] = np.log(20.0)
        agent._update._wrap()
        stored.append(rollout.stored.copy() if stored_dtype is None else agent._rounded.astype(np.uint32) << 16)
    whole, rounded = stored[0], stored[1].view(np.float32)
    assert whole.any()
    assert np.abs(whole - rounded).max() <= 2.0**-7 * np.abs(whole).max()
