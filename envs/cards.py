"""Card games of POPGym (Morad et al. 2023), compiled: what all share, and the games in which cards pass by.

Observations, rewards, ends and actions are those of the package popgym, which none of this needs. The same seed gives
the same episodes as there. `envs.popgym.make` gives the package's own. envs/card_tables.py has the games in which many
cards count, envs/card_ceilings.py what can be reached with a memory and without.
"""

from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from rtu_np.compiled_environment import CompiledEnvironment, advance, begin, compiled, shuffle
from rtu_np.jit import kernel
from rtu_np.validation import check_choice

# A card is a number below `n_cards`: suits follow one another, four cards of one rank stand together.
CARDS, COLORS, SUITS, RANKS = 52, 2, 4, 13  # of one deck
# Places of the state: how many cards were dealt after the first, and the deck, which is dealt from its end.
T, DECK = 0, 1
_PLAY, _WATCH = 0, 1  # places of an observation of `Autoencode`; suits follow
_HIGHER = 0  # the action of `HigherLower` that bets on a higher rank


@kernel
def deal_from_new_deck(dynamics, state, rng):
    """Shuffle the deck, from the order of new cards; the first card is dealt."""
    state[T] = 0
    shuffle_new(state[DECK : DECK + dynamics.n_cards], rng)


@kernel
def shuffle_new(cards, rng):
    for i in range(cards.shape[0]):
        cards[i] = i
    shuffle(rng, cards)


@kernel
def dealt(dynamics, state, t):
    """Card number t of the episode, from 0."""
    return state[DECK + dynamics.n_cards - 1 - t]


@kernel
def suit(card):
    return card % SUITS


@kernel
def rank(card):
    return card % CARDS // SUITS


