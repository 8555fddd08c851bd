"""A learner under check: a copy of it, its state as named arrays, and the rows of its stream."""

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rtu_np.control.agent import Agent
from rtu_np.control.inputs import input_statistics
from rtu_np.control.ppo.agent import PPO
from rtu_np.learnercheck.body import Arrays
from rtu_np.learnercheck.rollouts import arrays_of, joined
from rtu_np.learning.network import NamedNetwork
from rtu_np.numerics.buffers import leaves
from rtu_np.prediction.learner import Learner
from rtu_np.prediction.regressor import OnlineRegressor
from rtu_np.prediction.td_many import ManyPredictions
from rtu_np.validation import brief, check_count

_SEED = 0
Row = dict[str, Any]


def copy_of(learner: Any) -> Any:
    """A copy that learns in its place. TypeError if there is no such thing."""
    if isinstance(learner, type) or not callable(getattr(learner, "step", None)) or not hasattr(learner, "__dict__"):
        raise TypeError(
            f"learner is {brief(learner)}: expected an object with a method `step`, whose attributes are its state"
        )
    try:
        return copy.deepcopy(learner)
    except (TypeError, ValueError, AttributeError) as error:
        raise TypeError(
            f"learner is {brief(learner)}, which cannot be copied ({error}): expected one that can"
        ) from error


def state_of(learner: Any) -> Any:
    """Its arrays, by name, as float64 copies; of any other object a copy of its attributes."""
    if not isinstance(learner, Agent | Learner):
        return {name: copy.deepcopy(value) for name, value in vars(learner).items() if is_state(value)}
    arrays = dict(learner._arrays())
    networks: list[NamedNetwork] = []
    if isinstance(learner, PPO):
        arrays = arrays_of(learner)
    elif isinstance(learner, Agent):
        networks = learner._networks()  # type: ignore[attr-defined]
    if isinstance(learner, Agent):
        spec, flat = learner._inputs, arrays.pop("statistics")
        statistics, _ = input_statistics(spec, flat)
        arrays |= leaves(statistics.observation, "inputs.observation.")
        arrays |= {**leaves(statistics.reward.statistics, "inputs.return."), "inputs.return.G": statistics.reward.G}
        arrays |= {"td_errors": statistics.td_errors, "inputs.x": _latest_input(learner)}
    else:
        networks = [NamedNetwork("", learner._spec, learner._views, "readout")]
        if isinstance(learner, OnlineRegressor):
            arrays["inputs.x"] = learner._all.delayed.x
            if "delayed.state" in arrays:
                arrays["delayed.state"] = joined(learner._all.delayed.forward.state)
        elif learner._inputs.on:
            arrays["inputs.x"] = learner._inputs._x
    for each in networks:
        arrays[f"{each.prefix}memory.state"] = joined(each.network.memory.state)
        arrays[f"{each.prefix}memory.y"] = each.network.memory.y
        del arrays[f"{each.prefix}memory"]
    return {name: np.array(array, dtype=np.float64) for name, array in arrays.items()}


def _latest_input(agent: Any) -> np.ndarray:
    return agent._views.live.x if isinstance(agent, PPO) else agent._views.x


def is_state(value: Any) -> bool:
    """Whether an attribute is numbers: an array, a number, or a dict or list of them."""
    if isinstance(value, Mapping):
        return all(is_state(each) for each in value.values())
    if isinstance(value, list | tuple):
        return all(is_state(each) for each in value)
    return isinstance(value, bool | int | float) or (
        isinstance(value, np.ndarray | np.generic) and value.dtype != object
    )


def flat(value: Any, name: str = "") -> Arrays:
    """{name: a copy as an array} of nested dicts and lists."""
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)  # type: ignore[assignment]
    else:
        return {name: np.array(value, dtype=np.float64)}
    return {k: v for key, each in parts for k, v in flat(each, f"{name}.{key}" if name else str(key)).items()}


# ---------------------------------------------------------------------------------------------------------------- rows


def rows_of(learner: Any, stream: Any) -> list[Row]:
    """The arguments of `step`, by name, for each step. ValueError, TypeError, by name."""
    if isinstance(stream, int | np.integer) and not isinstance(stream, bool):
        if not isinstance(learner, Agent | Learner):
            raise TypeError(f"stream is {stream!r}: expected the rows of `step`, since the learner is your own")
        return _drawn(learner, check_count("stream", stream, hint="steps, or the rows of `step`"))
    if isinstance(stream, str | Mapping) or not isinstance(stream, Iterable):
        raise TypeError(f"stream is {brief(stream)}: expected a number of steps, or a list of rows, one for each step")
    rows = [_named(learner, row, f"stream[{t}]") for t, row in enumerate(stream)]
    if not rows:
        raise ValueError("stream has no rows: expected at least one step")
    return rows


def _named(learner: Any, row: Any, name: str) -> Row:
    signature = inspect.signature(learner.step)
    try:
        bound = signature.bind(**row) if isinstance(row, Mapping) else signature.bind(*row)
    except TypeError as error:
        raise TypeError(f"{name} is {brief(row)}: expected the arguments of step{signature}; {error}") from error
    return dict(bound.arguments)


def _drawn(learner: Any, n: int) -> list[Row]:
    """A random stream with ends of both kinds, and with all that the learner may get."""
    rng = np.random.default_rng(_SEED)
    ends = rng.choice(3, n, p=[0.8, 0.1, 0.1])
    ends[: len(_ENDS)] = _ENDS[:n]
    draw = _agent_row if isinstance(learner, Agent) else _row
    return [draw(learner, rng, int(end)) for end in ends]


_ENDS = (0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2)  # so that even a short stream has both


def _agent_row(agent: Agent, rng: np.random.Generator, end: int) -> Row:
    from gymnasium.spaces import Box  # whoever has an agent has imported it

    space = agent.observation_space
    if isinstance(space, Box):
        x = np.clip(1.0 + rng.standard_normal(space.shape), space.low, space.high).astype(space.dtype)
    else:
        space = copy.deepcopy(space)
        space.seed(int(rng.integers(1 << 30)))
        x = space.sample()
    return {"observation": x, "reward": rng.standard_normal() + 0.5, "terminated": end == 1, "truncated": end == 2}


def _row(learner: Any, rng: np.random.Generator, end: int) -> Row:
    x, gaps = 1.0 + rng.standard_normal(learner.n_inputs), learner._inputs.missing is not None
    if gaps:
        x[rng.random(x.size) < 0.25] = np.nan
    if isinstance(learner, OnlineRegressor):
        y = (
            rng.random(learner.n_targets)
            if learner.loss == "logistic"
            else 3.0 + rng.standard_normal(learner.n_targets)
        )
        y[(rng.random(y.size) < 0.25) & gaps] = np.nan
        return {"x": x, "y": y if y.size > 1 else float(y[0]), "ends": end > 0 and rng.random() < 0.5}
    m = learner.gamma.size if isinstance(learner, ManyPredictions) else 1
    c = rng.standard_normal(m)
    c[(rng.random(m) < 0.25) & gaps] = np.nan
    discount = np.asarray(learner.gamma) * rng.choice([0.0, 0.9, 1.0], p=[0.05, 0.45, 0.5])
    row = {"c": c if isinstance(learner, ManyPredictions) else float(c[0]), "discount": discount}
    if isinstance(learner, ManyPredictions):
        row["ratio"] = float(rng.choice([0.0, 0.5, 1.5]))
    else:
        row["discount"] = float(discount)
    return {"x": x, **row, "terminated": end == 1, "truncated": end == 2}
