"""An environment as plain data, and back: its id, arguments and wrappers, as Gymnasium's spec has them."""

from typing import Any

import numpy as np

from rtu_np.control.environments import innermost


def name_of(env: Any) -> str:
    """The id under which the environment is registered; without one, the class inside all wrappers.

    Examples
    --------
    >>> import gymnasium
    >>> name_of(gymnasium.wrappers.TimeLimit(gymnasium.make("CartPole-v1"), 9))
    'CartPole-v1'
    """
    spec = _spec(env)
    return type(innermost(env)).__name__ if spec is None else str(spec.id)


def _spec(env: Any) -> Any:
    """Gymnasium's spec of the environment with its wrappers, or None."""
    try:
        return getattr(env, "spec", None)
    except Exception:  # a wrapper of somebody's own that has no arguments to show
        return getattr(innermost(env), "spec", None)


def describe(env: Any) -> dict[str, Any]:
    """What `make` needs. If it cannot make this environment again, `missing` says why."""
    inner, spec = innermost(env), _spec(env)
    wrappers, steps, layer = [], [], env
    while layer is not inner and hasattr(layer, "env"):
        wrappers.append(type(layer).__name__)
        if wrappers[-1] == "TimeLimit" and hasattr(layer, "_max_episode_steps"):
            steps.append(layer._max_episode_steps)
        layer = layer.env
    kind = f"{type(inner).__module__}:{type(inner).__qualname__}"
    page: dict[str, Any] = {"id": name_of(env), "class": kind, "wrappers": wrappers[::-1]}
    if spec is None:
        return {
            **page,
            "missing": f"{type(inner).__name__} was not made by gymnasium.make, so its arguments are unknown",
        }
    try:
        additional = [_wrapper(each) for each in spec.additional_wrappers]
        limits = {
            "max_episode_steps": min(steps, default=spec.max_episode_steps),  # of several, the spec has the outermost
            "order_enforce": spec.order_enforce,
            "disable_env_checker": spec.disable_env_checker,
        }
        made = {"entry_point": _entry_point(spec.entry_point, kind), "kwargs": _plain("kwargs", spec.kwargs), **limits}
    except (TypeError, ValueError) as error:
        return {**page, "missing": str(error)}
    return {**page, **made, "additional_wrappers": additional}


def _entry_point(entry_point: Any, kind: str) -> str | None:
    """ "module:class"; None if only the registry of this process knows the class."""
    if isinstance(entry_point, str):
        return entry_point
    return None if "__main__" in kind or "<locals>" in kind else kind


def _wrapper(spec: Any) -> dict[str, Any]:
    if spec.kwargs is None:
        raise ValueError(
            f"the wrapper {spec.name} does not record its arguments (gymnasium.utils.RecordConstructorArgs)"
        )
    entry_point = spec.entry_point
    if entry_point.startswith("__main__:"):
        raise ValueError(f"the wrapper {spec.name} stands in the main program: expected a module that can be imported")
    return {"name": spec.name, "entry_point": entry_point, "kwargs": _plain(f"{spec.name}'s arguments", spec.kwargs)}


def _plain(name: str, value: Any) -> Any:
    """Plain data for JSON: tuples and NumPy's arrays are marked, since an environment may depend on the type."""
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return {"array": np.asarray(value).tolist(), "dtype": value.dtype.name}
    if isinstance(value, tuple):
        return {"tuple": [_plain(name, each) for each in value]}
    if isinstance(value, list):
        return [_plain(name, each) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _plain(f"{name}[{key!r}]", each) for key, each in value.items()}}
    raise TypeError(f"{name} holds {value!r} of type {type(value).__name__}, which is not plain data")


def _built(value: Any) -> Any:
    """What `_plain` was given."""
    if isinstance(value, list):
        return [_built(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        array = np.array(value["array"], value["dtype"])
        return array if array.ndim else array[()]
    if "tuple" in value:
        return tuple(_built(each) for each in value["tuple"])
    return {key: _built(each) for key, each in value["dict"].items()}


def make(page: dict[str, Any], source: str) -> Any:
    """The environment that `describe` described. ValueError if it cannot be made; `source` is the page's path."""
    import gymnasium
    from gymnasium.envs.registration import EnvSpec, WrapperSpec

    name, why = page.get("id"), page.get("missing")
    if why is None and "kwargs" in page:
        entry_point = page["entry_point"]
        if entry_point is None and name in gymnasium.registry:
            entry_point = gymnasium.registry[str(name)].entry_point
        if entry_point is not None:
            wrappers = page["additional_wrappers"]
            limits = {key: page[key] for key in ("max_episode_steps", "order_enforce", "disable_env_checker")}
            spec = EnvSpec(str(name), entry_point, kwargs=_built(page["kwargs"]), **limits)
            spec.additional_wrappers = tuple(
                WrapperSpec(each["name"], each["entry_point"], _built(each["kwargs"])) for each in wrappers
            )
            return gymnasium.make(spec)
        why = f"its class {page.get('class')} cannot be imported by name, and nobody has registered {name!r} here"
    raise ValueError(
        f"{source} does not say how to make the environment {name!r} again: {why or 'the page is damaged'}. Make it as "
        "you did, and pass it: env=..."
    )
