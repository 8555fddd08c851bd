"""Settings of learners: what compiled code was made for cannot be changed afterwards."""

import inspect
from functools import cache
from typing import Any


class FixedSettings:
    """A class whose attributes with the names of its constructor's arguments are set once.

    Examples
    --------
    >>> from rtu_np import SGD, LinearRTU, TDLambda
    >>> learner = TDLambda(LinearRTU(4), n_inputs=2)
    >>> learner.optimizer = SGD(0.1)
    Traceback (most recent call last):
    AttributeError: optimizer is a setting of this TDLambda, which has been compiled with it: expected a new TDLambda
    """

    def __setattr__(self, name: str, value: Any) -> None:
        kind: Any = type(self)
        if name in vars(self) and name in _arguments(kind):
            called = kind.__name__
            raise AttributeError(
                f"{name} is a setting of this {called}, which has been compiled with it: expected a new {called}"
            )
        super().__setattr__(name, value)


@cache
def _arguments(kind: type) -> frozenset[str]:
    """The names of the arguments of a class's constructor; its seed alone is known later, from a file."""
    return frozenset(inspect.signature(kind).parameters) - {"seed"}
