"""Environments from outside: what they return, and which agents learn in them now."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def five(result: Any) -> Any:
    """What `env.step` returned, if it has five parts."""
    if isinstance(result, tuple) and len(result) == 5:
        return result
    raise _unlike("step", result, "(observation, reward, terminated, truncated, info)")


def two(result: Any) -> Any:
    """What `env.reset` returned, if it has two parts."""
    if isinstance(result, tuple) and len(result) == 2:
        return result
    raise _unlike("reset", result, "(observation, info)")


def _unlike(call: str, result: Any, expected: str) -> TypeError:
    parts = f"{len(result)} parts" if isinstance(result, tuple) else f"a {type(result).__name__}"
    return TypeError(
        f"env.{call} returned {parts}: expected {expected}. Does env follow an older Gym? The package shimmy makes a "
        "new one of it"
    )


_LEARNERS: dict[int, Any] = {}  # {id of the innermost environment: the agent that learns in it}
_NOBODY = object()
_LAST: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # {innermost environment: who moved it last}


def innermost(env: Any) -> Any:
    """The environment inside all wrappers."""
    if hasattr(env, "unwrapped"):
        return env.unwrapped
    return innermost(env.env) if hasattr(env, "env") else env


def moved_by(env: Any, agent: Any) -> None:
    """Note that `agent` moves `env` from now on; None: somebody from whose steps no agent learns."""
    with suppress(TypeError):  # an environment of a kind that has no weak references, or no hash
        _LAST[innermost(env)] = None if agent is None else weakref.ref(agent)


def was_moved_by_another(env: Any, agent: Any) -> bool:
    try:
        last = _LAST.get(innermost(env), _NOBODY)
    except TypeError:
        return False
    return last is not _NOBODY and (last is None or last() is not agent)


def check_free(env: Any) -> None:
    if id(innermost(env)) in _LEARNERS:
        raise RuntimeError(
            f"env is {env}, in which an agent learns at this moment: expected another environment, made in the same "
            "way. The agent would learn on from steps that it has not made; is this call in a callback of learn?"
        )


@contextmanager
def learning_in(env: Any, agent: Any) -> Iterator[None]:
    """Let no other call act in `env`. RuntimeError if one does."""
    check_free(env)
    if agent in _LEARNERS.values():
        raise RuntimeError("this agent learns at this moment: expected a call of learn after it, not in its callback")
    key = id(innermost(env))
    _LEARNERS[key] = agent
    try:
        yield
    finally:
        del _LEARNERS[key]
