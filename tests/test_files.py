"""Files: replaced whole or not at all, with plain permissions; and no damage that is not called damage."""

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from agent_cases import World, everything, make
from td_cases import learner

from rtu_np import TBPTT, ActorCritic, Dense, LinearRTU, TDLambda, archive, checkpoint, files

ROOT = Path(__file__).parent.parent
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="permissions, pipes and kill -9 are Unix's")
# Copies of a file that are damaged at random and read. RTU_NP_FUZZ=5000 python -m pytest tests/test_files.py: minutes.
N_DAMAGED = int(os.environ.get("RTU_NP_FUZZ", "200"))
N_KILLS = int(os.environ.get("RTU_NP_KILLS", "3"))


@pytest.fixture
def umask():
    """A function that sets the umask until the test ends."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------------------------------- replacing


@UNIX
@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_the_umask_and_an_old_one_keeps_its_own(mask, expected, tmp_path, umask):
    umask(mask)
    path = learner().save(tmp_path / "a.npz")
    assert mode(path) == expected
    path.chmod(0o640)
    learner().save(path)
    assert mode(path) == 0o640


@UNIX
def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "far" / "agent.npz")
    for _ in range(2):  # the file is made, then replaced
        learner().save(tmp_path / "link.npz")
        assert (tmp_path / "link.npz").is_symlink()
        assert names(tmp_path / "far") == ["agent.npz"]
    assert TDLambda.load(tmp_path / "link.npz").steps == 0


def test_a_missing_folder_is_named(tmp_path):
    for path in (tmp_path / "absent" / "agent.npz", tmp_path / "file" / "agent.npz"):
        (tmp_path / "file").touch()
        with pytest.raises(FileNotFoundError, match=f"No such folder: '{path.parent}'"):
            learner().save(path)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.npz"):
        learner().save(tmp_path / "folder")
    assert names(tmp_path) == ["file", "folder.npz"]


@UNIX
def test_what_is_not_a_file_is_neither_replaced_nor_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ValueError, match=r"pipe\.npz' is a named pipe: expected a file"):
        learner().save(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match="'/dev/null' is a device: expected a file"):
        learner().save("/dev/null")
    for path, kind in {
        tmp_path / "pipe": "a named pipe",
        tmp_path / "folder": "a folder",
        "/dev/null": "a device",
    }.items():
        with pytest.raises(ValueError, match=f"not a whole rtu_np checkpoint .it is {kind}"):
            TDLambda.load(path)


def test_home_and_a_suffix_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert learner().save("~/first") == tmp_path / "first.npz"
    assert make(False).save("~/second.agent") == tmp_path / "second.agent"
    assert TDLambda.load("~/first").steps == ActorCritic.load("~/second.agent").steps == 0
    (tmp_path / "first").mkdir()  # of logs, perhaps
    assert TDLambda.load("~/first").steps == 0
    (tmp_path / "bare").write_bytes((tmp_path / "first.npz").read_bytes())  # earlier versions added no suffix
    assert TDLambda.load(tmp_path / "bare").steps == 0
    assert learner().save(tmp_path / "bare") == tmp_path / "bare"


@UNIX
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do everything")
def test_a_folder_and_a_file_without_permission(tmp_path):
    path = learner().save(tmp_path / "a.npz")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"read-only.*a\.npz"):
        learner().save(path)
    path.chmod(0)
    with pytest.raises(PermissionError):
        TDLambda.load(path)
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match=r"b\.npz"):
        learner().save(tmp_path / "b.npz")
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_ends_early_leaves_nothing(error, tmp_path, monkeypatch):
    agent = make(False)
    path = agent.save(tmp_path / "a.npz")
    whole = path.read_bytes()

    def ends_early(file, **arrays):
        file.write(b"PK")
        raise error

    monkeypatch.setattr(np, "savez", ends_early)
    with pytest.raises(type(error)) as caught:
        agent.save(path)
    if isinstance(error, OSError):
        assert str(caught.value) == f"[Errno {errno.ENOSPC}] No space left on device: '{path}'"
    assert names(tmp_path) == ["a.npz"]
    assert path.read_bytes() == whole


def test_nothing_is_pickled(tmp_path):
    for array in (np.array([print], dtype=object), np.zeros(2, [("x", "f4")])):
        with pytest.raises(TypeError, match=r"x has dtype .*: expected numbers or strings"):
            archive.write(tmp_path / "a.npz", {"x": array})
    assert names(tmp_path) == []


def test_arrays_of_every_plain_kind_come_back(tmp_path):
    rng = np.random.default_rng(0)
    kinds = ["f2", "f4", "f8", "c16", "i1", "u8", "?", "U3", "S4", "M8[ns]", ">f8"]
    arrays = {kind: rng.integers(0, 9, (2, 3)).astype(kind) for kind in kinds}
    arrays |= {"scalar": np.array(2.5), "empty": np.zeros((0, 3)), "columns": np.asfortranarray(rng.random((3, 4)))}
    for compressed in (False, True):
        archive.write(tmp_path / "a.npz", arrays, compressed)
        found = archive.read(tmp_path / "a.npz")
        for name, array in arrays.items():
            assert np.array_equal(found[name], array), name
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert found[name].flags.writeable


# ----------------------------------------------------------------------------------------------------------- damage


def damaged(whole: bytes, n: int, seed: int = 0):
    """`n` copies: with one bit flipped, with many bits flipped, cut short, and with a piece missing or repeated."""
    rng = random.Random(seed)
    for k in range(n):
        copy, at = bytearray(whole), rng.randrange(len(whole))
        if k % 4 == 0:
            copy[at] ^= 1 << rng.randrange(8)
        elif k % 4 == 1:  # a table of contents stands at the end, and is small: aim there
            for _ in range(rng.randint(1, 20)):
                copy[-rng.randrange(1, min(len(copy), 3000))] = rng.randrange(256)
        elif k % 4 == 2:
            copy = copy[:at]
        else:
            copy[at : at + rng.randrange(1, 200)] = copy[: rng.randrange(200)]
        yield bytes(copy)


@pytest.mark.parametrize("kind", [TDLambda, ActorCritic])
def test_a_damaged_checkpoint_is_refused_or_makes_no_difference(kind, tmp_path):
    agent, path = learner() if kind is TDLambda else make(False), tmp_path / "damaged.npz"
    refused = []
    for content in damaged(agent.save(tmp_path / "whole.npz").read_bytes(), N_DAMAGED):
        path.write_bytes(content)
        try:
            loaded = kind.load(path)
        except ValueError as error:
            refused.append(str(error))
        else:  # a date, or another byte that nothing reads
            assert everything(loaded) == everything(agent)
    assert len(refused) > N_DAMAGED / 2
    assert all(str(path) in message for message in refused)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_archive_is_refused_or_makes_no_difference(compressed, tmp_path):
    arrays = {"x": np.random.default_rng(0).random((20, 3)), "name": np.array("seed")}
    archive.write(tmp_path / "whole.npz", arrays, compressed)
    for content in damaged((tmp_path / "whole.npz").read_bytes(), N_DAMAGED, 1):
        (tmp_path / "damaged.npz").write_bytes(content)
        try:
            found = archive.read(tmp_path / "damaged.npz")
        except ValueError:
            continue
        assert all(np.array_equal(found[name], arrays[name]) for name in found.keys() & arrays.keys())


def header(text: str, version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\1\0" else 4, "little") + text.encode()


def header_of(shape: str, kind: str = "<f8") -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header_of("(100000000000,)") + bytes(64), r"has 64 bytes of numbers, and its header says float64 \(100000"),
        (header_of(f"({'9' * 18}, {'9' * 18})"), "has 0 bytes of numbers"),
        (header_of("(-1,)"), "header that describes no plain array"),
        (header_of("(1,)", "|O") + bytes(8), "holds no numbers, but object"),
        (header_of("(1000,)", "<U0"), "holds no numbers, but <U0"),
        (header_of("(1,)", "<f3") + bytes(8), "a type that NumPy does not know, <f3"),
        (header("(" * 20000, b"\2\0"), "header that describes no plain array"),
        (header("{'descr': __import__('os')}\n"), "header that describes no plain array"),
        (header_of("(1,)", "<f8")[:30], "header that describes no plain array"),
        (b"hello", "is not an array of NumPy"),
    ],
)
def test_a_header_is_checked_before_anything_is_allocated(content, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", content)
    with pytest.raises(ValueError, match=message):
        archive.read(tmp_path / "a.npz")


def test_a_plain_array_is_not_a_checkpoint(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"not a whole rtu_np checkpoint \(File is not a zip file\)"):
        TDLambda.load(tmp_path / "a.npy")


def with_settings(path, text: bytes):
    """Give the checkpoint at `path` other settings."""
    arrays = archive.read(path)
    archive.write(path, {**arrays, "settings.json": np.frombuffer(text, np.uint8)})


@pytest.mark.parametrize("size", [10**6, 10**11, 10**30])
@pytest.mark.parametrize("where", ["n_inputs", "cell n_hidden", "readout n_hidden"])
def test_a_size_beyond_the_file_is_named_before_anything_is_allocated(where, size, tmp_path):
    path = learner().save(tmp_path / "a.npz")
    page = json.loads(archive.read(path)["settings.json"].tobytes())
    *part, name = where.split()
    if part == ["readout"]:
        page["readout"] = {"name": "HiddenReadout", "n_hidden": 1}
    (page[part[0]] if part else page)[name] = size
    with_settings(path, json.dumps(page).encode())
    began = time.perf_counter()
    with pytest.raises(
        ValueError, match=rf"a\.npz' holds settings .*: {name} is {size}, and the file holds \d+ numbers"
    ):
        TDLambda.load(path)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("text", ["[" * 10**5, '{"format": ' * 10**4, "9" * 5000, "\ud800", "null", '"rtu_np"'])
def test_settings_that_are_no_page_of_ours(text, tmp_path):
    path = learner().save(tmp_path / "a.npz")
    with_settings(path, text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"a\.npz"):
        TDLambda.load(path)


WRONG = [None, True, -1, 10**11, 1e300, "", "abc", [], {}, {"name": "LinearRTU"}, {"name": [1]}, [1, [2]], 2**64]


def places(page, above=()):
    """The ways to every part of nested settings."""
    for key, part in page.items() if isinstance(page, dict) else enumerate(page):
        yield (*above, key)
        if isinstance(part, dict | list):
            yield from places(part, (*above, key))


@pytest.mark.parametrize("kind", [TDLambda, ActorCritic])
@pytest.mark.filterwarnings("ignore:the action space is")  # a wrong bound may be a bound
def test_a_wrong_setting_is_a_value_error_that_names_the_file(kind, tmp_path):
    agent, path = learner() if kind is TDLambda else make(False), tmp_path / "a.npz"
    agent.save(path)
    whole = archive.read(path)
    text, refused = whole["settings.json"].tobytes(), []
    cases = [(place, value) for place in places(json.loads(text)) for value in WRONG]
    for place, value in random.Random(0).sample(cases, min(N_DAMAGED, len(cases))):
        page = json.loads(text)
        part = page
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        changed = np.frombuffer(json.dumps(page).encode(), np.uint8)
        archive.write(path, {**whole, "settings.json": changed})
        try:
            kind.load(path)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > min(N_DAMAGED, len(cases)) / 3
    assert all(str(path) in message for message in refused)


def test_what_does_not_fit_this_machine_is_not_allocated(tmp_path):
    with pytest.raises(MemoryError, match=r"an array of \d+ numbers needs \d+ bytes, and this machine has \d+"):
        TDLambda(LinearRTU(10**11), 2)
    path = TDLambda(LinearRTU(2), 1, gradient=TBPTT(3)).save(tmp_path / "a.npz")
    page = json.loads(archive.read(path)["settings.json"].tobytes())
    with_settings(path, json.dumps({**page, "gradient": {"name": "TBPTT", "steps": 10**11}}).encode())
    with pytest.raises(ValueError, match=r"a\.npz' holds settings that this machine has no memory for"):
        TDLambda.load(path)


def test_a_damaged_log_is_refused_and_stays(tmp_path):
    agent, table = make(False), tmp_path / "episodes.csv"
    for content in (b"step,episode,return,length,steps_per_second\n\xff,1,2,3,4\n", b"\0\1", b"step,a\n1,2\n"):
        table.write_bytes(content)
        with pytest.raises(ValueError, match=r"log '.*episodes\.csv'"):
            agent.learn(World(False), 1, progress=False, log=tmp_path)
        assert names(tmp_path) == ["episodes.csv"]
        assert table.read_bytes() == content


def test_a_start_that_draws_nothing_is_refused():
    with pytest.raises(TypeError, match=r"init is None: expected starting values such as LecunNormal\(\)"):
        Dense(2, init=None)


def test_a_cell_of_another_program_may_have_any_numbers(tmp_path):
    """`n` may be anything there, and is not held against the file."""
    described = {"cell": {"name": "Mine", "n": 10**12}, "n_inputs": 2}
    assert list(checkpoint._sizes(described)) == [("n_inputs", 2)]


# ------------------------------------------------------------------------------------------------------------ kills

SAVES = """
import sys
from rtu_np import LinearRTU, TDLambda
learner, k = TDLambda(LinearRTU(200), 200), 0
while True:
    learner._flat[:] = k
    learner.save(sys.argv[1])
    k += 1
    print(k, flush=True)
