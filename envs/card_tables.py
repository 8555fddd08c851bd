"""Card games of POPGym in which many cards count: how many were dealt, and which match. See envs/cards.py."""

import math
from typing import ClassVar, NamedTuple

from envs.cards import CARDS, COLORS, DECK, RANKS, SUITS, CardGame, T, deal_from_new_deck, dealt, rank, shuffle_new
from rtu_np.compiled_environment import advance, begin, compiled
from rtu_np.jit import kernel
from rtu_np.validation import check_choice

_FIRST, _N_UP = 0, 1  # places of a turn: the place of the first card of a pair, and how many lie face up for good
_NO_PLACE = -1


@kernel
def kind(dynamics, card):
    """What counts of a card: its rank if there are 13 kinds, its suit or its colour if there are 4 or 2."""
    return rank(card) if dynamics.n_kinds == RANKS else card % dynamics.n_kinds


# --------------------------------------------------------------------------------------------------------- counting


class Counts(NamedTuple):
    n_cards: int
    n_kinds: int
    reward: float


@begin.register(Counts)
def _begin_counts(dynamics, state, rng, observation):
    queries, counts = _queries_and_counts(dynamics, state)
    deal_from_new_deck(dynamics, state, rng)
    shuffle_new(queries, rng)
    for k in range(dynamics.n_kinds):
        counts[k] = 0
    _count_and_show(dynamics, state, observation)


@advance.register(Counts)
def _advance_counts(dynamics, state, action, rng, observation):
    _, counts = _queries_and_counts(dynamics, state)
    reward = dynamics.reward if action == counts[_query(dynamics, state)] else -dynamics.reward
    state[T] += 1
    _count_and_show(dynamics, state, observation)
    return reward, bool(state[T] == dynamics.n_cards - 1), False


@kernel
def _queries_and_counts(dynamics, state):
    """A second deck, which says what is asked for; and how many of each kind were dealt."""
    counts = DECK + 2 * dynamics.n_cards
    return state[DECK + dynamics.n_cards : counts], state[counts:]


@kernel
def _query(dynamics, state):
    return kind(dynamics, state[DECK + 2 * dynamics.n_cards - 1 - state[T]])


@kernel
def _count_and_show(dynamics, state, observation):
    _, counts = _queries_and_counts(dynamics, state)
    shown = kind(dynamics, dealt(dynamics, state, state[T]))
    counts[shown] += 1
    observation[shown], observation[dynamics.n_kinds + _query(dynamics, state)] = 1, 1


