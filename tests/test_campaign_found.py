"""What the campaign has found, each with the right value, by name (tests/test_campaign_*.py)."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
from agent_cases import World
from cases import in_plain_python
from gymnasium import spaces

from rtu_np import (
    GRU,
    LRU,
    PPO,
    QRC,
    RTRL,
    SGD,
    TBPTT,
    ActorCritic,
    Dense,
    Epsilon,
    LayerNorm,
    LinearReadout,
    LinearRTU,
    QLambda,
    Stack,
    TDLambda,
    check_gradients,
    costs,
    run_many,
)
from rtu_np.control.actions import Actions
from rtu_np.control.spaces import build, describe, observation_writer
from rtu_np.validation import check_dtype, check_number, check_real


@pytest.mark.parametrize("cell", [LinearRTU, GRU])
def test_sizes_of_any_integer_type(cell):
    """2 * np.int8(100) overflows."""
    plain = TDLambda(cell(100), n_inputs=200)
    assert TDLambda(cell(np.int8(100)), n_inputs=np.uint8(200)).bytes_held == plain.bytes_held
    assert costs.flops(cell(np.int8(100)), np.uint8(200)) == costs.flops(cell(100), 200)


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": LinearRTU(np.int64(4), r_max=np.float32(0.5))},
        {"cell": LRU(4, direct=np.bool_(True))},
        {"optimizer": SGD(np.float32(0.01))},
        {"optimizer": SGD(Fraction(1, 100))},
        {"gradient": TBPTT(np.int64(3))},
    ],
)
def test_settings_of_any_number_type_are_saved(settings, tmp_path):
    learner = TDLambda(**{"cell": LinearRTU(2), "n_inputs": 2, **settings})
    assert repr(TDLambda.load(learner.save(tmp_path / "learner"))) == repr(learner)
    assert "np." not in repr(learner)


@pytest.mark.parametrize("nothing", [0, "", [], False])
@pytest.mark.parametrize("name", ["optimizer", "readout", "cell", "gradient"])
def test_zero_is_no_default_of_prediction(name, nothing, tmp_path):
    with pytest.raises(TypeError, match=rf"^{name} is "):
        TDLambda(**{"cell": LinearRTU(2), "n_inputs": 2, name: nothing})
    path = TDLambda(LinearRTU(2), n_inputs=2).save(tmp_path / "learner")
    with pytest.raises(ValueError, match=f"{name} is "):
        TDLambda.load(path, **{name: nothing})


@pytest.mark.parametrize("nothing", [0, ""])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((ActorCritic, name) for name in ("cell", "critic_cell", "policy", "actor_optimizer", "critic_optimizer")),
        *((PPO, name) for name in ("cell", "actor", "critic", "policy", "optimizer")),
        *((QLambda, name) for name in ("cell", "epsilon", "optimizer")),
        *((QRC, name) for name in ("cell", "epsilon", "optimizer", "h_optimizer")),
    ],
)
def test_zero_is_no_default_of_agents(kind, name, nothing):
    with pytest.raises(TypeError, match=rf"^{name} is "):
        kind(World(True), **{"cell": LinearRTU(2), name: nothing})


@pytest.mark.parametrize(
    ("name", "other"),
    [
        *(("optimizer", part) for part in (RTRL(), LinearRTU(2), LinearReadout())),
        *(("gradient", part) for part in (SGD(0.1), LinearRTU(2), LinearReadout())),
        *(("readout", part) for part in (SGD(0.1), LinearRTU(2), RTRL())),
    ],
)
def test_settings_in_the_place_of_others(name, other):
    with pytest.raises(TypeError, match=rf"^{name} is .*expected a"):
        TDLambda(**{"cell": LinearRTU(2), "n_inputs": 2, name: other})


@pytest.mark.parametrize("other", [Epsilon(), LinearRTU(2)])
def test_what_also_draws_is_no_policy(other):
    with pytest.raises(TypeError, match=r"^policy is .*: expected a policy such as Softmax\(\)"):
        ActorCritic(World(True), LinearRTU(2), policy=other)


@pytest.mark.parametrize(("seed", "error"), [("x", TypeError), (1.5, TypeError), (-1, ValueError)])
def test_a_seed_is_named(seed, error):
    for make in (
        lambda: TDLambda(LinearRTU(2), n_inputs=2, seed=seed),
        lambda: ActorCritic(World(True), LinearRTU(2), seed=seed),
        lambda: LinearRTU(2).build(2, seed=seed),
        lambda: check_gradients(LinearRTU(2), seed=seed),
    ):
        with pytest.raises(error, match=rf"^seed is {seed!r}: expected an integer of at least 0, or None"):
            make()


def test_dtypes():
    assert check_dtype("dtype", ">f8") == np.dtype("float64")
    for wrong in (None, "f8,("):
        with pytest.raises(ValueError, match=r"^dtype is "):
            check_dtype("dtype", wrong)


def test_long_integers_and_durations():
    for number in (10**400, -(10**5000), Fraction(10**5000)):
        with pytest.raises(ValueError, match=r"^gamma is .{1,80}: expected a finite number in \[0, 1\]"):
            check_real("gamma", number, low=0, high=1)
    for duration in (np.timedelta64(1, "s"), np.timedelta64(1)):
        with pytest.raises(TypeError, match=r"^c is .*: expected a real number"):
            check_number("c", duration)
        with pytest.raises(TypeError, match=r"^gamma is "):
            check_real("gamma", duration)
        with pytest.raises(TypeError, match=r"^n_hidden is "):
            GRU(duration)
        with pytest.raises(TypeError, match=r"^n_outputs is "):
            LRU(2, n_outputs=duration)


@pytest.mark.parametrize("n", [10**18, 10**30, 10**5000], ids=["10**18", "10**30", "10**5000"])
def test_sizes_that_cannot_be_counted(n):
    for make in (lambda: TDLambda(LinearRTU(2), n_inputs=n), lambda: TDLambda(GRU(n), n_inputs=2)):
        with pytest.raises(MemoryError, match="expected fewer units or inputs"):
            make()


def test_ragged_lists_are_named():
    learner, ragged = TDLambda(LinearRTU(2), n_inputs=2), [[1.0, 2.0], [1.0]]
    with pytest.raises(ValueError, match=r"^x is not an array"):
        learner.predict(ragged)
    with pytest.raises(ValueError, match=r"^observations is not an array"):
        run_many([learner], ragged, [0.0, 0.0])


@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_flags_that_are_texts(name):
    """`run` refused them, and `step` took "False" for true."""
    with pytest.raises(TypeError, match=rf"^{name} is 'False'"):
        TDLambda(LinearRTU(2), n_inputs=1).step([1.0], 0.0, **{name: "False"})
    with pytest.raises(TypeError, match=rf"^{name} is 'False'"):
        ActorCritic(World(True), LinearRTU(2)).step(np.ones(3), 0.0, **{name: "False"})


def test_spaces_of_large_integers():
    start = 2**60 + 1
    space = spaces.MultiDiscrete([2, 3], start=[start, 0])
    action = Actions(space).to_environment(np.float32([1, 2]))
    assert action.tolist() == [start + 1, 2]
    unsigned = spaces.MultiDiscrete([2, 3], dtype=np.uint64, start=np.array([2**63 + 5, 0], np.uint64))
    assert build(describe(unsigned)) == unsigned
    n, write = observation_writer(unsigned)
    out = np.zeros(n)
    write(np.array([2**63 + 6, 2], np.uint64), out)
    assert out.tolist() == [0, 1, 0, 0, 1]
    box = spaces.Box(0, np.array([5, 2**64 - 1], np.uint64), dtype=np.uint64)
    assert build(describe(box)) == box


def test_a_box_beyond_float32():
    """Whose bounds float32 does not reach, while the environment's type does."""
    space = spaces.Box(1e300, 1.5e300, (1,), np.float64)
    assert space.contains(Actions(space).to_environment(Actions(space).bounds(np.float32)[0]))


