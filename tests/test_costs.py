"""Operations and bytes: the formulas against a step that is counted, operation by operation."""

import math

import numpy as np
import pytest
from cases import CASES, COMPILED

from rtu_np import (
    GRU,
    RFLO,
    RTRL,
    TBPTT,
    UORO,
    Dense,
    LinearRTU,
    NonlinearRTU,
    SnAp1,
    Stack,
    VanillaRNN,
    bytes_per_step,
    flops,
    protocol,
)
from rtu_np.gradients import tbptt
from rtu_np.numerics import buffers
from rtu_np.numerics.buffers import leaves, size
from rtu_np.validation import brief

D = 3
pytestmark = pytest.mark.skipif(COMPILED, reason="compiled code is not counted; test_modes.py runs this uncompiled")


class Counted:
    """A real number that counts what is done with it."""

    operations = 0

    def __init__(self, value):
        self.value = float(getattr(value, "value", value))

    def _apply(self, function, *others):
        Counted.operations += 1
        return Counted(function(self.value, *(float(getattr(other, "value", other)) for other in others)))

    def __add__(self, other):
        return self._apply(lambda a, b: a + b, other)

    def __sub__(self, other):
        return self._apply(lambda a, b: a - b, other)

    def __rsub__(self, other):
        return self._apply(lambda a, b: b - a, other)

    def __mul__(self, other):
        return self._apply(lambda a, b: a * b, other)

    def __truediv__(self, other):
        return self._apply(lambda a, b: a / b, other)

    def __rtruediv__(self, other):
        return self._apply(lambda a, b: b / a, other)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return Counted(-self.value)

    def __float__(self):
        return self.value

    def __int__(self):
        return int(self.value)

    def __le__(self, other):
        return self.value <= float(other)

    def __lt__(self, other):
        return self.value < float(other)

    def __gt__(self, other):
        return self.value > float(other)

    def __bool__(self):
        return self.value != 0

    def __ne__(self, other):
        return self.value != float(other)


def _counted(function):
    return lambda self: self._apply(function)


for _function in (math.exp, math.expm1, math.tanh, math.sin, math.cos, math.sqrt):
    setattr(Counted, _function.__name__, _counted(_function))


class Numbers(np.ndarray):
    """An array whose `dtype.type` makes counted numbers."""

    @property
    def dtype(self):
        return type("dtype", (), {"type": Counted})


def buffer(layout, spec):
    flat = np.array([Counted(0.0) for _ in range(size(layout, spec))], dtype=object).view(Numbers)
    return flat, layout(spec, flat)[0]


def counted(cell, gradient, steps):
    """Operations of the last of some learning steps, in plain Python."""
    spec = gradient.spec(cell.spec(D), "float64")
    _, params = buffer(protocol.parameters, spec)
    _, out = buffer(protocol.parameters, spec)
    _, memory = buffer(protocol.memory, spec)
    start = protocol.parameters(spec, np.zeros(size(protocol.parameters, spec)))[0]
    cell.initialise(start, np.random.default_rng(0))
    for view, values in zip(leaves(params).values(), leaves(start).values(), strict=True):
        for index in np.ndindex(values.shape):
            view[index] = Counted(values[index])
    rng = np.random.default_rng(1)
    for _ in range(steps):
        x, dy = (np.array([Counted(v) for v in rng.standard_normal(k)], dtype=object) for k in (D, spec.n_outputs))
        Counted.operations = 0
        protocol.move(spec, params, memory, x.view(Numbers))
        protocol.credit(spec, params, memory, dy.view(Numbers))
        protocol.propagate(spec, memory)
        protocol.accumulate(spec, memory, Counted(0.9), out)
    return Counted.operations


@pytest.fixture(autouse=True)
def without_padding(monkeypatch):
    """What stands in for units that are not there, up to a whole vector, is no part of the equations."""
    monkeypatch.setattr(buffers, "_LINE", 1)
    monkeypatch.setattr(tbptt, "FLUSHES", True)  # comparisons with the smallest normal number are no operations


@pytest.mark.parametrize("gradient", [RTRL(), TBPTT(1), TBPTT(5)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_flops_are_those_of_the_step(name, gradient):
    cell = CASES[name].cell
    spec = gradient.spec(cell.spec(D), "float64")
    if "FullRTRLSpec" in repr(spec):
        pytest.skip("full RTRL runs over padding, too; the next test counts it")
    assert flops(cell, D, gradient) == counted(cell, gradient, 6)


METHODS = [
    (VanillaRNN(16), RTRL()),
    (Stack([GRU(16), LinearRTU(16)]), RTRL()),
    *((cell, method) for cell in (VanillaRNN(16), VanillaRNN(16, leak=0.3), GRU(16)) for method in (SnAp1(), UORO())),
    (VanillaRNN(16, leak=0.3), RFLO()),
    (LinearRTU(16), SnAp1()),
    *((kind(16, "tanh", parameterization="r/theta"), RTRL(taylor=True)) for kind in (LinearRTU, NonlinearRTU)),
]


@pytest.mark.parametrize(("cell", "method"), METHODS, ids=lambda part: brief(part))
def test_flops_of_dense_cells_and_approximate_gradients(cell, method, monkeypatch):
    """With sizes that need no padding."""
    monkeypatch.setattr("test_costs.D", 16)
    assert flops(cell, 16, method) == counted(cell, method, 6)


EXACT = [
    Stack([LinearRTU(3), NonlinearRTU(2)]),
    Stack([NonlinearRTU(2, "relu"), LinearRTU(3)]),
    Stack([LinearRTU(2), LinearRTU(3), Dense(2, "tanh")]),
]


@pytest.mark.parametrize("cell", EXACT, ids=str)
def test_flops_of_two_layers_with_every_path(cell):
    assert flops(cell, D, RTRL(exact=True)) == counted(cell, RTRL(exact=True), 4)


def test_flops_grow_as_the_method_says():
    """RTRL of a diagonal cell with n d, a window with T, full RTRL with n^4, that of two layers with n^2 d."""
    two = [flops(Stack([LinearRTU(n), LinearRTU(n)]), 16, RTRL(exact=True)) for n in (100, 200)]
    assert 3.9 < two[1] / two[0] < 4.1
    assert 3.9 < flops(LinearRTU(200), 200) / flops(LinearRTU(100), 100) < 4.1
    window = [flops(GRU(32), 8, TBPTT(T)) for T in (10, 20, 30)]
    assert window[2] - window[1] == window[1] - window[0] > 0
    assert 15 < flops(VanillaRNN(128), 1) / flops(VanillaRNN(64), 1) < 16.1


@pytest.mark.parametrize("gradient", [RTRL(), TBPTT(5)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_bytes_are_those_of_the_arrays(name, gradient):
    """Parameters, traces, and every array of the memory once, however often it is named."""
    cell = CASES[name].cell
    spec = gradient.spec(cell.spec(D), "float64")
    flat = np.zeros(size(protocol.memory, spec))
    touched = np.zeros(flat.size, bool)

    def touch(part):
        if isinstance(part, tuple):
            for each in part:
                touch(each)
        elif part.size:
            start = (part.__array_interface__["data"][0] - flat.__array_interface__["data"][0]) // 8
            touched[start : start + part.size] = True

    touch(protocol.memory(spec, flat)[0])
    n_params = sum(view.size for view in leaves(protocol.parameters(spec, flat.repeat(99))[0]).values())
    assert bytes_per_step(cell, D, gradient) == 2 * 8 * (2 * n_params + touched.sum())
    assert bytes_per_step(cell, D, gradient, "float32") == bytes_per_step(cell, D, gradient) // 2
