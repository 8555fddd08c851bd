"""What `check_gradients` found, as tables."""

from dataclasses import dataclass
from html import escape

TOLERANCE = {"float64": 1e-11, "float32": 1e-4}  # against BPTT and complex step
TOLERANCE_DIFFERENCES = {"float64": 1e-6, "float32": 1e-4}
TOLERANCE_ONE_STEP = 1e-5  # of a step in float32 against the same step in float64


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
    learn: float  # `learn` against `advance` and `accumulate`
    float32: float  # a step in float32 against the same step in float64

    @property
    def passed(self) -> bool:
        exact = max(self.bptt, self.complex_step, self.learn)
        return exact <= TOLERANCE["float64"] and self.float32 <= TOLERANCE_ONE_STEP


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
    def passed(self) -> bool:
        differences = max(block.central_differences for block in self.blocks)
        exact = self.max_error <= self.tolerance and differences <= self.tolerance_differences
        return exact and all(regime.passed for regime in self.regimes)

    def _tables(self) -> list[list[list[str]]]:
        """Rows of each table; the first of each is its head."""
        blocks = [["block", "size", "kind of gradient", "BPTT", "complex step", "differences"]]
        for b in self.blocks:
            errors = [f"{error:.1e}" for error in (b.bptt, b.complex_step, b.central_differences)]
            blocks.append([b.block, str(b.size), b.kind, *errors])
        regimes = [["regime", "units", "inputs", "BPTT", "complex step", "learn", "float32", ""]]
        for r in self.regimes:
            errors = [f"{error:.1e}" for error in (r.bptt, r.complex_step, r.learn, r.float32)]
            regimes.append([r.regime, str(r.units), str(r.inputs), *errors, "" if r.passed else "FAILED"])
        return [blocks, regimes] if self.regimes else [blocks]

    def _verdict(self) -> list[str]:
        failed = sum(not regime.passed for regime in self.regimes)
        lines = [f"not checked, {line}" for line in self.left_out]
        if self.regimes:
            counts = f"{len(self.regimes) - failed} of {len(self.regimes)} regimes passed"
            lines.append(f"{counts}, allowed {TOLERANCE['float64']:.0e} (float32, one step: {TOLERANCE_ONE_STEP:.0e})")
        lines.append(
            f"{'passed' if self.passed else 'FAILED'}: largest error {self.max_error:.1e}, allowed "
            f"{self.tolerance:.0e} (differences {self.tolerance_differences:.0e})"
        )
        return lines

    def __str__(self) -> str:
        lines = [self.title]
        for rows in self._tables():
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            left = {0, 2} if rows[0][2] == "kind of gradient" else {0}
            for row in rows:
                entries = [
                    entry.ljust(width) if k in left else entry.rjust(width)
                    for k, (entry, width) in enumerate(zip(row, widths, strict=True))
                ]
                lines.append("  ".join(entries).rstrip())
        return "\n".join([*lines, *self._verdict()])

    def _repr_html_(self) -> str:
        """The same tables, for notebooks."""
        parts = [f"<p>{escape(self.title)}</p>"]
        for head, *body in self._tables():
            rows = [f"<tr>{''.join(f'<th>{escape(entry)}</th>' for entry in head)}</tr>"]
            rows += [f"<tr>{''.join(f'<td>{escape(entry)}</td>' for entry in row)}</tr>" for row in body]
            parts.append(f"<table>{''.join(rows)}</table>")
        return f"{''.join(parts)}<p><b>{'<br>'.join(map(escape, self._verdict()))}</b></p>"