def test_a_box_of_longdouble_is_saved(tmp_path):
    agent = ActorCritic(World(spaces.Box(-2, 2, (1,), np.longdouble)), LinearRTU(2))
    assert ActorCritic.load(agent.save(tmp_path / "agent")).action_space == agent.action_space


@in_plain_python
@pytest.mark.parametrize("gradient", [RTRL(dense=True), TBPTT(2)])
def test_a_look_at_a_stack(gradient):
    """Every 16,384 steps of TDLambda, and after every update of PPO."""
    learner = TDLambda(Stack([Dense(1), LinearRTU(1)]), n_inputs=1, gradient=gradient)
    learner._clock[0] = (1 << 14) - 1
    learner.step([1.0], 0.0)
    assert learner.steps == 1 << 14


@in_plain_python
def test_a_copy_of_qrc_continues_to_the_bit():
    """Also in the signs of zeros: one came from an array that copies do not hold."""
    one, other = (QRC(World(True), LinearRTU(3), beta=0.0, dtype="float64") for _ in range(2))
    rng = np.random.default_rng(0)
    for _ in range(12):
        other = pickle.loads(pickle.dumps(other))
        x, reward = rng.standard_normal(3), rng.standard_normal()
        one.step(x, reward)
        other.step(x, reward)
        pairs = zip(one._arrays().values(), other._arrays().values(), strict=True)
        assert all(a.tobytes() == b.tobytes() for a, b in pairs)


def test_a_unit_that_is_always_near_a_kink():
    """The mean of one number is that number, so its normalised value is 0."""
    with pytest.raises(ValueError, match=r"cell has a unit within .* of the kink"):
        check_gradients(LayerNorm("relu"), n_inputs=1)


def test_a_space_beyond_memory():
    for space in (spaces.Discrete(10**18), spaces.MultiDiscrete([2**62, 2**62])):
        env = World(True)
        env.observation_space = space
        with pytest.raises(MemoryError, match="expected fewer units or inputs"):
            ActorCritic(env, LinearRTU(2))
        with pytest.raises(MemoryError, match="expected fewer units or inputs"):
            ActorCritic(World(space), LinearRTU(2))
