"""What can be reached in the card games of POPGym, without a memory and with a perfect one: `CEILINGS`.

*Without a memory* is the best mean return of a policy that maps the present observation to an action. *With the
previous action and reward* is the same of a policy that maps these, too. That is more than it seems: an action is seen
one step later, so it carries a note from step to step, and the reward says whether it was right. *With a perfect
memory* is the best mean return of a policy that remembers all that it has seen.

Most are exact. In all games but Concentration an action changes no card. So the best action for an observation is the
one that is right most often, and that is a matter of counting cards. In Concentration the table itself is a memory,
since what is turned is seen, and the best map is not known. There, and for the previous action and reward, `CEILINGS`
has the best that was found, a lower bound: of a policy that is written down here, by arithmetic or by `measure`.
"""

import functools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from envs.card_tables import Concentration, CountRecall
from envs.cards import RANKS, SUITS, Autoencode, HigherLower, RepeatFirst, RepeatPrevious
from rtu_np.validation import check_choice

Policy = Callable[[np.ndarray, int | None, float], int]  # of the observation, the previous action and the reward


class Ceiling(NamedTuple):
    """Mean returns of an episode."""

    reactive: float
    previous: float  # of a policy that has the previous action and reward as well
    perfect: float
    bounds: tuple[str, ...] = ()  # names of those above that are lower bounds, the best that was found


# The numbers of `compute`, which tests/test_card_ceilings.py computes again.
_PREVIOUS, _BOTH = ("previous",), ("reactive", "previous")
CEILINGS = {
    "RepeatPreviousEasy": Ceiling(-0.4902, -0.2650, 1.0, _PREVIOUS),
    "RepeatPreviousMedium": Ceiling(-0.4951, -0.4878, 1.0, _PREVIOUS),
    "RepeatPreviousHard": Ceiling(-0.4968, -0.4916, 1.0, _PREVIOUS),
    "RepeatFirstEasy": Ceiling(-0.4994, 1.0, 1.0),
    "RepeatFirstMedium": Ceiling(-0.5, 1.0, 1.0),
    "RepeatFirstHard": Ceiling(-0.5, 1.0, 1.0),
    "CountRecallEasy": Ceiling(-0.9230, 0.1388, 1.0, _PREVIOUS),
    "CountRecallMedium": Ceiling(-0.9245, -0.2671, 1.0, _PREVIOUS),
    "CountRecallHard": Ceiling(-0.8812, -0.4604, 1.0, _PREVIOUS),
    "AutoencodeEasy": Ceiling(-0.4712, -0.4425, 1.0, _PREVIOUS),
    "AutoencodeMedium": Ceiling(-0.4856, -0.4741, 1.0, _PREVIOUS),
    "AutoencodeHard": Ceiling(-0.4904, -0.4822, 1.0, _PREVIOUS),
    "ConcentrationEasy": Ceiling(0.6337, 0.6337, 0.8333, _BOTH),
    "ConcentrationMedium": Ceiling(0.6392, 0.6392, 0.8333, _BOTH),
    "ConcentrationHard": Ceiling(-0.7533, -0.7533, 0.7324, _BOTH),
    "HigherLowerEasy": Ceiling(0.4970, 0.4984, 0.5276, _PREVIOUS),
    "HigherLowerMedium": Ceiling(0.4970, 0.4977, 0.5161, _PREVIOUS),
    "HigherLowerHard": Ceiling(0.4970, 0.4975, 0.5115, _PREVIOUS),
}


def compute(task: str, level: str) -> Ceiling:
    """The ceilings of one game. ValueError, by name, if there is no such task or level.

    Examples
    --------
    >>> compute("RepeatFirst", "Easy")
    Ceiling(reactive=-0.4994232987312571, previous=1.0, perfect=1.0, bounds=())
    """
    return check_choice("task", task, _COMPUTE)(level)


