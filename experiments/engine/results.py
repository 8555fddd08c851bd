"""The files of a run, and the numbers of many runs together.

A run is a folder with its arrays (`arrays.npz`), a manifest (`manifest.json`: experiment, settings, seed, the hashes
of the code that made it, versions, commit, wall time, host) and a DONE mark, which is written last. All files are
written to a temporary folder, which is then renamed. So a reader finds a complete run, or no run. A finished run is
never overwritten: if other code makes it again, the earlier one is renamed to `seed-K.stale-TIME`.
"""

import json
import os
import platform
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.engine import sources
from rtu_np import archive, files, provenance

Config = dict[str, Any]  # the settings of a run, as plain data
Results = list[tuple[Config, list[dict[str, np.ndarray]]]]  # for each Config, the arrays of its runs, seed by seed

DONE = "DONE"
# Folders of earlier versions hold this text, so it stays.
MARK, MARKED = "README", "Runs and figures of `python -m experiments`; deleting a run's folder makes it run again.\n"


class ForeignResultsError(Exception):
    """A folder holds files of another program, or runs of other settings. They must not be lost."""


def claim(root: Path) -> None:
    """Mark `root` as a folder of experiments. ForeignResultsError if it holds files of another program."""
    root.mkdir(parents=True, exist_ok=True)
    mark = root / MARK
    if not any(root.iterdir()):  # on a full disk the mark may be incomplete
        mark.write_text(MARKED)
    elif not mark.exists() or not MARKED.encode().startswith(mark.read_bytes()):
        raise ForeignResultsError(f"{root} holds files of another program: name another --output, or empty this folder")


def save_run(folder: Path, arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
    """Write a run to `folder` completely, or not at all.

    A run of other code that is there is renamed. A run of the same code is kept: another process made it meanwhile.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    try:
        part.mkdir()  # tempfile's folders can be read by their owner alone
        archive.write(part / "arrays.npz", arrays, compressed=True)
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1))
        (part / DONE).touch()
        try:
            _make_way(folder, manifest)
            part.rename(folder)
        except OSError:
            run = find(folder, manifest["settings"], manifest["seed"])
            if run is None or code_of(run[1]) != code_of(manifest):
                raise
        forget_begun(folder)
        shutil.rmtree(unfinished(folder), ignore_errors=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(folder)) from error  # not the temporary folder
    finally:
        shutil.rmtree(part, ignore_errors=True)


def as_arrays(returned: Any) -> dict[str, np.ndarray]:
    """What `run` returned, as arrays. TypeError if it is no dict of numbers and arrays."""
    if not isinstance(returned, dict) or not returned or not all(isinstance(name, str) for name in returned):
        kind = "an empty dict" if returned == {} else f"a {type(returned).__name__}"
        raise TypeError(f"run returned {kind}: expected a dict of arrays by name, such as {{'final': 0.5}}")
    arrays = {name: np.asarray(value) for name, value in returned.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"run returned {name!r} with {returned[name]!r}: expected a number or an array of numbers")
    return arrays


def _make_way(folder: Path, manifest: dict[str, Any]) -> None:
    """Rename a run of the same settings that other code made, so that it is not lost."""
    run = find(folder, manifest["settings"], manifest["seed"])
    if run is not None and code_of(run[1]) != code_of(manifest):
        folder.rename(folder.with_name(f"{folder.name}.stale-{time.time_ns()}"))


def code_of(manifest: dict[str, Any]) -> dict[str, str]:
    """The fingerprint of the code that made a run (`experiments.engine.sources`); empty if the manifest has none."""
    code = manifest.get("code")
    return code if isinstance(code, dict) else {}


def load_run(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, manifest) of a finished run. ValueError if its folder is damaged."""
    try:
        arrays, page = archive.read(folder / "arrays.npz"), (folder / "manifest.json").read_text(encoding="utf-8")
        manifest = json.loads(page)
        if not isinstance(manifest, dict) or not {"settings", "seed"} <= manifest.keys():
            raise ValueError("manifest.json has no settings and seed")
    except (FileNotFoundError, IsADirectoryError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return arrays, manifest


def find(folder: Path, settings: dict[str, Any], seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """(arrays, manifest) of the finished run of exactly these settings and this seed, or None.

    A folder that cannot be read is renamed, and the result is None. ForeignResultsError if the folder holds a run of
    other settings.
    """
    if not folder.exists():
        return None
    try:
        if not (folder / DONE).exists():
            raise ValueError("the DONE mark is missing")
        arrays, manifest = load_run(folder)
    except ValueError as error:
        renamed = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
        folder.rename(renamed)
        print(f"{folder} cannot be read ({error}): renamed to {renamed.name}; the run is made again", file=sys.stderr)
        return None
    if (manifest["settings"], manifest["seed"]) != (json.loads(json.dumps(settings)), seed):
        raise ForeignResultsError(f"{folder} holds a run of other settings: move this folder, or name another --output")
    return arrays, manifest


def began(folder: Path) -> None:
    """Write a mark that a process works on this run. If the process dies, the mark stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _begun(folder).touch()


def has_begun(folder: Path) -> bool:
    return _begun(folder).exists()


def forget_begun(folder: Path) -> None:
    _begun(folder).unlink(missing_ok=True)


def _begun(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.begun")


def unfinished(folder: Path) -> Path:
    """The folder in which an unfinished run may save its state, to continue later."""
    return folder.with_name(f".{folder.name}.unfinished")


def circumstances() -> dict[str, Any]:
    """Versions, commit and machine, for a manifest."""
    return {
        "versions": provenance.versions(("numpy", "numba", "gymnasium")),
        "python": platform.python_version(),
        "commit": provenance.commit(Path(__file__).parent) or "unknown",
        "host": platform.node(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "system": platform.system(),
    }


def write(path: Path, page: dict[str, Any]) -> None:
    """Write a page of numbers as JSON; its folder is made, and an earlier file is replaced whole or not at all."""
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        part.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")


def merge_manifests(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The manifests of a sweep as one: core minutes, and every version, commit, code and machine."""
    out: dict[str, Any] = {"core minutes": round(sum(m["seconds"] for m in manifests) / 60, 1)}
    for name in ("versions", "python", "commit", "code", "machine"):
        found = []
        for manifest in ({**m, "code": _digest(m)} for m in manifests):
            if manifest[name] not in found:
                found.append(manifest[name])
        out[name] = found[0] if len(found) == 1 else found
    return out


def _digest(manifest: dict[str, Any]) -> str:
    """The digest of a run's code; committed scores have the digest alone."""
    return manifest["code"] if isinstance(manifest.get("code"), str) else sources.digest(code_of(manifest))
