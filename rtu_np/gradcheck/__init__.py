"""Check hand-written gradients."""

from rtu_np.gradcheck.check import check_gradients, gradient_angles
from rtu_np.gradcheck.report import (
    TOLERANCE,
    TOLERANCE_DIFFERENCES,
    TOLERANCE_ONE_STEP,
    BlockCheck,
    GradientReport,
    RegimeCheck,
)

__all__ = [
    "TOLERANCE",
    "TOLERANCE_DIFFERENCES",
    "TOLERANCE_ONE_STEP",
    "BlockCheck",
    "GradientReport",
    "RegimeCheck",
    "check_gradients",
    "gradient_angles",
]
