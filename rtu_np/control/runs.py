"""A run's name and its page of settings, `settings.json`, from which agent and environment can be made again.

    agent        class, constructor's arguments (`rtu_np.checkpoint.describe`), seed
    environment  id, arguments and wrappers, as Gymnasium's spec has them; or why it cannot be made again
    call         steps asked for, steps before, command line, versions, commit, time

A call of `learn` that continues in a folder adds an entry to `continued`, with what differs from the first call.
"""

import hashlib
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from rtu_np import files, protocol, provenance
from rtu_np.control import agent_files, env_specs
from rtu_np.numerics.buffers import size
from rtu_np.validation import brief

SETTINGS = "settings.json"
_PACKAGES = ("rtu_np", "numpy", "numba", "gymnasium")
_LONGEST = 48  # letters of a part of a folder's name


class Run(NamedTuple):
    """What a folder of logs describes."""

    agent: Any
    env: Any
    steps: int  # that are left to make


def run_name(agent: Any, env: Any) -> str:
    """Agent, environment, cell, gradient and seed, in letters that every file system takes.

    Examples
    --------
    >>> import gymnasium
    >>> from rtu_np import ActorCritic, LinearRTU
    >>> env = gymnasium.wrappers.RescaleAction(gymnasium.make("Pendulum-v1"), -1, 1)
    >>> run_name(ActorCritic(env, LinearRTU(8), seed=3), env)
    'ActorCritic__Pendulum-v1__LinearRTU-8__RTRL__seed-3'
    """
    gradient = re.sub(r"\W+", "-", brief(agent.gradient))
    seed = [] if agent.seed is None else [f"seed-{_brief_seed(agent.seed)}"]
    cell = "+".join(_recurrent_layers(agent.cell, agent._inputs.n_inputs))
    parts = [type(agent).__name__, env_specs.name_of(env), cell, gradient, *seed]
    return "__".join(re.sub(r"[^\w.+=-]+", "-", part, flags=re.ASCII)[:_LONGEST].strip("-") for part in parts)


def _brief_seed(seed: Any) -> str:
    """An integer as it is, if a person has chosen it; otherwise the start of a hash."""
    whole = str(seed)
    return whole if whole.isdecimal() and len(whole) <= 12 else hashlib.sha256(whole.encode()).hexdigest()[:8]


def _recurrent_layers(cell: Any, n_inputs: int) -> Iterator[str]:
    """Name and width of the layers that have a state; of all layers, if no layer has one."""
    layers, found = getattr(cell, "layers", (cell,)), []
    for layer in layers:
        spec = layer.spec(n_inputs)
        n_inputs = spec.n_outputs
        width = getattr(spec, "n_hidden", 0) or spec.n_outputs
        found.append((size(protocol.state, spec) > 0, f"{type(layer).__name__}-{width}"))
    recurs = any(has_state for has_state, _ in found)
    yield from (name for has_state, name in found if has_state or not recurs)


def new_folder(parent: Path, name: str) -> Path:
    """A folder in `parent` that did not exist, named by `name` and the time.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folders = [new_folder(Path(parent), "run") for _ in range(3)]
    ...     len(set(folders)), folders == sorted(folders), all(folder.is_dir() for folder in folders)
    (3, True, True)
    """
    stem = f"{name}__{time.strftime('%Y%m%d-%H%M%S')}"
    parent.mkdir(parents=True, exist_ok=True)
    for k in count(1):
        folder = parent / (stem if k == 1 else f"{stem}-{k:03d}")
        try:
            folder.mkdir()
        except FileExistsError:  # of another process, perhaps
            continue
        return folder
    raise AssertionError


def settings_page(folder: Path, agent: Any, env: Any, steps: int) -> dict[str, Any]:
    """What `settings.json` has to say before the agent learns. If it exists, this call of `learn` is added to it."""
    path = folder / SETTINGS
    made = {"agent": _agent(agent), "environment": env_specs.describe(env)}
    call = {"steps_before": agent.steps, "steps": steps, **_circumstances()}
    if path.exists() and agent.steps:
        page = _read(path)
        differs = {name: part for name, part in made.items() if json.loads(_text(part)) != page[name]}
        page["continued"] = [*page.get("continued", []), {**call, **differs}]
    else:
        again = f"agent, env, steps = rtu_np.make_again({os.fspath(folder)!r})"
        page = {"format": "rtu_np run", "version": 1, "make_again": again, **made, "call": call}
    return page


def write_settings(folder: Path, page: dict[str, Any]) -> None:
    with files.replacing(folder / SETTINGS) as part:
        part.write_text(_text(page) + "\n", encoding="utf-8")


def _text(page: Any) -> str:
    """JSON; a part that is not data, such as a cell of another package, as its repr."""
    return json.dumps(page, indent=1, default=repr)


