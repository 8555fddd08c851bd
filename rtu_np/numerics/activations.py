"""Activation functions, each with its derivative.

The derivative is computed from the output y = f(z), so only y must be stored: 1, [y > 0], .01 or 1, 1 - y^2.
"""

from typing import NamedTuple

import numpy as np

from rtu_np.jit import generic, like
from rtu_np.numerics.elementary import tanh
from rtu_np.validation import check_choice


class Identity(NamedTuple):
    """f(z) = z"""


class ReLU(NamedTuple):
    """f(z) = max(z, 0)"""


class LeakyReLU(NamedTuple):
    """f(z) = max(z, z / 100)"""


class Tanh(NamedTuple):
    """f(z) = tanh z"""


LEAK = 0.01
Activation = Identity | ReLU | LeakyReLU | Tanh
ACTIVATIONS: dict[str, Activation] = {
    "identity": Identity(),
    "relu": ReLU(),
    "leaky_relu": LeakyReLU(),
    "tanh": Tanh(),
}


def activation(name: object, argument: str = "activation") -> Activation:
    """The activation called `name`. If there is no such activation, ValueError names the `argument`."""
    return check_choice(argument, name, ACTIVATIONS)


def activation_flops(kind: Activation) -> tuple[int, int]:
    """(operations of f, operations of f') for one number."""
    return (1, 2) if isinstance(kind, Tanh) else (int(isinstance(kind, LeakyReLU)), 0)


@generic
def plain_activate(kind, z):
    """f(z) of an array, complex or real."""


@generic
def plain_slope(kind, y):
    """f'(z) of an array, from y = f(z)."""


plain_activate.register(Identity)(lambda kind, z: z)
plain_slope.register(Identity)(lambda kind, y: np.ones_like(y))
plain_activate.register(ReLU)(lambda kind, z: np.where(z.real > 0, z, 0 * z))
plain_slope.register(ReLU)(lambda kind, y: np.where(y.real > 0, 1.0, 0.0).astype(y.dtype))
plain_activate.register(LeakyReLU)(lambda kind, z: np.where(z.real > 0, z, LEAK * z))
plain_slope.register(LeakyReLU)(lambda kind, y: np.where(y.real > 0, 1.0, LEAK).astype(y.dtype))
plain_activate.register(Tanh)(lambda kind, z: np.tanh(z))
plain_slope.register(Tanh)(lambda kind, y: 1 - y**2)


@generic
def activate(kind, z):
    """f(z) of a scalar."""


@generic
def slope(kind, y):
    """f'(z) of a scalar, from y = f(z)."""


@activate.register(Identity)
def _identity(kind, z):
    return z


@slope.register(Identity)
def _identity_slope(kind, y):
    return like(y, 1.0)


@activate.register(ReLU)
def _relu(kind, z):
    return like(z, 0.0) if z <= 0 else z  # NaN compares false, and so passes


@slope.register(ReLU)
def _relu_slope(kind, y):
    return like(y, 0.0) if y <= 0 else like(y, 1.0)


@activate.register(LeakyReLU)
def _leaky_relu(kind, z):
    leaked = like(z, LEAK) * z
    return leaked if z <= 0 else z


@slope.register(LeakyReLU)
def _leaky_relu_slope(kind, y):
    return like(y, LEAK) if y <= 0 else like(y, 1.0)


@activate.register(Tanh)
def _tanh(kind, z):
    return tanh(z)


@slope.register(Tanh)
def _tanh_slope(kind, y):
    return like(y, 1.0) - y * y
