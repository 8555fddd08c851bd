"""The state of an environment in mid-episode, as arrays and JSON, from which it continues bit for bit.

    snapshot = capture(env)           # settings can be written as JSON, arrays with numpy.savez
    ...
    env = gymnasium.make(...)         # in another process, made the same way
    restore(env, snapshot)            # continues as the first would have

A snapshot holds all attributes of the environment and of its wrappers that a step may change: numbers, arrays,
containers of them, generators of random numbers, and all of MuJoCo's data and model. MuJoCo's own `mj_getState` would
not do: rewards read positions that are computed before a step's last integration, and `mj_getState` leaves these out.
Nothing is pickled, so restoring executes nothing: the types of all parts are those of the environment at hand, and a
snapshot gives their contents only.

Some environments write into the model: a door stands elsewhere in each episode. So a snapshot has the model's arrays,
options and statistics. Of arrays that are large (textures, meshes) it has a hash, and `restore` refuses by name if such
an array differs. It leaves out how the model is drawn (`model.vis`).

No step changes spaces, functions and windows, so a snapshot leaves them out. (`action_space.sample()` draws from a
generator of its own.)
"""

import hashlib
import sys
import warnings
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, NamedTuple

import gymnasium
import numpy as np

PLAIN = (type(None), bool, int, float, str)
CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "deque": deque}
# How an environment was made. `restore` gets an environment, so it needs none of these.
MADE = ("env", "spec", "metadata", "_metadata", "_cached_spec", "_saved_kwargs", "_ezpickle_args", "_ezpickle_kwargs")
FIXED = (
    "gymnasium.spaces.",
    "gymnasium.envs.mujoco.mujoco_rendering.",
    "mujoco.",
    "pygame.",
)  # modules of parts that stay

FUNCTIONS = (type, FunctionType, MethodType, BuiltinFunctionType, np.ufunc)
LARGE = 1 << 16  # bytes of an array of a model, above which a snapshot has its hash
STRUCTS = ("opt", "stat")  # parts of a model that hold numbers of their own


class Snapshot(NamedTuple):
    settings: dict[str, Any]  # for json.dumps
    arrays: dict[str, np.ndarray]


def capture(env: gymnasium.Env) -> Snapshot:
    """All that `env` needs to continue from here.

    Raises
    ------
    ValueError
        if an attribute is neither data nor of a kind that no step changes.

    Examples
    --------
    >>> env = gymnasium.make("CartPole-v1")
    >>> _ = env.reset(seed=0)
    >>> snapshot = capture(env)
    >>> first = env.step(1)[0]
    >>> restore(env, snapshot)
    >>> bool((env.step(1)[0] == first).all())
    True
    """
    arrays: dict[str, np.ndarray] = {}
    layers = [_attributes(f"{depth}.{type(layer).__name__}", layer, arrays) for depth, layer in enumerate(_layers(env))]
    return Snapshot({"environment": _kind(env), "layers": layers}, arrays)


def restore(env: gymnasium.Env, snapshot: Snapshot) -> None:
    """Set `env` to the state that `snapshot` captured. `env` must have been made as the captured one was.

    Raises
    ------
    ValueError
        if the snapshot is of another environment, or does not fit this one.
    """
    settings, arrays = snapshot
    if settings.get("environment") != _kind(env):
        raise ValueError(
            f"snapshot is of {settings.get('environment')}: expected one of {_kind(env)}; make the environment with "
            "the same id, settings and wrappers"
        )
    initial = _models(env)
    env.reset()  # some attributes exist from the first reset on
    _check_that_models_are_captured(env, settings, initial)
    changes: list[Callable[[], Any]] = []
    try:
        for layer, attributes in zip(_layers(env), settings["layers"], strict=True):
            _restore_attributes(layer, attributes, arrays, changes)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"snapshot is damaged: {error} is missing or has another form") from error
    for change in changes:  # every part fits: an error before this point leaves `env` as reset
        change()


def _layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _kind(env: gymnasium.Env) -> list[Any]:
    spec = env.unwrapped.spec
    made = [] if spec is None else [spec.id, repr(spec.kwargs)]
    return [*(type(layer).__name__ for layer in _layers(env)), *made]


def _is_fixed(name: str, value: Any) -> bool:
    """Whether no step changes this attribute."""
    if name in MADE or isinstance(value, FUNCTIONS):
        return True
    module = type(value).__module__ + "."
    return module.startswith(FIXED) and not _is_mujoco_data(value) and not _is_mujoco_model(value)


def _is_mujoco_data(value: Any) -> bool:
    return "mujoco" in sys.modules and isinstance(value, sys.modules["mujoco"].MjData)


def _is_mujoco_model(value: Any) -> bool:
    return "mujoco" in sys.modules and isinstance(value, sys.modules["mujoco"].MjModel)