def _agent(agent: Any) -> dict[str, Any]:
    """What the constructor needs, and a hash of the parameters, by which `make_again` sees whether it was enough."""
    parameters = hashlib.sha256()
    for name, view in agent.parameters.items():
        parameters.update(name.encode() + view.tobytes())
    settings = agent_files.described(agent)
    return {
        "class": type(agent).__name__,
        "settings": settings,
        "seed": agent.seed,
        "parameters": parameters.hexdigest(),
    }


def _circumstances() -> dict[str, Any]:
    here = Path.cwd()
    commit = provenance.commit(here)
    packages = [*_PACKAGES, *(name for name in ("mujoco",) if name in sys.modules)]
    return {
        "began": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": provenance.command(),
        "folder": os.fspath(here),
        **({"commit": commit, "commit_has_changes": provenance.has_changes(here)} if commit else {}),
        **provenance.machine(),
        "versions": provenance.versions(packages),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"log {os.fspath(path)!r} is damaged ({error}): expected the page that learn wrote") from error
    if not isinstance(page, dict) or page.get("format") != "rtu_np run" or not {"agent", "call"} <= page.keys():
        raise ValueError(f"log {os.fspath(path)!r} is not a page that learn wrote: is it another program's file?")
    if page.get("version") != 1:
        raise ValueError(
            f"log {os.fspath(path)!r} has version {page.get('version')!r}: expected 1; was it written by a newer "
            "version of rtu_np?"
        )
    return page


def make_again(folder: str | os.PathLike, env: Any = None, **given: Any) -> Run:
    """(agent, env, steps) of a run, as they were before it: `agent.learn(env, steps)` makes the same run, to the bit.

    The same bits need the same machine and versions, which `settings.json` names. The environment is made by
    `gymnasium.make`, which imports the module that the page names: do so with pages of your own only.

    Parameters
    ----------
    folder : a folder that `learn(log=...)` wrote
    env : the environment, if it cannot be made from the page: it was not made by `gymnasium.make`, or got a function
    given : parts of the agent that are not of this package, by name: cell=...

    Raises
    ------
    ValueError, TypeError : if the page is damaged, or if a part must be given; the message says which
    OSError : what the system says: the page is missing, or may not be read

    Warns
    -----
    RuntimeWarning : if the agent had learned or had been changed before the run, so that the bits will differ

    Examples
    --------
    >>> import gymnasium, tempfile
    >>> from rtu_np import QLambda, LinearRTU, make_again
    >>> env = gymnasium.make("CartPole-v1")
    >>> agent = QLambda(env, LinearRTU(4), gamma=0.9, seed=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     returns = agent.learn(env, 200, progress=False, log=folder).returns
    ...     again, env, steps = make_again(folder)
    >>> bool((again.learn(env, steps, progress=False, log=None).returns == returns).all())
    True
    """
    path = Path(folder).expanduser()
    path = path / SETTINGS if path.is_dir() else path
    page = _read(path)
    described, call = page["agent"], page["call"]
    env = env_specs.make(page.get("environment", {}), os.fspath(path)) if env is None else env
    kind = _kind(described, path)
    settings = agent_files.built(kind, described["settings"], given)
    agent = kind(env, seed=agent_files.seed_of(described["seed"]), **settings)
    if call["steps_before"] or _agent(agent)["parameters"] != described["parameters"]:
        why = f"had learned for {call['steps_before']:,} steps" if call["steps_before"] else "had other parameters"
        warnings.warn(
            f"{os.fspath(path)} describes a run whose agent {why} before it began: this agent is as its constructor "
            f"makes it, so the bits will differ. Load a checkpoint of the agent in place of it; versions of that run: "
            f"{call.get('versions')}",
            RuntimeWarning,
            stacklevel=2,
        )
    return Run(agent, env, call["steps"])


def last_step(folder: str | os.PathLike) -> int:
    """At which step of the agent's life the latest call of `learn` in this folder was to end."""
    page = _read(Path(folder).expanduser() / SETTINGS)
    latest = [page["call"], *page.get("continued", [])][-1]
    return latest["steps_before"] + latest["steps"]


def agent_kind(folder: str | os.PathLike) -> Any:
    """The class of the agent that learned in this folder."""
    path = Path(folder).expanduser() / SETTINGS
    return _kind(_read(path)["agent"], path)


def environment_of(folder: str | os.PathLike) -> Any:
    """The environment of the folder's run, made once more."""
    path = Path(folder).expanduser() / SETTINGS
    return env_specs.make(_read(path).get("environment", {}), os.fspath(path))


def _kind(described: dict[str, Any], path: Path) -> Any:
    """The class of an agent, among those that have been imported."""
    from rtu_np.control.agent import Agent

    kinds, left = {}, [Agent]
    while left:
        kind = left.pop()
        kinds[kind.__name__] = kind
        left += kind.__subclasses__()
    name = described.get("class")
    if name not in kinds:
        raise ValueError(
            f"log {os.fspath(path)!r} describes an agent of the class {name!r}, which is not part of rtu_np: expected "
            "that its module has been imported"
        )
    return kinds[name]
