"""The installed command: `rtu-np experiments ...`, `rtu-np gradcheck ...`, `rtu-np timing ...`.

These are `python -m experiments ...` and `python -m rtu_np ...`. The difference: `python -m` looks in the current
folder first, and a folder `experiments` or `envs` there hides the package of this name. The command does not look in
the current folder. If something else on Python's path hides a package, the command says what. So this file stands in
no package, and has a name that nobody else uses.
"""

import os
import sys
from importlib import import_module

from rtu_np.commands import exit_code, what_hides

PROGRAM = "rtu-np"
EXPERIMENTS = "experiments"


def run(typed: list[str]) -> int:
    if typed[:1] == [EXPERIMENTS]:
        if said := what_hides(EXPERIMENTS):
            print(said, file=sys.stderr)
            return 2
        return import_module(f"{EXPERIMENTS}.__main__").main(typed[1:], f"{PROGRAM} {EXPERIMENTS}")
    return import_module("rtu_np.__main__").main(typed, PROGRAM, {EXPERIMENTS: "run an experiment, or list all"})


def main() -> int:
    """The exit code of the command, as setup.cfg installs it."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files
    return exit_code(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
