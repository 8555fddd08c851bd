"""What the gradient methods share that take a whole gradient at once: `credit` leaves it in memory."""

from rtu_np import protocol
from rtu_np.numerics.buffers import copy, decay_and_add


def _accumulate(spec, memory, decay, out):
    decay_and_add(out, protocol.parameters(spec.cell, memory.gradient)[0], decay)


def _input_gradient(spec, params, memory, dx):
    copy(memory.dx, dx)


def register_stored_gradient(kind: type) -> None:
    """Register for the spec `kind`, whose memory has fields `gradient` and `dx`, what is left to do after `credit`."""
    protocol.accumulate.register(kind)(_accumulate)
    protocol.input_gradient.register(kind)(_input_gradient)
