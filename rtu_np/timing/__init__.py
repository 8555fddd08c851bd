"""What one learning step costs on this machine: `measure` it, `table` and `save` what was found."""

from rtu_np.timing.measure import enough_steps, first_step, measure, measure_all, seconds_per_step, stream
from rtu_np.timing.report import Timing, save, table

__all__ = [
    "Timing",
    "enough_steps",
    "first_step",
    "measure",
    "measure_all",
    "save",
    "seconds_per_step",
    "stream",
    "table",
]
