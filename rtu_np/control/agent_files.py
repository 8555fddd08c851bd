"""Agents in files and pickles: settings, spaces, arrays and generators; the environment stays behind."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rtu_np import checkpoint
from rtu_np.control import spaces

SPACES = ("observation_space", "action_space")


class Spaces(NamedTuple):
    """Enough of an environment to make an agent for it."""

    observation_space: Any
    action_space: Any


def plain_seed(sequence: Any) -> Any:
    """The start of a SeedSequence as plain data: an integer if it began with one. `seed_of` gives it back.

    Examples
    --------
    >>> plain_seed(np.random.SeedSequence(7))
    7
    >>> child = np.random.SeedSequence([1, 2]).spawn(3)[2]
    >>> bool((seed_of(plain_seed(child)).generate_state(4) == child.generate_state(4)).all())
    True
    """
    numbers = np.atleast_1d(np.asarray(sequence.entropy, object)).tolist()
    entropy: Any = [int(number) for number in numbers]
    entropy = entropy[0] if np.ndim(sequence.entropy) == 0 else entropy
    place, spawned = [int(number) for number in sequence.spawn_key], int(sequence.n_children_spawned)
    return {"entropy": entropy, "spawn_key": place, "n_children_spawned": spawned} if place or spawned else entropy


def seed_of(plain: Any) -> Any:
    """What an agent takes as its seed, from what `plain_seed` made."""
    return np.random.SeedSequence(**plain) if isinstance(plain, dict) else plain


def described(agent: Any) -> dict[str, Any]:
    """The constructor's arguments as plain data, without env and seed."""
    return {name: checkpoint.describe(part) for name, part in agent._settings().items()}


def built(kind: Any, settings: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments from plain data. What is `given` by name takes the place of what is stored.

    Raises
    ------
    TypeError : if a name that is given is not a setting
    ValueError : if a part is not of this package, and not given
    """
    if unknown := given.keys() - settings.keys():
        raise TypeError(f"{min(unknown)} is given: expected settings of {kind.__name__}, {', '.join(settings)}")
    return {
        name: given[name] if name in given else checkpoint.build(name, part) if isinstance(part, dict) else part
        for name, part in settings.items()
    }


def save(agent: Any, path: str | os.PathLike) -> Path:
    """Write all but the environment's state. See `Agent.save`."""
    generators = {"rng": agent._rng.bit_generator.state, "acting_rng": agent._acting_rng.bit_generator.state}
    environment: dict[str, Any] = {name: spaces.describe(getattr(agent, name)) for name in SPACES}
    environment |= {"env_seed": agent._env_seed, "seed": agent.seed}
    page = {"learner": type(agent).__name__, "settings": described(agent), **generators, **environment}
    return checkpoint.save(path, page, agent._arrays())


def load(kind: Any, path: str | os.PathLike, given: dict[str, Any]) -> Any:
    """The agent that was saved. See `Agent.load`."""
    page, arrays = checkpoint.load(path)
    if page.get("learner") != kind.__name__:
        raise ValueError(
            f"path {os.fspath(path)!r} is a checkpoint of {page.get('learner')}: expected one of {kind.__name__}"
        )
    settings = page.get("settings")
    if not isinstance(settings, dict):
        raise ValueError(f"path {os.fspath(path)!r} has no settings of an agent; is it damaged?")
    settings.setdefault("clip_observations", None)  # an older file lacks it
    if settings.get("shared"):
        settings.pop("critic_optimizer", None)  # an older file has one, which did nothing
    if given.keys() - settings.keys():
        built(kind, settings, given)  # raises, before the file is blamed
    with checkpoint.building(path, page, arrays):
        stand_in = Spaces(spaces.build(page["observation_space"]), spaces.build(page["action_space"]))
        agent = kind(stand_in, **built(kind, settings, given))
        agent._rng.bit_generator.state = page["rng"]
        agent._acting_rng.bit_generator.state = page["acting_rng"]
        agent._env_seed, agent.seed = page["env_seed"], page.get("seed")  # an older file has no seed
    clock = arrays.get("clock", agent._episode)
    if (clock.shape, clock.dtype) == (agent._clock.shape, agent._clock.dtype):
        agent._clock[:] = clock  # the number of stored transitions depends on it
    checkpoint.restore(path, agent._arrays(), arrays)
    return agent


class Contents(NamedTuple):
    """All that learning changes in an agent, and from which its generators began."""

    arrays: dict[str, np.ndarray]
    generators: tuple[Any, Any]
    env_seed: int
    seed: Any
    closed: bool


def contents(agent: Any) -> Contents:
    arrays = {name: view.copy() for name, view in agent._arrays().items()}
    generators = agent._rng.bit_generator.state, agent._acting_rng.bit_generator.state
    return Contents(arrays, generators, agent._env_seed, agent.seed, agent._closed)


def fill(agent: Any, found: Contents) -> None:
    """Let `agent` be as the agent of the same settings that has these contents."""
    agent._rng.bit_generator.state, agent._acting_rng.bit_generator.state = found.generators
    agent._env_seed, agent.seed, agent._closed = found.env_seed, found.seed, found.closed
    agent._clock[:] = found.arrays["clock"]  # the number of stored transitions depends on it
    for name, view in agent._arrays().items():
        view[...] = found.arrays[name]


def revived(kind: Any, stand_in: Spaces, settings: dict[str, Any], found: Contents) -> Any:
    """An agent of these contents, for `copy.deepcopy` and `pickle`."""
    agent = kind(stand_in, **settings)
    fill(agent, found)
    return agent
