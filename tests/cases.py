"""The cells under test, each with its forward pass as `oracles` knows it.

Compiling takes seconds for each, and plain Python milliseconds, so the full product is run uncompiled (test_modes.py),
and a cell of each kind compiled.
"""

import os
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any

import gated_oracles
import oracles
import pytest

from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    BlockDiagonalRNN,
    Dense,
    GatedRTU,
    LayerNorm,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    Stack,
    VanillaRNN,
)
from rtu_np.cells.eigenvalues import PARAMETERIZATIONS

COMPILED = not os.environ.get("NUMBA_DISABLE_JIT")
in_plain_python = pytest.mark.skipif(COMPILED, reason="compiling takes seconds; test_modes.py runs it uncompiled")


@dataclass(frozen=True)
class Case:
    cell: Any
    forward: Any  # of parameters as a layer of this cell names them
    n_state: int
    layers: tuple["Case", ...] = ()  # of a stack, from below

    def blocks(self) -> list[str]:
        """What a learner calls each layer, from below."""
        layers = self.layers or (self,)
        below = len(list(takewhile(lambda layer: not layer.n_state, layers)))
        above = len(list(takewhile(lambda layer: not layer.n_state, reversed(layers[below:]))))
        counts = {"encoder": below, "cell": len(layers) - below - above, "hidden": above}
        return [name if n == 1 else f"{name}.{k}" for name, n in counts.items() for k in range(n)]

    def in_blocks(self, p: dict, state, x):
        """The same forward pass, of parameters as a learner names them."""
        own = {}
        for k, block in enumerate(self.blocks()):
            layer = f"{k}." if self.layers else ""
            own |= {layer + name.removeprefix(f"{block}."): v for name, v in p.items() if name.startswith(f"{block}.")}
        return self.forward(own, state, x)


def rtu(kind, activation, **ring) -> Case:
    return Case(kind(4, activation, **ring), partial(oracles.rtu, kind is NonlinearRTU, activation), 8)


def lru(recurrence="identity", activation="identity", **settings) -> Case:
    cell = LRU(4, recurrence=recurrence, activation=activation, **settings)
    return Case(cell, partial(oracles.lru, recurrence, activation), 8)


def stacked(*layers: Case) -> Case:
    forward = partial(oracles.stack, [(layer.forward, layer.n_state) for layer in layers])
    return Case(Stack([layer.cell for layer in layers]), forward, sum(layer.n_state for layer in layers), layers)


def dense(activation, n=3) -> Case:
    return Case(Dense(n, activation), partial(oracles.dense, activation), 0)


def layer_norm(activation) -> Case:
    return Case(LayerNorm(activation), partial(oracles.layer_norm, activation), 0)


def gated_rtu(activation) -> Case:
    return Case(GatedRTU(4, activation, gate_bias=0.5), partial(gated_oracles.gated_rtu, activation), 8)


def vanilla(activation, leak=1.0) -> Case:
    return Case(VanillaRNN(4, activation, leak), partial(oracles.vanilla_rnn, activation, leak=leak), 4)


def block_diagonal(activation) -> Case:
    return Case(BlockDiagonalRNN(4, activation), partial(oracles.block_diagonal_rnn, activation), 4)


# One of each kind.
KINDS = {
    "linear RTU": rtu(LinearRTU, "tanh"),
    "nonlinear RTU": rtu(NonlinearRTU, "tanh"),
    "LRU": lru(n_outputs=3, activation="tanh", direct=True),
    "vanilla RNN": vanilla("tanh"),
    "block-diagonal RNN": block_diagonal("tanh"),
    "GRU": Case(GRU(4), gated_oracles.gru, 4),
    "minGRU": Case(MinGRU(4), gated_oracles.min_gru, 4),
    "eLSTM": Case(ELSTM(4), gated_oracles.elstm, 4),
    "gated RTU": gated_rtu("tanh"),
    "stack": stacked(rtu(LinearRTU, "identity"), dense("tanh")),
}
# The five variants of Figure 1, the parameterisations of Figure 9, and the other activations.
VARIANTS = {
    **{f"linear RTU, {name}": rtu(LinearRTU, name) for name in ("relu", "identity")},
    **{f"nonlinear RTU, {name}": rtu(NonlinearRTU, name) for name in ("relu", "identity")},
    **{f"gated RTU, {name}": gated_rtu(name) for name in ("relu", "identity")},
    **{f"vanilla RNN, {name}": vanilla(name) for name in ("relu", "identity")},
    "vanilla RNN, leak": vanilla("tanh", 0.3),
    **{f"block-diagonal RNN, {name}": block_diagonal(name) for name in ("relu", "identity")},
    "linear RTU, linear projection": stacked(rtu(LinearRTU, "identity"), dense("identity")),
    "LRU, linear recurrence": lru(projection=False),
    **{f"LRU, {name} output": lru(projection=False, activation=name) for name in ("tanh", "relu")},
    **{f"LRU, {name} recurrence": lru(recurrence=name, projection=False) for name in ("tanh", "relu")},
    "LRU, tanh recurrence, projection": lru(recurrence="tanh"),
    **{f"LRU, {name} projection": lru(activation=name) for name in ("identity", "tanh", "relu")},
    **{
        f"{kind.__name__}, {form}": rtu(kind, "tanh", parameterization=form, r_max=0.95)
        for kind in (LinearRTU, NonlinearRTU)
        for form in list(PARAMETERIZATIONS)[1:]
    },
    **{f"LRU, {form}": lru(parameterization=form, r_max=0.95) for form in list(PARAMETERIZATIONS)[1:]},
    "linear RTU on GRU": stacked(Case(GRU(4), gated_oracles.gru, 4), rtu(LinearRTU, "tanh")),
    "linear RTU behind an encoder": stacked(dense("identity", 5), layer_norm("leaky_relu"), rtu(LinearRTU, "tanh")),
    "minGRU behind an encoder": stacked(dense("tanh", 5), Case(MinGRU(4), gated_oracles.min_gru, 4)),
    "layer norm on a linear RTU": stacked(rtu(LinearRTU, "tanh"), dense("identity", 5), layer_norm("leaky_relu")),
    "two RTUs": stacked(rtu(LinearRTU, "tanh"), rtu(NonlinearRTU, "tanh")),
}
# Whose own RTRL is layer-local: parameters below a recurrent layer.
APPROXIMATE = ("linear RTU on GRU", "linear RTU behind an encoder", "minGRU behind an encoder", "two RTUs")
CASES = KINDS if COMPILED else {**KINDS, **VARIANTS}
