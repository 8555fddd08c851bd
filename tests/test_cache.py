"""Compiled code on disk is never that of other code: across files, edits, reloads and processes."""

import os
import re
import textwrap
from typing import NamedTuple

import pytest
from cache_folder import CALLEE, CALLER, ROOT, RUN, Folder, compiled
from tolerances import LEARNING

from rtu_np import jit

pytestmark = compiled


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


# ------------------------------------------------------------------------------------------------------- other files

OVERLOAD = (
    "from {} import overload\ndef step(x):\n    pass\n@overload(step)\ndef _step(x):\n    return lambda x: FACTOR * x"
)
CLOSURE = """
from rtu_np.jit import kernel
def times(a):
    @kernel
    def product(x):
        return a * x
    return product
step = times(FACTOR)
"""
STEP = CALLEE.format(factor="FACTOR")
# What the caller depends on: the other file, its text, how the caller imports it, and uses it.
DEPENDS_ON = {
    "a function": ("m0", STEP, "from m0 import step", "step(x)"),
    "a function of a module": ("m1", STEP, "import m1", "m1.step(x)"),
    "a namespace package": ("space/m", STEP, "from space.m import step", "step(x)"),
    "a package": ("pack/m", STEP, "from pack.m import step", "step(x)"),
    "a package's package": ("pack/inner/m", STEP, "import pack.inner.m", "pack.inner.m.step(x)"),
    "a number": ("m2", "A = FACTOR", "from m2 import A", "A * x"),
    "a number of a module": ("m3", "A = FACTOR", "import m3", "m3.A * x"),
    "an array": ("m4", "import numpy as np\nA = np.array([1.0, FACTOR])", "from m4 import A", "A[1] * x"),
    "a tuple": ("m5", "A = (1.0, FACTOR)", "from m5 import A", "A[1] * x"),
    "a NamedTuple": (
        "m6",
        "from typing import NamedTuple\nclass T(NamedTuple):\n    a: float\nA = T(FACTOR)",
        "from m6 import A",
        "A.a * x",
    ),
    "an enumeration": (
        "m7",
        "import enum\nclass E(enum.IntEnum):\n    A = int(FACTOR)",
        "from m7 import E",
        "E.A.value * x",
    ),
    "a closure": ("m8", CLOSURE, "from m8 import step", "step(x)"),
    "an overload": ("m9", OVERLOAD.format("rtu_np.jit"), "from m9 import step", "step(x)"),
    "an overload of Numba": ("m10", OVERLOAD.format("numba.extending"), "from m10 import step", "step(x)"),
}


def test_an_edit_of_whatever_a_kernel_depends_on_is_seen(folder):
    """With three, again, with five, and back to three as git does it: what each caller returns, and finds stored."""
    folder.write(**{"pack/__init__": "", "pack/inner/__init__": ""})
    for k, (_, _, imports, call) in enumerate(DEPENDS_ON.values()):
        folder.write(**{f"caller{k}": CALLER.format(imports=imports, call=call)})
    code = "\n".join(RUN.replace("caller", f"caller{k}") for k in range(len(DEPENDS_ON)))
    for factor, value, hits in (("3.0", "7.0", "0"), ("3.0", "7.0", "1"), ("5.0", "11.0", "0"), ("3.0", "7.0", "1")):
        for file, text, *_ in DEPENDS_ON.values():
            folder.write(**{file: text.replace("FACTOR", factor)})
        printed = folder.run(code)
        found = dict(zip(DEPENDS_ON, zip(printed[::2], printed[1::2], strict=True), strict=True))
        assert found == dict.fromkeys(DEPENDS_ON, (value, hits))


def test_fields_in_another_order_are_seen(folder):
    """The types of the arguments have the same text, and the function has the same code."""
    text = """
        from typing import NamedTuple
        from rtu_np.jit import njit

        class Pair(NamedTuple):
            {}: float
            {}: float

        @njit
        def run(pair):
            return pair.first
    """
    code = "from caller import run, Pair; print(run(Pair(1.0, 2.0)), sum(run.stats.cache_hits.values()))"
    for fields, printed in ((("first", "second"), "1.0"), (("second", "first"), "2.0")):
        folder.write(caller=textwrap.dedent(text).format(*fields))
        assert folder.run(code) == [printed, "0"]


def test_an_edit_that_compiles_to_the_same_code_is_no_edit(folder):
    folder.write_pair(3.0)
    assert folder.run() == ["7.0", "0"]
    (folder.path / "callee.py").write_text("# a comment\n\n" + CALLEE.format(factor="3.0"))
    assert folder.run() == ["7.0", "1"]