def _mujoco_arrays(data: Any) -> dict[str, np.ndarray]:
    """{name: array} of MuJoCo's data.

    Arrays that are empty in new data are left out: they hold the contacts of one step, which the next step computes
    again.
    """
    new = sys.modules["mujoco"].MjData(data.model)
    names = [name for name in dir(new) if not name.startswith("_")]
    return {n: getattr(data, n) for n in names if isinstance(a := getattr(new, n), np.ndarray) and a.size}


class _Model(NamedTuple):
    """What a step or a reset may change of a MuJoCo model."""

    arrays: dict[str, np.ndarray]  # views
    hashes: dict[str, str]  # of large arrays
    numbers: dict[str, Any]  # of options and statistics

    @property
    def layout(self) -> str:
        return repr([(name, array.dtype.str, array.shape) for name, array in self.arrays.items()])


def _mujoco_model(model: Any) -> _Model:
    every = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    arrays = {name: value for name, value in every.items() if isinstance(value, np.ndarray)}
    large = {name: array for name, array in arrays.items() if array.nbytes > LARGE}
    structs = {part: _numbers_of(getattr(model, part)) for part in STRUCTS}
    return _Model(
        {name: array for name, array in arrays.items() if name not in large},
        {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in large.items()},
        {f"{part}.{name}": value for part, numbers in structs.items() for name, value in numbers.items()},
    )


def _numbers_of(struct: Any) -> dict[str, Any]:
    every = {name: getattr(struct, name) for name in dir(struct) if not name.startswith("_")}
    numbers = {name: value for name, value in every.items() if isinstance(value, np.ndarray | int | float)}
    return {name: np.asarray(value).tolist() for name, value in numbers.items()}


def _models(env: gymnasium.Env) -> dict[tuple[int, str], _Model]:
    """{(layer, attribute): its present contents, copied}"""
    found = {}
    for depth, layer in enumerate(_layers(env)):
        for name, value in vars(layer).items():
            if _is_mujoco_model(value):
                now = _mujoco_model(value)
                found[depth, name] = now._replace(arrays={key: array.copy() for key, array in now.arrays.items()})
    return found


def _attributes(path: str, part: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: _captured(f"{path}.{name}", value, arrays)
        for name, value in vars(part).items()
        if not _is_fixed(name, value)
    }


