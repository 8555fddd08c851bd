"""Bugs that compiled code alone has, of which a check with `thorough` compiles enough: {name: CompiledBug}."""

from typing import NamedTuple


class CompiledBug(NamedTuple):
    file: str
    replacements: list
    shows: str  # in words


COMPILED_BUGS = {
    "vectors are cut behind the 16th unit": CompiledBug(
        "numerics/buffers.py",
        [("return -(-n // per_vector) * per_vector", "return min(-(-n // per_vector) * per_vector, 16)")],
        "regimes of 17 and 33 units",
    ),
    "6e-5 in the sine of float32": CompiledBug(
        "numerics/elementary.py", [("S=(-0.16666666663853044,", "S=(-0.1668,")], "float32, in the dense regimes"
    ),
}
