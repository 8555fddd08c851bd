"""The explorer in a browser: what is on the screen, for whoever reads it and however (docs/explorer)."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browser import CONTRAST, EXPLORER, Browser, press
from browser import browser as browser
from browser import spoiled as spoiled

PAGE = EXPLORER / "index.html"
EXTREME = [
    {"r": r, "theta": theta, "T": T, "gap": gap, "decay": decay, "steps": steps}
    for r, theta in [(0, 0), (0, np.pi), (0.9999, 0), (0.9999, np.pi), (0.9, 2 * np.pi), (1e-300, 5)]
    for T, gap, decay, steps in [(1, 50, 1, 200), (60, 1, 0, 10)]
]
SHOW = """(() => {
  const form = document.getElementById("form");
  form.value = arguments[1] ?? form.value;
  form.dispatchEvent(new Event("change"));
  explorer.set(arguments[0]);
  for (let k = 0; k < 30 * (explorer.state.gap + 1); k++) for (const unit of Object.values(bridge.units)) unit.step();
  document.getElementById("one-trial").click();
  return document.documentElement.outerHTML;
})()"""


def check_no_nan(browser: Browser, page=PAGE) -> None:
    browser.open(page)
    for state, form in [(state, form) for state in EXTREME for form in ("r/theta", "nu_log/theta_log")]:
        found = re.findall(r".{0,40}(?:NaN|Infinity|undefined|null).{0,40}", browser.ask(SHOW, state, form))
        assert not found, (state, found[:3])
        points = browser.ask("[...document.querySelectorAll('.column .line')].map((each) => each.dataset.points)")
        assert points == [str(state["steps"])] * 12, "a line leaves numbers out"
    assert not browser.complaints()


def test_no_number_on_the_screen_is_not_a_number(browser):
    check_no_nan(browser)


@pytest.mark.parametrize("width", [149, 60, 1])
def test_a_window_too_small_to_draw_in_says_so(browser, width):
    browser.open(PAGE, width)
    assert "150 px are needed" in browser.ask("document.body.textContent")
    assert browser.ask("document.querySelectorAll('svg').length") == 0
    assert not re.search("NaN|Infinity|undefined", browser.ask(SHOW, EXTREME[0]))
    browser.resize(1280)
    assert "are needed" not in browser.ask("document.body.textContent")
    assert browser.ask("document.querySelectorAll('svg').length") == 9
    browser.resize(width)
    assert browser.ask("document.querySelectorAll('svg').length") == 0
    assert not browser.complaints()


@pytest.mark.parametrize("width", [1280, 400, 320])
def test_nothing_is_wider_than_the_window(browser, width):
    browser.open(PAGE, width)
    for state in EXTREME:
        browser.ask(SHOW, state)
        assert browser.ask("document.documentElement.scrollWidth") <= width, state


def check_contrast(browser: Browser, page=PAGE, scheme="light") -> None:
    browser.open(page, scheme=scheme)
    browser.ask(SHOW, {})
    found = browser.ask(CONTRAST)
    assert len(found) > 150
    assert not [what for ratio, least, what in found if ratio < least]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_and_line_is_seen(browser, scheme):
    check_contrast(browser, scheme=scheme)


def state(browser: Browser) -> dict[str, float]:
    return browser.ask("explorer.state")


FOCUS_SHOWS = """(document.activeElement.id === "pole"
  ? getComputedStyle(document.querySelector("#pole .ring")).stroke !== "none"
  : getComputedStyle(document.activeElement).outlineStyle === "solid")"""


def check_keyboard(browser: Browser, page=PAGE) -> None:
    """Tab reaches all controls in turn, each shows that it is reached, and arrows move the pole."""
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    controls = browser.ask("document.querySelectorAll('button, input, select, summary, #pole').length")
    reached = []
    for _ in range(controls):
        press(browser, Keys.TAB)
        reached.append(browser.ask("document.activeElement.outerHTML.slice(0, 150)"))
        shown = browser.ask(FOCUS_SHOWS)
        assert shown, reached[-1]
    assert len(set(reached)) == controls

    browser.open(page)
    browser.driver.execute_script(
        "window.scrolled = 0; addEventListener('keydown', (event) => {"
        " scrolled += event.key.startsWith('Arrow') && !event.defaultPrevented; })"
    )
    press(browser, Keys.TAB)
    assert browser.ask("document.activeElement.id") == "pole"
    for keys, name, expected in [
        ([Keys.ARROW_UP], "r", 0.91),
        ([Keys.ARROW_DOWN] * 2, "r", 0.89),
        ([Keys.ARROW_RIGHT], "theta", 0.35),
        ([Keys.ARROW_LEFT] * 8, "theta", 2 * np.pi - 0.05),
        ([Keys.ARROW_UP] * 15, "r", 0.9999),
    ]:
        press(browser, *keys)
        assert state(browser)[name] == pytest.approx(expected)
    assert browser.ask("document.activeElement.id") == "pole", "drawing has taken the focus away"
    assert browser.ask("scrolled") == 0, "an arrow scrolls the page, too"
    press(browser, Keys.TAB, Keys.ARROW_LEFT)
    assert state(browser)["r"] == pytest.approx(0.9998)


def test_the_keyboard_does_all_that_the_mouse_does(browser):
    check_keyboard(browser)


@pytest.mark.parametrize("width", [1280, 400])
def test_the_pole_goes_where_it_is_dragged(browser, width):
    from selenium.webdriver import ActionChains

    browser.open(PAGE, width)
    plane = browser.driver.find_element("css selector", "#plane svg")
    unit = plane.size["width"] / 2 / 1.18
    browser.driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", plane)
    for x, y in [(-0.5, 0.5), (-0.5, -0.5), (1.1, 0)]:
        drag = ActionChains(browser.driver, duration=20).move_to_element_with_offset(plane, 30, -20).click_and_hold()
        drag.move_to_element_with_offset(plane, 0, 50).move_to_element_with_offset(
            plane, round(x * unit), round(-y * unit)
        )
        drag.release().perform()
        pole = state(browser)["r"] * np.exp(1j * state(browser)["theta"])
        assert abs(pole - min(x, 0.9999) - 1j * y) < 2 / unit
    assert state(browser)["r"] == 0.9999, "outside of the circle"
    ActionChains(browser.driver, duration=20).move_to_element_with_offset(plane, 10, 10).perform()
    assert state(browser)["r"] == 0.9999, "the pole follows a mouse that no longer holds it"


@pytest.mark.parametrize(
    ("key", "typed", "expected"),
    [("r", "7", 0.9999), ("r", "-3", 0), ("r", "", 0.9), ("T", "0", 1), ("T", "2.6", 3), ("theta", "1e9", 2 * np.pi)],
)
def test_a_number_out_of_its_limits_is_brought_to_the_nearest(browser, key, typed, expected):
    from selenium.webdriver.common.keys import Keys

    browser.open(PAGE)
    field = browser.driver.find_element("css selector", f"input[type=number][data-key={key}]")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(typed or Keys.DELETE)
    browser.driver.find_element("css selector", "#form").click()
    assert state(browser)[key] == expected
    assert float(field.get_attribute("value")) == round(expected, 4)


def test_what_is_drawn_is_what_is_computed(browser):
    """The points of a line are the numbers, on the scale of the labels that stand at its axis."""
    browser.open(PAGE)
    path = browser.ask("document.querySelectorAll('#impulse .line')[2].getAttribute('d')")
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float)
    labels = browser.ask(
        "[...document.querySelectorAll('#impulse text')].map((each) =>"
        " [each.getAttribute('text-anchor'), Number(each.getAttribute('y')), each.textContent])"
    )
    heights = {float(text.replace("−", "-")): y - 4 for anchor, y, text in labels if anchor == "end" and y and y < 150}
    numbers, pixels = np.array(list(heights)), np.array(list(heights.values()))
    slope, offset = np.polyfit(pixels, numbers, 1)
    expected = browser.ask("rtu.impulse(0.9, 0.3, 40).c1")
    np.testing.assert_allclose(slope * points[:, 1] + offset, expected, atol=abs(slope))


def test_play_learns_and_stops(browser):
    browser.open(PAGE)
    browser.ask("(document.getElementById('speed').value = '1000')")
    play = browser.driver.find_element("id", "play")
    play.click()
    assert play.text == "Pause"
    browser.driver.execute_async_script(
        "const done = arguments[0]; (function look() {"
        " if (bridge.units.rtrl.errors.length < 20) setTimeout(look, 20); else done(); })()"
    )
    play.click()
    trials = int(browser.driver.find_element("id", "trials").text)
    assert play.text == "Play"
    assert trials >= 20
    browser.driver.execute_async_script("setTimeout(arguments[0], 200)")
    assert int(browser.driver.find_element("id", "trials").text) == trials
    assert "does not reach the cue" in browser.driver.find_element("id", "bridge-words").text
    browser.ask("explorer.set({ T: 11 })")
    assert browser.driver.find_element("id", "trials").text == "0", "another window starts again"
    assert "learn the same" in browser.driver.find_element("id", "bridge-words").text


def test_after_a_thousand_trials_it_says_so(browser):
    browser.open(PAGE)
    browser.ask(
        "(() => { explorer.set({ gap: 1 }); for (let k = 0; k < 2000; k++)"
        " for (const unit of Object.values(bridge.units)) unit.step(); })()"
    )
    for button in ("play", "one-step", "one-trial"):
        browser.driver.find_element("id", button).click()
        assert browser.driver.find_element("id", "play").text == "Play"
        assert browser.driver.find_element("id", "trials").text in ("0", "1000")
    assert "Reset starts again" in browser.driver.find_element("id", "bridge-words").text
    browser.driver.find_element("id", "reset").click()
    assert browser.driver.find_element("id", "trials").text == "0"


def test_it_works_on_a_site(browser):
    handler = partial(SimpleHTTPRequestHandler, directory=str(EXPLORER.parent))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(f"http://127.0.0.1:{server.server_port}/explorer/")
        assert browser.ask("document.querySelectorAll('svg').length") == 9
        assert not browser.complaints()
        server.shutdown()


def test_it_needs_nothing_from_elsewhere():
    for file in EXPLORER.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//\w+\.|\bimport\b|\bfetch\b", text), file.name


def test_the_page_cites_equations_that_exist():
    page = (EXPLORER.parent / "derivations.md").read_text(encoding="utf-8")
    known = set(re.findall(r"\\tag\{(\d+)\}", page))
    for file in ("index.html", "equations.js"):
        cited = set(re.findall(r"\((\d+)\)", (EXPLORER / file).read_text(encoding="utf-8")))
        assert len(cited) > 8
        assert cited <= known, file


def test_a_missing_browser_is_said(monkeypatch):
    import browser as helper

    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMEWEBDRIVER", raising=False)
    monkeypatch.delenv("RTU_NP_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        helper.find()
    monkeypatch.setenv("RTU_NP_BROWSER", "required")
    with pytest.raises(pytest.fail.Exception, match=r"required, and .*chromedriver"):
        helper.find()


BUGS = {
    "0 times infinity": ("equations.js", "u.r > 0 ? u.nu : 0", "u.nu", check_no_nan),
    "pale text": ("style.css", "--quiet: #555a60", "--quiet: #8a8f96", check_contrast),
    "pale lines": ("style.css", "--tbptt: #b3400b", "--tbptt: #ffb347", check_contrast),
    "no ring": ("style.css", "#pole:focus-visible .ring { stroke", "#pole .ring { color", check_keyboard),
    "no outline": ("style.css", ":focus-visible { outline: 3px", "input { outline: 0px", check_keyboard),
    "arrows scroll": ("explorer.js", "event.preventDefault(); // the page", "// the page", check_keyboard),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(browser, spoiled, bug):
    file, old, new, check = BUGS[bug]
    with pytest.raises(AssertionError):
        check(browser, spoiled(file, old, new))
    browser.complaints()
