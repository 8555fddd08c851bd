"""Phases that are wrapped, from equation (53): theta' = theta - 2 pi k in (2 pi, 4 pi], and what follows from it.

A derivative by theta_log is multiplied by theta' / theta. So is all that is linear in it; mean squares get the square.
"""

from typing import Any

import numpy as np

from rtu_np.learnercheck.body import Arrays

_ABOVE = np.log(4 * np.pi)
# By which power of the factor a moment of a rule changes. Others do not depend on the unit of a derivative.
POWERS = {"mean": 1, "square": 2, "by_log": 1, "scale": 2}


def wrap(params: Arrays) -> Arrays:
    """Wrap the phases of `params`, in place. Returns {name: factors} of the arrays with a phase above 4 pi."""
    factors = {}
    for name, array in params.items():
        above = array > _ABOVE
        if name.rpartition(".")[2] != "theta_log" or not above.any():
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # a mistake may make an infinite phase, and then NaN
            theta = np.exp(array)
            wrapped = theta - 2 * np.pi * np.ceil((theta - 4 * np.pi) / (2 * np.pi))
            factors[name] = np.where(above, wrapped / theta, 1.0)
        array[above] = np.log(wrapped[above])
    return factors


def refuse(steps: int) -> ValueError:
    """The error for a cell that has a wrap of its own."""
    return ValueError(
        f"stream takes a parameter of the learner out of its range by step {steps}, and the cell wraps it there: "
        "expected phases theta_log, whose wrap is known; for any other, a shorter stream or smaller steps"
    )


def rescaled(moments: Any, flat: np.ndarray) -> Any:
    """The moments of a rule, {name: array}, after gradients have been multiplied by `flat`."""
    return {name: array * flat ** POWERS[name] if name in POWERS else array for name, array in moments.items()}
