"""A rule of its own for each block of a network.

ObGD bounds the step of a whole network, and spreads it as the traces are spread: the policy's head, 2 % of an actor's
parameters, may get 74 % of a step. With rules per block, or with a bound that is split by shares, a block's step no
longer depends on the traces of the others (derivations (58)).
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from rtu_np.learning.optimizers import ObGD, Optimizer, check_optimizer, needs_gradient
from rtu_np.learning.readout import HiddenReadoutSpec
from rtu_np.learning.swift_td import SwiftTD
from rtu_np.validation import check_real, check_settings, make_plain

_SUM = 1e-6  # how far the sum of shares may be from one


@dataclass(frozen=True)
class WithLambda:
    """A rule whose traces have a trace parameter of their own, for `Blocks`.

    Parameters
    ----------
    rule : an optimiser
    lambda_ : trace parameter of its block, in [0, 1]

    Raises
    ------
    ValueError, TypeError : if a setting is out of its range or of the wrong type; the message names the setting

    Examples
    --------
    >>> from rtu_np import Adam
    >>> Blocks(cell=WithLambda(Adam(3e-4), 0.8), readout=Adam(1e-3)).lambdas_or(0.95)["cell"]
    0.8
    """

    rule: Optimizer
    lambda_: float

    def __post_init__(self) -> None:
        _check_rule("rule", self.rule)
        check_real("lambda_", self.lambda_, low=0.0, high=1.0)
        make_plain(self)

    def spec(self) -> Any:
        raise TypeError(f"{self!r} outside Blocks: expected an optimiser such as {self.rule!r}")


@dataclass(frozen=True, repr=False)
class Blocks:
    """A rule for each block of a network (derivations (58)).

    The network stores its latest gradient beside the traces: one more number for each weight, and a pass over it.

    Parameters
    ----------
    encoder, cell, hidden, readout, policy, value : the rule of a block (`rtu_np.learning.blocks`), as an optimiser or
        `WithLambda`. Every block that the network has needs one, and no other may have one
    others : the rule of each block that has none. ObGD bounds each of these blocks by itself

    Raises
    ------
    TypeError : if a rule is no optimiser
    ValueError : when the learner is made, if the network has other blocks than these, or a rule has no meaning for its
        block; the message names the block

    Examples
    --------
    >>> from rtu_np import Adam, LinearRTU, ObGD, TDLambda
    >>> rules = Blocks(cell=Adam(3e-4), readout=ObGD(kappa=2.0))
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=rules).optimizer.readout
    ObGD(step_size=1.0, kappa=2.0)
    >>> TDLambda(LinearRTU(8), n_inputs=2, optimizer=Blocks(cell=Adam(3e-4), value=ObGD()))
    Traceback (most recent call last):
    ValueError: optimizer has a rule for value, which this network does not have: its blocks are cell, readout
    """

    encoder: Any = None
    cell: Any = None
    hidden: Any = None
    readout: Any = None
    policy: Any = None
    value: Any = None
    others: Any = None

    def __post_init__(self) -> None:
        for name, rule in self.rules().items():
            _check_rule(name, getattr(rule, "rule", rule) if isinstance(rule, WithLambda) else rule)

    def __repr__(self) -> str:
        return f"Blocks({', '.join(f'{name}={rule!r}' for name, rule in self.rules().items())})"

    @classmethod
    def of_shares(cls, bound: ObGD, **shares: float) -> "Blocks":
        """ObGD's bound of the whole network, split: block b gets kappa / share, so that the shares sum to one bound.

        bound : ObGD with the kappa of the whole network
        shares : of each block, positive; their sum is 1

        Raises
        ------
        ValueError, TypeError : if the shares do not sum to 1, or one is not positive; the message names it

        Examples
        --------
        >>> Blocks.of_shares(ObGD(kappa=2.0), cell=0.5, readout=0.5).cell.kappa
        4.0
        """
        if not isinstance(bound, ObGD):
            raise TypeError(f"bound is {bound!r}: expected ObGD, whose bound the blocks share")
        for name, share in shares.items():
            check_real(name, share, low=0.0, low_open=True)
        if abs(sum(shares.values()) - 1) > _SUM:
            written = ", ".join(f"{name}={share:g}" for name, share in shares.items())
            raise ValueError(f"shares are {written or 'missing'}, {sum(shares.values()):g} in all: expected a sum of 1")
        if unknown := shares.keys() - (blocks := {field.name for field in fields(cls)} - {"others"}):
            known = ", ".join(field.name for field in fields(cls) if field.name in blocks)
            raise ValueError(f"{min(unknown)} is not a block: expected some of {known}")
        return cls(**{name: ObGD(bound.step_size, bound.kappa / share) for name, share in shares.items()})

    def rules(self) -> dict[str, Any]:
        """{block: rule} of the blocks that have one."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: rule for name, rule in named.items() if rule is not None}

    def complete(self, blocks: Iterable[str]) -> "Blocks":
        """The same rules, with that of `others` for each of `blocks` that has none.

        Examples
        --------
        >>> Blocks(cell=ObGD(kappa=4.0), others=ObGD()).complete(["cell", "readout"])
        Blocks(cell=ObGD(step_size=1.0, kappa=4.0), readout=ObGD(step_size=1.0, kappa=2.0))
        """
        if self.others is None:
            return self
        return replace(self, others=None, **dict.fromkeys(set(blocks) - self.rules().keys(), self.others))

    def lambdas_or(self, lambda_: float) -> dict[str, float]:
        """{block: trace parameter}; `lambda_` for blocks without one of their own."""
        return {name: rule.lambda_ if isinstance(rule, WithLambda) else lambda_ for name, rule in self.rules().items()}

    @property
    def cure(self) -> str:
        """Of divergence."""
        rules = (rule.rule if isinstance(rule, WithLambda) else rule for rule in self.rules().values())
        return ", ".join(dict.fromkeys(cure for rule in rules if (cure := getattr(rule, "cure", ""))))

    def spec(self) -> Any:
        raise TypeError(f"{self!r}: rules per block need a network with traces: TDLambda, ActorCritic or QLambda")