def _captured(path: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """`value` as JSON; its arrays are stored in `arrays` under their paths."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Enum):
        return {"enum": value.value}
    if isinstance(value, np.ndarray | np.generic) and not np.asarray(value).dtype.hasobject:
        arrays[path] = np.array(value)
        return {"array" if isinstance(value, np.ndarray) else "scalar": path}
    if isinstance(value, np.random.Generator):
        return {"generator": value.bit_generator.state}
    if _is_mujoco_data(value):
        found = _mujoco_arrays(value)
        arrays.update({f"{path}.{name}": array.copy() for name, array in found.items()})
        return {"mujoco": path, "time": value.time, "version": sys.modules["mujoco"].__version__}
    if _is_mujoco_model(value):
        now = _mujoco_model(value)
        arrays[path] = np.concatenate([array.ravel().view(np.uint8) for array in now.arrays.values() if array.size])
        return {"mujoco_model": path, "layout": now.layout, "hashes": now.hashes, "numbers": now.numbers}
    for kind, container in CONTAINERS.items():
        if isinstance(value, container):
            return {kind: [_captured(f"{path}[{k}]", each, arrays) for k, each in enumerate(value)]}
    if isinstance(value, dict):
        pairs = enumerate(value.items())
        return {"dict": [[_captured(f"{path}{{{k}}}[{i}]", pair[i], arrays) for i in (0, 1)] for k, pair in pairs]}
    if hasattr(value, "__dict__") and path.count(".") < 9:  # deeper paths are of objects that refer to each other
        return {"attributes": _attributes(path, value, arrays)}
    raise ValueError(
        f"env cannot be captured in mid-episode: {path} is a {type(value).__module__}.{type(value).__qualname__}, "
        "expected numbers, arrays, and containers or plain objects of them"
    )


def _restore_attributes(part: Any, saved: dict[str, Any], arrays: Any, changes: list[Callable[[], Any]]) -> None:
    """Check that `saved` fits `part`, and append the changes to make to `changes`."""
    current = vars(part)
    for name, value in current.items():
        if name not in saved and not _is_fixed(name, value) and not _is_mujoco_model(value):
            changes.append(partial(delattr, part, name))
    for name, value in saved.items():
        of_model = _is_mujoco_model(current.get(name)) and not (isinstance(value, dict) and "mujoco_model" in value)
        if of_model or _is_fixed(name, current.get(name)):  # a snapshot may change no types and no code
            raise ValueError(f"snapshot sets {name}, which no step changes: has it been tampered with?")
        restored = _restored(value, current.get(name), arrays, changes)
        changes.append(partial(setattr, part, name, restored))


def _restored(saved: Any, live: Any, arrays: dict[str, np.ndarray], changes: list[Callable[[], Any]]) -> Any:
    """The value that `saved` describes; `live` is the value now in its place."""
    if not isinstance(saved, dict):
        return saved
    kind, content = next(iter(saved.items()))
    if kind == "mujoco_model":
        _restore_mujoco_model(live, saved, arrays, changes)
        return live
    if kind == "array":
        return arrays[content].copy()
    if kind == "scalar":
        return arrays[content][()]
    if kind == "enum" and isinstance(live, Enum):
        return type(live)(content)
    if kind == "generator":
        generator = live if isinstance(live, np.random.Generator) else np.random.default_rng()
        changes.append(partial(setattr, generator.bit_generator, "state", content))
        return generator
    if kind == "mujoco":
        _restore_mujoco(live, saved, arrays, changes)
        return live
    if kind == "attributes":
        _restore_attributes(live, content, arrays, changes)
        return live
    if kind == "dict":
        old = live if isinstance(live, dict) else {}
        pairs = [(_restored(key, None, arrays, changes), value) for key, value in content]
        return {key: _restored(value, old.get(key), arrays, changes) for key, value in pairs}
    container = CONTAINERS[kind]
    current: list[Any] = [*live] if isinstance(live, list | tuple | deque) else []
    current += [None] * (len(content) - len(current))
    items = [_restored(value, old, arrays, changes) for value, old in zip(content, current, strict=False)]
    if isinstance(live, tuple) and hasattr(live, "_fields"):  # a NamedTuple
        return type(live)(*items)
    return deque(items, live.maxlen) if isinstance(live, deque) else container(items)


def _restore_mujoco(data: Any, saved: dict[str, Any], arrays: dict[str, np.ndarray], changes: list[Any]) -> None:
    path, version = saved["mujoco"] + ".", sys.modules["mujoco"].__version__
    if saved["version"] != version:
        warnings.warn(
            f"the snapshot was captured with MuJoCo {saved['version']}, and this is {version}: the environment will "
            "not continue bit for bit as it would have",
            stacklevel=2,
        )
    views = _mujoco_arrays(data)
    found = {name.removeprefix(path): array for name, array in arrays.items() if name.startswith(path)}
    misfits = sorted(views.keys() ^ found.keys()) or sorted(
        name for name, view in views.items() if (found[name].shape, found[name].dtype) != (view.shape, view.dtype)
    )
    if misfits:
        raise ValueError(
            f"snapshot's MuJoCo data do not fit ({', '.join(misfits)}): were they captured with another model, or "
            "another version of MuJoCo?"
        )
    changes += [partial(np.copyto, view, found[name]) for name, view in views.items()]
    changes.append(partial(setattr, data, "time", float(saved["time"])))


def _restore_mujoco_model(model: Any, saved: dict[str, Any], arrays: dict[str, np.ndarray], changes: list[Any]) -> None:
    now, content, start = _mujoco_model(model), arrays[saved["mujoco_model"]], 0
    if saved["layout"] != now.layout or saved["numbers"].keys() != now.numbers.keys():
        raise ValueError(
            "snapshot's MuJoCo model does not fit: was it captured with another model, or another version of MuJoCo?"
        )
    if changed := sorted(name for name in now.hashes if saved["hashes"][name] != now.hashes[name]):
        raise ValueError(
            f"snapshot's MuJoCo model differs in {', '.join(changed)}, of which a snapshot holds a hash since it is "
            "large: expected the model that the environment was captured with"
        )
    for array in now.arrays.values():
        part = content[start : start + array.nbytes]
        start += array.nbytes
        if array.size and part.tobytes() != array.tobytes():
            changes.append(partial(np.copyto, array, part.view(array.dtype).reshape(array.shape)))
    for name, value in saved["numbers"].items():
        if value != now.numbers[name]:
            part, _, field = name.partition(".")
            changes.append(partial(_set_number, getattr(model, part), field, value))


def _set_number(struct: Any, name: str, value: Any) -> None:
    if isinstance(getattr(struct, name), np.ndarray):
        getattr(struct, name)[...] = value
    else:
        setattr(struct, name, value)


def _check_that_models_are_captured(env: gymnasium.Env, settings: Any, initial: dict[tuple[int, str], _Model]) -> None:
    """ValueError if a snapshot lacks a model, as older ones do, and a reset of `env` changes this model."""
    for (depth, name), now in _models(env).items():
        layers = settings.get("layers", [])
        if (depth, name) not in initial or depth >= len(layers) or name in layers[depth]:
            continue
        before = initial[depth, name]
        changed = [key for key, array in now.arrays.items() if array.tobytes() != before.arrays[key].tobytes()]
        changed += [key for key in now.hashes if now.hashes[key] != before.hashes[key]]
        changed += [key for key in now.numbers if now.numbers[key] != before.numbers[key]]
        if changed:
            raise ValueError(
                f"snapshot lacks the MuJoCo model, and this environment changes {', '.join(changed)} of its model when "
                "it is reset: the snapshot is of an earlier version of this package, and cannot be continued from"
            )
