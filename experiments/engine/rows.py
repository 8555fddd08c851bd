"""Rows of a committed table: which match, which lie apart, how a number is written, and the registry of sentences."""

from collections.abc import Callable

Table = dict[str, dict[str, float]]
Sentence = Callable[[Table], tuple[str, bool]]  # the sentence with its numbers, and whether the table bears it out
SENTENCES: dict[tuple[str, str], Sentence] = {}  # {(experiment, preset): sentence}


def of(experiment: str, preset: str = "laptop") -> Callable[[Sentence], Sentence]:
    """Register the sentence of a figure."""

    def register(make: Sentence) -> Sentence:
        SENTENCES[experiment, preset] = make
        return make

    return register


def above(table: Table, row: str, other: str, name: str = "") -> bool:
    """Whether the interval of a row lies above that of another."""
    low, high = (f"{name} low".strip(), f"{name} high".strip())
    return table[row][low] > table[other][high]


def overlap(table: Table, row: str, other: str) -> bool:
    return not above(table, row, other) and not above(table, other, row)


def matching(table: Table, *words: str) -> list[str]:
    """The rows that have all of these words."""
    return [row for row in table if all(word in row for word in words)]


def most(table: Table, rows: list[str], name: str) -> float:
    return max(table[row][name] for row in rows)


def least(table: Table, rows: list[str], name: str) -> float:
    return min(table[row][name] for row in rows)


def short(value: float) -> str:
    """Three digits, or all before the point, and no exponent for a number that has a name in four."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
