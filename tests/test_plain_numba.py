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


@pytest.mark.parametrize(
    ("missing", "environment", "why"),
    [
        ("none", {SWITCH: "1"}, "RTU_NP_PLAIN_NUMBA is set"),
        ("JITCodeLibrary", {SWITCH: ""}, "JITCodeLibrary"),
    ],
    ids=["by wish", "a name is missing"],
)
def test_plain_numba_learns_the_same_with_one_warning(missing, environment, why, expected, tmp_path):
    said, found = in_a_process(tmp_path / "learned.npz", missing, **environment)
    assert said["plain"]
    assert len(said["warnings"]) == 1
    assert "public options only" in said["warnings"][0]
    assert why in said["warnings"][0]
    assert found.keys() == expected.keys()
    for name, view in found.items():
        assert_close(view, expected[name], LEARNING, name)


def test_with_all_names_there_is_no_warning(expected, tmp_path):
    """And the bits are those of this process."""
    said, found = in_a_process(tmp_path / "learned.npz", **{SWITCH: "0"})
    assert said == {"warnings": [], "plain": False}
    for name, view in found.items():
        assert (view == expected[name]).all(), name


def test_neither_mode_runs_what_the_other_compiled(monkeypatch):
    private = jit.versions()
    monkeypatch.setattr(jit.numba_compiler, "PLAIN", True)
    assert jit.versions() != private
