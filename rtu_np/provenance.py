"""With what a run was made: versions of packages, commit, command line."""

import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions(packages: Iterable[str]) -> dict[str, str]:
    """{package: version} of those that are installed.

    Examples
    --------
    >>> list(versions(["numpy", "a-package-that-nobody-has"]))
    ['numpy']
    """
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit(folder: Path) -> str | None:
    """The commit of the git repository that holds `folder`; None if there is no repository, or no git.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     commit(Path(folder)) is None
    True
    """
    return _git(folder, "rev-parse", "HEAD") or None


def has_changes(folder: Path) -> bool | None:
    """Whether tracked files of the repository differ from its commit; None if nobody can say within two seconds."""
    found = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if found is None else bool(found)


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=2
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine() -> dict[str, str]:
    """The versions of Python and of the system."""
    return {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}


def command() -> list[str]:
    """The words of the command line with which this process was started."""
    return list(sys.orig_argv)
