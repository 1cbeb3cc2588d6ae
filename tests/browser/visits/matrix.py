"""Many visits in many browsers, through shops of their own to gateways of their own."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch
from urllib.parse import urlsplit

from gateway.sandbox import Sandbox
from tests.browser.visits import course, scenarios
from tests.browser.visits.engines import Engine
from tests.browser.visits.shop import Outage, Shop
from tests.browser.visits.visit import Steps, Verdict, Visit
from tests.helpers.sqs_backend import CREDENTIALS
from tests.helpers.sqs_cluster import Forwarder, make_queue, moto_process
from tests.helpers.sqs_proxy import SqsProxy
from tests.helpers.support import ORIGIN, SITES, Gateway, write_sites

ALONE = (scenarios.lose_the_renderer, scenarios.come_back)


class Case(NamedTuple):
    """A scenario in an engine, with its back/forward cache or without."""

    engine: Engine
    cache: bool
    scenario: Callable[[Visit], Steps]
    number: int = 0  # tells repetitions apart

    @property
    def browser(self) -> str:
        """Which one it shares. WebKit ends with a page that is killed, and caches few of many."""
        alone = self.engine.name == "webkit" and self.scenario in ALONE
        place = f"-alone{ALONE.index(self.scenario)}" if alone else ""
        return f"{self.engine.name}{'' if self.cache else '-fresh'}{place}"

    def __str__(self) -> str:
        cache = "" if self.cache else "-without-cache"
        return f"{self.engine.name}-{self.scenario.__name__}{cache}"


class Outcome(NamedTuple):
    """What a visit met, what its pages complained of, and what the gateway has of it."""

    failure: str | None
    errors: list[str]
    verdict: Verdict
    tracked: int
    persisted: bool
    posts: list[int | str]


@contextmanager
def street(folder: Path, **environ: str) -> Iterator[tuple[Shop, Gateway]]:
    """A shop, and the gateway that its pages reach through it."""
    folder.mkdir()
    with Sandbox(port=0, keep=1_000_000) as sandbox, Shop() as shop, ExitStack() as stack:
        settings = {
            "GATEWAY_SITES": str(folder / "sites.toml"),
            "GATEWAY_QUEUE": f"sqlite:///{folder}/queue.db",
            "GATEWAY_SECRET_KEY": "a-secret-of-the-suite-of-32-characters",
            "GATEWAY_MIN_FREE_BYTES": "0",
        }
        write_sites(folder / "sites.toml", SITES.replace(ORIGIN, shop.origin))
        gateway = Gateway(folder, settings | environ, sandbox)
        shop.gateway = urlsplit(gateway.url)
        stack.callback(gateway.stop)
        gateway.start()
        yield shop, gateway


@contextmanager
def street_on_sqs(folder: Path) -> Iterator[tuple[Shop, Gateway]]:
    """The same with an SQS queue that may go away, and a forwarder that is started apart."""
    with (
        patch.dict("os.environ", CREDENTIALS),
        moto_process() as moto,
        SqsProxy(moto) as proxy,
        street(folder, GATEWAY_QUEUE=make_queue(proxy.url), **CREDENTIALS) as (shop, gateway),
    ):
        shop.outage = Outage(proxy)
        forwarder = Forwarder(gateway)
        try:
            yield shop, gateway
        finally:
            forwarder.stop()


def run(folder: Path, cases: Sequence[Case]) -> dict[Case, Outcome]:
    """Take every case; browsers run side by side, and in each of them its visits do."""
    browsers: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        browsers[case.browser].append(case)
    with street(folder / "plain") as plain, street_on_sqs(folder / "sqs") as sqs:
        shops = plain[0], sqs[0]
        with ThreadPoolExecutor(len(browsers)) as pool:
            browsing = [pool.submit(_browse, shops, mine) for mine in browsers.values()]
            taken = [pair for future in browsing for pair in future.result()]
        events = [event for _, gateway in (plain, sqs) for event in course.settle(gateway)]
    return {case: _outcome(going, events) for case, going in taken}


def _browse(shops: tuple[Shop, Shop], cases: Sequence[Case]) -> list[tuple[Case, course.Going]]:
    """These visits in one browser."""
    engine, cache, *_ = cases[0]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        engine.start(Path(folder) / "profile", cache) as driver,
    ):
        visits = []
        for case in cases:
            shop = shops[case.scenario is scenarios.lose_the_queue]
            lane = shop.lane(f"{case.browser}-{len(visits)}")
            visits.append((Visit(engine, driver, lane), case.scenario))
        return list(zip(cases, course.run(visits), strict=True))


def _outcome(going: course.Going, events: list[dict[str, Any]]) -> Outcome:
    visit = going.visit
    posts = [what for _, what in visit.lane.posts]
    verdict = visit.verdict(events)
    return Outcome(going.failure, visit.errors, verdict, len(visit.tracked), visit.persisted, posts)
