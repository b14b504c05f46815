"""A real browser without a window, for tests of pages: Debian's Chromium, driven by selenium."""

import shutil
import time
from contextlib import contextmanager

import pytest

WAIT = 20.0  # seconds until something that should happen counts as missing


def find_browser():
    """Return selenium's webdriver and the paths of Chromium and its driver; skip the test if one is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, which drives the browser")
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        pytest.skip("needs chromium and chromedriver (make browser)")
    return webdriver, *paths


@contextmanager
def open_browser(downloads):
    """Start a browser that saves files into a folder: yields the driver."""
    webdriver, chromium, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1100,900"):
        options.add_argument(f"--{argument}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


def visit(browser, path):
    """Open a page of this machine."""
    browser.get(path.as_uri())
    browser.get_log("browser")


def press(browser, *keys):
    """Press keys, one after the other, wherever the focus is."""
    from selenium.webdriver import ActionChains, Keys

    for key in keys:
        ActionChains(browser).send_keys(getattr(Keys, key) if len(key) > 1 else key).perform()


def until(browser, expression):
    """Wait until a JavaScript expression is true; return its value."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        value = browser.execute_script(f"return {expression}")
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never true: {expression}")


def downloaded(folder):
    """Wait for the only download; return its text, and take it away."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        found = list(folder.iterdir())
        if found and not any(path.suffix == ".crdownload" for path in found) and found[0].stat().st_size:
            (path,) = found
            text = path.read_text(encoding="utf-8")
            path.unlink()
            return path.name, text
        time.sleep(0.02)
    raise AssertionError("nothing was downloaded")