"""


@UNIX
def test_killed_while_it_saves_the_last_whole_checkpoint_is_there(tmp_path):
    """Saves in a loop, killed at random moments: at the final name stands a whole file, at least as new as was said."""
    rng, path, partial = random.Random(0), tmp_path / "agent.npz", 0
    for _ in range(N_KILLS):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-c", SAVES, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            process.stdout.readline()  # one is written
            time.sleep(rng.uniform(0, 0.2))
            os.kill(process.pid, signal.SIGKILL)
            said = process.stdout.read().split()
        loaded = TDLambda.load(path)
        (number,) = {float(part) for array in loaded.parameters.values() for part in np.unique(array)}
        assert number >= int(said[-1] if said else 1) - 1
        assert (loaded.traces["cell.W1"] == number).all()
        left = [name for name in names(tmp_path) if name != "agent.npz"]
        assert all(name.startswith(".agent-") and name.endswith(".part.npz") for name in left)
        partial += len(left) > 0
        for name in left:
            (tmp_path / name).unlink()
    print(f"{partial} of {N_KILLS} kills came while a file was written")


def test_files_says_what_stands_there(tmp_path):
    (tmp_path / "file").touch()
    assert files.kind_of(tmp_path / "file") == "a file"
    with pytest.raises(FileNotFoundError):
        files.kind_of(tmp_path / "absent")
