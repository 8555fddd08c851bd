"""Card games: with the same deck all is as in the package popgym, step by step and to the end of the episode."""

import pickle
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from card_cases import GAMES, TASKS, perfect, planted
from cases import COMPILED
from compiled_cases import AGENTS, both_ways, learned
from gymnasium.utils.env_checker import check_env

from envs import popgym
from envs.cards import shuffle_new
from envs.snapshot import capture, restore
from rtu_np import numba_compiler
from rtu_np.compiled_environment import is_compiled
from rtu_np.jit import njit

ROOT = Path(__file__).parent.parent
every_task = pytest.mark.parametrize(("task", "level"), TASKS)


class Stacked:
    """Stands for popgym's generator, and puts its decks into the given order instead of a random one."""

    def __init__(self, decks):
        self.decks = list(decks)

    def shuffle(self, deck):
        deck[:] = self.decks.pop(0)


def decks(env):
    """In the order in which popgym shuffles them."""
    return [env.deck.copy(), env.queries.copy()] if hasattr(env, "queries") else [env.deck.copy()]


def random_player(env, seed):
    rng = np.random.default_rng(seed)
    return lambda observation, action, reward: int(rng.integers(env.action_space.n))


def often_perfect(env, task, level, seed):
    """Perfect, but for a random action now and then, of which a table of cards sees all kinds of trouble."""
    rng, player, other = np.random.default_rng(seed), perfect(task, level), random_player(env, seed)

    def play(observation, action, reward):
        best = player(observation, action, reward)
        return best if rng.random() < 0.9 else other(observation, action, reward)

    return play


def assert_same_episodes(ours, theirs, player, seeds):
    """Observations, rewards and ends, in every step; returns whether an episode was truncated, and all returns."""
    cut, returns = False, []
    for seed in seeds:
        observation, info = ours.reset(seed=seed)
        assert all((np.sort(deck) == np.arange(deck.size)).all() for deck in decks(ours))
        theirs.unwrapped._np_random = Stacked(decks(ours))
        expected, _ = theirs.reset()
        action, reward, over, total = None, 0.0, False, 0.0
        assert np.array_equal(observation, expected)
        assert info == {}
        while not over:
            action = player(observation, action, reward)
            observation, reward, terminated, truncated, info = ours.step(action)
            expected, *others = theirs.step(action)
            assert np.array_equal(observation, expected)
            assert (observation.dtype, type(reward)) == (expected.dtype, float)
            assert (reward, terminated, truncated, info) == tuple(others)
            over, total = terminated or truncated, total + reward
            cut |= truncated and not terminated
        returns.append(total)
    return cut, np.array(returns)


@every_task
def test_random_players(task, level):
    ours, theirs = GAMES[task](level), popgym.make(f"{task}{level}")
    cut, returns = assert_same_episodes(ours, theirs, random_player(ours, 1), range(20))
    assert cut == (task == "Concentration")
    assert returns.max() < 0.5


@every_task
def test_players_with_a_perfect_memory(task, level):
    ours, theirs = GAMES[task](level), popgym.make(f"{task}{level}")
    cut, returns = assert_same_episodes(ours, theirs, perfect(task, level), range(20))
    assert not cut
    if task in ("HigherLower", "Concentration"):  # where luck is left
        assert returns.min() > 0.2
    else:
        assert np.abs(returns - 1).max() < 1e-12
    assert_same_episodes(ours, theirs, often_perfect(ours, task, level, 2), range(20, 60 if level == "Easy" else 40))


@every_task
def test_a_seed_gives_the_episodes_that_it_gives_in_popgym(task, level):
    ours, theirs = gymnasium.make(f"rtu_np/{task}{level}-v0"), popgym.make(f"{task}{level}")
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    player = random_player(ours, 3)
    for seed in (4, None, None, 5):
        (observation, _), (expected, _) = ours.reset(seed=seed), theirs.reset(seed=seed)
        over = False
        while not over:
            assert np.array_equal(observation, expected)
            action = player(observation, None, 0.0)
            (observation, *ends), (expected, *others) = ours.step(action), theirs.step(action)
            assert ends == others
            over = ends[1] or ends[2]


# -------------------------------------------------------------------------------------------------------- planted bugs


