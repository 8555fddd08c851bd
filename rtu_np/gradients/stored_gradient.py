"""Functions of gradient methods that compute a whole gradient at once: `credit` stores the gradient in memory."""

from rtu_np import protocol
from rtu_np.numerics.buffers import copy, decay_and_add


def _accumulate(spec, memory, decay, out):
    decay_and_add(out, protocol.parameters(spec.cell, memory.gradient)[0], decay)


def _input_gradient(spec, params, memory, dx):
    copy(memory.dx, dx)


def register_stored_gradient(kind: type) -> None:
    """Register the functions that follow `credit`, for specs of the type `kind`: memory has `gradient` and `dx`."""
    protocol.accumulate.register(kind)(_accumulate)
    protocol.input_gradient.register(kind)(_input_gradient)


def prepare_again(spec, params, sensitivities) -> None:
    """`credit` may come after parameters have been wrapped, and reads what `move` has prepared from them."""
    if hasattr(sensitivities, "work"):  # stored sensitivities have none
        protocol.prepare(spec.cell, params, sensitivities.work)
