"""Who called this package: the place that a warning names."""

import sys


def outside() -> int:
    """The `stacklevel` of a warning, for its caller, that names the first caller outside this package."""
    package, level, frame = __name__.partition(".")[0] + ".", 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(package):
        level, frame = level + 1, frame.f_back
    return level