@pytest.mark.parametrize(
    ("task", "file", "old", "new"),
    [
        ("RepeatPrevious", "cards", "asked = state[T] + 1 - dynamics.k", "asked = state[T] - dynamics.k"),
        ("RepeatPrevious", "cards", "if asked >= 0:", "if asked > 0:"),
        ("RepeatPrevious", "cards", "1 / (n_cards - k)", "1 / (n_cards - k + 1)"),
        ("RepeatFirst", "cards", "action == suit(dealt(dynamics, state, 0)) else", "action == suit(state[T]) else"),
        ("RepeatFirst", "cards", "FirstSuit(n_cards, 1 / (n_cards - 1))", "FirstSuit(n_cards, 1 / n_cards)"),
        ("RepeatFirst", "cards", "    return card % SUITS", "    return card // RANKS"),
        ("Autoencode", "cards", "if asked <= last:", "if asked < last:"),
        ("Autoencode", "cards", "_PLAY if state[T] >= last", "_PLAY if state[T] > last"),
        ("Autoencode", "cards", "bool(asked == 0)", "bool(asked == 1)"),
        ("HigherLower", "cards", "if shown != previous:", "if shown != previous or action == _HIGHER:"),
        ("HigherLower", "cards", "return card % CARDS // SUITS", "return card % RANKS"),
        ("CountRecall", "card_tables", "counts[shown] += 1\n    observation[shown]", "observation[shown]"),
        ("CountRecall", "card_tables", "    shuffle_new(queries, rng)\n", "    shuffle_new(queries.copy(), rng)\n"),
        ("CountRecall", "card_tables", "        counts[k] = 0\n", "        pass\n"),
        ("Concentration", "card_tables", "(1 if first == _NO_PLACE else 2)", "1"),
        ("Concentration", "card_tables", "        turn[_FIRST] = _NO_PLACE\n    elif", "        pass\n    elif"),
        ("Concentration", "card_tables", "if first != action and kind", "if kind"),
        ("Concentration", "card_tables", "state[T] == dynamics.n_steps", "state[T] > dynamics.n_steps"),
        ("Concentration", "card_tables", "turn[_N_UP] == dynamics.n_cards", "turn[_N_UP] > dynamics.n_cards"),
        ("Concentration", "card_tables", "        up[k] = 0\n", "        pass\n"),
    ],
)
def test_a_planted_bug_is_found(monkeypatch, task, file, old, new):
    game = getattr(planted(monkeypatch, file, old, new), task)
    for level in ("Easy", "Medium"):  # a mistake in ranks or suits may not show with colours
        ours, theirs = game(level), popgym.make(f"{task}{level}")
        try:
            for player in (perfect(task, level), often_perfect(ours, task, level, 2), random_player(ours, 1)):
                assert_same_episodes(ours, theirs, player, range(20))
        except (AssertionError, IndexError):
            return
    pytest.fail("the bug was not found")


# ------------------------------------------------------------------------------------------------------------- shuffles


def shuffled(n, k, shuffle):
    """k decks of n cards."""
    found = np.zeros((k, n), np.int64)
    shuffle(np.random.default_rng(6), found)
    return found


def ours(rng, rows):
    for k in range(rows.shape[0]):
        shuffle_new(rows[k], rng)


def of_all(rng, rows):
    """A well-known mistake: each card changes places with any other."""
    for row in rows:
        row[:] = np.arange(row.size)
        for i in range(row.size):
            j = rng.integers(row.size)
            row[[i, j]] = row[[j, i]]


def below(rng, rows):
    """Another: no card keeps its place in an exchange."""
    for row in rows:
        row[:] = np.arange(row.size)
        for i in range(row.size - 1, 0, -1):
            j = rng.integers(i)
            row[[i, j]] = row[[j, i]]


def deviation(counts, freedom):
    """How many standard deviations chi^2 of equal expected counts lies above its mean."""
    chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    return (chi2 - freedom) / np.sqrt(2 * freedom)


def orders(shuffle):
    """All 24 orders of four cards."""
    digits = [64, 16, 4, 1]
    found = np.bincount(shuffled(4, 24_000, shuffle) @ digits, minlength=256)
    return deviation(found[np.array(list(permutations(range(4)))) @ digits], 23)


def places(rows):
    """Each card in each place."""
    n = rows.shape[1]
    return deviation(np.bincount((rows * n + np.arange(n)).ravel(), minlength=n * n), (n - 1) ** 2)


