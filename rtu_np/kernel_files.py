"""The files of compiled code: their folder, and how they are read, written and removed.

Each file holds one kernel for arguments of certain types. Its name ends in the hash of what the kernel was compiled
from (rtu_np/fingerprint.py), so versions do not replace one another, and no file is ever changed. A file is written
under another name and then renamed, so two processes can compile the same kernel at once. A file begins with a hash of
its content: one that is cut off or damaged is as good as missing.

Reading and writing never raise. Without a folder to write to, or on a full disk, each process compiles for itself, and
one line on stderr says so. Python's pickle reads the files, so anyone who can write to the folder can run code as you.
So the folder of a user is made for that user alone. A folder that you share (NUMBA_CACHE_DIR) has the permissions that
you gave it.
"""

import contextlib
import hashlib
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

LARGEST = 512 * 2**20  # bytes of all files; those that were not used for longest are removed
_SUFFIX = ".kernel"
_DAY = 86400.0
_reasons: list[str] = []  # what stderr has been given


def folder() -> Path:
    """The folder of compiled code: in NUMBA_CACHE_DIR if that is set, else in the user's folder for caches.

    Raises
    ------
    OSError : if the user has no home directory
    """
    if base := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(base).absolute() / "rtu_np"
    return _caches() / "rtu_np"


def _caches() -> Path:
    """The user's folder for caches, as each system has it."""
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    if os.path.isabs(given := os.environ.get(variable, "")):
        return Path(given)
    below = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    with contextlib.suppress(RuntimeError):  # Python's, if the system does not know the user
        if len((home := Path.home()).parts) > 1:  # "/" is what an empty HOME stands for
            return home.absolute() / below
    raise OSError("no home directory is known")


def read(name: str) -> bytes | None:
    """The content of a file; None if it is missing or damaged."""
    try:
        path = folder() / (name + _SUFFIX)
        content = path.read_bytes()
        check, data = content[:32], content[32:]
        if check != _check(name, data):
            return None
    except OSError:
        return None
    with contextlib.suppress(OSError):
        if path.stat().st_mtime < time.time() - _DAY:
            os.utime(path)  # the time of the last use, to the day
    return data


def _check(name: str, data: bytes) -> bytes:
    return hashlib.sha256(name.encode() + data).digest()


def write(name: str, data: bytes) -> None:
    """Write a file, and remove old ones if all together are too large."""
    temporary = None
    try:
        at = folder()
        at.parent.mkdir(parents=True, exist_ok=True)
        at.mkdir(mode=0o777 if os.environ.get("NUMBA_CACHE_DIR") else 0o700, exist_ok=True)
        temporary = at / f"{name}.{uuid.uuid4().hex}{_SUFFIX}.part"
        temporary.write_bytes(_check(name, data) + data)
        os.replace(temporary, at / (name + _SUFFIX))
        _prune()
    except OSError as error:
        say_once(f"{error}; set NUMBA_CACHE_DIR to a folder that has room and can be written to")
        with contextlib.suppress(OSError):
            if temporary is not None:
                temporary.unlink()


def say_once(why: str) -> None:
    """Say on stderr that this process does not store what it compiles. It is said once, for the first reason."""
    if not _reasons:
        _reasons.append(why)
        print(f"rtu_np: compiled code is not stored, so each process compiles again: {why}", file=sys.stderr)


def why_not_stored() -> str:
    """Why this process does not store what it compiles; empty if it does, as far as is known."""
    return _reasons[0] if _reasons else ""


def stored() -> Iterator[tuple[Path, int, float]]:
    """(path, bytes, time of the last use) of each file, also of those that a process is writing."""
    with contextlib.suppress(OSError), os.scandir(folder()) as entries:
        for entry in entries:
            if entry.name.endswith((_SUFFIX, _SUFFIX + ".part")):
                with contextlib.suppress(OSError):  # another process has removed it
                    status = entry.stat()
                    yield Path(entry.path), status.st_size, status.st_mtime


def _prune() -> None:
    """Remove the files that were not used for longest, beyond `LARGEST`, and what a killed process left."""
    total = 0
    for path, size, used in sorted(stored(), key=lambda each: -each[2]):
        total += size
        if total > LARGEST or (path.suffix == ".part" and used < time.time() - _DAY):
            with contextlib.suppress(OSError):
                path.unlink()


def report(clear: bool = False) -> str:
    """What is stored, and where; with `clear`, remove it, and the folder if nothing else is in it.

    Raises
    ------
    OSError : if there is no home directory for the folder, or a file cannot be removed
    """
    at, files = folder(), list(stored())
    size = sum(each for _, each, _ in files)
    text = f"{at}: {len(files)} {'file' if len(files) == 1 else 'files'} of compiled code, {size / 1e6:.1f} MB"
    if not clear:
        return text
    for path, *_ in files:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        at.rmdir()
    return f"{text}, removed"
