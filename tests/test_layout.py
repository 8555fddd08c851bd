"""A layout that a NamedTuple declares is the one that a person would write by hand."""

import ast
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numba
import numpy as np
import pytest

from rtu_np.jit import kernel, njit
from rtu_np.numerics.buffers import aligned, block, matrix, overlapping, packed, padded, size, vector, whole
from rtu_np.numerics.layout import layout_of

compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is nothing compiled")
SOURCES = sorted((Path(__file__).parent.parent / "rtu_np").rglob("*.py"))


class Spec(NamedTuple):
    n: int
    d: int
    inner: Any


class State(NamedTuple):
    c1: Annotated[np.ndarray, packed, "spec.n"]
    c2: Annotated[np.ndarray, packed, "spec.n"]


state = kernel(layout_of(State))


class Moments(NamedTuple):
    mean: Annotated[np.ndarray, "size"]
    count: Annotated[np.ndarray, 2]


moments = kernel(layout_of(Moments, "size"))


class Views(NamedTuple):
    """One field of each kind."""

    before: Annotated[State, state]
    flat_before: Annotated[np.ndarray, aligned]
    W: Annotated[np.ndarray, "spec.d", "spec.n"]
    blocks: Annotated[np.ndarray, "spec.n // 2", 2, 2]
    scratch: Annotated[np.ndarray, padded, "spec.n"]
    flat_next: Annotated[np.ndarray, overlapping, "flat_before.shape[0]"]
    next: Annotated[State, state, aligned]
    inner: Annotated[State, state, "spec.inner"]
    flat_inner: Annotated[np.ndarray, whole]
    moments: Annotated[Moments, moments, "flat_inner.shape[0]"]


def by_hand(spec, flat):
    before, rest = state(spec, flat)
    flat_before, flat = aligned(flat, rest)
    W, flat = matrix(flat, spec.d, spec.n)
    blocks, flat = block(flat, spec.n // 2, 2, 2)
    scratch, flat = padded(flat, spec.n)
    flat_next = flat[: 2 * spec.n]
    following, rest = state(spec, flat)
    _, flat = aligned(flat, rest)
    inner, rest = state(spec.inner, flat)
    flat_inner = flat[: 2 * spec.inner.n]
    mean, rest = vector(rest, 2 * spec.inner.n)
    count, rest = vector(rest, 2)
    behind = (inner, flat_inner, Moments(mean, count))
    return Views(before, flat_before, W, blocks, scratch, flat_next, following, *behind), rest


views_of_each = kernel(layout_of(Views))


def places(views, flat, prefix=""):
    """{field: (offset, shape, strides)}"""
    found = {}
    for name, view in views._asdict().items():
        if isinstance(view, tuple):
            found |= places(view, flat, f"{prefix}{name}.")
        else:
            found[prefix + name] = (view.ctypes.data - flat.ctypes.data, view.shape, view.strides)
    return found


@pytest.mark.parametrize("n", [2, 8, 34, 1024])
def test_a_declared_layout_is_the_one_written_by_hand(n):
    spec = Spec(n, 3, Spec(5, 0, None))
    flat = np.zeros(size(by_hand, spec))
    assert size(views_of_each, spec) == flat.size
    assert places(views_of_each(spec, flat)[0], flat) == places(by_hand(spec, flat)[0], flat)


def firsts(spec, flat):
    v, rest = views_of_each(spec, flat)
    numbers = v.before.c2[0], v.W[0, 0], v.flat_next[0], v.next.c2[0], v.inner.c1[0], v.moments.count[0]
    return numbers, v.blocks[0, 0, 0], rest.shape[0]


@compiled
def test_kernels_see_the_same_views():
    spec = Spec(34, 3, Spec(5, 0, None))
    flat = np.arange(size(by_hand, spec) + 3.0)
    assert njit(firsts)(spec, flat) == firsts(spec, flat)


NEEDED, LENGTHS = "its layout needs this name", "lengths; expected one to three, or a layout"


@pytest.mark.parametrize(
    ("field", "annotation", "error", "message"),
    [
        *((name, Annotated[np.ndarray, 1], ValueError, NEEDED) for name in ("flat", "rest", "spec", "vector", "Layer")),
        ("y", np.ndarray, TypeError, f"its annotation gives 0 {LENGTHS}"),
        ("y", Annotated[np.ndarray, packed], TypeError, f"its annotation gives 0 {LENGTHS}"),
        ("y", Annotated[np.ndarray, 1, 2, 3, 4], TypeError, f"its annotation gives 4 {LENGTHS}"),
        ("y", Annotated[Any, state, packed], TypeError, "packed stands second; expected aligned or whole there"),
    ],
)
def test_a_wrong_declaration_is_refused(field, annotation, error, message):
    with pytest.raises(error, match=rf"Layer\.{field}: {message}"):
        layout_of(NamedTuple("Layer", [(field, annotation)]))


class Misspelt(NamedTuple):
    x: Annotated[np.ndarray, "spec.d"]
    dz: Annotated[np.ndarray, "spec.n_hiden"]


misspelt = kernel(layout_of(Misspelt))


@pytest.mark.parametrize("run", [misspelt, pytest.param(njit(lambda *arguments: misspelt(*arguments)), marks=compiled)])
def test_a_wrong_shape_names_its_field(run):
    with pytest.raises((AttributeError, numba.core.errors.TypingError), match="n_hiden") as caught:
        run(Spec(2, 3, None), np.zeros(64))
    shown = "".join(traceback.format_exception(caught.value))
    assert "dz, flat = vector(flat, spec.n_hiden)" in shown
    assert "<layout of test_layout.Misspelt>" in shown


def test_views_can_be_pickled():
    spec = Spec(4, 3, Spec(5, 0, None))
    views, _ = views_of_each(spec, np.arange(float(size(by_hand, spec))))
    again = pickle.loads(pickle.dumps(views))
    assert type(again.before) is State
    assert np.array_equal(again.blocks, views.blocks)


OWN = """
from typing import Annotated, NamedTuple
import numpy as np
from rtu_np.jit import kernel, njit
from rtu_np.numerics.layout import layout_of

class Layer(NamedTuple):
    W: Annotated[np.ndarray, "spec", 3]
    b: Annotated[np.ndarray, SHAPE]

layer = kernel(layout_of(Layer))

@njit
def run(spec, flat):
    views, rest = layer(spec, flat)
    return views.b.shape[0] + rest.shape[0] / 100

print(run(2, np.zeros(100)), sum(run.stats.cache_hits.values()))
"""


@compiled
def test_the_next_process_finds_the_compiled_layout(tmp_path):
    def run(shape):
        (tmp_path / "own.py").write_text(OWN.replace("SHAPE", shape))
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", "import own"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True).stdout.split()

    assert run('"spec"') == [b"2.68", b"0"]
    assert run('"spec"') == [b"2.68", b"1"]
    assert run('"2 * spec"') == [b"4.68", b"0"]  # another declaration, not the compiled code of the first


def test_layouts_are_declared():
    """By hand: the statistics of a return, which have no argument before `flat`, and what holds them."""
    own = [path for path in SOURCES if path.parent.name != "numerics"]
    trees = {f"{path.parent.name}/{path.name}": ast.parse(path.read_text()) for path in own}
    imports = (
        (file, node) for file, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    )
    by_hand = [file for file, node in imports if {"vector", "matrix", "block"} & {name.name for name in node.names}]
    assert by_hand == ["control/inputs.py", "learning/normalizers.py"]