@compiled
class CountRecall(CardGame):
    """Say how many cards of a kind have been dealt.

    ## Description
    At each step a card is dealt, and a card of a second deck asks for its kind. The present card counts. Easy: one
    deck, colours; Medium: two decks, suits; Hard: four decks, ranks.

    ## Action Space
    `Discrete(27)`, Hard `Discrete(17)`: a count, from 0 to all cards of a kind.

    ## Observation Space
    `Box(0, 1, (4,))`, Medium `(8,)`, Hard `(26,)`: the kind of the card that was dealt, 1 in its place, then the kind
    that is asked for.

    ## Rewards
    1 / n for the right count and -1 / n for any other, n being the number of steps.

    ## Starting State
    Two shuffled decks. One card has been dealt, and one has asked.

    ## Episode End
    Termination with the last card, after 51, 103 or 207 steps. What it asks for is not answered.

    ## Arguments
    - `level`: "Easy", "Medium" or "Hard".

    ## Version History
    - v0: first version, popgym's own; then compiled.

    Examples
    --------
    >>> env = CountRecall("Easy")
    >>> observation, _ = env.reset(seed=0)
    >>> observation.tolist(), env.step(1)[1] * 51
    ([0.0, 1.0, 0.0, 1.0], 1.0)
    """

    LEVELS: ClassVar = {"Easy": (1, COLORS), "Medium": (2, SUITS), "Hard": (4, RANKS)}  # decks, kinds

    def __init__(self, level: str = "Easy") -> None:
        n_decks, n_kinds = check_choice("level", level, self.LEVELS)
        n_cards = CARDS * n_decks
        dynamics = Counts(n_cards, n_kinds, 1 / (n_cards - 1))
        self._set_up(2 * n_kinds, 1 + n_cards // n_kinds, dynamics, n_cards + n_kinds)

    @property
    def queries(self):
        """The second deck, as `deck`."""
        return _queries_and_counts(self.dynamics, self.state)[0]


# ------------------------------------------------------------------------------------------------------------ pairs


class Pairs(NamedTuple):
    n_cards: int
    n_kinds: int
    n_steps: int
    success: float
    failure: float  # of one card; a pair fails twice


@begin.register(Pairs)
def _begin_pairs(dynamics, state, rng, observation):
    deal_from_new_deck(dynamics, state, rng)
    up, turn = _up_and_turn(dynamics, state)
    for k in range(dynamics.n_cards):
        up[k] = 0
    turn[_FIRST], turn[_N_UP] = _NO_PLACE, 0
    _show_cards(dynamics, state, _NO_PLACE, observation)


@advance.register(Pairs)
def _advance_pairs(dynamics, state, action, rng, observation):
    """Turn a card. The observation has it and the first of its pair; both lie face down after it unless they match."""
    up, turn = _up_and_turn(dynamics, state)
    first, reward = turn[_FIRST], 0.0
    _show_cards(dynamics, state, action, observation)
    if up[action] == 1:
        reward = dynamics.failure * (1 if first == _NO_PLACE else 2)
        turn[_FIRST] = _NO_PLACE
    elif first == _NO_PLACE:
        turn[_FIRST] = action
    else:
        turn[_FIRST] = _NO_PLACE
        if first != action and kind(dynamics, state[DECK + first]) == kind(dynamics, state[DECK + action]):
            reward = dynamics.success
            up[first], up[action] = 1, 1
            turn[_N_UP] += 2
        else:
            reward = dynamics.failure * 2
    state[T] += 1
    return reward, bool(turn[_N_UP] == dynamics.n_cards), bool(state[T] == dynamics.n_steps)


@kernel
def _up_and_turn(dynamics, state):
    """Whether each card lies face up for good; and the turn."""
    turn = DECK + 2 * dynamics.n_cards
    return state[DECK + dynamics.n_cards : turn], state[turn:]


@kernel
def _show_cards(dynamics, state, action, observation):
    up, turn = _up_and_turn(dynamics, state)
    for k in range(dynamics.n_cards):
        shown = up[k] == 1 or k == turn[_FIRST] or k == action
        place = k * (dynamics.n_kinds + 1)
        observation[place + (kind(dynamics, state[DECK + k]) if shown else dynamics.n_kinds)] = 1


@compiled
class Concentration(CardGame):
    """Turn cards two by two, looking for pairs of one kind.

    ## Description
    All cards lie face down. Each step turns one. Two that match stay face up. Two that do not are seen once, together,
    and lie face down again when the next card is turned. Easy: one deck, colours; Medium: two decks, colours; Hard: one
    deck, ranks.

    A card that is face up for good may be turned, which fails: alone if it is the first of a pair, and both if it is
    the second. So does turning the first card again. After either, the next card is the first of a pair.

    ## Action Space
    `Discrete(52)`, Medium `Discrete(104)`: the place of a card.

    ## Observation Space
    `Box(0, 1, (156,))`, Medium `(312,)`, Hard `(728,)`: for each place its kind, or face down behind all kinds (so 3, 3
    or 14 entries), 1 in its place.

    ## Rewards
    2 / N for a pair, N being the number of cards; -2 / n for a pair that fails and -1 / n for a first card that does, n
    being the largest number of steps; else 0. The return is 1 if every pair matches, -1 if none does.

    ## Starting State
    A shuffled deck, face down.

    ## Episode End
    Termination if all cards lie face up; truncation after 104 steps, Medium 208.

    ## Arguments
    - `level`: "Easy", "Medium" or "Hard".

    ## Version History
    - v0: first version, popgym's own; then compiled.

    Examples
    --------
    >>> env = Concentration("Easy")
    >>> _ = env.reset(seed=0)
    >>> first, second = (env.step(place) for place in (0, 1))
    >>> first[0][:6].tolist(), second[0][:6].tolist(), second[1] * 104
    ([1.0, 0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], -2.0)
    """

    LEVELS: ClassVar = {"Easy": (1, COLORS), "Medium": (2, COLORS), "Hard": (1, RANKS)}  # decks, kinds

    def __init__(self, level: str = "Easy") -> None:
        n_decks, n_kinds = check_choice("level", level, self.LEVELS)
        n = CARDS * n_decks
        n_steps = math.ceil(2 * n - n / (2 * n - 1))  # what Morad et al. give to a perfect player, doubled
        dynamics = Pairs(n, n_kinds, n_steps, 1 / (n // 2), -1 / n_steps)
        self._set_up(n * (n_kinds + 1), n, dynamics, n + 2)
