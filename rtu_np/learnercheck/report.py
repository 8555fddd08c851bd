"""What `check_learner` found, as a table."""

from dataclasses import dataclass

from rtu_np import tables

TOLERANCE = {"float64": 1e-9, "float32": 3e-4}


@dataclass(frozen=True)
class PartCheck:
    """One part of a learner's state: errors relative to the largest expected change of an array in the same step."""

    name: str
    size: int
    error: float  # the largest of all steps
    parts_at: int | None  # the first step at which the error is above the tolerance


@dataclass(frozen=True)
class Difference:
    """The first step at which a learner is wrong, counted from 1, and its worst entry there."""

    step: int
    name: str
    index: tuple[int, ...]
    given: float
    expected: float

    def __str__(self) -> str:
        at = f"{self.name}{list(self.index)}" if self.index else self.name
        return f"they part at step {self.step}: {at} is {self.given:.9g}, expected {self.expected:.9g}"


@dataclass(frozen=True)
class LearnerReport:
    """Result of `check_learner`; `print` it, or assert `passed`.

    notes : what limits the check. hints : what the mistake is, if a known one explains the error
    """

    title: str
    parts: tuple[PartCheck, ...]
    tolerance: float
    difference: Difference | None
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def max_error(self) -> float:
        """The largest error of all parts and steps."""
        return max(part.error for part in self.parts)

    @property
    def passed(self) -> bool:
        return self.max_error <= self.tolerance

    def _rows(self) -> list[list[str]]:
        rows = [["part of the state", "size", "largest error", "parts at step"]]
        for part in self.parts:
            at = "-" if part.parts_at is None else str(part.parts_at)
            rows.append([part.name, str(part.size), f"{part.error:.1e}", at])
        return rows

    def _lines(self) -> list[str]:
        return [
            *([] if self.difference is None else [str(self.difference)]),
            *(f"note: {note}" for note in self.notes),
            *(f"hint: {hint}" for hint in self.hints),
            f"{'passed' if self.passed else 'FAILED'}: largest error {self.max_error:.1e}, "
            f"allowed {self.tolerance:.0e}",
        ]

    def __str__(self) -> str:
        return tables.as_text(self.title, self._rows(), "<>>>", *self._lines())

    def _repr_html_(self) -> str:
        """The same table, for notebooks."""
        return tables.as_html(self.title, self._rows(), *self._lines())
