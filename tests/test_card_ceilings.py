"""What can be reached in card games: the table is what its functions compute, and players reach it and no more."""

import functools

import numpy as np
import pytest
from card_cases import GAMES, TASKS, perfect, planted

from envs import card_ceilings
from envs.card_ceilings import CEILINGS, compute, count_one_kind, measure

CLOSE = 0.02  # what measuring by some hundred episodes may be off by
every_task = pytest.mark.parametrize(("task", "level"), TASKS)


@every_task
def test_the_table_is_what_its_functions_compute(task, level):
    computed, shown = compute(task, level), CEILINGS[task + level]
    assert computed.bounds == shown.bounds
    for name in ("reactive", "previous", "perfect"):
        tolerance = 0.02 if name in shown.bounds else 5.1e-5  # NumPy may draw other decks one day
        assert abs(getattr(computed, name) - getattr(shown, name)) < tolerance
    assert -1 <= shown.reactive <= shown.previous <= shown.perfect <= 1


@every_task
def test_a_perfect_memory_gets_what_the_table_says(task, level):
    mean, error = measure(GAMES[task](level), perfect(task, level), 500 if task == "HigherLower" else 100, seed=1)
    assert abs(mean - CEILINGS[task + level].perfect) < 4 * error + 1e-4
    assert 4 * error < CLOSE


def best_reactive(env, episodes):
    """Return of the map from observations to actions that would have been best in some episodes, by trying all actions.

    An action changes no card, so the state is put back after each. The map fits these episodes, so this is a bit high.
    """
    n, total = int(env.action_space.n), {}
    env.reset(seed=2)
    for _ in range(episodes):
        observation, _ = env.reset()
        over = False
        while not over:
            state, rewards = env.state.copy(), np.zeros(n)
            for action in range(n):
                env.state[:], env.in_episode = state, True
                following, rewards[action], over, _, _ = env.step(action)
            total.setdefault(observation.tobytes(), np.zeros(n))
            total[observation.tobytes()] += rewards
            observation = following
    return sum(each.max() for each in total.values()) / episodes


@pytest.mark.parametrize(
    ("task", "level"), [pair for pair in TASKS if pair[0] != "Concentration" and pair[1] == "Easy"]
)
def test_no_map_from_observations_is_better(task, level):
    found = best_reactive(GAMES[task](level), {"CountRecall": 200, "RepeatFirst": 1500}.get(task, 500))
    assert abs(found - CEILINGS[task + level].reactive) < CLOSE


@pytest.mark.parametrize("level", ["Easy", "Medium", "Hard"])
def test_notes_in_the_previous_action(level):
    def repeat(observation, action, reward):
        return int(observation.argmax()) if action is None else action

    assert measure(GAMES["RepeatFirst"](level), repeat, 20)[0] == pytest.approx(1)
    mean, error = measure(GAMES["CountRecall"](level), count_one_kind, 300)
    assert abs(mean - CEILINGS[f"CountRecall{level}"].previous) < 4 * error
    assert error < 0.02


@functools.cache
def fewest_fails(kinds):
    """By the best of all choices: a known card or an unknown one, as first and as second, a pair taken or left.

    kinds : for each kind, how many of its cards are unknown, and how many are known and face down
    """

    def after(kinds, k, unknown, known):
        return tuple((u + unknown, n + known) if j == k else (u, n) for j, (u, n) in enumerate(kinds))

    def fails(kinds):
        return fewest_fails(tuple(sorted(kinds)))

    def over_unknown(kinds, fails_with):
        """Mean over the unknown cards that may be turned, which are known then."""
        total = sum(unknown for unknown, _ in kinds)
        return sum(u / total * fails_with(after(kinds, k, -1, 1), k) for k, (u, _) in enumerate(kinds) if u)

    def second(kinds, k, may_pass=True):
        """With a card of kind k turned, which counts as known."""
        choices = [1 + fails(kinds)] if may_pass else []
        if kinds[k][1] > 1:
            choices.append(fails(after(kinds, k, 0, -2)))
        if any(unknown for unknown, _ in kinds):
            choices.append(
                over_unknown(kinds, lambda here, j: fails(after(here, k, 0, -2)) if j == k else 1 + fails(here))
            )
        return min(choices)

    firsts = [second(kinds, k, may_pass=False) for k, (_, known) in enumerate(kinds) if known]
    if any(unknown for unknown, _ in kinds):
        firsts.append(over_unknown(kinds, second))
    return min(firsts, default=0.0)


@pytest.mark.parametrize(
    "cards", [(2, 2), (8, 8), (14, 14), (6, 10), (2, 2, 2), (4, 4, 4), (8, 8, 2), (2,) * 5, (4, 4, 4, 4), (4,) * 5]
)
def test_no_player_of_pairs_fails_less(cards):
    ours = card_ceilings._fails(tuple((n, 0) for n in cards))
    assert ours == pytest.approx(fewest_fails(tuple((n, 0) for n in cards)), rel=1e-12)
    assert ours > 0.3


def test_what_the_last_comparison_says_of_the_next_card():
    """At the middle rank, the next card is on the other side of the last one a little more often than not."""
    decks = np.random.default_rng(3).permuted(np.tile(np.arange(52) // 4, (40_000, 1)), axis=1)
    last, now, following = decks[:, :-2], decks[:, 1:-1], decks[:, 2:]
    won = ((now == 6) * np.sign(now - last) * np.sign(following - now)).sum(1) / 52
    ceiling = CEILINGS["HigherLowerEasy"]
    error = won.std() / 200
    assert abs(won.mean() - (ceiling.previous - ceiling.reactive)) < 4 * error
    assert won.mean() > 4 * error


@pytest.mark.parametrize(
    ("task", "name", "old", "new"),
    [
        ("RepeatPrevious", "reactive", "2 * (n // SUITS) /", "2 * (n // SUITS - 1) /"),
        ("RepeatFirst", "reactive", "1 + (n - 2) * (n // SUITS - 1)", "(n - 2) * (n // SUITS - 1)"),
        ("Autoencode", "reactive", "(1 + (n - 1) / SUITS)", "(n / SUITS)"),
        ("CountRecall", "reactive", "share * max(chances)", "max(chances)"),
        ("HigherLower", "reactive", "abs(2 * r - 12)", "abs(2 * r - 12) * (r > 0)"),
        ("HigherLower", "perfect", "* np.abs(a - b) *", "* np.maximum(a, b) *"),
        ("Concentration", "perfect", "(1 + _with", "(_with"),
    ],
)
def test_a_wrong_formula_is_found(monkeypatch, task, name, old, new):
    """It is further from the right number than the players above may be."""
    module = planted(monkeypatch, "card_ceilings", old, new)
    monkeypatch.setattr(module, "measure", lambda *_: (0.0, 0.0))
    wrong = getattr(module.compute(task, "Easy"), name)
    assert not abs(wrong - getattr(CEILINGS[f"{task}Easy"], name)) < CLOSE


def test_there_is_no_such_game():
    with pytest.raises(ValueError, match="task is 'Chess': expected one of 'RepeatPrevious'"):
        compute("Chess", "Easy")
    with pytest.raises(ValueError, match="level is 'Expert'"):
        compute("Concentration", "Expert")
