"""`python -m rtu_np warm`: what it compiles serves learners of all sizes, and it says when it can store nothing."""

import shutil
import sys

import numpy as np
import pytest
from cache_folder import ROOT, Folder, compiled
from tolerances import LEARNING, assert_close

from rtu_np import jit, kernel_files, warm

pytestmark = compiled
# The command, with the starts that compile in seconds.
FEW = {"TDLambda": "LinearRTU, RTRL, SGD", "QLambda": "LinearRTU alone, Discrete actions", "check": "LinearRTU, RTRL"}
COMMAND = """
import sys
from rtu_np import warm
few = {few!r}
warm.STARTS[:] = [start for start in warm.STARTS if few.get(start.learner) == start.parts]
from rtu_np.__main__ import main
sys.exit(main(["warm", *{words!r}]))
"""
# The same with one small kernel.
SMALL = """
import sys
from caller import run
from rtu_np import warm
from rtu_np.__main__ import main
warm.STARTS[:] = [warm.Start("check", "a small kernel", "float64", lambda dtype: run(2.0))]
sys.exit(main(["warm"]))
"""
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
# First uses with other sizes, and with all that a learner does.
USES = """
import gymnasium
import numpy as np
from rtu_np import SGD, LinearRTU, QLambda, TDLambda, check_gradients
rng = np.random.default_rng(0)
learner = TDLambda(LinearRTU(11), 5, 0.5, 0.7, SGD(1e-3), seed=3)
learner.run(rng.standard_normal((100, 5)), rng.standard_normal(100))
print(*learner.predict(np.ones((4, 5))))
learner.diagnostics()
"""
MORE_USES = """
env = gymnasium.make("CartPole-v1")
agent = QLambda(env, LinearRTU(8), gamma=0.9)
agent.learn(env, 100, progress=False, log="log")
agent.evaluate(gymnasium.make("CartPole-v1"), episodes=2)
assert check_gradients(LinearRTU(8), n_inputs=3).passed
"""
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


def warmed(folder: Folder, *words: str, **environment: str | None) -> tuple[int, str]:
    """(exit code, what the command prints); what it says on stderr is in `folder.said`."""
    process = folder.start(COMMAND.format(few=FEW, words=words), **environment)
    out, folder.said = process.communicate()
    return process.returncode, out


def values(printed: list[str]) -> np.ndarray:
    return np.array(printed, float)


# ------------------------------------------------------------------------------------------------- what it is good for


def test_warmed_learners_of_other_sizes_start_without_compiling(folder):
    code, out = warmed(folder)
    assert (code, folder.said) == (0, "")
    stored = folder.stored()
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == ["1 of 3", "2 of 3", "3 of 3"]
    assert "TDLambda, LinearRTU, RTRL, SGD, float64: " in lines[0]
    assert lines[3].startswith(f"{folder.path / 'cache' / 'rtu_np'}: {len(stored)} files of compiled code")
    assert lines[4] == warm.good_for()
    folder.run(USES + MORE_USES)
    assert folder.stored() == stored
    code, out = warmed(folder, "check", "TDLambda")
    assert (code, folder.stored()) == (0, stored)
    assert out.count(": compiled before, ") == 2


TYPES = """
import numba, gymnasium
from rtu_np import *
from rtu_np import warm
from rtu_np.control.agent import Agent

made = []
for kind in (TDLambda, ActorCritic, QLambda, QRC, PPO):
    def noted(self, *arguments, make=kind.__init__, **settings):
        make(self, *arguments, **settings)
        made.append(self)
    kind.__init__ = noted

def types(learner):
    return type(learner).__name__, numba.typeof(learner._to_step), numba.typeof(getattr(learner, "_to_act", 0))

for start in warm.STARTS:
    start.compile(start.dtype)
known = {types(each) for each in made}
cells = (LinearRTU(20), None), (NonlinearRTU(7), None), (GRU(9), TBPTT(12))
for cell, gradient in cells:
    for optimizer in (None, SGD(0.1), ObGD(1.5)):
        assert types(TDLambda(cell, 6, 0.5, 0.7, optimizer, gradient)) in known, (cell, optimizer)
for name in ("CartPole-v1", "Pendulum-v1"):
    env = gymnasium.make(name)
    for kind in (ActorCritic, PPO, *((QLambda, QRC) if name == "CartPole-v1" else ())):
        for cell in (None, *(() if kind is PPO else (LinearRTU(20),))):
            assert types(kind(env, cell, gamma=0.9)) in known, (name, kind, cell)
print(len(known))
"""


def test_every_start_has_the_types_of_what_people_use(folder):
    """Learners with their defaults, and the widest network that each start stands for. Nothing is compiled."""
    (known,) = folder.run(TYPES, NUMBA_DISABLE_JIT="1")
    assert 1 < int(known) < len(warm.STARTS)  # starts with other optimisers may have the same types