def test_an_edit_that_keeps_size_and_time_is_seen(folder):
    folder.write_pair(3.0, "", "3.0 * x")
    caller = folder.path / "caller.py"
    times = caller.stat().st_atime_ns, caller.stat().st_mtime_ns
    assert folder.run() == ["7.0", "0"]
    caller.write_text(CALLER.format(imports="", call="5.0 * x"))
    os.utime(caller, ns=times)
    assert folder.run() == ["11.0", "0"]


GENERIC = """
from typing import NamedTuple
from rtu_np.jit import compile_for
import library

class {kind}(NamedTuple):
    pass

@library.apply.register({kind})
def _apply(kind, x):
    return {factor} * x

def main():
    function = compile_for(library.run, {kind}())
    print(function({kind}(), 2.0), sum(function.stats.cache_hits.values()))
"""
LIBRARY = """
from rtu_np.jit import generic

@generic
def apply(kind, x):
    "Nothing yet."

def run(kind, x):
    return apply(kind, x) + 1.0
"""


def test_a_cell_from_elsewhere_is_seen_and_others_are_not(folder):
    folder.write(library=LIBRARY, mine=GENERIC.format(kind="Mine", factor="3.0"))
    assert folder.run("import mine; mine.main()") == ["7.0", "0"]
    folder.write(other=GENERIC.format(kind="Other", factor="9.0"))
    assert folder.run("import other, mine; mine.main()") == ["7.0", "1"]  # `other` cannot be reached from here
    folder.write(mine=GENERIC.format(kind="Mine", factor="5.0"))
    assert folder.run("import mine; mine.main()") == ["11.0", "0"]


LEARN = """
from leaky import Leaky
from rtu_np import SGD, TDLambda
learner = TDLambda(Leaky(2), n_inputs=1, gamma=0.5, optimizer=SGD(0.05))
print(learner.run([[1.0]] * 20, [1.0] * 20, progress=False)[-1])
"""


def test_the_cell_of_the_documentation_follows_a_file_that_it_calls(folder):
    """Compiled, it predicts what plain Python predicts: docs/own_stream.md, with a factor from a file of its own."""
    page = (ROOT / "docs" / "own_stream.md").read_text()
    leaky = "".join(re.findall(r"```python\n(# leaky.py.*?)```", page, re.DOTALL))
    used = "from helper import keep\n" + leaky.replace("h[i] = a * h[i]", "h[i] = keep(a) * h[i]")
    assert used.count("keep") == 2
    predictions = []
    for factor in ("1.0", "0.5"):
        folder.write(leaky=used, helper=CALLEE.replace("step", "keep").format(factor=factor))
        (plain,) = folder.run(LEARN, NUMBA_DISABLE_JIT="1")
        (compiled_,) = folder.run(LEARN)
        assert float(compiled_) == pytest.approx(float(plain), rel=LEARNING)
        predictions.append(float(plain))
    assert abs(predictions[0] - predictions[1]) > 0.01


# ----------------------------------------------------------------------------------------- between import and compiling


def test_an_edit_between_import_and_compiling_is_filed_under_the_code_that_ran(folder):
    edit = "import pathlib, caller; p = pathlib.Path('{}.py'); p.write_text(p.read_text().replace('3.0', '5.0'));" + RUN
    for edited, imports, call in (("callee", "from callee import step", "step(x)"), ("caller", "", "3.0 * x")):
        folder.write_pair(3.0, imports, call + f" + 0 * len('{edited}')")
        assert folder.run(edit.format(edited)) == ["7.0", "0"]  # the file says 5.0 by now
        assert folder.run() == ["11.0", "0"]  # not what was compiled from 3.0
        (folder.path / f"{edited}.py").write_text((folder.path / f"{edited}.py").read_text().replace("5.0", "3.0"))
        assert folder.run() == ["7.0", "1"]


# --------------------------------------------------------------------------------------------------- within a process

RELOAD = """
import importlib, pathlib, sys
import numpy as np
import library, mine, helper
from rtu_np.jit import compile_for

def now():
    function = compile_for(library.run, mine.Mine())
    return function, function(mine.Mine(), 2.0)

def edit(name, old, new):
    path = pathlib.Path(name + ".py")
    path.write_text(path.read_text().replace(old, new))
    return importlib.reload(sys.modules[name])

first, value = now()
print(value)
"""
MINE = """
from typing import NamedTuple
from rtu_np.jit import kernel
import helper, library
from helper import A

class Mine(NamedTuple):
    pass

@kernel
def twice(x):
    return 2.0 * helper.step(x)

@library.apply.register(Mine)
def _apply(kind, x):
    return twice(x) + A
"""
RELOADS = {
    "a module": ("mine", "2.0 *", "4.0 *", "importlib.reload(mine)"),
    "a module that it calls": ("helper", "3.0 *", "6.0 *", "importlib.reload(helper)"),
    # What autoreload does in notebooks: the function that others have imported gets the new code.
    "a function in place": (
        "helper",
        "3.0 *",
        "6.0 *",
        "old = helper.step; importlib.reload(helper); old.__code__ = helper.step.__code__; helper.step = old",
    ),
    "a constant": ("helper", "A = 0.0", "A = 12.0", "importlib.reload(helper); mine.A = helper.A"),
}


