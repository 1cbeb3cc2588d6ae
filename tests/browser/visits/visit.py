"""A visit: one visitor's tabs in a shop, what is done in them, and what must have come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.remote.webdriver import WebDriver

from tests.browser.visits.engines import Engine
from tests.browser.visits.shop import Fault, Lane

LATER = 40_000  # ms: longer than a lease

Steps = Generator[Callable[[], object] | float, None, None]
"""What a visit consists of; it yields what it waits for: a condition, or seconds."""


class Verdict(NamedTuple):
    """What came of a visit, by label: what is missing, came again, or came as another event."""

    missing: list[str]
    again: list[str]  # under the same event ID, which PutEvents counts once
    doubled: list[str]
    sessions: int
    others: Counter[str]  # what pages tracked by themselves


class Visit:
    """In a lane of its own; `driver` serves other visits as well, so each step takes its window."""

    def __init__(self, engine: Engine, driver: WebDriver, lane: Lane) -> None:
        self.engine = engine
        self.driver = driver
        self.lane = lane
        self.home = driver.window_handles[0]  # stays open, or the browser would end
        self.tabs: list[str] = []
        self.tracked: list[str] = []  # labels: what the gateway must have, each once
        self.errors: list[str] = []
        self.persisted = False  # whether the back/forward cache kept a page

    # What the visitor does

    def open(self, path: str = "/", **options: Any) -> None:
        """A page in a new window, with the snippet loaded."""
        self.driver.switch_to.window(self.home)
        self.driver.switch_to.new_window("window")
        self.tabs.append(self.driver.current_window_handle)
        self.driver.get(self.lane.page(path, options))

    def track(self, count: int = 1, text: str = "") -> None:
        """So many events, with this text as a property, in one go."""
        first = len(self.tracked)
        labels = [f"{self.lane.name}-{number}" for number in range(first, first + count)]
        self.tracked += labels
        self.run("trackAll(arguments[0], arguments[1])", labels, text)

    def follow(self, link: str = "next") -> None:
        """Not by the driver's own click, which keeps Firefox from caching the page."""
        script = "left = true; setTimeout(() => document.getElementById(arguments[0]).click())"
        self.run(script, link)

    def reload(self) -> None:
        self.tab().refresh()

    def back(self) -> None:
        self.tab().back()

    def close(self) -> None:
        """The newest tab."""
        self.tab().close()
        self.tabs.pop()

    def kill(self) -> None:
        """The process of the newest tab."""
        self.engine.kill(self.tab())
        self.tabs.pop()

    def offline(self, offline: bool) -> None:
        """The visitor's line; Chromium has a switch for it, for others what is at its end goes."""
        if isinstance(self.driver, Chrome):
            conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
            self.tab()
            self.driver.execute_cdp_cmd("Network.enable", {})
            conditions["offline"] = offline
            self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
        else:
            self.lane.fault = Fault("gone") if offline else None
            event = "offline" if offline else "online"
            self.run("dispatchEvent(new Event(arguments[0]))", event)

    def pass_time(self, milliseconds: int = LATER) -> None:
        """The page's clock goes ahead; its timers don't, so it is asked to look again."""
        self.run("ahead += arguments[0]; pz('flush')", milliseconds)

    # What is seen

    def tab(self) -> WebDriver:
        self.driver.switch_to.window(self.tabs[-1])
        return self.driver

    def run(self, script: str, *arguments: Any) -> Any:
        return self.tab().execute_script(script, *arguments)

    def loaded(self) -> bool:
        """Whether the snippet runs in the newest tab."""
        ready = "!left && pz.site && document.readyState == 'complete'"
        return bool(self.run(f"return !!(window.pz && {ready})"))

    def empty(self) -> bool:
        """Whether nothing is left to send."""
        return bool(self.run("return window.pz && !!pz.site && outbox() === 0"))

    def posts(self) -> int:
        return len(self.lane.posts)

    def accepted(self) -> int:
        """How many posts the gateway has answered so."""
        return sum(what == 204 for _, what in self.lane.posts)

    def end(self) -> None:
        """Close what is open; keep what the pages complain of."""
        while self.tabs:
            with suppress(WebDriverException):
                self.errors += self.run("return window.errors || []")
                self.driver.close()
            self.tabs.pop()

    def verdict(self, events: Iterable[dict[str, Any]]) -> Verdict:
        """What PutEvents' record says of this visit."""
        mine = [event for event in events if event["itemId"].startswith(f"{self.lane.name}-")]
        ids = Counter((event["itemId"], event["eventId"]) for event in mine)
        labels = Counter(label for label, _ in ids)
        return Verdict(
            missing=[label for label in self.tracked if label not in labels],
            again=[label for (label, _), n in ids.items() if n > 1],
            doubled=[label for label in self.tracked if labels[label] > 1],
            sessions=len({event["sessionId"] for event in mine}),
            others=Counter({k: n for k, n in labels.items() if k not in set(self.tracked)}),
        )