def test_a_moved_cache_serves_the_processor_that_it_was_made_for_and_no_other(folder):
    assert warmed(folder, "TDLambda", **GENERIC)[0] == 0
    made = folder.stored()
    expected = values(folder.run(USES, **GENERIC))
    assert folder.stored() == made
    shutil.move(folder.path / "cache", folder.path / "another")
    there = {"NUMBA_CACHE_DIR": str(folder.path / "another")}
    assert (values(folder.run(USES, **GENERIC, **there)) == expected).all()
    moved = sorted((folder.path / "another").rglob("*.kernel"))
    assert [path.name for path in moved] == [path.name for path in made]
    content = [path.read_bytes() for path in moved]

    own = values(folder.run(USES, **there))  # this processor compiles for itself, next to the other's files
    assert_close(own, expected, LEARNING)
    assert [path.read_bytes() for path in moved] == content
    assert len(list((folder.path / "another").rglob("*.kernel"))) > len(moved)
    assert folder.said == ""


def test_code_that_calls_a_vector_library_is_not_that_of_others(monkeypatch):
    """Intel's SVML is there or not, on one processor: code that calls it ends a process that lacks it."""
    plain = jit.versions()
    monkeypatch.setattr(jit.config, "USING_SVML", not jit.config.USING_SVML)
    assert jit.versions() != plain


@pytest.mark.parametrize(
    ("name", "features", "shown"),
    [
        ("generic", "", "all processors that have what it has, with NUMBA_CPU_NAME=generic"),
        ("x86-64-v3", "", "with NUMBA_CPU_NAME=x86-64-v3 and an empty NUMBA_CPU_FEATURES"),
        ("haswell", "+avx2,+fma,-avx512f", "compiled for haswell, 2 features ("),
        (None, None, "good for processors of this name and these features; others compile for themselves"),
    ],
)
def test_it_says_for_which_processors(name, features, shown, monkeypatch):
    monkeypatch.setattr(jit.config, "CPU_NAME", name)
    monkeypatch.setattr(jit.config, "CPU_FEATURES", features)
    assert shown in warm.good_for()
    assert "\n" not in warm.good_for()


# --------------------------------------------------------------------------------------------------------- bad input


def test_an_unknown_learner_is_named_with_those_that_are_known(folder):
    assert warmed(folder, "check", "SARSA") == (2, "")
    known = "TDLambda, ActorCritic, QLambda, QRC, PPO, check"
    assert folder.said == f"warm: learner is 'SARSA': expected some of {known}\n"
    assert not folder.stored()


WITHOUT_ROOM = {
    "a file in place of the folder": ("", {"NUMBA_CACHE_DIR": "{}/file"}, "compiled code cannot be stored: [Errno"),
    "a full disk": (LIMIT, {}, "File too large"),
    "no home": ("", {"NUMBA_CACHE_DIR": None, "HOME": ""}, "no home directory is known, so there is no folder"),
    "public Numba": ("", {"RTU_NP_PLAIN_NUMBA": "1", "PYTHONWARNINGS": "ignore"}, "stores nothing; is RTU_NP_PLAIN"),
    "nothing compiled": ("", {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT is set, so nothing is compiled"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="homes and limits of POSIX")
@pytest.mark.parametrize("why", WITHOUT_ROOM)
def test_without_room_there_is_one_line(why, folder):
    before, environment, said = WITHOUT_ROOM[why]
    (folder.path / "file").touch()
    folder.write_pair(3.0)
    given = {name: value and value.format(folder.path) for name, value in environment.items()}
    process = folder.start(before + SMALL, **given)
    out, folder.said = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert folder.only_line().startswith("warm: ")
    assert said in folder.only_line()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_complete_cache_needs_no_room(folder):
    """As in an image that one user builds, and another one, who may not write to it, runs."""
    folder.write_pair(3.0)
    for before, done in (("", "1 file, "), (LIMIT, "compiled before, ")):
        process = folder.start(before + SMALL)
        out, said = process.communicate()
        assert (process.returncode, said) == (0, "")
        assert out.startswith(f"1 of 1  check, a small kernel, float64: {done}")


def test_what_a_start_says_is_passed_on(monkeypatch, capsys):
    """And a start whose code is not stored stops the command, whatever it compiled before."""
    speaks = warm.Start("check", "speaks", "float64", lambda dtype: print("a warning", file=sys.stderr))
    monkeypatch.setattr(warm, "STARTS", [speaks, speaks._replace(compile=lambda dtype: kernel_files.say_once("full"))])
    monkeypatch.setattr(kernel_files, "_reasons", [])
    with pytest.raises(warm.NotStoredError, match="compiled code cannot be stored: full"):
        warm.warm()
    shown = capsys.readouterr()
    assert shown.out.startswith("1 of 2  check, speaks, float64: compiled before")
    assert "a warning\n" in shown.err
    assert "each process compiles again" not in shown.err


def test_the_pages_name_the_command():
    for page in ("README.md", "docs/speed.md"):
        assert "python -m rtu_np warm" in (ROOT / page).read_text()