@pytest.mark.parametrize("how", RELOADS)
def test_what_is_made_after_a_reload_runs_the_new_code(how, folder):
    name, old, new, reload = RELOADS[how]
    folder.write(library=LIBRARY, mine=MINE, helper=CALLEE.format(factor="3.0") + "\nA = 0.0\n")
    after = f"one = mine.Mine(); edit({name!r}, {old!r}, {new!r}); {reload}\n"
    after += "print(now()[1], first(one, 2.0), now()[0] is now()[0])"
    expected = "25.0"
    assert folder.run(RELOAD + after) == ["13.0", expected, "13.0", "True"]
    assert folder.run(RELOAD) == [expected]
    again = "print(now()[1], sum(now()[0].stats.cache_hits.values()))"
    assert folder.run(RELOAD + again) == [expected, expected, "1"]


def test_an_implementation_that_is_registered_later_is_used():
    class Kind(NamedTuple):
        pass

    @jit.generic
    def apply(kind, x):
        """Nothing yet."""

    @apply.otherwise
    def _double(kind, x):
        return 2 * x

    def run(kind, x):
        return apply(kind, x)

    first = jit.compile_for(run, Kind())
    assert first(Kind(), 3) == 6

    @apply.register(Kind)
    def _square(kind, x):
        return x * x

    assert jit.compile_for(run, Kind())(Kind(), 3) == 9
    assert first(Kind(), 3) == 6


def test_a_compiled_function_that_only_another_one_calls_is_compiled_again():
    """`inner` is not reached by the first function that is compiled after the change."""
    code = "from rtu_np import jit\n@jit.kernel\ndef step(x):\n    return {} * x\n"
    old, new = {"__name__": "old"}, {"__name__": "new"}
    exec(code.format("3"), old)
    exec(code.format("5"), new)
    step = old["step"]

    @jit.njit
    def inner(x):
        return step(x)

    def one(x):
        return step(x)

    def two(x):
        return inner(x)

    assert [jit.compile_for(function)(2) for function in (one, two)] == [6, 6]
    step.__code__ = new["step"].__code__
    assert [jit.compile_for(function)(2) for function in (one, two)] == [10, 10]


# -------------------------------------------------------------------------------------------------------- many at once


def test_processes_that_compile_at_once_do_not_mix_up_types(folder):
    folder.write_pair(3.0)
    kinds = ("float32", "float64", "int64", "int32")
    code = "import numpy as np, caller\nfor kind in {}: print(caller.run(getattr(np, kind)(2)))"
    processes = [folder.start(code.format([kind])) for kind in kinds]
    assert [process.communicate()[0].split() for process in processes] == [["7.0"]] * 4
    assert len(folder.stored()) == 4
    assert not list((folder.path / "cache").rglob("*.part"))
    hits = "\nprint(sum(caller.run.stats.cache_hits.values()))"
    assert folder.run(code.format(kinds) + hits) == ["7.0"] * 4 + ["4"]


# ------------------------------------------------------------------------------------------------------ what is stored


def test_main_is_not_stored(folder):
    code = "from rtu_np.jit import njit\n@njit\ndef f(x):\n    return x + 1\nprint(f(2))"
    assert folder.run(code) == ["3"]
    folder.write(library=LIBRARY)
    assert folder.run(GENERIC.format(kind="Mine", factor="3.0") + "main()") == ["7.0", "0"]
    assert folder.stored() == []
    assert folder.said == ""


def test_a_setting_of_numba_is_part_of_the_name(folder):
    folder.write_pair(3.0)
    folder.run()
    assert folder.run(NUMBA_BOUNDSCHECK="1") == ["7.0", "0"]
    assert folder.run(NUMBA_BOUNDSCHECK="1") == ["7.0", "1"]
    assert folder.run(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ["7.0", "0"]


def test_what_cannot_be_seen_is_not_stored_and_named(folder):
    folder.write(
        caller="from rtu_np.jit import njit, overload\nclass Settings:\n    factor = 3.0\nsettings = Settings()\n"
        "def step(x):\n    pass\n@overload(step)\ndef _step(x):\n    factor = settings.factor\n"
        "    return lambda x: factor * x\n@njit\ndef run(x):\n    return step(x) + 1.0\n"
    )
    assert folder.run() == ["7.0", "0"]
    assert "run depends on an object of type caller.Settings (settings in _step)" in folder.only_line()
    assert folder.stored() == []
