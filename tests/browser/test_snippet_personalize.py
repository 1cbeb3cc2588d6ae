"""What Personalize learns from, in three browsers: impressions, sources, and the session's ID."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from gateway.web.session_lifetime import Lifetime
from gateway.web.sessions import Sessions
from tests.browser.visits.engines import ENGINES, Engine
from tests.helpers import snippet_shop
from tests.helpers.snippet_shop import NO_COOKIES, SECRET_KEY, Event
from tests.helpers.support import eventually

Shop = snippet_shop.Shop[WebDriver]

# Time stands still, but for looks: each takes as long as it says, once what is visible is known to
# the page, what was added just now included.
CLOCK = """<script>
window.clock = Date.now();
Date.now = () => clock;
window.look = (milliseconds, done) => setTimeout(() => new IntersectionObserver((_, observer) => {
  observer.disconnect();
  clock += milliseconds;
  done();
}).observe(document.body), 600);
</script>"""
FAR_BELOW = "<p style='height:3000px'></p>"
HALF_A_SECOND, A_SECOND = 500, 1000


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.name)
def open_shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    engine: Engine = request.param
    folder = tmp_path_factory.mktemp(engine.name)
    starting: Any = engine.start(folder / "profile")
    with starting as browser, snippet_shop.opened(folder, browser) as shop:
        yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    """The shop and a visitor who was never here."""
    open_shop.forget()
    return open_shop


# --- Impressions ---


def block(attribute: str, *items: str) -> str:
    cards = "".join(f"<b data-pz-item='{item}'>{item} </b>" for item in items)
    return f"<div data-pz-{attribute}>{cards}</div>"


def show(shop: Shop, body: str, auto: str = "impression click") -> None:
    """Open a page, and look at it for long enough."""
    shop.open(body, auto=auto, before=CLOCK)
    look(shop)


def look(shop: Shop, milliseconds: int = A_SECOND) -> None:
    shop.browser.execute_async_script("look(...arguments)", milliseconds)


def item(name: str) -> str:
    return f'[data-pz-item="{name}"]'


def impressions(events: list[Event]) -> list[Any]:
    return [event.get("impression") for event in events]


BLOCKS = block("rec=r-1", "a", "b") + block("list", "c", "d") + block("list", "e") + "<p>"
LOOSE = "".join(f"<b data-pz-item={item}>{item}</b>" for item in "fg")


@pytest.mark.parametrize(
    ("clicked", "seen"),
    [("b", ["a", "b"]), ("c", ["c", "d"]), ("e", ["e"]), ("g", ["f", "g"])],
    ids=["a recommendation's", "a list's", "another list's", "the page's"],
)
@pytest.mark.parametrize("how", ["click", "track"])
def test_what_was_seen_of_a_block_goes_with_the_next_event_of_its_items_once(
    shop: Shop, clicked: str, seen: list[str], how: str
) -> None:
    show(shop, BLOCKS + LOOSE)
    for _ in range(2):
        if how == "click":
            shop.click(item(clicked))
        else:
            shop.run(f"pz('track', 'click', {{itemId: '{clicked}'}})")
    events = shop.told()
    assert [event["itemId"] for event in events] == [clicked] * 2
    assert impressions(events) == [seen, None]


def test_seeing_alone_is_no_event(shop: Shop) -> None:
    show(shop, BLOCKS + LOOSE)
    shop.run("pz('track', 'search'); pz('track', 'view', {itemId: 'elsewhere'})")
    assert impressions(shop.told()) == [None, None]


def test_blocks_of_one_recommendation_are_one_in_the_order_of_the_page(shop: Shop) -> None:
    show(shop, block("rec=r-1", "a", "b") + FAR_BELOW + block("rec=r-1", "y", "z"))
    shop.run(
        "document.body.insertAdjacentHTML('afterbegin', '<i data-pz-rec=r-1 data-pz-item=0>0')"
    )
    look(shop)
    shop.run("scrollTo(0, 9999)")
    look(shop)
    shop.click(item("b"))
    assert impressions(shop.told()) == [["0", "a", "b", "y", "z"]]


def test_what_passes_by_in_less_than_a_second_was_not_seen(shop: Shop) -> None:
    shop.open(block("list", "a") + FAR_BELOW + LOOSE, auto="impression click", before=CLOCK)
    look(shop, HALF_A_SECOND)
    shop.click(item("a"))
    shop.run("scrollTo(0, 9999)")
    look(shop)
    shop.click(item("f"))
    assert impressions(shop.told()) == [None, ["f", "g"]]


def test_the_item_of_the_event_is_in_its_impression_seen_or_not(shop: Shop) -> None:
    show(shop, "<div data-pz-list>" + LOOSE + FAR_BELOW + "<b data-pz-item=z data-pz-event=add>z")
    shop.click(item("z"))
    assert impressions(shop.told()) == [["f", "g", "z"]]
    show(shop, f"<div data-pz-list>{LOOSE}</div>")
    shop.click(item("g"))
    shop.run(
        "document.querySelector('div').insertAdjacentHTML('afterbegin', '<b data-pz-item=x>x')"
    )
    look(shop)
    shop.click(item("g"))
    assert impressions(shop.told()) == [["f", "g"], ["x", "g"]]


CARDS = """<div data-pz-list><p data-pz-item=a>a</p><p data-pz-item=b>b
  <button data-pz-event=add>+</button></p><p data-pz-item=c>c</p></div>"""


def test_a_button_within_an_item_stands_where_its_item_does(shop: Shop) -> None:
    show(shop, CARDS)
    shop.click("button")
    assert impressions(shop.told()) == [["a", "b", "c"]]


def test_an_impression_that_is_given_wins_and_uses_nothing_up(shop: Shop) -> None:
    show(shop, LOOSE + '<b data-pz-item=h data-pz-event=add data-pz-impression="x y">h</b>')
    shop.run("pz('track', 'click', {itemId: 'f', impression: ['z']})")
    shop.click(item("h"))
    shop.click(item("f"))
    assert impressions(shop.told()) == [["z"], ["x", "y"], ["f", "g", "h"]]


MANY = [f"n-{number}" for number in range(60)]
LONG = [f"{number}{'x' * 199}" for number in range(6)]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (MANY, [[*MANY[:24], "n-59"], [*MANY[24:48], "n-59"], MANY[48:]]),
        (LONG, [[*LONG[:3], LONG[5]], [*LONG[3:5], LONG[5]], None]),
        (["a", "b|c", "d"], [["a", "d"], None, None]),
    ],
    ids=["25 items", "1,000 characters", "no separator in an item"],
)
def test_an_impression_holds_what_personalize_takes_and_the_rest_goes_next(
    shop: Shop, items: list[str], expected: list[Any]
) -> None:
    show(shop, f"<style>b {{font-size: 2px}}</style>{block('list', *items)}")
    for _ in range(3):
        shop.click(item(items[-1]))
    assert impressions(shop.told()) == expected


def test_another_view_begins_anew(shop: Shop) -> None:
    show(shop, LOOSE, auto="impression click")
    shop.click(item("f"))
    shop.run("history.pushState({}, '', '/next')")
    look(shop)
    shop.click(item("g"))
    shop.run("history.pushState({}, '', '/last')")
    look(shop, HALF_A_SECOND)
    shop.click(item("g"))
    assert impressions(shop.told()) == [["f", "g"], ["f", "g"], None]


@pytest.mark.parametrize("attribute", ["rec", "list"])
def test_a_block_that_shows_something_else_begins_anew(shop: Shop, attribute: str) -> None:
    show(shop, block(f"{attribute}=r-1", "a", "b"))
    shop.click(item("a"))
    shop.run(f"""document.querySelector('div').setAttribute('data-pz-{attribute}', 'r-2');
        document.querySelector('b').dataset.pzItem = 'c'""")
    look(shop, HALF_A_SECOND)
    shop.click(item("b"))
    look(shop, HALF_A_SECOND)
    shop.click(item("b"))
    assert impressions(shop.told()) == [["a", "b"], None, ["c", "b"]]


def test_another_item_in_the_same_element_has_to_be_seen_as_long(shop: Shop) -> None:
    show(shop, block("rec=rid-1", "a"))
    shop.run("document.querySelector('b').dataset.pzItem = 'b'")
    look(shop, HALF_A_SECOND)
    shop.run("document.querySelector('b').dataset.pzItem = 'c'")
    look(shop)
    shop.click(item("c"))
    assert impressions(shop.told()) == [["a", "c"]]


def test_what_is_seen_elsewhere_than_in_elements_is_told_by_a_call(shop: Shop) -> None:
    shop.open("", auto="click")
    shop.run("""pz('seen', {list: 'results', items: ['z', 'a', 7]});
        pz('seen', {list: 'others', items: ['b']});
        pz('track', 'click', {itemId: 'a'}); pz('seen', {list: 'results', items: ['a', 'c']});
        pz('track', 'click', {itemId: 7}); pz('track', 'click', {itemId: 7})""")
    assert impressions(shop.told()) == [["z", "a", "7"], ["7", "c"], None]


def test_who_hides_the_page_has_seen_what_was_visible_until_then(shop: Shop) -> None:
    show(shop, LOOSE)
    shop.run("""Object.defineProperty(document, 'hidden', {value: true, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'))""")
    look(shop)
    shop.click(item("f"))
    assert impressions(shop.told()) == [["f", "g"]]


def test_consent_that_is_refused_forgets_what_was_seen(shop: Shop) -> None:
    show(shop, LOOSE)
    shop.run("pz('consent', 'denied'); pz('consent', 'granted')")
    shop.click(item("f"))
    assert impressions(shop.told()) == [None]


# --- Sources ---


def attributions(events: list[Event], event_type: str) -> list[tuple[Any, Any]]:
    """The recommendation and the source of the events of a type."""
    return [
        (
            event.get("recommendationId"),
            event.get("metricAttribution", {}).get("eventAttributionSource"),
        )
        for event in events
        if event["eventType"] == event_type
    ]


def test_a_source_goes_from_the_click_to_the_purchase_of_its_item(shop: Shop) -> None:
    shop.open(f"<div data-pz-source=search>{LOOSE}</div><b data-pz-item=h>h", auto="click")
    shop.click(item("f"))
    shop.click(item("h"))
    shop.run("pz('track', 'click', {itemId: 'i', source: 'mail'})")
    shop.open("")
    shop.run("for (const itemId of 'fhi') pz('track', 'purchase', {itemId})")
    events = shop.told(at_least=6)
    assert attributions(events, "click") == [(None, "search"), (None, None), (None, "mail")]
    assert attributions(events, "purchase") == attributions(events, "click")
    shop.run("pz('reset'); pz('track', 'purchase', {itemId: 'f'})")
    assert attributions(shop.told(at_least=1), "purchase") == [(None, None)], "another session"


def test_of_a_source_and_a_recommendation_the_latest_leads_to_the_purchase(shop: Shop) -> None:
    shop.open("")
    shop.run("""pz('track', 'click', {itemId: 'a', source: 'search'});
        pz('track', 'click', {itemId: 'a', recommendationId: 'r-1'});
        pz('track', 'purchase', {itemId: 'a'});
        pz('track', 'click', {itemId: 'a', source: 'mail', recommendationId: 'r-2'});
        pz('track', 'purchase', {itemId: 'a'})""")
    assert attributions(shop.told(at_least=5), "purchase") == [("r-1", None), ("r-2", "mail")]


# --- The session's ID ---

RECOMMENDATIONS = """<script>pz('session', ({sessionId, userId}) =>
  fetch('/recommendations?userId=' + (userId || sessionId)))</script>"""


def expire(shop: Shop) -> None:
    """Let the session end as by an hour of silence, its cookie included."""
    sessions = Sessions("shop", [SECRET_KEY], Lifetime(30, 0))
    session = sessions.read(shop.run("return JSON.parse(localStorage['pz:shop']).t"))
    assert session
    an_hour_ago = int(time.time()) - 3600
    old = sessions.sign(session._replace(started=an_hour_ago, renewed=an_hour_ago))
    shop.run(f"""const state = JSON.parse(localStorage['pz:shop']);
        localStorage['pz:shop'] = JSON.stringify({{...state, t: '{old}'}})""")
    shop.browser.delete_all_cookies()


@pytest.mark.parametrize("cookies", ["", NO_COOKIES], ids=["cookies", "no cookies"])
def test_recommendations_are_asked_for_under_the_id_of_the_newest_event(
    shop: Shop, cookies: str
) -> None:
    shop.open(cookies + RECOMMENDATIONS)
    asked = []

    def track_and_compare() -> None:
        shop.told()
        newest = shop.gateway.sandbox.requests()[-1]
        wanted = newest.get("userId") or newest["sessionId"]
        eventually(lambda: shop.asked[-1:] == [wanted], "the visitor's own are asked for")
        asked.append(wanted)

    track_and_compare()
    shop.run("pz('identify', 'ana')")
    track_and_compare()
    shop.run("pz('reset')")
    track_and_compare()
    expire(shop)
    track_and_compare()
    shop.run("pz('identify', 'ben')")
    track_and_compare()
    first, ana, second, third, ben = asked
    assert (ana, ben) == ("ana", "ben")
    assert len({first, second, third}) == 3, "a session each"
