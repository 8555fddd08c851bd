"""Each committed figure has a sentence that its numbers bear out, and pages show it below the figure."""

import json
import re
import shutil

import pytest

from experiments import figures, pages, takeaways

PAGES = sorted(takeaways.DOCS.glob("*.md"))


def test_every_committed_figure_has_a_sentence_that_holds():
    for file in figures.pages(figures.RESULTS):
        text = takeaways.sentence(file.parent.name, file.stem)
        assert text.endswith((".", ".*"))


def test_pages_have_the_sentences_below_their_figures():
    for page in PAGES:
        text = page.read_text()
        assert pages.filled(text) == text, f"python -m experiments.pages makes {page.name} again"
        for name, below in re.findall(r"!\[[^\]]*\]\(results/(\S+)\.png\)\n\n?(.*)", text):
            assert below == f"<!-- takeaway: {name} -->", f"{page.name} has no sentence below {name}"


def changed(folder, change):
    """A copy of two tables, the first changed."""
    for name in ("staleness", "fig02-resources"):
        shutil.copytree(figures.RESULTS / name, folder / name)
    file = folder / "staleness" / "laptop.json"
    page = json.loads(file.read_text())
    file.write_text(json.dumps(change(page)))
    return folder


def worse(page):
    page["scores"]["linear RTU, step size 0.0003"]["degrees"] = 30.0
    return page


def without_a_row(page):
    del page["scores"]["linear RTU, step size 0.0003"]
    return page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (worse, "staleness/laptop.json does not bear out its takeaway any more: At step size 3e-4 .* 30 degrees"),
        (without_a_row, "staleness/laptop.json: expected a table with rows for its takeaway .*linear RTU"),
        (lambda page: [], "staleness/laptop.json: expected a table"),
        (lambda page: {"scores": {"linear RTU": 3}}, "staleness/laptop.json: expected a table"),
    ],
)
def test_a_sentence_that_is_not_true_any_more_stops_by_name(change, message, tmp_path):
    folder = changed(tmp_path / "results", change)
    assert takeaways.sentence("fig02-resources", "laptop", folder)
    with pytest.raises(takeaways.TakeawayError, match=message):
        takeaways.sentence("staleness", "laptop", folder)


def test_a_missing_table_and_a_figure_without_sentence(tmp_path):
    with pytest.raises(takeaways.TakeawayError, match=r"credit/laptop.json: expected a table"):
        takeaways.sentence("credit", "laptop", tmp_path)
    with pytest.raises(takeaways.TakeawayError, match="credit/paper has no sentence"):
        pages.filled("<!-- takeaway: credit/paper -->\n<!-- end of takeaway -->")
