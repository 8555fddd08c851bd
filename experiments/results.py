"""What a run leaves behind, and what many runs say together.

A run is a folder with its arrays (`arrays.npz`), a manifest (`manifest.json`: experiment, settings, seed, versions,
commit, wall time, machine) and, written last, a DONE mark. The folder is written beside its place and renamed into
it, so that whoever reads it finds a whole run or none.
"""

import json
import os
import platform
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

DONE = "DONE"


def save_run(folder: Path, arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
    """Write a run to `folder`, which replaces what is there only once it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        np.savez_compressed(part / "arrays.npz", **arrays)  # type: ignore[arg-type]
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1))
        (part / DONE).touch()
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def load_run(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, manifest) of a finished run."""
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}, json.loads((folder / "manifest.json").read_text())


def is_done(folder: Path, settings: dict[str, Any], seed: int) -> bool:
    """Whether `folder` holds a finished run of exactly these settings and this seed."""
    if not (folder / DONE).exists():
        return False
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest["settings"] == json.loads(json.dumps(settings)) and manifest["seed"] == seed


def circumstances() -> dict[str, Any]:
    """Versions, commit and machine, for a manifest."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "versions": {name: version(name) for name in ("numpy", "numba", "gymnasium")},
        "python": platform.python_version(),
        "commit": commit or "unknown",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "system": platform.system(),
    }


def interval(samples: np.ndarray, axis: int = 0, draws: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap interval (low, high) of the mean along `axis`, resampling seeds."""
    samples = np.moveaxis(np.asarray(samples, float), axis, 0)
    picks = np.random.default_rng(seed).integers(len(samples), size=(draws, len(samples)))
    means = np.stack([samples[pick].mean(0) for pick in picks])
    return np.percentile(means, 2.5, axis=0), np.percentile(means, 97.5, axis=0)