def neighbours(rows):
    """Each card after each other one."""
    n = rows.shape[1]
    found = np.bincount((rows[:, :-1] * n + rows[:, 1:]).ravel(), minlength=n * n).reshape(n, n)
    return deviation(found[~np.eye(n, dtype=bool)], n * (n - 1) - 1)


def test_shuffles_are_uniform():
    shuffle = ours if numba_compiler.PLAIN else njit(ours)
    assert abs(orders(shuffle)) < 4
    for n in (52, 104):
        rows = shuffled(n, 20_000, shuffle)
        assert (np.sort(rows) == np.arange(n)).all()
        assert abs(places(rows)) < 4
        assert abs(neighbours(rows)) < 4


@pytest.mark.parametrize("biased", [of_all, below])
def test_a_biased_shuffle_is_found(biased):
    rows = shuffled(52, 5_000, biased)
    assert max(orders(biased), places(rows), neighbours(rows)) > 10


# -------------------------------------------------------------------------------------- stretches, copies, bad input


@pytest.mark.skipif(numba_compiler.PLAIN, reason="with plain Numba all goes step by step")
@pytest.mark.filterwarnings("ignore:steps is .*, so this call learns nothing")
@pytest.mark.parametrize("task", GAMES)
@pytest.mark.parametrize("agent", ["Q"] if COMPILED else ["Q", "actor-critic", "PPO"])
def test_stretches_in_compiled_code(monkeypatch, agent, task):
    """All is as it is step by step, to the bit, over several episodes; tests/test_compiled_environment.py says how."""

    def work():
        return learned(AGENTS[agent], gymnasium.make(f"rtu_np/{task}Easy-v0"), (1, 3, 60, 150, 7))

    one, other = both_ways(monkeypatch, work)
    assert one == other


@every_task
def test_copies_in_mid_episode(task, level):
    env = GAMES[task](level)
    player, other = random_player(env, 7), random_player(env, 7)
    env.reset(seed=8)
    for _ in range(30):
        env.step(player(None, None, 0.0)), other(None, None, 0.0)
    copies = pickle.loads(pickle.dumps(env)), GAMES[task](level)
    restore(copies[1], capture(env))
    for _ in range(900):
        action = player(None, None, 0.0)
        steps = [each.step(action) for each in (env, *copies)]
        assert all(np.array_equal(steps[0][0], step[0]) and steps[0][1:] == step[1:] for step in steps)
        if steps[0][2] or steps[0][3]:
            observations = [each.reset()[0] for each in (env, *copies)]
            assert all(np.array_equal(observations[0], each) for each in observations)


def test_a_deck_can_be_laid():
    env = GAMES["RepeatFirst"]("Easy")
    env.reset(seed=0)
    env.deck[:] = range(52)
    observation, reward, *_ = env.step(3)  # card 51 was the first, and 50 is the next
    assert (observation.tolist(), reward) == ([0.0, 0.0, 1.0, 0.0], 1 / 51)


@every_task
def test_gymnasium_s_checker(task, level):
    env = gymnasium.make(f"rtu_np/{task}{level}-v0", disable_env_checker=True).unwrapped
    assert is_compiled(env)
    check_env(env, skip_render_check=True)


@pytest.mark.parametrize("task", GAMES)
def test_bad_input(task):
    for level in ("easy", "Expert", None, 1):
        with pytest.raises(ValueError, match=f"level is {level!r}: expected one of 'Easy', 'Medium', 'Hard'"):
            GAMES[task](level)
    env = GAMES[task]("Easy")
    with pytest.raises(gymnasium.error.ResetNeeded, match="outside an episode"):
        env.step(0)
    env.reset(seed=0)
    state, n = env.state.copy(), int(env.action_space.n)
    for action in (n, -1, 0.0, None, np.array([0])):
        with pytest.raises(ValueError, match=rf"expected an integer of 0 \.\.\. {n - 1}"):
            env.step(action)
        assert np.array_equal(env.state, state)
    for action in (np.int64(0), np.array(1), True):
        env.step(action)


def test_cards_need_no_popgym():
    code = """
import sys
sys.modules["popgym"] = None
import gymnasium, envs, envs.popgym
for task in envs.popgym.TASKS:
    try:
        env = gymnasium.make(f"rtu_np/{task}-v0")
    except ImportError:
        continue
    env.reset(seed=0)
    env.step(0)
    print(task)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(task + level for task, level in TASKS)
