"""A preset with other seeds, steps and settings, from the flags of the command line.

`--set NAME=VALUE` changes the place NAME of each setting that has it. NAME is the dotted name of the place, such as
`cell.n_hidden`. If a setting has no place of this name, it is the only place whose dotted name has all words of NAME in
this order, and ends with the last: `cell.n_hidden` is also `parts.cell.layers.1.n_hidden`. If there are two, NAME is
refused, with both. Values have the type of what stands there. Several values, with commas between, make a setting for
each; several names, for each combination. A preset whose settings are made in stages has its own words in their place.

`--steps N` is `--set steps=N`, and the runs that choose a step size have at most N steps. `--seeds` are a count from
the preset's first seed, or numbers and ranges with commas between.

A changed preset has the preset's name and a hash of what it has come to. So it has files of its own, the same flags in
any order have the same files, and flags that change nothing are the preset. A run is named by its settings and seed, as
ever: runs that the preset and a changed preset share are made once.
"""

import copy
import difflib
import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from experiments.engine.plain import leaves, written
from experiments.engine.protocol import Experiment
from rtu_np import checkpoint

Preset = dict[str, Any]
MOST_SEEDS = 100_000
NEAR = 3  # names that a message suggests
_KINDS: list[tuple[Any, Any, str]] = [  # what stands in a setting, what a flag gives in its place, and its name
    (str, str, "a text"),
    (dict, dict, "an object of JSON"),
    ((list, tuple, range), list, "a list of JSON"),
]


class FlagError(Exception):
    """A flag that does not fit the preset; the message says so in one line."""


class Flags(NamedTuple):
    """What the command line changes of a preset."""

    seeds: str | None = None
    steps: str | None = None
    set: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [f"--{name} {value}" for name, value in (("seeds", self.seeds), ("steps", self.steps)) if value]
        return " ".join([*words, *(["--set", *self.set] if self.set else [])])


class _Set(NamedTuple):
    """One `--set`: what was given, its name and its values as texts."""

    flag: str
    name: str
    values: list[str]


def changed(experiment: Experiment, name: str, flags: Flags) -> str:
    """Change the preset `name` of an experiment. Returns the name of the changed preset, which the experiment has now.

    FlagError, and nothing changes, if a flag does not fit.
    """
    original = experiment.PRESETS[name]
    sets = [_parsed(text) for text in flags.set]
    names = [each.name for each in sets]
    if twice := [each for each in names if names.count(each) > 1]:
        raise FlagError(f"--set names {twice[0]} twice: expected one list of values, as {twice[0]}=1,2")
    if flags.steps is not None:
        if "steps" in names:
            raise FlagError("--steps and --set steps: expected one of them")
        sets.append(_Set("--steps", "steps", [_steps(flags.steps)]))
    preset = _with_settings(f"{experiment.name}, {name}", original, sets)
    tuning = preset.get("tuning")
    if flags.steps is not None and isinstance(tuning, dict) and "steps" in tuning:
        preset["tuning"] = {**tuning, "steps": min(tuning["steps"], int(float(flags.steps)))}
    if flags.seeds is not None:
        preset["seeds"] = seeds_of(flags.seeds, list(original["seeds"]))
        both = set(preset["seeds"]).intersection((preset.get("tuning") or {}).get("seeds", ()))
        if both:
            raise FlagError(f"--seeds {flags.seeds}: step sizes are chosen on seed {min(both)}; expected other seeds")
    text = _canonical(preset)
    if text == _canonical(original):
        return name
    full = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    experiment.PRESETS[full] = preset
    varied = [each.name for each in sets if len(each.values) > 1]
    experiment.changes[full] = {"preset": name, "flags": str(flags), "varied": varied}
    return full


def _canonical(preset: Preset) -> str:
    return json.dumps(preset, sort_keys=True, default=list)


# ---------------------------------------------------------------------------------------------------------- seeds


