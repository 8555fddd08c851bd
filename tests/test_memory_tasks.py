"""Mazes with noise, and the sizes of the memory tasks."""

import pickle

import gymnasium
import numpy as np
import pytest
from planted_tasks import planted

from envs import KMemoryChain, MemoryChain, TMaze
from envs.snapshot import capture, restore

FORWARD, LEFT, RIGHT, BACK = range(4)


def judge_maze(kind):
    """AssertionError if an environment is not the maze: every observation and reward is written out."""
    env, signs = kind(length=3, form="cue"), set()
    for seed in range(8):
        cue = env.reset(seed=seed)[0][0]
        signs.add(cue)
        # against the walls, two steps on, one back, to the junction and against its wall
        walk = [(LEFT, (cue, 0, 1)), (BACK, (cue, 0, 1)), (FORWARD, (0, 0, 1)), (RIGHT, (0, 0, 1))]
        walk += [(FORWARD, (0, 0, 1)), (BACK, (0, 0, 1)), (BACK, (cue, 0, 1)), (FORWARD, (0, 0, 1))]
        walk += [(FORWARD, (0, 0, 1)), (LEFT, (0, 0, 1)), (FORWARD, (0, 1, 1)), (FORWARD, (0, 1, 1))]
        assert tuple(env.reset(seed=seed)[0]) == (cue, 0, 1)
        for action, seen in walk:
            observation, *rest = env.step(action)
            assert (tuple(observation), *rest) == (seen, -0.01, False, False, {})
        turn = LEFT if seed % 2 else RIGHT
        right = (turn == LEFT) == (cue == 1)
        assert env.step(turn)[1:4] == (0.99 if right else -1.01, True, False)
    assert signs == {-1, 1}
    env.reset(seed=0)
    assert [env.step(BACK)[2:4] for _ in range(40)] == [(False, False)] * 39 + [(False, True)]
    judge_noise(kind)


def judge_noise(kind):
    for form in ("bakker", "cue"):
        plain, noisy = kind(length=2, form=form), kind(length=2, noise=0.1, form=form)
        gaps = []
        for seed in range(300):
            walk = [0, 1, 0, 1, 0, 1] if form == "cue" else [1, 1, 0]
            rows = [plain.reset(seed=seed), *(plain.step(action) for action in walk[: 3 if seed % 2 else 1])]
            other = [noisy.reset(seed=seed), *(noisy.step(action) for action in walk[: 3 if seed % 2 else 1])]
            assert [row[1:4] for row in rows[1:]] == [row[1:4] for row in other[1:]]
            gaps += [a[0].astype(float) - b[0] for a, b in zip(other, rows, strict=True)]
        gaps = np.array(gaps) / 0.1
        n = len(gaps)
        assert np.abs(gaps.mean(axis=0)).max() < 4 / np.sqrt(n)
        assert np.abs((gaps**2).mean(axis=0) - 1).max() < 4 * np.sqrt(2 / n)
        assert np.abs(np.corrcoef(gaps.T) - np.eye(3)).max() < 4 / np.sqrt(n)
        assert np.abs((gaps[1:] * gaps[:-1]).mean(axis=0)).max() < 4 / np.sqrt(n)


def test_the_maze_step_by_step():
    judge_maze(TMaze)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if position == 0 else", "if position < 2 else"),
        ("0.99, -1.01, -0.01, -0.01", "1.0, -1.0, -0.01, -0.01"),
        ("0.99, -1.01, -0.01, -0.01", "0.99, -1.01, -0.01, -0.1"),
        ("form.turns[state[_TURN]] else", "form.turns[1 - state[_TURN]] else"),
        ("previous == dynamics.length and", "previous >= dynamics.length - 1 and"),
        ("dynamics.noise * normal(rng)", "dynamics.noise * abs(normal(rng))"),
        ("dynamics.noise * normal(rng)", "dynamics.noise**2 * normal(rng)"),
        ("    _add_noise(dynamics, rng, observation)\n\n", "\n"),
        ("        _add_noise(dynamics, rng, observation)\n", ""),
        ("state[_T] == 10 * (dynamics.length + 1)", "state[_T] > 10 * (dynamics.length + 1)"),
    ],
)
def test_planted_bugs_in_the_maze_are_found(old, new):
    module = planted("tmaze.py", old, new)
    with pytest.raises(AssertionError):
        judge_maze(module.TMaze)


