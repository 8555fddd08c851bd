"""Time one learning step on this machine: `measure` it, print a `table`, `save` the results."""

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
