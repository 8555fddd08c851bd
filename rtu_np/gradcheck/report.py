"""What `check_gradients` found, as tables."""

from dataclasses import dataclass

from rtu_np import tables

TOLERANCE = {"float64": 1e-11, "float32": 1e-4}  # against BPTT and complex step
TOLERANCE_DIFFERENCES = {"float64": 1e-6, "float32": 1e-4}
TOLERANCE_ONE_STEP = 1e-5  # of a step in float32 against the same step in float64, unless it goes through a window


@dataclass(frozen=True)
class BlockCheck:
    """Errors of the gradient of one parameter block, relative to the largest entry of what was expected."""

    block: str
    size: int
    kind: str
    bptt: float
    complex_step: float
    central_differences: float


@dataclass(frozen=True)
class RegimeCheck:
    """Errors in one regime, relative to the largest entry of what was expected."""

    regime: str
    units: int
    inputs: int
    bptt: float
    complex_step: float
    learn: float | None  # `learn` against `advance` and `accumulate`; None for `learn` in three passes, checked once
    float32: float | None  # a step in float32 against the same step in float64; None in regimes of `thorough` alone
    float32_allowed: float

    @property
    def passed(self) -> bool:
        exact = max(self.bptt, self.complex_step, self.learn or 0.0)
        return exact <= TOLERANCE["float64"] and (self.float32 or 0.0) <= self.float32_allowed


@dataclass(frozen=True)
class GradientReport:
    """Result of `check_gradients`; `print` it, or assert `passed`."""

    title: str
    blocks: tuple[BlockCheck, ...]
    tolerance: float
    tolerance_differences: float
    regimes: tuple[RegimeCheck, ...] = ()
    left_out: tuple[str, ...] = ()  # regimes that this cell cannot have, each with the reason

    @property
    def max_error(self) -> float:
        """The largest error of the blocks against BPTT and complex step."""
        return max(max(block.bptt, block.complex_step) for block in self.blocks)

    @property
    def blocks_passed(self) -> bool:
        """Whether all blocks passed; `passed` asks the regimes, too."""
        differences = max(block.central_differences for block in self.blocks)
        return self.max_error <= self.tolerance and differences <= self.tolerance_differences

    @property
    def passed(self) -> bool:
        return self.blocks_passed and all(regime.passed for regime in self.regimes)

    def _rows(self) -> list[list[str]]:
        rows = [["block", "size", "kind of gradient", "BPTT", "complex step", "differences"]]
        for b in self.blocks:
            errors = [f"{error:.1e}" for error in (b.bptt, b.complex_step, b.central_differences)]
            rows.append([b.block, str(b.size), b.kind, *errors])
        return rows

    def _regime_rows(self) -> list[list[str]]:
        rows = [["regime", "units", "inputs", "BPTT", "complex step", "learn", "float32", "passed"]]
        for r in self.regimes:
            errors = ["-" if e is None else f"{e:.1e}" for e in (r.bptt, r.complex_step, r.learn, r.float32)]
            rows.append([r.regime, str(r.units), str(r.inputs), *errors, "yes" if r.passed else "NO"])
        return rows

    def _verdict(self) -> str:
        return (
            f"{'passed' if self.blocks_passed else 'FAILED'}: largest error {self.max_error:.1e}, allowed "
            f"{self.tolerance:.0e} (differences {self.tolerance_differences:.0e})"
        )

    def _regime_lines(self) -> list[str]:
        allowed = max((regime.float32_allowed for regime in self.regimes), default=TOLERANCE_ONE_STEP)
        passed, n = sum(regime.passed for regime in self.regimes), len(self.regimes)
        return [
            *(f"not checked: {line}" for line in self.left_out),
            f"{'passed' if passed == n else 'FAILED'}: {passed} of {n} regimes, allowed {TOLERANCE['float64']:.0e} "
            f"(float32, one step: {allowed:.0e})",
        ]

    def __str__(self) -> str:
        blocks = tables.as_text(self.title, self._rows(), "<><>>>", self._verdict())
        return f"{blocks}\n{tables.as_text('', self._regime_rows(), '<>>>>>>>', *self._regime_lines())}"

    def _repr_html_(self) -> str:
        """The same tables, for notebooks."""
        blocks = tables.as_html(self.title, self._rows(), self._verdict())
        return blocks + tables.as_html("", self._regime_rows(), *self._regime_lines())