def seeds_of(text: str, present: list[int]) -> list[int]:
    """The seeds that a text names: how many, from the first of `present` on; or numbers and ranges.

    Examples
    --------
    >>> seeds_of("3", [20, 21]), seeds_of("0,3,7-9", [0]), seeds_of("5,", [0])
    ([20, 21, 22], [0, 3, 7, 8, 9], [5])
    """
    wrong = FlagError(f"--seeds {text}: expected how many, as 10, or seeds and ranges, as 0,3,7-9; 7, is seed 7 alone")
    if text.isascii() and text.isdigit():
        if not 1 <= int(text) <= MOST_SEEDS:
            raise FlagError(f"--seeds {text}: expected 1 to {MOST_SEEDS}; {text}, is seed {text} alone")
        return list(range(present[0], present[0] + int(text)))
    out: list[int] = []
    for each in text.removesuffix(",").split(","):
        first, dash, last = each.strip().partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise wrong
        start, stop = int(first), int(last or first)
        if stop < start or stop - start >= MOST_SEEDS:
            raise wrong
        out += range(start, stop + 1)
    if len(set(out)) < len(out):
        raise FlagError(f"--seeds {text}: seed {next(s for s in out if out.count(s) > 1)} is there twice")
    return out


# ------------------------------------------------------------------------------------------------------- settings


def _parsed(text: str) -> _Set:
    name, equals, values = text.partition("=")
    if not equals or not name.strip() or not values.strip():
        raise FlagError(f"--set {text}: expected NAME=VALUE, or NAME=VALUE,VALUE without spaces, as isi=10,20")
    whole = values.strip()[0] in '[{"'
    parts = [values.strip()] if whole else [each.strip() for each in values.split(",")]
    if "" in parts:
        raise FlagError(f"--set {text}: a value between commas is missing")
    if len(set(parts)) < len(parts):
        raise FlagError(f"--set {text}: a value is there twice")
    return _Set(f"--set {text}", name.strip(), parts)


def _steps(text: str) -> str:
    try:
        steps = float(text)
    except ValueError:
        steps = math.nan
    if not math.isfinite(steps) or steps < 1 or steps != int(steps):
        raise FlagError(f"--steps {text}: expected a whole number of at least 1")
    return str(int(steps))


def _with_settings(where: str, original: Preset, sets: list[_Set]) -> Preset:
    """A copy of a preset, changed by `sets`."""
    preset = {name: value if name == "seeds" else copy.deepcopy(value) for name, value in original.items()}
    staged = "settings" not in original  # an experiment with stages of its own makes settings of the preset's words
    of_settings = []
    for each in sets:
        if staged or each.name.startswith("tuning."):
            _put_into_preset(where, preset, each)
        else:
            of_settings.append(each)
    if not of_settings:
        return preset
    settings = preset["settings"]
    if "step_sizes" in (original.get("tuning") or {}):
        for each in of_settings:
            if each.name.rpartition(".")[2] == "step_size":
                raise FlagError(
                    f"{each.flag}: this preset chooses its step sizes; expected --set tuning.step_sizes=[1e-4,1e-3]"
                )
    places = [[_place(each, setting) for setting in settings] for each in of_settings]
    for each, found in zip(of_settings, places, strict=True):
        if not any(found):
            raise FlagError(_unknown(where, each, settings))
    preset["settings"] = made = []
    for values in itertools.product(*(each.values for each in of_settings)):
        for k, setting in enumerate(settings):
            new = copy.deepcopy(setting)
            for each, found, value in zip(of_settings, places, values, strict=True):
                if place := found[k]:
                    _put(new, place, _value(each, value, _nodes(setting)[place]))
            new = _with_parts(" ".join(each.flag for each in of_settings), setting, new)
            if new not in made:
                made.append(new)
    return preset


def _put_into_preset(where: str, preset: Preset, each: _Set) -> None:
    root = {name: value for name, value in preset.items() if name not in ("settings", "seeds")}
    place = _place(each, root)
    if place is None:
        raise FlagError(_unknown(where, each, [root]))
    if len(each.values) > 1:
        raise FlagError(f"{each.flag}: expected one value here; one list is written [{','.join(each.values)}]")
    _put(preset, place, _value(each, each.values[0], _nodes(root)[place]))


def _nodes(setting: Any) -> dict[str, Any]:
    """{dotted name: value} of a setting's leaves, and of its parts, which are dicts with a name."""
    return {**leaves(setting), **dict(_parts(setting))}


