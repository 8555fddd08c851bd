"""What the tests of card games share: their names, players with a perfect memory, and bugs to plant."""

import sys
import types
from itertools import product
from pathlib import Path

import envs
from envs import card_tables, cards

GAMES = {
    "RepeatPrevious": cards.RepeatPrevious,
    "RepeatFirst": cards.RepeatFirst,
    "Autoencode": cards.Autoencode,
    "HigherLower": cards.HigherLower,
    "CountRecall": card_tables.CountRecall,
    "Concentration": card_tables.Concentration,
}
LEVELS = ("Easy", "Medium", "Hard")
TASKS = list(product(GAMES, LEVELS))


def planted(monkeypatch, file, old, new):
    """A module of ours with a bug."""
    source = (Path(envs.__file__).parent / f"{file}.py").read_text()
    assert source.count(old) == 1, f"not one place to plant the bug in: {old!r}"
    module = types.ModuleType(f"planted_{file}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source.replace(old, new), module.__name__, "exec"), module.__dict__)
    return module


def perfect(task: str, level: str):
    """A policy of `envs.card_ceilings.measure` that remembers all; an episode begins without a previous action."""
    memory: dict = {}

    def play(observation, action, reward):
        if action is None:
            memory.clear()
        memory["action"] = action
        return PLAYERS[task](level, observation, memory)

    return play


def first(level, observation, memory):
    return int(memory.setdefault("first", observation).argmax())


def previous(level, observation, memory):
    """The suit of the card k - 1 cards ago; popgym counts the present one as the first."""
    seen = memory.setdefault("seen", [])
    seen.append(int(observation.argmax()))
    return seen[max(len(seen) - {"Easy": 4, "Medium": 32, "Hard": 64}[level], 0)]


def backwards(level, observation, memory):
    seen, playing = memory.setdefault("seen", []), bool(observation[0])
    if not (playing and memory.get("played")):  # the last card is shown when it is time to play already
        seen.append(int(observation[2:].argmax()))
    memory["played"] = playing
    return seen.pop() if playing else 0


def count(level, observation, memory):
    kinds = len(observation) // 2
    counts = memory.setdefault("counts", [0] * kinds)
    counts[int(observation[:kinds].argmax())] += 1
    return counts[int(observation[kinds:].argmax())]


def bet(level, observation, memory):
    left = memory.setdefault("left", [4 * {"Easy": 1, "Medium": 2, "Hard": 3}[level]] * 13)
    rank = int(observation.argmax())
    left[rank] -= 1
    return int(sum(left[:rank]) > sum(left[rank + 1 :]))


def find_pairs(level, observation, memory):
    """An unknown card, then its like if it is known, and else another unknown card; known pairs are left to the end."""
    kinds = observation.reshape({"Medium": 104}.get(level, 52), -1).argmax(1)
    known, done = memory.setdefault("known", {}), memory.setdefault("done", set())
    turned, first = memory["action"], memory.pop("first", None)
    if turned is not None:
        known[turned] = int(kinds[turned])
        if first is None and turned not in done:
            first = memory["first"] = turned
        elif first is not None:
            fits = first != turned and turned not in done and known[first] == known[turned]
            done |= {first, turned} if fits else set()
            first = None
    here = {place: kind for place, kind in known.items() if place not in done}
    if first is not None:
        likes = [place for place in here if here[place] == here[first] and place != first]
    else:
        likes = [one for one in here for other in here if one != other and here[one] == here[other]]
    unknown = [place for place in range(len(kinds)) if place not in known]
    return ((likes + unknown) if first is not None else (unknown + likes))[0] if likes or unknown else min(here)


PLAYERS = {
    "RepeatPrevious": previous,
    "RepeatFirst": first,
    "Autoencode": backwards,
    "HigherLower": bet,
    "CountRecall": count,
    "Concentration": find_pairs,
}
