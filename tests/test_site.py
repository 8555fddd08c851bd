"""The site: it is built strictly by one command, its links lead somewhere, and its pages are right in a browser."""

import html
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
from browser import CONTRAST, Browser, press
from browser import browser as browser

from experiments.takeaways import sentence

ROOT = Path(__file__).parent.parent
COMMAND = ["-m", "mkdocs", "build", "--strict"]
NARROW, WIDE = 400, 1280
# What is looked at in every width and colour: one page of each kind.
MAIN = (
    *("index", "start_learn", "lectures/index", "lectures/micro_rtrl", "derivations/the-gradient", "results", "claims"),
    *("results/fig12-rtu-bptt/index", "own_stream", "reference/prediction", "speed", "deviations", "glossary"),
)


def build(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, *COMMAND, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, "--site-dir", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[str, str]:
    """{page, relative to the site: its HTML}"""
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


LINK = re.compile(r'\b(?:href|src)="?([^\s">]+)')
SCRIPT = re.compile(r"(<(script|style)\b[^>]*>).*?</\2>", re.DOTALL)  # \1 is its first tag, which may name a file


def dead_links(pages: dict[str, str], site: Path) -> list[str]:
    """Links of pages, within the site, that lead nowhere; also to an anchor that a page lacks."""
    anchors = {page: set(re.findall(r'\b(?:id|name)="?([^\s">]+)', text)) for page, text in pages.items()}
    dead = []
    for page, text in pages.items():
        for target in set(LINK.findall(SCRIPT.sub(r"\1", text))):
            path, _, anchor = urllib.parse.unquote(html.unescape(target)).partition("#")
            if re.match(r"\w+:", path) or page == "404.html":  # that page is for servers, from their root
                continue
            place = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
            place += "/index.html" if (site / place).is_dir() else ""
            if not (site / place).exists() or (anchor and anchor not in anchors.get(place, ())):
                dead.append(f"{page}: {target}")
    return sorted(dead)


def test_all_links_lead_somewhere(site, pages):
    assert len(pages) > 100
    assert not dead_links(pages, site)
    planted = {**pages, "index.html": pages["index.html"] + '<a href="claims.html#no-such"></a><img src="no.png">'}
    assert dead_links(planted, site) == ["index.html: claims.html#no-such", "index.html: no.png"]


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loaded = re.compile(r'<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)="?(?:https?:)?//[^\s">]+')
    found = [(page, each) for page, text in pages.items() for each in loaded.findall(text)]
    assert not found
    for sheet in site.rglob("*.css"):
        for target in re.findall(r"url\(([^)]+)\)", sheet.read_text(encoding="utf-8")):
            assert target.strip("\"'").startswith("data:") or (sheet.parent / target).exists(), f"{sheet}: {target}"


def test_each_equation_has_an_anchor_and_the_code_that_cites_it(pages):
    chapters = {page: text for page, text in pages.items() if page.startswith("derivations/")}
    source = (ROOT / "docs" / "derivations.md").read_text(encoding="utf-8")
    for k in re.findall(r"\\tag\{(\d+)\}", source):
        (text,) = (text for text in chapters.values() if f'id="eq{k}"' in text)
        assert re.search(rf'aria-label="equation {k}">\({k}\)</a>\s*</div>\s*<div class="cited">', text), k
    beside = chapters["derivations/sensitivities.html"].split('id="eq11"')[1].split("</div>\n<p>")[0]
    line = (ROOT / "rtu_np/gradients/rtrl.py").read_text(encoding="utf-8").split("class RTRL")[0].count("\n") + 1
    assert "linear_rtu.py" in beside
    assert "test_from" not in beside
    assert re.search(rf'rtrl\.py\.html#L-{line - 1}"', beside), "the class that cites (11), with its decorator"
    assert 'href="from-rnn-to-rtu.html#eq4"' in chapters["derivations/sensitivities.html"], "a citation is a link"


def test_each_public_name_has_an_entry(pages):
    import rtu_np

    reference = "".join(text for page, text in pages.items() if page.startswith("reference/"))
    for name in rtu_np.__all__:
        assert re.search(rf'<h2 id="rtu_np\.[\w.]+\.{name}"', reference), name
    assert 'href="../derivations/many-predictions.html#eq65"' in reference, "a citation in a docstring is a link"


@pytest.fixture
def copied(tmp_path) -> Path:
    """The repository, with docs that may be changed."""
    for path in ROOT.iterdir():
        if path.name not in ("docs", "build", ".git"):
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def spoil(file: Path, change) -> None:
    page = json.loads(file.read_text())
    change(page)
    file.write_text(json.dumps(page))


SPOILED = {
    "damaged": (lambda file: file.write_text('{"scores": '), r"fig12-rtu-bptt/laptop\.json: expected results as JSON"),
    "no scores": (lambda file: spoil(file, lambda page: page.pop("scores")), r"laptop\.json: expected .*scores"),
    "no rows": (lambda file: spoil(file, lambda page: page.update(scores=[])), r"laptop\.json: expected scores .*\[\]"),
    "no number": (
        lambda file: spoil(file, lambda page: page["scores"]["linear RTU: RTRL"].update(MSRE=[1])),
        r"laptop\.json, row 'linear RTU: RTRL': expected a number 'MSRE', and it is \[1\]",
    ),
    "no figure": (lambda file: file.with_suffix(".png").unlink(), r"fig12-rtu-bptt/laptop\.png is missing"),
    "missing": (lambda file: file.unlink(), r"fig12-rtu-bptt has no results: .*experiments fig12-rtu-bptt"),
}


def test_results_of_another_shape_stop_the_build_by_name(copied, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    from mkdocs.exceptions import PluginError
    from result_pages import pages

    file = copied / "docs" / "results" / "fig12-rtu-bptt" / "laptop.json"
    assert len(pages(file.parent.parent)) > 20
    for how, (change, message) in SPOILED.items():
        content, figure = file.read_bytes(), file.with_suffix(".png").read_bytes()
        change(file)
        with pytest.raises(PluginError, match=message):
            pages(file.parent.parent)
        file.write_bytes(content)
        file.with_suffix(".png").write_bytes(figure)
        assert len(pages(file.parent.parent)) > 20, how
    SPOILED["no rows"][0](file)
    done = build(copied)
    assert done.returncode != 0
    assert re.search(r"fig12-rtu-bptt/laptop\.json: expected scores", done.stderr), done.stderr
    assert not list((copied / "build").glob("**/*.html"))


def test_columns_of_an_experiment_s_docstring_stay_columns(pages):
    text = html.unescape(re.sub(r"<[^>]+>", "", pages["results/approximations/index.html"]))
    assert re.search(r"^angle {7}the angle to the exact gradient.*\nbias {8}UORO's mean", text, re.MULTILINE)


def test_pages_of_results_say_what_each_figure_shows(pages):
    for file in sorted((ROOT / "docs" / "results").glob("*/*.json")):
        page = pages.get(f"results/{file.parent.name}/index.html", "")
        if f"{file.stem}.png" in page and file.parent.name != "timing":
            text = re.sub(r"[*`]", "", sentence(file.parent.name, file.stem))
            assert text in html.unescape(re.sub(r"<[^>]+>", "", page)), file


def test_a_notebook_is_shown_as_it_is_stored(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    import nbformat
    from lecture_pages import pages
    from mkdocs.exceptions import PluginError

    v4, dot = (
        nbformat.v4,
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==",
    )
    picture = v4.new_output("display_data", {"image/png": dot})
    cells = [v4.new_markdown_cell("# One\n\nof $x_t$"), v4.new_code_cell("1 / 0", outputs=[picture])]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "00_one.ipynb")
    (index, one), pictures = pages(tmp_path)
    assert "[One](00_one.ipynb)" in index.text
    assert one.uri == "lectures/00_one.md"
    assert "of $x_t$" in one.text
    assert "1 / 0" in one.text  # it would fail if it were run
    (name,) = pictures
    assert f"]({name.removeprefix('lectures/')})" in one.text
    (tmp_path / "01_two.ipynb").write_text('{"cells": 1}')
    with pytest.raises(PluginError, match=r"01_two\.ipynb: expected a Jupyter notebook"):
        pages(tmp_path)


# What stands out of the window, and is in no box that scrolls.
OUTSIDE = """(() => {
  const scrolls = (node) =>
    node && (["auto", "scroll"].includes(getComputedStyle(node).overflowX) || scrolls(node.parentElement));
  return [...document.querySelectorAll(".md-content *:not(path)")]
    .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 && !scrolls(each.parentElement))
    .filter((each) => !each.closest(".katex-mathml")).map((each) => each.outerHTML.slice(0, 80));
})()"""
# Formulas that KaTeX does not take, or that are wider than the column beside the number of an equation.
UNSET = """(() => {
  const box = document.createElement("div");
  box.className = "arithmatex";
  box.style.width = "895px";
  document.querySelector(".md-typeset").append(box);
  return arguments[0].map((text) => {
    try {
      const displayMode = text.startsWith("\\\\[");
      katex.render(text.slice(2, -2), box, { displayMode, throwOnError: true, strict: "error" });
    } catch (error) {
      return [text, error.message];
    }
    return box.scrollWidth > box.clientWidth + 1 ? [text, "too wide"] : null;
  }).filter(Boolean);
})()"""
FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
CODE = re.compile(r"<(pre|code|script|style)\b.*?</\1>", re.DOTALL)


def raw(text: str) -> list[str]:
    """Dollars and backslashes that a reader of a page sees outside of code: maths that was not found."""
    content = text.partition('<div class="md-content"')[2].partition(">")[2].partition("<footer")[0]
    return re.findall(r".{0,30}[$\\].{0,30}", re.sub(r"<[^>]*>", "", CODE.sub("", FORMULA.sub("", content))))


def test_all_maths_is_set_and_fits(browser, site, pages):
    assert not [(page, found) for page, text in pages.items() if (found := raw(text))]
    assert not [page for page, text in pages.items() if re.search(r"\]\([\w./-]*derivations/", text)], "a link in code"
    assert raw('<div class="md-content"><p>costs $x_1$</p><code>$x$</code>') == ["costs $x_1$"]
    formulas = sorted(
        {html.unescape(formula).strip() for text in pages.values() for _, formula in FORMULA.findall(text)}
    )
    assert len(formulas) > 500
    browser.open(site / "derivations" / "the-gradient.html", WIDE)
    assert not browser.ask(UNSET, formulas)
    planted = ["\\(x_{1\\)", "\\[" + "x + " * 100 + "x\\]"]
    (_, first), (_, second) = browser.ask(UNSET, planted)
    assert "parse error" in first
    assert second == "too wide"
    browser.open(site / "derivations" / "the-gradient.html", WIDE)
    assert browser.ask("document.querySelectorAll('.arithmatex:not(:has(.katex))').length") == 0


def check_page(browser: Browser, place: Path) -> None:
    browser.open(place, WIDE)
    for width in (WIDE, NARROW):
        browser.resize(width)
        assert browser.ask("document.documentElement.scrollWidth") <= width, (place, width)
        assert not browser.ask(OUTSIDE), (place, width)
    assert not browser.complaints(), place


def test_pages_fit_their_window(browser, site, pages):
    for page in MAIN:
        check_page(browser, site / f"{page}.html")
    place = site / "planted.html"
    wide = '<p><span style="display: block; width: 2000px">x</span></p></article>'
    place.write_text(pages["claims.html"].replace("</article>", wide), encoding="utf-8")
    with pytest.raises(AssertionError, match="planted"):
        check_page(browser, place)


STILL = """const still = document.createElement("style");
still.textContent = "* { transition: none !important }";
document.head.append(still);"""


@pytest.mark.parametrize("scheme", ["default", "slate"])
def test_every_text_is_seen(browser, site, scheme):
    """Contrast AA, in the light and in the dark."""
    coloured = "document.body.setAttribute('data-md-color-scheme', arguments[0])"
    for page in ("index", "derivations/the-gradient", "reference/gradients", "results/credit/index"):
        browser.open(site / f"{page}.html")
        browser.driver.execute_script(STILL + coloured, scheme)
        found = browser.ask(CONTRAST)
        assert len(found) > 100
        assert not [(round(ratio, 2), what) for ratio, least, what in found if ratio < least]


def test_the_keyboard_reaches_and_searches(browser, site):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    browser.open(site / "derivations" / "the-gradient.html", NARROW)
    browser.driver.execute_script(STILL)
    press(browser, Keys.TAB)
    assert "md-skip" in browser.ask("document.activeElement.className")
    assert browser.ask("getComputedStyle(document.activeElement).opacity") == "1"
    scrolling = "[...document.querySelectorAll('div.arithmatex')].filter((each) => each.scrollWidth > each.clientWidth)"
    assert browser.ask(f"{scrolling}.length") > 0
    assert browser.ask(f"{scrolling}.every((each) => each.tabIndex === 0)"), "a box that scrolls is reached by Tab"
    browser.open(site / "index.html", WIDE)
    wait = WebDriverWait(browser.driver, 20)
    wait.until(lambda _: press(browser, "f") or browser.ask("document.activeElement.name") == "query")
    press(browser, *[Keys.BACKSPACE] * 3, *"TBPTT")
    wait.until(lambda _: browser.ask("document.querySelectorAll('.md-search-result__link').length"))
    press(browser, Keys.ARROW_DOWN, Keys.ENTER)
    wait.until(lambda _: "index.html" not in browser.driver.current_url)
    assert not browser.complaints()


def test_the_explorer_works_on_the_site(browser, site):
    for width in (WIDE, NARROW):
        browser.open(site / "explorer" / "index.html", width)
        assert browser.ask("document.querySelectorAll('svg').length") == 9
        assert browser.ask("document.documentElement.scrollWidth") <= width
    assert not browser.complaints()
