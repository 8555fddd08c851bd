"""docs/planted_bugs.md, from the tables of the tests that plant them: `python tests/planted_page.py` writes it."""

import importlib
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "planted_bugs.md"
HEAD = """\
# Planted bugs

A check that never fails shows nothing. So {n} bugs are planted, and each has to turn a check red:
{counts}.
`python tests/planted_page.py` writes this page from the tables of the tests, and a test compares it.
[Check a gradient or a learner of your own](check_your_own.md) says what the checks do.
"""
# As they were named by whoever planted them first, and found them green.
STAYED_GREEN = (
    *("a sign in learn", "x_j = 0 only", "from the ninth unit on", "n divisible by 16", "after a reset only"),
    *("sensitivities are cut at 8", "memory is left after truncation", "5e-5 in float32", "r > .99 only"),
)


def page() -> str:
    """The page as it should be."""
    tables = {
        "Bugs that once stayed green": (("bug", "found by", "shows in"), _once_green()),
        "`check_gradients`: a term of a cell": (("bug", "cell", "file"), _terms()),
        "`check_gradients`: regimes": (("bug", "cell", "file", "red by default, at least"), _regimes()),
        "`check_gradients` with `thorough`: compiled code alone": (("bug", "file", "red"), _compiled()),
        "`check_recurrence`: a homework": (("mistake", "hint"), _mistakes()),
        "`check_learner`": (("bug", "learner", "file", "shows first in", "hint"), _learners()),
    }
    sections = [f"## {title}\n\n{_table(head, rows)}" for title, (head, rows) in tables.items()]
    planted = {title: rows for title, (_, rows) in tables.items() if title != "Bugs that once stayed green"}
    by_check: dict[str, int] = {}
    for title, rows in planted.items():
        check = title.split("`")[1]
        by_check[check] = by_check.get(check, 0) + len(rows)
    counts = ", ".join(f"{n} for `{check}`" for check, n in by_check.items())
    return "\n".join([HEAD.format(n=sum(by_check.values()), counts=counts), *sections])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(entry.replace('|', chr(92) + '|') for entry in row)} |\n" for row in lines)


def _once_green() -> list[tuple[str, ...]]:
    regimes, learners = _tables("test_gradcheck_regimes").BUGS, _learner_bugs()
    found = []
    for bug in STAYED_GREEN:
        if bug in regimes:
            found.append((bug, "`check_gradients`, by default", _red(regimes[bug][3])))
        else:
            found.append((bug, "`check_learner`, by default", f"{learners[bug].part}, with a hint"))
    return found


def _terms() -> list[tuple[str, ...]]:
    tests = _tables("test_gradcheck")
    rows = [(bug, name, f"`{file}`") for bug, (name, file, _) in tests.BUGS.items()]
    rows += [(bug, "every cell, `TBPTT(4)`", "`gradients/tbptt.py`") for bug in tests.TRUNCATED_BUGS]
    return rows + [(f"a reset forgets {what}", "minGRU", "`cells/layer.py`") for what in ("all", "sensitivities")]


def _regimes() -> list[tuple[str, ...]]:
    bugs = _tables("test_gradcheck_regimes").BUGS
    return [(bug, name, f"`{file}`", _red(red)) for bug, (name, file, _, red) in bugs.items()]


def _red(regimes: set[str]) -> str:
    return "every regime" if len(regimes) > 3 else ", ".join(sorted(regimes))


def _compiled() -> list[tuple[str, ...]]:
    bugs = _tables("compiled_bug_cases").COMPILED_BUGS
    return [(name, f"`{bug.file}`", bug.shows) for name, bug in bugs.items()]


def _mistakes() -> list[tuple[str, ...]]:
    found = {**_tables("recurrence_cases").MISTAKES, **_tables("test_check_recurrence").FORWARD_MISTAKES}
    return [(mistake, hint) for mistake, (_, hint) in found.items()]


def _learner_bugs() -> dict:
    of_agents = {**_tables("control_bug_cases").CONTROL_BUGS, **_tables("ppo_bug_cases").PPO_BUGS}
    return {**_tables("prediction_bug_cases").PREDICTION_BUGS, **of_agents}


def _learners() -> list[tuple[str, ...]]:
    return [
        (name, bug.learner, f"`{bug.file}`", f"`{bug.part}`", bug.hint or "-") for name, bug in _learner_bugs().items()
    ]


def _tables(module: str):
    return importlib.import_module(module)


if __name__ == "__main__":
    sys.path.insert(0, str(PAGE.parent.parent))
    PAGE.write_text(page())
    print(PAGE)
