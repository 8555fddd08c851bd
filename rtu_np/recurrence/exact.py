"""The exact gradient of dy · y_T by the parameters of any recurrence: forward in time, and backward.

Both need the step's own derivatives, for s_t, y_t = forward(params, s_{t-1}, x_t):

    J = d s_t / d s_{t-1}    F = d s_t / d params    C = d y_t / d s_{t-1}    D = d y_t / d params

rtrl   S_t = J_t S_{t-1} + F_t from S_0 = 0, and the gradient is dy (C_T S_{T-1} + D_T)
bptt   a_{T-1} = dy C_T, a_{t-1} = a_t J_t, and the gradient is dy D_T + sum of a_t F_t over t < T

This is derivations (28); J, F, C and D come from complex step, so nothing is derived by hand.
"""

from typing import Any, NamedTuple

import numpy as np

from rtu_np.recurrence.derivatives import complex_step, differences, scales
from rtu_np.recurrence.forward import COMPLEX, Recurrence
from rtu_np.recurrence.trees import Tree
from rtu_np.validation import check_choice

COMPLEX_STEP, DIFFERENCES = "complex step", "differences"


class Jacobians(NamedTuple):
    """The derivatives of one step."""

    state_by_state: np.ndarray
    state_by_params: np.ndarray
    y_by_state: np.ndarray
    y_by_params: np.ndarray


def jacobians(recurrence: Recurrence, state: np.ndarray, t: int, way: str) -> Jacobians:
    """Of the step from `state` with the input of index t."""
    n, params = recurrence.params.size, recurrence.params
    at = np.concatenate([params.flat, state])
    if way == COMPLEX_STEP:
        all_of_them = complex_step(lambda a: recurrence.step(a[:n], a[n:], t, COMPLEX), at)
    else:
        dtype = recurrence.real
        parts = [*params.slices.values(), *(slice(s.start + n, s.stop + n) for s in recurrence.state.slices.values())]
        all_of_them, _ = differences(lambda a: recurrence.step(a[:n], a[n:], t, dtype), at, scales(at, parts), dtype)
    by_params, by_state = all_of_them[:, :n], all_of_them[:, n:]
    m = state.size
    return Jacobians(by_state[:m], by_params[:m], by_state[m:], by_params[m:])


def start_of(recurrence: Recurrence, states: np.ndarray, t: int) -> np.ndarray:
    """The state that step t + 1 starts from."""
    return recurrence.state.flat if t == 0 or t in recurrence.resets else states[t - 1]


def rtrl(
    forward: Any, params: Any, state: Any, xs: Any, dy: Any = None, resets: Any = None, derivatives: str | None = None
) -> Any:
    """The gradient of dy · y_T by `params`, carried forward in time: real-time recurrent learning (RTRL).

    Parameters
    ----------
    forward : forward(params, state, x) -> (state, y), a pure function in NumPy, JAX or PyTorch
    params, state : an array, or a dict, list, tuple or NamedTuple of them; nested if you like
    xs : the inputs (T, ...), xs[t] for step t + 1; not differentiated by
    dy : what y of the last step is weighed with, of the shape of y, such as (n_outputs,); a random one from a fixed
        seed if not given
    resets : steps (indices of xs) before which the state is set back to `state`
    derivatives : "complex step" or "differences", of one step; by default complex step if `forward` takes complex
        numbers, and else differences, good for eight digits

    Returns
    -------
    The gradient in float64, in NumPy arrays in the structure of `params`.

    Raises
    ------
    ValueError, TypeError : by name, if a shape or type is wrong, if `forward` is not a pure function, or if complex
        step is asked of float32, or of a function that takes no complex numbers

    Costs, with T steps, p parameters and n numbers in the state: T (n + p) calls of `forward` (for differences, six
    times as many), T n² p multiplications, and memory for n p numbers, which does not grow with T.

    Source: Williams and Zipser 1989; derivations (28).

    Examples
    --------
    >>> import numpy as np
    >>> def leaky(params, h, x):
    ...     h = params["a"] * h + x
    ...     return h, h
    >>> rtrl(leaky, {"a": np.array(0.5)}, np.array(0.0), [1.0, 0.0, 0.0], dy=1.0)  # d a² / d a
    {'a': array(1.)}
    """
    recurrence, weights, way = _asked(forward, (params, state, xs, resets), dy, derivatives)
    states = recurrence.run(recurrence.params.flat, recurrence.real).states
    carried = np.zeros((recurrence.state.size, recurrence.params.size))
    for t in range(recurrence.steps):
        if t in recurrence.resets:
            carried[...] = 0
        step = jacobians(recurrence, start_of(recurrence, states, t), t, way)
        gradient = weights @ (step.y_by_state @ carried + step.y_by_params)
        carried = step.state_by_state @ carried + step.state_by_params
    return recurrence.params.plain(gradient)


