"""A real browser for tests of pages: Debian's chromium or Chrome, through chromedriver and Selenium.

Nothing is downloaded. Without a browser the tests are skipped, and say so; with RTU_NP_BROWSER=required, which .ci/run
sets if there is a browser, they fail.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

EXPLORER = Path(__file__).parent.parent / "docs" / "explorer"
ON_MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", ON_MACOS)

# The contrast of every text with what is behind it, by WCAG 2.1, and of lines: [[ratio, least, what]]. A colour that is
# not opaque is mixed with what is behind it.
CONTRAST = """(() => {
  const luminance = (color) => {
    const [R, G, B] = color.slice(0, 3).map((each) => each / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const numbers = (color) => [...color.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (color, under, alpha) => color.slice(0, 3).map((each, k) => alpha * each + (1 - alpha) * under[k]);
  const behind = (node) => {
    const layers = [];
    for (let each = node; each; each = each.parentElement) {
      const color = numbers(getComputedStyle(each).backgroundColor);
      layers.unshift(color);
      if (color[3] === 1) break;
    }
    return layers.reduce((under, color) => over(color, under, color[3]), [255, 255, 255]);
  };
  const opacity = (node) => node ? getComputedStyle(node).opacity * opacity(node.parentElement) : 1;
  const out = [];
  const note = (node, color, least) => {
    const under = behind(node);
    const seen = over(numbers(color), under, numbers(color)[3] * opacity(node));
    const [light, dark] = [seen, under].map(luminance).sort((a, b) => b - a);
    out.push([(light + 0.05) / (dark + 0.05), least, `${node.tagName} ${node.textContent.slice(0, 30)} ${color}`]);
  };
  for (const node of document.body.querySelectorAll("*")) {
    const style = getComputedStyle(node);
    if (!node.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    const says = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const large = parseFloat(style.fontSize) >= 24;
    if (says || node.type === "number") note(node, node.ownerSVGElement ? style.fill : style.color, large ? 3 : 4.5);
    if (node.matches(".line, .hand, .arc, .circle, .zero")) note(node, style.stroke, 3);
    if (node.matches(".mark, .knob, circle.dot, .chart circle")) note(node, style.fill, 3);
  }
  return out;
})()"""


def find() -> tuple[str, str]:
    """(browser, driver), or the test is skipped, or fails if a browser is required."""
    path = os.pathsep.join([os.environ.get("PATH", ""), os.environ.get("CHROMEWEBDRIVER", "")])
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver", path=path)
    missing = [
        name
        for name, found in [
            ("a browser (chromium or google-chrome)", browser),
            ("chromedriver", driver),
            ("the Python package selenium", importlib.util.find_spec("selenium")),
        ]
        if not found
    ]
    if not missing:
        return str(browser), str(driver)
    reason = f"{' and '.join(missing)} not found; on Debian: apt-get install chromium chromium-driver"
    if os.environ.get("RTU_NP_BROWSER") == "required":
        pytest.fail(f"RTU_NP_BROWSER=required, and {reason}", pytrace=False)
    pytest.skip(reason)


class Browser:
    """One window. `open` loads a page, `resize` sets its size in pixels, `ask` evaluates JavaScript."""

    def __init__(self, browser: str, driver: str) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = browser
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # chromium refuses otherwise
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", *root):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_script_timeout(30)

    def open(self, page: Path | str, width: int = 1280, scheme: str = "light") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.resize(width)
        self.driver.get(page if isinstance(page, str) else page.as_uri())

    def resize(self, width: int, height: int = 800) -> None:
        """The window inside its frame, which may be as narrow as one pixel; drawn when this returns."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        )

    def ask(self, script: str, *arguments):
        return self.driver.execute_script(f"return {script}", *arguments)

    def complaints(self) -> list[str]:
        """What the page has written to its console since the last call."""
        return [line["message"] for line in self.driver.get_log("browser")]


def press(browser: Browser, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser.driver, duration=0).send_keys(*keys).perform()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    window = Browser(*find())
    yield window
    window.driver.quit()


@pytest.fixture
def spoiled(tmp_path):
    """A function that copies the explorer with a bug planted in one of its files."""

    def make(file: str, old: str, new: str) -> Path:
        shutil.copytree(EXPLORER, tmp_path / "explorer", dirs_exist_ok=True)
        text = (tmp_path / "explorer" / file).read_text(encoding="utf-8")
        assert old in text, f"nothing to plant the bug in: {old!r}"
        (tmp_path / "explorer" / file).write_text(text.replace(old, new), encoding="utf-8")
        return tmp_path / "explorer" / "index.html"

    return make
