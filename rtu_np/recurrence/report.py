"""What `check_recurrence` found, as a table."""

from dataclasses import dataclass

from rtu_np import tables
from rtu_np.recurrence.trees import spot

EXACT_FOR_FIXED, TRUNCATED, WRONG, REFERENCE = "exact for fixed parameters", "truncated", "not exact", "reference"


@dataclass(frozen=True)
class ParameterCheck:
    """Errors of the gradient by one array, relative to its largest entry."""

    name: str
    size: int
    kind: str
    bptt: float  # after all steps, as the next two
    complex_step: float | None  # None, if the function does not take complex numbers
    differences: float
    largest: float  # after any number of steps, against the best reference
    parts_at: int | None  # the first number of steps after which the error is above the tolerance


@dataclass(frozen=True)
class Parting:
    """The first number of steps, T, after which a gradient is wrong, and its worst entry there."""

    steps: int
    name: str
    index: tuple[int, ...]
    given: float
    expected: float
    of: str = ""  # the number of the state that is differentiated, if sensitivities are checked

    def __str__(self) -> str:
        at = spot("params", self.name, self.index)
        what = f"d {self.of} / d {at}" if self.of else f"the gradient by {at}"
        return f"they part at T = {self.steps}: {what} is {self.given:.9g}, expected {self.expected:.9g}"


@dataclass(frozen=True)
class RecurrenceReport:
    """Result of `check_recurrence`; `print` it, or assert `passed`.

    notes : what limits the check. hints : what the mistake is, if a known one explains the error
    """

    title: str
    parameters: tuple[ParameterCheck, ...]
    tolerance: float
    meaningful: bool  # the references agree, and are not all zero
    parting: Parting | None
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def max_error(self) -> float:
        """The largest error after any number of steps."""
        return max(parameter.largest for parameter in self.parameters)

    @property
    def passed(self) -> bool:
        return self.meaningful and self.max_error <= self.tolerance

    def _rows(self) -> list[list[str]]:
        rows = [["array", "size", "kind of gradient", "BPTT", "complex step", "differences", "parts at T"]]
        for p in self.parameters:
            errors = ["-" if e is None else f"{e:.1e}" for e in (p.bptt, p.complex_step, p.differences)]
            rows.append([p.name, str(p.size), p.kind, *errors, "-" if p.parts_at is None else str(p.parts_at)])
        return rows

    def _lines(self) -> list[str]:
        parting = [] if self.parting is None else [str(self.parting)]
        verdict = (
            f"{'passed' if self.passed else 'FAILED'}: largest error {self.max_error:.1e}, allowed {self.tolerance:.0e}"
        )
        return [*self.notes, *parting, *(f"hint: {hint}" for hint in self.hints), verdict]

    def __str__(self) -> str:
        return tables.as_text(self.title, self._rows(), "<><>>>>", *self._lines())

    def _repr_html_(self) -> str:
        """The same table, for notebooks."""
        return tables.as_html(self.title, self._rows(), *self._lines())
