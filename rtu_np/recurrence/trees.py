"""A user's arrays, whatever holds them, as one flat array and back.

A tree is an array, or a dict, list, tuple or NamedTuple of trees; None is a tree without arrays. Its arrays may be
NumPy's, JAX's or PyTorch's. Neither of the last two is imported here: whose array it is has imported it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

_LIBRARIES = {"jax": "jax", "jaxlib": "jax", "torch": "torch"}


def library_of(leaf: Any) -> str:
    """ "numpy", "jax" or "torch"."""
    return _LIBRARIES.get(type(leaf).__module__.partition(".")[0], "numpy")


def as_numpy(leaf: Any) -> np.ndarray:
    if library_of(leaf) == "torch":
        return leaf.detach().cpu().resolve_conj().numpy()
    return np.asarray(leaf)


def as_given(leaf: Any, array: np.ndarray) -> Any:
    """`array`, as a new array of the library that `leaf` is from; a number of Python becomes one of NumPy."""
    library = library_of(leaf)
    if library == "jax":
        return sys.modules["jax"].numpy.asarray(array)
    if library == "torch":
        return sys.modules["torch"].tensor(array)
    return np.array(array) if isinstance(leaf, np.ndarray) else np.array(array)[()]


def leaves(tree: Any, name: str = "") -> dict[str, Any]:
    """The arrays of `tree`, by their names: "cell.W"; a bare array's is ""."""
    if tree is None:
        return {}
    parts = _parts(tree)
    if parts is None:
        return {name: tree}
    found: dict[str, Any] = {}
    for key, part in parts.items():
        found |= leaves(part, f"{name}.{key}" if name else str(key))
    return found


def rebuild(tree: Any, replacements: Iterator[Any]) -> Any:
    """A tree like `tree`, whose arrays are the next ones of `replacements`."""
    if tree is None:
        return None
    parts = _parts(tree)
    if parts is None:
        return next(replacements)
    built = {key: rebuild(part, replacements) for key, part in parts.items()}
    if isinstance(tree, Mapping):
        return built
    return type(tree)(*built.values()) if hasattr(tree, "_fields") else type(tree)(built.values())


def map_tree(change: Callable[[Any], Any], tree: Any) -> Any:
    return rebuild(tree, iter([change(leaf) for leaf in leaves(tree).values()]))


def _parts(tree: Any) -> dict[Any, Any] | None:
    """The trees in `tree` by their keys, or None if it is an array."""
    if isinstance(tree, Mapping):
        return dict(tree)
    if isinstance(tree, list | tuple):
        return dict(enumerate(tree)) if not hasattr(tree, "_fields") else dict(zip(tree._fields, tree, strict=True))
    return None


def label(argument: str, name: str) -> str:
    """An array for a message: params['W'], or params if it is bare."""
    return f"{argument}[{name!r}]" if name else argument


def entry(argument: str, name: str, index: tuple[int, ...]) -> str:
    """One number of an array, for a message."""
    return label(argument, name) + (f"[{', '.join(map(str, index))}]" if index else "")


class Tree:
    """What a tree is like: names, shapes and libraries of its arrays, and their place in one flat array."""

    def __init__(self, argument: str, value: Any, hint: str = "") -> None:
        self.argument, self.value = argument, value
        self.given = leaves(value)
        arrays = {name: _floats(label(argument, name), leaf, hint) for name, leaf in self.given.items()}
        self.shapes = {name: array.shape for name, array in arrays.items()}
        self.single = [label(argument, name) for name, array in arrays.items() if array.dtype == np.float32]
        self.flat = _joined([array.astype(np.float64) for array in arrays.values()])
        ends = np.cumsum([array.size for array in arrays.values()], dtype=int)
        self.slices = {
            name: slice(int(end) - arrays[name].size, int(end)) for name, end in zip(arrays, ends, strict=True)
        }

    @property
    def size(self) -> int:
        return self.flat.size

    def build(self, flat: np.ndarray, dtype: Any = None) -> Any:
        """The numbers of `flat` in the user's structure, in new arrays of its libraries and types, or of `dtype`."""

        def array(name: str, leaf: Any) -> Any:
            part = flat[self.slices[name]].reshape(self.shapes[name])
            return as_given(leaf, part.astype(dtype or as_numpy(leaf).dtype))

        return rebuild(self.value, iter([array(name, leaf) for name, leaf in self.given.items()]))

    def plain(self, flat: np.ndarray) -> Any:
        """The same in NumPy's arrays."""
        return rebuild(self.value, iter([flat[self.slices[n]].reshape(s) for n, s in self.shapes.items()]))

    def flatten(self, source: str, value: Any) -> np.ndarray:
        """The numbers of `value`, which `source` made, as a flat array. ValueError, if it is not like this tree."""
        found = leaves(value)
        if found.keys() != self.given.keys():
            raise ValueError(f"{source} has {_names(found)}: expected {_names(self.given)}, as in {self.argument}")
        arrays = []
        for name in self.given:  # JAX sorts the keys of a dict
            array = as_numpy(found[name])
            if array.shape != self.shapes[name]:
                raise ValueError(
                    f"{label(source, name)} has shape {array.shape}: expected {self.shapes[name]}, that of "
                    f"{label(self.argument, name)}"
                )
            if array.dtype.kind not in "fciub":
                raise TypeError(f"{label(source, name)} has dtype {array.dtype}: expected numbers")
            arrays.append(array)
        return _joined(arrays)

    def place(self, k: int) -> tuple[str, tuple[int, ...]]:
        """The name of an array, and the index in it, of the number `k` of the flat array."""
        name = next(name for name, part in self.slices.items() if part.start <= k < part.stop)
        index = np.unravel_index(k - self.slices[name].start, self.shapes[name])
        return name, tuple(int(i) for i in index)


def spot(argument: str, name: str, index: tuple[int, ...]) -> str:
    """One number of an array, for a report, which has names in the place of keys: W[0, 1]."""
    return entry(name or argument, "", index)


def _names(found: Mapping[str, Any]) -> str:
    return "one array" if list(found) == [""] else ", ".join(map(repr, found)) or "no arrays"


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays]) if arrays else np.zeros(0)


def _floats(name: str, leaf: Any, hint: str) -> np.ndarray:
    """`leaf` as finite numbers that have a derivative. TypeError, ValueError, by name."""
    array = as_numpy(leaf)
    if np.ma.is_masked(leaf):
        raise ValueError(f"{name} has masked numbers: expected finite numbers")
    if array.dtype.name not in ("float64", "float32"):
        raise TypeError(f"{name} has dtype {array.dtype}: expected float64 or float32{hint and '; ' + hint}")
    if not np.isfinite(array).all():
        first = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{entry(name, '', first)} is {array[first]}: expected finite numbers")
    return array
