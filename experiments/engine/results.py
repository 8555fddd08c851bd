"""The files that a run leaves, and the numbers that many runs give together.

A run is a folder with its arrays (`arrays.npz`), a manifest (`manifest.json`: experiment, settings, seed, versions,
commit, wall time, host) and a DONE mark, which is written last. The folder is written beside its place and renamed into
it, so a reader finds a whole run or none. A finished run is never overwritten.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Config = dict[str, Any]  # the settings of a run, as plain data
Results = list[tuple[Config, list[dict[str, np.ndarray]]]]  # for each Config, the arrays of its runs, seed by seed

DONE = "DONE"
MARK, MARKED = "README", "Runs and figures of `python -m experiments`; deleting a run's folder makes it run again.\n"


class ForeignResultsError(Exception):
    """A folder holds results of something else, which are not to be lost."""


def claim(root: Path) -> None:
    """Make `root` a folder of ours; ForeignResultsError, if it holds files of something else."""
    root.mkdir(parents=True, exist_ok=True)
    mark = root / MARK
    if not any(root.iterdir()):  # on a full disk the mark may be cut short
        mark.write_text(MARKED)
    elif not mark.exists() or not MARKED.encode().startswith(mark.read_bytes()):
        raise ForeignResultsError(f"{root} holds files of something else: name another --output, or empty it")


def write(path: Path, put: Callable[[Path], Any]) -> None:
    """Make or replace a file whole, or not at all: `put` writes it beside its place, under the same suffix."""
    part = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        put(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def save_run(folder: Path, arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
    """Write a run to `folder`, which is not there yet: whole, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        np.savez_compressed(part / "arrays.npz", **arrays)  # type: ignore[arg-type]
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1))
        (part / DONE).touch()
        try:
            part.rename(folder)
        except OSError:
            if not is_done(folder, manifest["settings"], manifest["seed"]):
                raise  # otherwise another process has made the same run meanwhile
        forget_begun(folder)
        shutil.rmtree(unfinished(folder), ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def load_run(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, manifest) of a finished run."""
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}, json.loads((folder / "manifest.json").read_text())


def is_done(folder: Path, settings: dict[str, Any], seed: int) -> bool:
    """Whether `folder` holds a finished run of exactly these settings and this seed, as `find` has it."""
    return find(folder, settings, seed) is not None


def find(folder: Path, settings: dict[str, Any], seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """(arrays, manifest) of the finished run of exactly these settings and this seed, or None.

    A folder that cannot be read is set aside under another name, and counts as not there. ForeignResultsError, if the
    folder holds a run of other settings.
    """
    if not folder.exists():
        return None
    try:
        if not (folder / DONE).exists():
            raise ValueError("it lacks its DONE mark")
        arrays, manifest = load_run(folder)
        found = manifest["settings"], manifest["seed"]
    except Exception as error:  # a damaged archive raises nearly anything, zlib.error and NotImplementedError among it
        aside = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
        folder.rename(aside)
        print(f"{folder} cannot be read ({error}): set aside as {aside.name}, and made again", file=sys.stderr)
        return None
    if found != (json.loads(json.dumps(settings)), seed):
        raise ForeignResultsError(f"{folder} holds a run of other settings: move it away, or name another --output")
    return arrays, manifest


def began(folder: Path) -> None:
    """Leave a mark that a process is at work on this run. If the process dies, the mark stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _begun(folder).touch()


def has_begun(folder: Path) -> bool:
    return _begun(folder).exists()


def forget_begun(folder: Path) -> None:
    _begun(folder).unlink(missing_ok=True)


def _begun(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.begun")


def unfinished(folder: Path) -> Path:
    """The folder in which an unfinished run may leave what it needs to go on."""
    return folder.with_name(f".{folder.name}.unfinished")


def circumstances() -> dict[str, Any]:
    """Versions, commit and machine, for a manifest."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "versions": {name: version(name) for name in ("numpy", "numba", "gymnasium")},
        "python": platform.python_version(),
        "commit": commit or "unknown",
        "host": platform.node(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "system": platform.system(),
    }


def gathered(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """What the manifests of a sweep say together: core minutes, and every version, commit and machine."""
    out: dict[str, Any] = {"core minutes": round(sum(m["seconds"] for m in manifests) / 60, 1)}
    for name in ("versions", "python", "commit", "machine"):
        found = []
        for manifest in manifests:
            if manifest[name] not in found:
                found.append(manifest[name])
        out[name] = found[0] if len(found) == 1 else found
    return out


def interval(samples: np.ndarray, axis: int = 0, draws: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap interval (low, high) of the mean along `axis`, resampling seeds."""
    samples = np.moveaxis(np.asarray(samples, float), axis, 0)
    picks = np.random.default_rng(seed).integers(len(samples), size=(draws, len(samples)))
    means = np.stack([samples[pick].mean(0) for pick in picks])
    return np.percentile(means, 2.5, axis=0), np.percentile(means, 97.5, axis=0)