def _parts(value: Any, above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list | tuple):
        items = enumerate(value)
    for key, part in items:
        name = f"{above}.{key}" if above else str(key)
        if isinstance(part, dict) and isinstance(part.get("name"), str):
            yield name, part
        yield from _parts(part, name)


def _place(each: _Set, setting: Any) -> str | None:
    """The dotted name of the place that a flag names in a setting; None if there is no such place."""
    nodes = _nodes(setting)
    if each.name in nodes:
        return each.name
    words = each.name.split(".")
    found = [node for node in nodes if node.split(".")[-1] == words[-1] and _in_order(words, node.split("."))]
    if len(found) > 1:
        raise FlagError(f"{each.flag}: {' and '.join(found)} have this name; expected one of them in full")
    return found[0] if found else None


def values_of(names: list[str], setting: dict[str, Any]) -> str:
    """What stands at the places that flags named, as text.

    Examples
    --------
    >>> values_of(["n_hidden"], {"isi": 10, "cell": {"n_hidden": 4}})
    'n_hidden=4'
    """
    places = {name: _place(_Set("", name, []), setting) for name in names}
    nodes = _nodes(setting)
    return ", ".join(f"{name}={written(nodes[place])}" for name, place in places.items() if place)


def _in_order(words: list[str], path: list[str]) -> bool:
    rest = iter(path)
    return all(word in rest for word in words)


def _unknown(where: str, each: _Set, settings: list[Any]) -> str:
    known = list(dict.fromkeys(name for setting in settings for name in leaves(setting)))
    last = each.name.split(".")[-1]
    near = [name for name in known if name.split(".")[-1] == last]
    near += difflib.get_close_matches(each.name, known, NEAR, 0.6)
    near += [name for name in known if difflib.get_close_matches(last, [name.split(".")[-1]], 1, 0.75)]
    near = list(dict.fromkeys(near))[:NEAR]
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"{each.flag}: no setting of {where} has {each.name}{meant}; names are {', '.join(known)}"


def _put(target: Any, place: str, value: Any) -> None:
    *path, last = place.split(".")
    for word in path:
        target = target[int(word) if isinstance(target, list | tuple) else word]
    target[int(last) if isinstance(target, list) else last] = value


def _value(each: _Set, text: str, present: Any) -> Any:
    """A value of the type of `present`, which stands at its place."""

    def wrong(expected: str) -> FlagError:
        return FlagError(f"{each.flag}: {each.name} is {present!r} there, and {text!r} is not {expected}")

    if isinstance(present, bool):
        if text.lower() not in ("true", "false"):
            raise wrong("true or false")
        return text.lower() == "true"
    if isinstance(present, int | float):
        whole = isinstance(present, int)
        expected = (
            "a whole number; if the experiment takes others, write it with a point there" if whole else "a number"
        )
        try:
            number = float(text)
        except ValueError:
            raise wrong(expected) from None
        if not math.isfinite(number) or (whole and number != int(number)):
            raise wrong(expected)
        return int(number) if whole else number
    if isinstance(present, str) and text[0] != '"':
        return text
    try:
        value = json.loads(text)
    except ValueError:
        if present is None:
            return text
        raise wrong("JSON, as it is here") from None
    kind: Any
    kind, expected = next((row[1:] for row in _KINDS if isinstance(present, row[0])), (object, ""))
    if not isinstance(value, kind):
        raise wrong(expected)
    if isinstance(present, list) and any(isinstance(part, tuple) for part in present):
        value = [tuple(part) if isinstance(part, list) else part for part in value]
    return value


def _with_parts(flags: str, original: Any, new: Any) -> Any:
    """`new` with each changed part as the package describes it. FlagError if the package cannot build a part."""
    before = dict(_parts(original))
    for place, part in dict(_parts(new)).items():
        if part == before.get(place):
            continue
        role = place.split(".")[-1]
        if place in before and not _builds(role, before[place]):
            continue  # a part of the user's own
        try:
            described = checkpoint.describe(checkpoint.build(role, part))
        except (TypeError, ValueError, KeyError) as error:
            raise FlagError(f"{flags}: {error}") from error
        _put(new, place, described)
    return new


def _builds(role: str, part: dict[str, Any]) -> bool:
    try:
        checkpoint.build(role, part)
    except (TypeError, ValueError, KeyError):
        return False
    return True
