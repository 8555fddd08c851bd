"""The largest sizes of the memory tasks."""

from typing import Any

from rtu_np.validation import check_count

LONGEST = 1_000_000  # steps; an episode of this length is a minute of compiled learning
MOST_BITS = 1_000


def check_length(value: Any, hint: str) -> int:
    """`value` as a length in steps, of at least 1 and at most LONGEST. TypeError, ValueError, by name."""
    return check_count("length", value, high=LONGEST, hint=hint)
