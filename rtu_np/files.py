"""Files that are replaced whole or not at all, with the permissions that any other program would give them."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EISDIR, ENOENT
from pathlib import Path

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFREG: "a file"}


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file in the folder of `path`, with the same suffix. If the block succeeds, the file becomes `path`.

    A new file has the permissions that the umask gives. An existing file keeps its own. If `path` is a symbolic link,
    the file that it points to is replaced. A leading `~` is expanded. Whatever ends the block, Ctrl-C as well, deletes
    the temporary file. A process that is killed leaves it: its name starts with a dot and contains `.part`.

    Raises
    ------
    OSError : what the system says, for `path`: a missing folder, no permission, a full disk
    ValueError : if `path` is a device, a pipe or a socket

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "page.txt") as part:
    ...         _ = part.write_text("whole")
    ...     [(path.name, path.read_text()) for path in Path(folder).iterdir()]
    [('page.txt', 'whole')]
    """
    given = os.path.expanduser(os.fspath(path))
    target = Path(os.path.realpath(given))
    mode = _mode(target, given)
    part = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(6)}.part{target.suffix}")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # less what the umask takes away
        if mode is not None:
            os.chmod(part, mode)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        # A reader looks for the path that was given, not for the temporary one.
        if isinstance(error, OSError) and error.errno and error.filename in (None, part, os.fspath(part)):
            raise OSError(error.errno, error.strerror, given) from error
        raise


def _mode(target: Path, given: str) -> int | None:
    """The permissions of the file to replace, or None if there is no file yet. An error if it cannot be replaced."""
    folder = target.parent
    if not folder.is_dir():
        raise FileNotFoundError(ENOENT, "No such folder", os.fspath(folder))
    if not target.exists():
        return None
    if target.is_dir():
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), given)
    if (kind := kind_of(target)) != "a file":
        raise ValueError(f"path {given!r} is {kind}: expected a file, or a name that is free")
    if not os.access(target, os.W_OK):
        raise PermissionError(EACCES, f"{os.strerror(EACCES)} (the file is read-only)", given)
    return stat.S_IMODE(target.stat().st_mode)


def kind_of(path: str | os.PathLike) -> str:
    """What stands at `path`: "a file", "a folder", "a named pipe", "a socket" or "a device".

    Reading a pipe would wait for a writer, perhaps for ever. So a reader asks first.

    Examples
    --------
    >>> kind_of(os.curdir)
    'a folder'
    """
    return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "a device")


def check_folder(name: str, folder: Path) -> None:
    """Refuse a folder that cannot be made, before the work whose results it is for. Nothing is made.

    Raises
    ------
    NotADirectoryError, PermissionError : it is a file, or below one, or may not be written to
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(
            f"{name} is {folder}: expected a folder, or one to be made, but {there} is {kind_of(there)}"
        )
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{name} is {folder}: expected a folder that may be written to, but {there} may not")
