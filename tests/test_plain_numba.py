"""Without the private parts of Numba, by wish or because a release has renamed one: one warning, the same learning."""

import pytest
from cases import COMPILED
from plain_numba import in_a_process, learned
from tolerances import LEARNING, assert_close

from rtu_np import jit
from rtu_np.numba_compiler import PLAIN, SWITCH

pytestmark = [
    pytest.mark.skipif(not COMPILED, reason="there is nothing compiled"),
    pytest.mark.skipif(PLAIN, reason="this is plain Numba already"),
]


@pytest.fixture(scope="module")
def expected():
    return {name: view.copy() for name, view in learned().items()}


def test_plain_numba_learns_the_same_with_one_warning(expected, tmp_path):
    """Whatever the reason, it compiles in one way, so that one of the two learns: compiling takes half a minute."""
    said, found = in_a_process(tmp_path / "learned.npz", "JITCodeLibrary", **{SWITCH: ""})
    by_wish, _ = in_a_process(None, **{SWITCH: "1"})
    for each, why in ((said, "JITCodeLibrary"), (by_wish, "RTU_NP_PLAIN_NUMBA is set")):
        assert each["plain"]
        assert len(each["warnings"]) == 1
        assert "public options only" in each["warnings"][0]
        assert why in each["warnings"][0]
    assert by_wish["how"] == said["how"]
    assert found.keys() == expected.keys()
    for name, view in found.items():
        assert_close(view, expected[name], LEARNING, name)


def test_with_all_names_there_is_no_warning(expected, tmp_path):
    """And the bits are those of this process."""
    said, found = in_a_process(tmp_path / "learned.npz", **{SWITCH: "0"})
    assert (said["warnings"], said["plain"]) == ([], False)
    for name, view in found.items():
        assert (view == expected[name]).all(), name


def test_neither_mode_runs_what_the_other_compiled(monkeypatch):
    private = jit.versions()
    monkeypatch.setattr(jit.numba_compiler, "PLAIN", True)
    assert jit.versions() != private
