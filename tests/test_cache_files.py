"""Compiled code on disk is never needed: no home, no room, damaged files; and it is shown and removed by a command."""

import os
import sys
import textwrap
from collections.abc import Iterator

import pytest
from cache_folder import Folder, compiled

from rtu_np import kernel_files

pytestmark = compiled


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


# ------------------------------------------------------------------------------------------------------ no place for it


TWICE = "from caller import run; print(run(2.0), run(2))"  # two kernels, one line


@pytest.mark.skipif(sys.platform == "win32", reason="homes of POSIX")
@pytest.mark.parametrize("home", [None, "", "/dev/null/home"])
def test_without_a_home_there_is_one_line(home, folder):
    folder.write_pair(3.0)
    # A user without an entry in the list of users, as in a container. The list is read if HOME is not set.
    nobody = "import pwd\ndef unknown(uid):\n    raise KeyError(uid)\npwd.getpwuid = unknown\n"
    assert folder.run(nobody + TWICE, NUMBA_CACHE_DIR=None, HOME=home) == ["7.0", "7.0"]
    assert "NUMBA_CACHE_DIR" in folder.only_line()
    assert "each process compiles again" in folder.only_line()
    assert folder.run("import rtu_np", NUMBA_CACHE_DIR=None, HOME=home) == []
    assert folder.said == ""


def test_a_folder_that_cannot_be_written_to(folder):
    folder.write_pair(3.0)
    (folder.path / "file").touch()
    assert folder.run(TWICE, NUMBA_CACHE_DIR=str(folder.path / "file")) == ["7.0", "7.0"]
    assert "NUMBA_CACHE_DIR" in folder.only_line()
    assert not list(folder.path.rglob("__pycache__"))  # nor is it stored elsewhere, as Numba does


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of this kind")
def test_a_full_disk(folder):
    """A file may not grow beyond a thousand bytes."""
    folder.write_pair(3.0)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    assert folder.run(limit + TWICE) == ["7.0", "7.0"]
    assert "File too large" in folder.only_line()
    assert not list((folder.path / "cache" / "rtu_np").iterdir())
    assert folder.run() == ["7.0", "0"]


def damages(content: bytes) -> Iterator[bytes]:
    yield b""
    yield content[:-1]
    for place in (0, 40, len(content) // 2, len(content) - 1):
        yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    yield content[: len(content) // 2]


def test_a_damaged_file_is_compiled_again(folder, monkeypatch):
    folder.write_pair(3.0)
    folder.run()
    (file,) = folder.stored()
    whole = file.read_bytes()
    monkeypatch.setenv("NUMBA_CACHE_DIR", folder.environment["NUMBA_CACHE_DIR"])
    assert kernel_files.read(file.stem) == whole[32:]
    for content in damages(whole):
        file.write_bytes(content)
        assert kernel_files.read(file.stem) is None
    assert folder.run() == ["7.0", "0"]
    assert folder.said == ""
    assert folder.run() == ["7.0", "1"]
    kernel_files.write(file.stem, b"from a Numba that pickles otherwise")
    assert folder.run() == ["7.0", "0"]


def test_a_file_of_another_name_is_not_taken(folder):
    folder.write_pair(3.0)
    folder.run()
    (three,) = folder.stored()
    folder.write_pair(5.0)
    folder.run()
    (five,) = set(folder.stored()) - {three}
    five.write_bytes(three.read_bytes())
    assert folder.run() == ["11.0", "0"]


# -------------------------------------------------------------------------------------------------------- the folder


def test_old_files_make_room_for_new_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_files, "LARGEST", 350)
    for k, name in enumerate("abcd"):
        kernel_files.write(name, bytes(68))  # a hundred bytes each
        os.utime(tmp_path / "rtu_np" / f"{name}.kernel", (k + 1, k + 1))
    (tmp_path / "rtu_np" / "x.kernel.part").touch()  # of a process that was killed
    os.utime(tmp_path / "rtu_np" / "x.kernel.part", (1, 1))
    assert kernel_files.read("b") == bytes(68)  # it is used, and so not the oldest any more
    kernel_files.write("e", bytes(68))
    assert sorted(path.name for path, *_ in kernel_files.stored()) == ["b.kernel", "d.kernel", "e.kernel"]
    assert kernel_files.report() == f"{tmp_path / 'rtu_np'}: 3 files of compiled code, 0.0 MB"
    assert kernel_files.report(clear=True).endswith(", removed")
    assert not (tmp_path / "rtu_np").exists()
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("system", "environment", "expected"),
    [
        ("linux", {}, ".cache/rtu_np"),
        ("linux", {"XDG_CACHE_HOME": "{}/x"}, "x/rtu_np"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, ".cache/rtu_np"),
        ("darwin", {}, "Library/Caches/rtu_np"),
        ("win32", {"LOCALAPPDATA": "{}/Local"}, "Local/rtu_np"),
        ("win32", {}, "AppData/Local/rtu_np"),
    ],
)
def test_the_folder_of_each_system(system, environment, expected, tmp_path, monkeypatch):
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kernel_files.sys, "platform", system)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert kernel_files.folder() == tmp_path / expected


def test_the_folder_of_a_user_is_made_for_that_user(folder):
    folder.write_pair(3.0)
    folder.run(NUMBA_CACHE_DIR=None, XDG_CACHE_HOME=str(folder.path / "x"))
    assert (folder.path / "x" / "rtu_np").stat().st_mode & 0o777 == 0o700


def test_the_command_shows_the_folder_and_removes_it(folder):
    folder.write_pair(3.0)
    folder.run()
    command = "from rtu_np.__main__ import main; main(['cache'{}])"
    shown = " ".join(folder.run(command.format("")))
    assert str(folder.path / "cache" / "rtu_np") in shown
    assert "1 file" in shown
    assert folder.stored()
    assert "removed" in " ".join(folder.run(command.format(", '--clear'")))
    assert not (folder.path / "cache" / "rtu_np").exists()
    assert "0 files" in " ".join(folder.run(command.format("")))
    failing = "from rtu_np.__main__ import main; print(main(['cache']))"
    assert folder.run(failing, NUMBA_CACHE_DIR=None, HOME="") == ["2"]
    assert folder.said == "cache: no home directory is known\n"


def test_a_function_from_a_file_may_have_the_number_of_one_that_compiles_now(folder):
    """Numba numbers the functions of a process. A stored one keeps its number, and may take its arguments otherwise."""
    kernels = """
        from typing import NamedTuple
        import numpy as np
        from rtu_np.jit import kernel, njit

        class Pair(NamedTuple):
            x: np.ndarray
            y: np.ndarray

        @njit
        def total(pair):
            return pair.x[0] + pair.y[0]

        @kernel
        def product(pair):
            return pair.x[0] * pair.y[0]

        @njit
        def both(pair):
            return product(pair) + 10 * total(pair)

        pair = Pair(np.full(1, 2.0), np.full(1, 3.0))
    """
    folder.write(kernels=textwrap.dedent(kernels))
    number = folder.run("from kernels import *; total(pair); print(next(iter(total.overloads.values())).fndesc.uid)")[0]
    for ahead in (1, 2, 3):  # `product` is among the first functions that a process compiles
        compile_both = f"""
            from itertools import count
            from kernels import *
            from numba.core.bytecode import FunctionIdentity
            FunctionIdentity._unique_ids = count({number} - {ahead})
            print(both(pair))
        """
        for file in folder.stored():
            if "both" in file.name:
                file.unlink()
        assert folder.run(compile_both) == ["56.0"]
