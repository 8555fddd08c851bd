"""The page of claims is made from the committed results, by a rule, and says what is missing."""

import json
import re
from pathlib import Path

import pytest

from experiments import claims
from experiments.__main__ import EXPERIMENTS
from experiments.engine import verdicts
from experiments.engine.verdicts import Best, Claim, Measure, compare

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
RETURN = Measure("return")


def test_the_page_is_what_the_script_makes():
    message = "docs/claims.md is not what the results say: run `python -m experiments.claims`"
    assert (ROOT / "docs" / "claims.md").read_text() == claims.page(RESULTS) + "\n", message


def test_each_figure_of_the_paper_has_a_claim_and_each_claim_an_experiment():
    named = {claim.results for claim in claims.CLAIMS}
    assert named <= EXPERIMENTS.keys()
    assert {name for name in EXPERIMENTS if name.startswith("fig")} <= named
    texts = [claim.text for claim in claims.CLAIMS]
    assert len(set(texts)) == len(texts)


def test_the_command_writes_the_page_or_says_what_is_missing(tmp_path, capsys):
    page = tmp_path / "claims.md"
    assert claims.main(["--output", str(page)]) == 0
    assert page.read_text() == (ROOT / "docs" / "claims.md").read_text()
    assert claims.main(["--output", str(page), "--results", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert str(tmp_path) in error
    assert error.count("\n") == 1
    assert page.read_text() == (ROOT / "docs" / "claims.md").read_text()


def written(folder, rows, preset="laptop", **page):
    place = folder / "race"
    place.mkdir(exist_ok=True)
    (place / f"{preset}.png").touch()
    (place / f"{preset}.json").write_text(json.dumps({"scores": rows, **page}))
    return place / f"{preset}.json"


def row(mean, low=None, high=None, seeds=5, **more):
    low, high = (mean - 1 if low is None else low), (mean + 1 if high is None else high)
    return {"seeds": seeds, "return": mean, "low": low, "high": high, **more}


def verdict(folder, *comparisons, **more):
    return verdicts.decide(Claim("c", "s", "race", compare(RETURN, *comparisons), **more), folder, {})


@pytest.mark.parametrize(
    ("relation", "other", "expected"),
    [
        ("above", row(7), "holds"),
        ("above", row(9), "open"),
        ("above", row(13), "does not"),
        ("above", 8.9, "holds"),
        ("above", 9.0, "open"),  # the end of the interval
        ("below", row(7), "does not"),
        ("below", row(13), "holds"),
        ("below", row(11.5), "open"),
        ("not above", row(7), "does not"),
        ("not above", row(9), "holds"),
        ("not above", row(13), "holds"),
        ("not below", row(7), "holds"),
        ("not below", row(13), "does not"),
        ("level with", row(10.9), "holds"),
        ("level with", row(11.5), "open"),  # the intervals overlap, and the means are outside
        ("level with", row(11.5, 9, 14), "open"),  # one mean is inside
        ("level with", row(13), "does not"),
        ("above", row(7, seeds=4), "open"),
        ("not above", row(float("nan")), "open"),
        ("level with", row(float("nan")), "open"),
    ],
)
def test_the_rule(relation, other, expected, tmp_path):
    written(tmp_path, {"a": row(10), **({} if isinstance(other, float) else {"b": other})})
    right = other if isinstance(other, float) else "b"
    assert verdict(tmp_path, ("a", relation, right)).verdict == expected


def test_a_claim_of_several_comparisons(tmp_path):
    written(
        tmp_path,
        {
            f"{task}: {method}": row(mean)
            for task, mean in zip("tuvw", (9, 1, 9, 9), strict=True)
            for method, mean in (("x", mean), ("y", 5))
        },
    )
    against = verdict(tmp_path, ("{task}: x", "above", "{task}: y"))
    assert [vote.vote for vote in against.votes] == ["for", "against", "for", "for"]
    assert [(vote.left.name, vote.right.name) for vote in against.votes][:2] == [("t: x", "t: y"), ("u: x", "u: y")]
    assert against.verdict == "does not"
    assert verdict(tmp_path, ("{task}: x", "above", "{task}: y"), most=True).verdict == "holds"
    assert verdict(tmp_path, ("{task}: x", "below", "{task}: y"), most=True).verdict == "does not"
    assert verdict(tmp_path, ("t: x", "above", "t: y"), ("t: x", "above", 8.5)).verdict == "open"
    assert len(verdict(tmp_path, ("{task}: x", "above", "{other}: y")).votes) == 16
    assert [vote.right.name for vote in verdict(tmp_path, ("t: x", "above", Best("{task}: x"))).votes] == ["u: x"]
    own = verdict(tmp_path, ("u: x", "not above", Best("{task}: x"), 1.25))  # the row itself
    assert (own.verdict, own.votes[0].times) == ("holds", 1.25)


def test_the_largest_preset_is_taken_if_the_claim_names_no_other(tmp_path):
    for preset, mean in (("laptop", 1), ("long", 9), ("arm", 4)):
        written(tmp_path, {"a": row(mean)}, preset)
    found = [verdict(tmp_path, ("a", "above", 3.0), preset=preset) for preset in ("", "laptop", "arm")]
    assert [(each.preset, each.verdict) for each in found] == [
        ("long", "holds"),
        ("laptop", "does not"),
        ("arm", "open"),
    ]
    with pytest.raises(verdicts.ResultsError, match=r"of a preset \(leg\): .* experiments race --preset leg`"):
        verdict(tmp_path, ("a", "above", 3.0), preset="leg")


def test_results_of_an_earlier_task_decide_nothing(tmp_path):
    written(tmp_path, {"a": row(10, diverged=2.0)}, commit=["0123456", "89abcde"])
    claim = Claim("a is fast", "a fable", "race", compare(RETURN, ("a", "above", 5.0)), remark="of old")
    earlier = {("race", "laptop"): ("89ab", "the course was another")}
    page = claims.page(tmp_path, [claim], earlier)
    assert "| a is fast (of old) | a fable | **open**: the course was another | 1 for; for: a: 10.0 [9.0, 11.0]" in page
    assert "(2 of 5 diverged)" in page
    assert "0 hold, 0 do not, 1 are open" in page
    assert "**holds**" in claims.page(tmp_path, [claim], {}).split("| claim |")[1]
    for gone in (("race", "laptop"), ("race", "long")):
        with pytest.raises(verdicts.ResultsError, match=rf"race/{gone[1]}\.json is not there, or not of commit 77"):
            claims.page(tmp_path, [claim], {gone: ("77", "")})


def test_an_earlier_agent_s_table_need_not_have_the_rows_of_today_s(tmp_path):
    written(tmp_path, {"a": row(10)}, commit="89abcde")
    claim = Claim("b is fast", "a fable", "race", compare(RETURN, ("b", "above", 5.0)))
    page = claims.page(tmp_path, [claim], {("race", "laptop"): ("89ab", "the runner was another")})
    assert "| b is fast | a fable | **open**: the runner was another | none yet |  | `python -m" in page
    with pytest.raises(verdicts.ResultsError, match="has no row 'b'"):
        claims.page(tmp_path, [claim], {})


SHAPES = {
    "no file": (lambda file: file.unlink(), "race has no results of a preset .*expected the JSON that `python -m"),
    "no figure": (lambda file: file.with_suffix(".png").unlink(), r"laptop\.png is missing: expected the figure"),
    "no JSON": (lambda file: file.write_text("{"), r"laptop\.json: expected a page with scores"),
    "no scores": (lambda file: file.write_text("{}"), r"laptop\.json: expected a page with scores"),
    "no rows": (lambda file: file.write_text('{"scores": {}}'), r"laptop\.json: expected a page with scores"),
    "a list": (lambda file: file.write_text("[]"), r"laptop\.json: expected a page with scores"),
    "another row": (lambda file: _replace(file, '"a"', '"b"'), r"laptop\.json has no row 'a': it has b, "),
    "another column": (
        lambda file: _replace(file, '"low"', '"lowest"'),
        "row 'a': expected a number 'low', and it is None",
    ),
    "text": (lambda file: _replace(file, "10", '"ten"'), "row 'a': expected a number 'return', and it is 'ten'"),
}


def _replace(file, text, other):
    file.write_text(file.read_text().replace(text, other))


@pytest.mark.parametrize("kind", SHAPES)
def test_results_that_are_missing_or_of_another_shape_are_named(kind, tmp_path):
    change, message = SHAPES[kind]
    change(written(tmp_path, {"a": row(10)}))
    with pytest.raises(verdicts.ResultsError, match=message) as caught:
        verdict(tmp_path, ("a", "above", 5.0))
    assert re.search(str(tmp_path / "race"), str(caught.value))


def test_a_row_that_has_no_partner_is_named(tmp_path):
    written(tmp_path, {"t: x": row(1), "u: x": row(2), "t: y": row(3)})
    with pytest.raises(verdicts.ResultsError, match=r"has no row '\{task\}: y' with \{'task': 'u'\}"):
        verdict(tmp_path, ("{task}: x", "above", "{task}: y"))
    with pytest.raises(verdicts.ResultsError, match="no two rows are compared"):
        verdict(tmp_path, ("t: x", "above", "t: x"))