def judge_chain(kind):
    for timing, late in (("lag-free", 0), ("bsuite", 1)):
        for k in (4, 8, 16):
            env, length = kind(length=6, k=k, timing=timing), 6
            for seed in range(6):
                rows = [env.reset(seed=seed)[0]]
                bits, asked = rows[0][1 + k :], None
                for t in range(length + 1):
                    asked = int(rows[-1][1 : 1 + k].argmax())
                    observation, reward, *ends, _ = env.step(int(bits[asked] > 0) if seed % 2 else int(bits[asked] < 0))
                    assert reward == (0 if t < length else 1 if seed % 2 else -1)
                    assert ends == [t == length, False]
                    rows.append(observation)
                shown = np.array(rows[:-1])
                assert (shown[: 1 + late, 1 + k :] == bits).all()
                assert set(np.abs(bits)) == {1}
                assert not shown[1 + late :, 1 + k :].any()
                assert not shown[:-1, 1 : 1 + k].any()
                assert shown[-1, 1 : 1 + k].sum() == 1
                assert shown[:, 0].tolist() == [np.float32(1 - max(t - late, 0) / length) for t in range(length + 1)]


def test_chains_of_4_8_and_16_bits():
    judge_chain(KMemoryChain)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    if t == 0:\n", "    if t <= 1:\n"),
        ("t == dynamics.length - dynamics.lag", "t >= dynamics.length - dynamics.lag - 1"),
        ("state[_BITS + state[_ASKED]]", "state[_BITS]"),
        ("state[_T] > dynamics.length", "state[_T] >= dynamics.length"),
        ("state[_T] - dynamics.lag, 0", "state[_T], 0"),
    ],
)
def test_planted_bugs_in_the_chain_are_found(old, new):
    with pytest.raises(AssertionError):
        judge_chain(planted("memory_chain.py", old, new).KMemoryChain)


@pytest.mark.parametrize(
    ("kind", "settings", "error", "message"),
    [
        (MemoryChain, {"length": 0}, ValueError, "length is 0: expected an integer of at least 1 and at most 1000000"),
        (MemoryChain, {"length": 10**6 + 1}, ValueError, "length is 1000001: expected an integer of at least 1 and at"),
        (KMemoryChain, {"k": 0}, ValueError, "k is 0: expected an integer of at least 1 and at most 1000"),
        (KMemoryChain, {"k": 1001}, ValueError, "k is 1001: expected an integer of at least 1 and at most 1000"),
        (KMemoryChain, {"k": 4.0}, TypeError, "k is 4.0 of type float: expected an integer"),
        (KMemoryChain, {"length": -3}, ValueError, "length is -3"),
        (TMaze, {"length": 10**30}, ValueError, f"length is {10**30}: expected an integer of at least 1 and at most"),
        (TMaze, {"noise": -0.1}, ValueError, r"noise is -0.1: expected a finite number in \[0.0, 100.0\]; the signs"),
        (TMaze, {"noise": np.nan}, ValueError, "noise is nan: expected a finite number"),
        (TMaze, {"noise": 101}, ValueError, "noise is 101"),
        (TMaze, {"noise": "loud"}, TypeError, "noise is 'loud' of type str: expected a real number"),
        (TMaze, {"form": "long"}, ValueError, "form is 'long': expected one of 'bakker', 'cue'"),
    ],
)
def test_sizes_out_of_range_are_refused(kind, settings, error, message):
    with pytest.raises(error, match=message):
        kind(**settings)


@pytest.mark.parametrize("kind", [MemoryChain, KMemoryChain, TMaze])
def test_the_largest_sizes_are_made(kind):
    env = kind(length=10**6, **({"k": 1000} if kind is KMemoryChain else {}))
    assert env.reset(seed=0)[0] in env.observation_space
    assert kind(length=np.int64(3)).length == 3


def test_a_noisy_maze_goes_on_alike():
    """Snapshots, pickles and seeds: the noise is drawn from the environment's own generator."""
    make = {"length": 4, "noise": 0.3, "form": "cue"}
    env, other = (gymnasium.make("rtu_np/TMaze-v0", **make) for _ in range(2))
    env.reset(seed=5)
    env.step(FORWARD)
    restore(other, capture(env))
    again = pickle.loads(pickle.dumps(env.unwrapped))
    for action in (FORWARD, BACK, FORWARD):
        seen = [each.step(action)[0].tobytes() for each in (env, other, again)]
        assert len(set(seen)) == 1
    assert env.reset(seed=1)[0].tobytes() == other.reset(seed=1)[0].tobytes() != env.reset(seed=2)[0].tobytes()
    with pytest.raises(ValueError, match="snapshot is of"):
        restore(gymnasium.make("rtu_np/TMaze-v0", length=4), capture(env))


def test_what_the_maze_says_of_its_actions():
    for form, names in (("bakker", "north, east, south, west"), ("cue", "forward, left, right, back")):
        env = TMaze(form=form)
        env.reset(seed=0)
        with pytest.raises(ValueError, match=f"action is 4: expected 0, 1, 2 or 3: {names}"):
            env.step(4)
