"""The page of planted bugs, and those that compiled code alone has."""

import re

import pytest
from cases import COMPILED
from compiled_bug_cases import COMPILED_BUGS
from planted_page import PAGE, STAYED_GREEN, page


def test_the_page_is_what_the_tables_of_the_tests_say():
    written = PAGE.read_text()
    assert written == page(), "python tests/planted_page.py writes it"
    assert int(re.search(r"So (\d+) bugs", written)[1]) >= 40
    assert all(f"\n| {bug} | `check_" in written for bug in STAYED_GREEN)


@pytest.mark.skipif(not COMPILED, reason="the bugs are in compiled code alone")
def test_bugs_of_compiled_code_alone_are_red_if_the_check_is_thorough(mutant):
    """Both at once, since compiling takes seconds: they show in different columns."""
    (first, *more) = [(bug.file, bug.replacements) for bug in COMPILED_BUGS.values()]
    package = mutant(*first, *more)
    arguments = package.LinearRTU(2), 1, 5
    assert package.check_gradients(*arguments).passed
    report = package.check_gradients(*arguments, thorough=True)
    dense = {regime.units: regime for regime in report.regimes if regime.regime == "dense"}
    exact = {units for units, regime in dense.items() if max(regime.bptt, regime.complex_step, regime.learn) > 1e-11}
    single = {units for units, regime in dense.items() if regime.float32 > regime.float32_allowed}
    assert exact == {17, 33}, str(report)
    assert single >= {7, 8, 9, 16}, str(report)  # one unit may turn too slowly to have a sine that is off