def _check_rule(name: str, rule: Any) -> None:
    if isinstance(rule, Blocks | WithLambda):
        raise TypeError(f"{name} is {rule!r}: expected an optimiser such as Adam(1e-3); rules do not nest")
    check_settings(name, rule, "an optimiser such as Adam(1e-3)", 0)


def check_without_traces(argument: str, optimizer: Any, why: str, bounds: tuple[type, ...] = ()) -> Any:
    """`optimizer`, for a learner that does not step along a TD error times a trace.

    bounds : kinds that are refused because they bound such a step

    Raises
    ------
    ValueError, TypeError : if it is no optimiser, or one that needs traces; the message names the argument and `why`
    """
    check_optimizer(argument, optimizer)
    if isinstance(optimizer, bounds):
        fault = f"{type(optimizer).__name__} bounds a TD error times a trace"
    elif isinstance(optimizer, Blocks | WithLambda):
        fault = f"{type(optimizer).__name__} is for networks with a trace for each weight"
    elif needs_gradient(optimizer.spec()):
        fault = f"{type(optimizer).__name__} needs the latest gradient beside a trace"
    else:
        return optimizer
    raise ValueError(f"{argument} is {optimizer!r}: expected SGD, Adam or RMSProp; {fault}, and {why}")


def check_rules(argument: str, optimizer: Any, blocks: Any, readout: Any) -> dict[str, Optimizer]:
    """{block: rule} of an optimiser for a network with these blocks and this readout's spec.

    Raises
    ------
    ValueError : if a block has no rule, or a rule has no block or no meaning for its block; the message has `argument`
    """
    if not isinstance(optimizer, Blocks):
        if isinstance(optimizer, WithLambda):
            raise TypeError(
                f"{argument} is {optimizer!r}: expected an optimiser such as {optimizer.rule!r}, and the learner's own "
                f"lambda_; WithLambda is for one block, for example Blocks(cell=WithLambda(Adam(3e-4), 0.8), ...)"
            )
        if isinstance(optimizer, SwiftTD):
            raise ValueError(
                f"{argument} is {optimizer!r} for a whole network: expected it for a linear readout alone, for example "
                f"Blocks(cell=Adam(3e-4), readout=SwiftTD()); it has no meaning for a recurrent layer"
            )
        check_optimizer(argument, optimizer)
        return {}
    rules = {name: rule.rule if isinstance(rule, WithLambda) else rule for name, rule in optimizer.rules().items()}
    known = ", ".join(blocks)
    if unknown := [name for name in rules if name not in blocks]:
        raise ValueError(
            f"{argument} has a rule for {', '.join(unknown)}, which this network does not have: its blocks are {known}"
        )
    if missing := [name for name in blocks if name not in rules]:
        raise ValueError(f"{argument} has no rule for {', '.join(missing)}: expected one for each block, {known}")
    for name, rule in rules.items():
        linear = name in ("readout", "value") and not isinstance(readout, HiddenReadoutSpec)
        if isinstance(rule, SwiftTD) and not linear:
            raise ValueError(
                f"{argument}: {name} has {rule!r}: expected another rule; SwiftTD is for a linear readout of values "
                "(block readout or value)"
            )
    return {name: rules[name] for name in blocks}  # in the order of the weights