def measure(env: Any, policy: Policy, episodes: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Mean return of a policy, and its standard error.

    Examples
    --------
    >>> mean, error = measure(RepeatFirst("Easy"), lambda seen, action, reward: int(seen.argmax()), 200)
    >>> abs(mean - CEILINGS["RepeatFirstEasy"].reactive) < 4 * error
    True
    """
    returns = np.zeros(episodes)
    env.reset(seed=seed)
    for k in range(episodes):
        (observation, _), action, reward, over = env.reset(), None, 0.0, False
        while not over:
            action = policy(observation, action, reward)
            observation, reward, terminated, truncated, _ = env.step(action)
            returns[k] += reward
            over = terminated or truncated
    return float(returns.mean()), float(returns.std(ddof=1) / math.sqrt(episodes))


# ------------------------------------------------------------------------------------------------------------ suits


def _repeat_previous(level: str) -> Ceiling:
    """The suit of a card is a little rarer among all others, so any suit but the present one is as good as any."""
    env = RepeatPrevious(level)
    n = env.dynamics.n_cards
    reactive = 2 * (n // SUITS) / (n - 1) - 1
    note, _ = measure(env, hold_until_right if env.dynamics.k < 8 else win_shift)
    return Ceiling(reactive, max(note, reactive), 1.0, _PREVIOUS)


def _repeat_first(level: str) -> Ceiling:
    """The present suit is right at the first step, which outweighs that it is a little rarer afterwards.

    With the previous action, one repeats it.
    """
    n = RepeatFirst(level).dynamics.n_cards
    right = 1 + (n - 2) * (n // SUITS - 1) / (n - 1)
    return Ceiling(2 * right / (n - 1) - 1, 1.0, 1.0)


def _autoencode(level: str) -> Ceiling:
    """The last card is shown when it is asked for. Afterwards suit 0 is shown, and naming it is right at both."""
    env = Autoencode(level)
    n = env.dynamics.n_cards
    reactive = 2 * (1 + (n - 1) / SUITS) / n - 1
    note, _ = measure(env, recall_last_then_win_shift)
    return Ceiling(reactive, max(note, reactive), 1.0, _PREVIOUS)


def hold_until_right(observation: np.ndarray, action: int | None, reward: float) -> int:
    """Note the present suit as action, and repeat it until it is right: with k = 4, three steps later at the latest."""
    return int(observation.argmax()) if action is None or reward > 0 else action


def win_shift(observation: np.ndarray, action: int | None, reward: float) -> int:
    """Repeat an action until it was right: then its suit has become a little rarer."""
    return 0 if action is None else (action + 1) % SUITS if reward > 0 else action


def recall_last_then_win_shift(observation: np.ndarray, action: int | None, reward: float) -> int:
    return win_shift(observation, action, reward) if reward else int(observation[2:].argmax())


# ---------------------------------------------------------------------------------------------------- counts and ranks


def _count_recall(level: str) -> Ceiling:
    """The count that is most likely at a step that is not known, if the present card is of the kind, and if not.

    With the previous action: `count_one_kind`, which is right if its kind is asked for, or another that is as frequent.
    """
    n, kinds, _ = CountRecall(level).dynamics
    each, steps, right = n // kinds, n - 1, 0.0
    for share, marked, add in ((1 / kinds, each - 1, 1), (1 - 1 / kinds, each, 0)):
        chances = [0.0] * (each + 1)
        for t in range(steps):  # cards before the present one
            for m in range(min(t, marked) + 1):
                chances[m + add] += _hypergeometric(m, t, marked, n - 1)
        right += share * max(chances)
    equal = sum(_equal(t, each, n) for t in range(1, n))
    counted = (steps + (kinds - 1) * equal) / kinds
    return Ceiling(2 * right / steps - 1, 2 * counted / steps - 1, 1.0, _PREVIOUS)


def count_one_kind(observation: np.ndarray, action: int | None, reward: float) -> int:
    """Count the cards of kind 0, whatever is asked for."""
    return (action or 0) + int(observation[0])


def _hypergeometric(m: int, drawn: int, marked: int, n: int) -> float:
    """Probability of m marked cards among those drawn from n."""
    return math.comb(marked, m) * math.comb(n - marked, drawn - m) / math.comb(n, drawn) if m <= drawn else 0.0


def _equal(t: int, each: int, n: int) -> float:
    """Probability that two kinds are equally frequent among t cards."""
    ways = (math.comb(each, m) ** 2 * math.comb(n - 2 * each, t - 2 * m) for m in range(min(each, t // 2) + 1))
    return sum(ways) / math.comb(n, t)


def _higher_lower(level: str) -> Ceiling:
    """The side of a rank that has more cards wins more often.

    With the previous action and reward one knows whether the previous card was higher or lower. That decides at the
    middle rank, where both sides have as many, and nowhere else. With a perfect memory, one counts what is left.
    """
    n = HigherLower(level).dynamics.n_cards
    each = n // RANKS
    reactive = sum(abs(2 * r - 12) for r in range(RANKS)) * each / RANKS / n
    known = 12 * each / (n - 1) / RANKS / n
    counted = sum(_counted(each * r, each * (12 - r), each - 1) for r in range(RANKS)) / RANKS / n
    return Ceiling(reactive, reactive + known, counted, _PREVIOUS)


def _counted(lower: int, higher: int, equal: int) -> float:
    """Sum over all steps of the mean of |higher - lower| / cards left, where these count the cards that are left."""
    total = 0.0
    n = lower + higher + equal
    ways = [_ways(each) for each in (lower, higher, equal)]
    for left in range(1, n + 1):
        a, b = np.arange(lower + 1)[:, None], np.arange(higher + 1)[None, :]
        rest = left - a - b
        fits = (rest >= 0) & (rest <= equal)
        logs = ways[0][a] + ways[1][b] + ways[2][np.clip(rest, 0, equal)] - _ways(n)[left]
        total += float((np.exp(logs) * np.abs(a - b) * fits).sum()) / left
    return total


@functools.cache
def _ways(n: int) -> np.ndarray:
    """Logarithms of the binomial coefficients of n."""
    return np.array([math.log(math.comb(n, k)) for k in range(n + 1)])


# -------------------------------------------------------------------------------------------------------------- pairs

Kinds = tuple[tuple[int, int], ...]


def _concentration(level: str) -> Ceiling:
    env = Concentration(level)
    n, kinds, n_steps, _, _ = env.dynamics
    fails = _fails(((n // kinds, 0),) * kinds)
    found, _ = measure(env, search_in_order(kinds), 300)
    return Ceiling(found, found, 1 - 2 * fails / n_steps, _BOTH)


def search_in_order(n_kinds: int, seed: int = 0) -> Policy:
    """Look for the like of the lowest card that is face down, among all others in their order.

    The first card of a pair is the next to be tried, the second is the lowest. So the table says how far the search has
    come: a pair that failed is seen until the next card is turned, and its kinds are those that are seen an odd number
    of times. If another card of such a kind lies further on, some cards are left out; at the end any card is turned.
    """
    rng = np.random.default_rng(seed)

    def turn(observation: np.ndarray, action: int | None, reward: float) -> int:
        table = observation.reshape(-1, n_kinds + 1)
        kinds, down = table[:, :n_kinds], np.flatnonzero(table[:, n_kinds])
        if (len(table) - len(down)) % 2:  # the second of a pair
            return int(down[0])
        tried = np.flatnonzero(kinds[:, kinds.sum(0) % 2 == 1].any(1))
        later = down[down > (tried[-1] if tried.size else down[0])]
        return int(later[0] if later.size else rng.choice(down))

    return turn


@functools.cache
def _fails(kinds: Kinds) -> float:
    """How many pairs a perfect memory fails at in the mean: the best of its choices.

    It turns an unknown card. Then it turns its like, if it knows one, or a second unknown card: if most are of this
    kind, they are likely to match, and the known one is left for later. Two known cards that match are left, too, as
    long as others of their kind are unknown. tests/test_card_ceilings.py tries all other choices with fewer cards. The
    steps do not run out, since each fail shows two cards.

    kinds : for each kind, how many of its cards are unknown, and how many are known and face down
    """
    total, mean = sum(unknown for unknown, _ in kinds), 0.0
    for first, n in Counter(kinds).items():
        unknown, known = first
        choices = []
        if unknown and known:
            choices.append(_with(Counter(kinds) - Counter([first]), (unknown - 1, known - 1)))
        if unknown and total > 1:
            choices.append(_second_unknown(kinds, first) / (total - 1))
        if unknown:
            mean += n * unknown / total * min(choices)
    return mean


def _second_unknown(kinds: Kinds, first: tuple[int, int]) -> float:
    """Fails from here on, summed over all unknown cards that may be turned after one of the kind `first`."""
    unknown, known = first
    others = Counter(kinds)
    others[first] -= 1
    total = (unknown - 1) * _with(others, (unknown - 2, known)) if unknown > 1 else 0.0
    for each, n in list(others.items()):
        if n and each[0]:
            here = others.copy()
            here[each] -= 1
            total += n * each[0] * (1 + _with(here, (unknown - 1, known + 1), (each[0] - 1, each[1] + 1)))
    return total


def _with(kinds: Counter[tuple[int, int]], *more: tuple[int, int]) -> float:
    """Known cards for which no unknown one is left match each other."""
    return _fails(tuple(sorted((unknown, min(unknown, known)) for unknown, known in (*kinds.elements(), *more))))


_COMPUTE: dict[str, Callable[[str], Ceiling]] = {
    "RepeatPrevious": _repeat_previous,
    "RepeatFirst": _repeat_first,
    "CountRecall": _count_recall,
    "Autoencode": _autoencode,
    "Concentration": _concentration,
    "HigherLower": _higher_lower,
}
