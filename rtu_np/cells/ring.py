"""Settings that cells with complex eigenvalues share: the ring on which these start, and the form that stores them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rtu_np.cells import eigenvalues
from rtu_np.cells.initializers import LecunNormal
from rtu_np.cells.layer import Cell
from rtu_np.numerics.activations import activation
from rtu_np.validation import check_count, check_real, make_plain


@dataclass(frozen=True)
class Ring(Cell):
    """A cell whose eigenvalues r exp(i theta) start on a ring (derivations (24)).

    Parameters
    ----------
    r_min, r_max : least and largest modulus r at the start, with 0 <= r_min <= r_max <= 1 and r_min < 1
    max_phase : largest phase theta at the start, in radians per step, positive. The defaults are the paper's. A cell
        learns slow streams better, and with less spread over seeds, from max_phase=1
    """

    r_min: float = field(default=0.0, kw_only=True)
    r_max: float = field(default=1.0, kw_only=True)
    max_phase: float = field(default=6.28, kw_only=True)

    def __post_init__(self) -> None:
        check_real("r_min", self.r_min, low=0.0, high=1.0)
        check_real("r_max", self.r_max, low=0.0, high=1.0)
        if not self.r_min <= self.r_max:
            raise ValueError(
                f"r_min is {self.r_min!r} and r_max {self.r_max!r}: expected r_min <= r_max; are they swapped?"
            )
        if self.r_min == 1.0:
            raise ValueError(
                "r_min is 1.0: a unit with r = 1 has gamma = sqrt(1 - r^2) = 0 and no derivative; expected r_min < 1 "
                "(.999 remembers for about a thousand steps)"
            )
        check_real("max_phase", self.max_phase, low=0.0, low_open=True)
        make_plain(self)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(nu, theta) of `n` eigenvalues, uniform on the ring, with nu = -log r (derivations (24)).

        The draws lie in (0, 1], so that there is no logarithm of zero.
        """
        r_squared = self.r_min**2 + (self.r_max**2 - self.r_min**2) * (1.0 - rng.random(n))
        nu = -0.5 * np.log(np.clip(r_squared, 1e-300, 1.0 - 2.0**-53))
        return nu, self.max_phase * (1.0 - rng.random(n))

    @property
    def span(self) -> Any:
        """How long units may remember while the cell learns: for longer than nearly all of the ring."""
        rate = -np.log(self.r_min) if self.r_min > 0 else np.inf
        within = min(rate / 100, self.max_phase / 1000) >= eigenvalues.SLOWEST
        return eigenvalues.OrdinaryMemory() if within else eigenvalues.LongMemory()


@dataclass(frozen=True)
class ComplexDiagonal(Ring):
    """A cell whose recurrence is a complex diagonal.

    While the cell learns, r stays between exp(-10) and .9999, a memory of some ten thousand steps, and phases above
    1e-4. If the ring asks for more, with r_min above .99 or max_phase below .1, the bounds are 1 - 1e-9 and 1e-9.

    Parameters
    ----------
    parameterization : the two numbers that store (r, theta), see `rtu_np.cells.eigenvalues`: "nu_log/theta_log" (the
        paper's), "nu_log/theta", "nu/theta" or "r/theta"
    """

    n_hidden: int
    parameterization: str = field(default="nu_log/theta_log", kw_only=True)

    def __post_init__(self) -> None:
        check_count("n_hidden", self.n_hidden)
        super().__post_init__()
        eigenvalues.parameterization(self.parameterization)

    @property
    def form(self) -> Any:
        """The NamedTuple that kernels dispatch on, of the parameterization."""
        return eigenvalues.parameterization(self.parameterization)

    def initialise(self, params: Any, rng: np.random.Generator) -> None:
        """Start eigenvalues on the ring, and input weights LeCun normal (derivations (24))."""
        start = eigenvalues.store(self.form, *self.draw(self.n_hidden, rng))
        for view, values in zip(params.eigenvalue, start, strict=True):
            view[:] = values
        for weights in params.weights:
            weights[:] = LecunNormal().weights(weights.shape, rng)


@dataclass(frozen=True)
class TraceUnits(ComplexDiagonal):
    """A layer of recurrent trace units: gamma tied to r, one activation function.

    Parameters
    ----------
    n_hidden : number of units n; the layer has 2n outputs
    activation : "identity", "relu", "leaky_relu" or "tanh"
    """

    activation: str = "tanh"

    def __post_init__(self) -> None:
        activation(self.activation)
        super().__post_init__()