def bptt(
    forward: Any, params: Any, state: Any, xs: Any, dy: Any = None, resets: Any = None, derivatives: str | None = None
) -> Any:
    """The gradient of dy · y_T by `params`, carried backward: backpropagation through time (BPTT).

    Arguments, result and errors are those of `rtrl`, and so is the gradient, up to rounding.

    Costs, with T steps, p parameters and n numbers in the state: T (n + p) calls of `forward` (for differences, six
    times as many), T n p multiplications, and memory for T n numbers.

    Examples
    --------
    >>> import numpy as np
    >>> def leaky(params, h, x):
    ...     h = params["a"] * h + x
    ...     return h, h
    >>> bptt(leaky, {"a": np.array(0.5)}, np.array(0.0), [1.0, 0.0, 0.0], dy=1.0)
    {'a': array(1.)}
    """
    recurrence, weights, way = _asked(forward, (params, state, xs, resets), dy, derivatives)
    return recurrence.params.plain(backward(recurrence, weights[None], None, way)[0])


def backward(recurrence: Recurrence, by_y: np.ndarray | None, by_state: np.ndarray | None, way: str) -> np.ndarray:
    """Reverse mode from the last step: d (by_y y_T) / d params or d (by_state s_T) / d params, one row a weighing."""
    states = recurrence.run(recurrence.params.flat, recurrence.real).states
    total: Any = 0.0
    for t in reversed(range(recurrence.steps)):
        step = jacobians(recurrence, start_of(recurrence, states, t), t, way)
        if by_state is None:
            assert by_y is not None
            total, by_state = by_y @ step.y_by_params, by_y @ step.y_by_state
        else:
            total, by_state = total + by_state @ step.state_by_params, by_state @ step.state_by_state
        if t in recurrence.resets:
            break
    return total


def weighing(recurrence: Recurrence, dy: Any) -> np.ndarray:
    """dy as a flat array, of y's shape. ValueError, TypeError, by name."""
    y = recurrence.y
    if dy is None:
        drawn = np.random.default_rng(0).standard_normal(y.size)
        return drawn.astype(np.float32).astype(float) if y.single else drawn
    flat = y.flatten("dy", dy)
    Tree("dy", dy)
    return flat.astype(float)


def way_of(recurrence: Recurrence) -> str:
    """How a step is differentiated."""
    return DIFFERENCES if recurrence.no_complex else COMPLEX_STEP


def _asked(forward: Any, arguments: tuple, dy: Any, derivatives: Any) -> tuple[Recurrence, np.ndarray, str]:
    if derivatives is not None:
        check_choice("derivatives", derivatives, {COMPLEX_STEP: 0, DIFFERENCES: 0})
    recurrence = Recurrence(forward, *arguments)
    if derivatives == COMPLEX_STEP:
        single = [*recurrence.params.single, *recurrence.state.single]
        if single:
            raise ValueError(f"{single[0]} is float32 and derivatives is 'complex step': expected float64")
        if recurrence.no_complex:
            raise ValueError(f"derivatives is 'complex step', and {recurrence.no_complex}: expected 'differences'")
    return recurrence, weighing(recurrence, dy), derivatives or way_of(recurrence)
