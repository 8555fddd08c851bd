"""What the commands of this package share: where its packages come from, and what a reader who leaves means.

A command is installed next to packages with common names, `experiments` and `envs`. A folder of the user's own with
such a name may come first on Python's path. The errors that follow speak of something else, so commands ask first.
"""

import importlib.util
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

HOME = Path(__file__).resolve().parent.parent
READER_LEFT = 141  # what a shell says of a command that writes to a pipe which nobody reads: 128 + SIGPIPE


def what_hides(name: str) -> str:
    """A sentence that says what hides the package `name` of this installation; empty if nothing does.

    Examples
    --------
    >>> what_hides("rtu_np")
    ''
    """
    ours, found = HOME / name, _place(name)
    if found == ours:
        return ""
    if found is None:
        return f"the package {name} is missing: expected it in {HOME}, next to rtu_np; was the installation cut short?"
    folder = found.parent
    named = [Path(entry or os.curdir).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    if os.environ.get("PYTHONPATH") and folder in named:
        why = "since PYTHONPATH names its folder; leave the folder out of PYTHONPATH for this command"
    elif folder == Path.cwd():
        why = "since Python looks in the current folder first; use the command rtu-np, or another folder"
    else:
        why = "since its folder comes first in sys.path"
    return f"{name} is {found} here, which hides the package of rtu_np, {ours}, {why}, or rename it"


def _place(name: str) -> Path | None:
    """The folder of the package that `import name` finds or has found."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    folders = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    return Path(folders[0]).resolve()


def exit_code(main: Callable[[], int]) -> int:
    """The exit code of a command. If nobody reads its output any more, as in `... | head -1`, it ends quietly.

    Examples
    --------
    >>> exit_code(lambda: 2)
    2
    """
    try:
        code = main()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        broken = [stream for stream in (sys.stdout, sys.stderr) if _is_broken(stream)]
        if not broken:
            raise  # some other pipe
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in broken:  # Python flushes once more when it ends
            os.dup2(nowhere, stream.fileno())
        return READER_LEFT


def _is_broken(stream: TextIO) -> bool:
    with suppress(ValueError, AttributeError):  # closed, or no file; a system without `poll`
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    return False
