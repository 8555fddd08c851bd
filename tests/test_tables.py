"""Tables of results on pages: each is planned and of the committed numbers; an unknown one is refused."""

import json
import re
import shutil

import pytest

from experiments import pages, tables, takeaways
from experiments.engine.marks import MarkError

MARKS = re.compile(r"<!-- table: ([^\n]+?) -->\n(.*?)<!-- end of table -->", re.DOTALL)


def marked():
    """{name: (page, text)} of all tables on pages of docs."""
    found = {}
    for page in sorted(takeaways.DOCS.glob("*.md")):
        found |= {name: (page.name, text.strip()) for name, text in MARKS.findall(page.read_text())}
    return found


def test_each_planned_table_stands_on_a_page_as_its_results_have_it():
    found = marked()
    assert sorted(found) == sorted(tables.TABLES)
    for name, (page, text) in found.items():
        assert text == tables.table(name), f"python -m experiments.pages makes {page} again"


@pytest.fixture
def results(tmp_path):
    shutil.copytree(tables.RESULTS / "stream-memory", tmp_path / "stream-memory")
    return tmp_path


def test_a_number_that_changes_changes_its_page(results):
    file = results / "stream-memory" / "reacher.json"
    page = json.loads(file.read_text())
    page["scores"]["ReacherPOMDP: MinGRU, RTRL"] |= {"return": 33.25, "diverged": 2.0}
    file.write_text(json.dumps(page))
    written = pages.filled("<!-- table: stream-memory/reacher -->\nold\n<!-- end of table -->", results)
    assert "| 33.2 [31.6, 37.8], 2 of 10 diverged |" in written
    assert "old" not in written
    assert pages.filled(written, results) == written


def test_unknown_tables_and_missing_results_are_refused_by_name(results):
    with pytest.raises(tables.TableError, match="stream-memory/none has no table: expected one of"):
        tables.table("stream-memory/none", results)
    with pytest.raises(tables.TableError, match=r"fig06-popgym/long.json: expected results with the rows"):
        tables.table("fig06-popgym/long", results)
    (results / "stream-memory" / "reacher.json").write_text(json.dumps({"scores": {}}))
    with pytest.raises(tables.TableError, match=r"reacher.json: expected results with the rows .*no rows"):
        tables.table("stream-memory/reacher", results)


BEGIN, END = "<!-- table: stream-memory/reacher -->", "<!-- end of table -->"


@pytest.mark.parametrize(
    "page", [BEGIN, END, f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}\n<!-- end of takeaway -->", f"{BEGIN}\n{END}\n{END}"]
)
def test_a_comment_without_its_other_is_refused(page, results):
    with pytest.raises(MarkError, match="is not one of two: expected a begin and `<!-- end of table -->`"):
        pages.filled(page, results)