class CardGame(CompiledEnvironment, gymnasium.Env):
    """Base of all: a level, a deck, and actions that are numbers."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012
    LEVELS: ClassVar[dict[str, Any]]  # {level: what the constructor makes of it}
    action_space: Discrete

    def _set_up(self, n_observation: int, n_actions: int, dynamics: Any, n_more: int = 0) -> None:
        """Spaces and arrays; `n_more` places of the state follow the deck."""
        self.observation_space = Box(0.0, 1.0, (n_observation,), np.float32)
        self.action_space = Discrete(n_actions)
        self.dynamics, self.state = dynamics, np.zeros(DECK + dynamics.n_cards + n_more, np.int64)

    @property
    def deck(self) -> np.ndarray:
        """The cards as they lie; the first that is dealt is the last. A view: what is written here is played."""
        return self.state[DECK : DECK + self.dynamics.n_cards]

    def step(self, action: Any):
        if self.in_episode and not self.action_space.contains(action):
            raise ValueError(f"action is {action!r}: expected an integer of 0 ... {self.action_space.n - 1}")
        return super().step(int(action) if self.in_episode else action)


# ------------------------------------------------------------------------------------------------------------ suits


class PreviousSuit(NamedTuple):
    n_cards: int
    k: int
    reward: float


class FirstSuit(NamedTuple):
    n_cards: int
    reward: float


class SuitsBackwards(NamedTuple):
    n_cards: int
    reward: float


@begin.register(PreviousSuit)
def _begin_previous(dynamics, state, rng, observation):
    deal_from_new_deck(dynamics, state, rng)
    _show_suit(dynamics, state, observation)


@begin.register(FirstSuit)
def _begin_first(dynamics, state, rng, observation):
    deal_from_new_deck(dynamics, state, rng)
    _show_suit(dynamics, state, observation)


@begin.register(SuitsBackwards)
def _begin_backwards(dynamics, state, rng, observation):
    deal_from_new_deck(dynamics, state, rng)
    observation[_WATCH], observation[_WATCH + 1 + suit(dealt(dynamics, state, 0))] = 1, 1


@advance.register(PreviousSuit)
def _advance_previous(dynamics, state, action, rng, observation):
    asked = state[T] + 1 - dynamics.k
    reward = 0.0
    if asked >= 0:
        reward = dynamics.reward if action == suit(dealt(dynamics, state, asked)) else -dynamics.reward
    return reward, _deal_suit(dynamics, state, observation), False


@advance.register(FirstSuit)
def _advance_first(dynamics, state, action, rng, observation):
    reward = dynamics.reward if action == suit(dealt(dynamics, state, 0)) else -dynamics.reward
    return reward, _deal_suit(dynamics, state, observation), False


@advance.register(SuitsBackwards)
def _advance_backwards(dynamics, state, action, rng, observation):
    last = dynamics.n_cards - 1
    asked = 2 * last - state[T]  # a card that was dealt, once all were
    state[T] += 1
    shown, reward = 0, 0.0  # while the agent plays, the suit is 0
    if asked <= last:
        reward = dynamics.reward if action == suit(dealt(dynamics, state, asked)) else -dynamics.reward
    else:
        shown = suit(dealt(dynamics, state, state[T]))
    observation[_PLAY if state[T] >= last else _WATCH] = 1
    observation[_WATCH + 1 + shown] = 1
    return reward, bool(asked == 0), False


@kernel
def _show_suit(dynamics, state, observation):
    observation[suit(dealt(dynamics, state, state[T]))] = 1


@kernel
def _deal_suit(dynamics, state, observation):
    """Deal and show a card; returns whether it was the last."""
    state[T] += 1
    _show_suit(dynamics, state, observation)
    return bool(state[T] == dynamics.n_cards - 1)


@compiled
class RepeatPrevious(CardGame):
    """Name the suit of the card that came `k` - 1 cards before the present one.

    ## Description
    Cards are dealt one by one. Easy: one deck, k = 4; Medium: two decks, k = 32; Hard: three decks, k = 64. Popgym
    counts the present card as the first, so with k = 4 it is the card three steps ago.

    ## Action Space
    `Discrete(4)`: a suit.

    ## Observation Space
    `Box(0, 1, (4,))`: the suit of the card that was dealt, 1 in its place.

    ## Rewards
    1 / (n - k + 1) for a right suit and minus that for a wrong one, n being the number of steps; 0 in the first k - 1
    steps, whatever the action. The return is 1 if all are right, -1 if all are wrong.

    ## Starting State
    A shuffled deck, whose first card is shown.

    ## Episode End
    Termination with the last card, after 51, 103 or 155 steps.

    ## Arguments
    - `level`: "Easy", "Medium" or "Hard".

    ## Version History
    - v0: first version, popgym's own; then compiled.

    Examples
    --------
    >>> env = RepeatPrevious("Easy")
    >>> suits = [int(env.reset(seed=0)[0].argmax())]
    >>> suits += [int(env.step(0)[0].argmax()) for _ in range(3)]
    >>> env.step(suits[0])[1] * 48, env.step(suits[1])[1] * 48
    (1.0, 1.0)
    """

    LEVELS: ClassVar = {"Easy": (1, 4), "Medium": (2, 32), "Hard": (3, 64)}  # decks, k

    def __init__(self, level: str = "Easy") -> None:
        n_decks, k = check_choice("level", level, self.LEVELS)
        n_cards = CARDS * n_decks
        self._set_up(SUITS, SUITS, PreviousSuit(n_cards, k, 1 / (n_cards - k)))


@compiled
class RepeatFirst(CardGame):
    """Name the suit of the first card, at each step.

    ## Description
    Cards are dealt one by one. The first is not marked. Easy: one deck; Medium: 8; Hard: 16.

    ## Action Space
    `Discrete(4)`: a suit.

    ## Observation Space
    `Box(0, 1, (4,))`: the suit of the card that was dealt, 1 in its place.

    ## Rewards
    1 / n for the right suit and -1 / n for a wrong one, n being the number of steps. The first action counts, too: the
    first card is shown when it is taken.

    ## Starting State
    A shuffled deck, whose first card is shown.

    ## Episode End
    Termination with the last card, after 51, 415 or 831 steps.

    ## Arguments
    - `level`: "Easy", "Medium" or "Hard".

    ## Version History
    - v0: first version, popgym's own; then compiled.

    Examples
    --------
    >>> env = RepeatFirst("Easy")
    >>> first = int(env.reset(seed=0)[0].argmax())
    >>> [env.step(first)[1] * 51 for _ in range(3)], env.step((first + 1) % 4)[1] * 51
    ([1.0, 1.0, 1.0], -1.0)
    """

    LEVELS: ClassVar = {"Easy": 1, "Medium": 8, "Hard": 16}  # decks

    def __init__(self, level: str = "Easy") -> None:
        n_cards = CARDS * check_choice("level", level, self.LEVELS)
        self._set_up(SUITS, SUITS, FirstSuit(n_cards, 1 / (n_cards - 1)))


@compiled
class Autoencode(CardGame):
    """See all suits, then name them in reverse order.

    ## Description
    All cards are dealt, one by one; actions do not count. Then the agent plays: it names the last card, the last but
    one, and so on to the first. The last card is shown when it is asked for. After it nothing is shown, not even how
    many have been named. Easy: one deck; Medium: two; Hard: three.

    ## Action Space
    `Discrete(4)`: a suit.

    ## Observation Space
    | index | what |
    |---|---|
    | 0 | 1 if the next action counts |
    | 1 | 1 if it does not |
    | 2 ... 5 | the suit of the card that was dealt, 1 in its place; after the last card, suit 0 |

    ## Rewards
    1 / N for a right suit and -1 / N for a wrong one, N being the number of cards; 0 while cards are dealt.

    ## Starting State
    A shuffled deck, whose first card is shown.

    ## Episode End
    Termination when the first card has been named, after 103, 207 or 311 steps.

    ## Arguments
    - `level`: "Easy", "Medium" or "Hard".

    ## Version History
    - v0: first version, popgym's own; then compiled.

    Examples
    --------
    >>> env = Autoencode("Easy")
    >>> seen = [env.reset(seed=0)[0], *(env.step(0)[0] for _ in range(51))]
    >>> suits = [int(each[2:].argmax()) for each in seen]
    >>> [each[0].item() for each in seen[-2:]], {env.step(suits.pop())[1] * 52 for _ in range(52)}
    ([0.0, 1.0], {1.0})
    """

    LEVELS: ClassVar = {"Easy": 1, "Medium": 2, "Hard": 3}  # decks

    def __init__(self, level: str = "Easy") -> None:
        n_cards = CARDS * check_choice("level", level, self.LEVELS)
        self._set_up(2 + SUITS, SUITS, SuitsBackwards(n_cards, 1 / n_cards))


# ------------------------------------------------------------------------------------------------------------ ranks


class NextRank(NamedTuple):
    n_cards: int
    reward: float


@begin.register(NextRank)
def _begin_next(dynamics, state, rng, observation):
    deal_from_new_deck(dynamics, state, rng)
    observation[rank(dealt(dynamics, state, 0))] = 1


@advance.register(NextRank)
def _advance_next(dynamics, state, action, rng, observation):
    state[T] += 1
    previous, shown = rank(dealt(dynamics, state, state[T] - 1)), rank(dealt(dynamics, state, state[T]))
    observation[shown] = 1
    reward = 0.0
    if shown != previous:
        reward = dynamics.reward if (shown > previous) == (action == _HIGHER) else -dynamics.reward
    return reward, bool(state[T] == dynamics.n_cards - 1), False


@compiled
class HigherLower(CardGame):
    """Bet on the next card's rank being higher or lower than this one's.

    ## Description
    Cards are dealt one by one. A player that counts the cards that are gone bets a little better. Easy: one deck;
    Medium: two; Hard: three.

    ## Action Space
    `Discrete(2)`: higher, lower.

    ## Observation Space
    `Box(0, 1, (13,))`: the rank of the card that was dealt, from ace to king, 1 in its place.

    ## Rewards
    1 / N for a bet that is won and -1 / N for one that is lost, N being the number of cards; 0 if ranks are equal.

    ## Starting State
    A shuffled deck, whose first card is shown.

    ## Episode End
    Termination with the last card, after 51, 103 or 155 steps.

    ## Arguments
    - `level`: "Easy", "Medium" or "Hard".

    ## Version History
    - v0: first version, popgym's own; then compiled.

    Examples
    --------
    >>> env = HigherLower("Easy")
    >>> first, _ = env.reset(seed=0)
    >>> steps = [env.step(action) for action in (0, 1, 0)]
    >>> int(first.argmax()), [(int(seen.argmax()), reward * 52) for seen, reward, *_ in steps]
    (7, [(3, -1.0), (8, -1.0), (10, 1.0)])
    """

    LEVELS: ClassVar = {"Easy": 1, "Medium": 2, "Hard": 3}  # decks

    def __init__(self, level: str = "Easy") -> None:
        n_cards = CARDS * check_choice("level", level, self.LEVELS)
        self._set_up(RANKS, 2, NextRank(n_cards, 1 / n_cards))
