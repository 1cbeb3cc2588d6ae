"""The snippet in a real browser: what it captures, what it waits for, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

import pytest
from selenium.webdriver import Chrome

from tests.helpers import snippet_shop
from tests.helpers.browsers import chromium, complaints, find
from tests.helpers.snippet_shop import NO_COOKIES, STUB, Event, types
from tests.helpers.support import eventually

# As in a browser that has no Navigation API.
NO_NAVIGATION = "<script>Object.defineProperty(window, 'navigation', {value: undefined})</script>"
Shop = snippet_shop.Shop[Chrome]
# An automatic view needs an item.
HOME = "<body data-pz-item=home>"


@pytest.fixture(scope="module")
def open_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("snippet")
    with chromium(folder / "profile") as browser, snippet_shop.opened(folder, browser) as shop:
        yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    """The shop and a visitor who was never here."""
    open_shop.forget()
    complaints(open_shop.browser)
    return open_shop


# --- Clicks ---

CARD = """
<li data-pz-item="mug" data-pz-rec="rid-1"><a href="#x"><b>Mug</b></a>
  <button data-pz-event="add_to_cart" data-pz-value="24" data-pz-props='{"colour": "blue"}'
    data-pz-impression="mug, cup pot"><b>Add</b></button></li>"""


def test_the_nearest_element_that_names_an_event_is_tracked_and_inherits_item_and_recommendation(
    shop: Shop,
) -> None:
    shop.open(CARD)
    shop.click("button b")
    [event] = shop.told()
    for name in ["eventId", "sentAt", "sessionId", "trackingId", "userId"]:
        del event[name]
    assert event == {
        "eventType": "add_to_cart",
        "itemId": "mug",
        "eventValue": 24.0,
        "recommendationId": "rid-1",
        "impression": ["mug", "cup", "pot"],
        "properties": '{"colour":"blue"}',
    }


@pytest.mark.parametrize(
    ("body", "clicked", "tracked"),
    [
        ("<label data-pz-event=compare><input type=checkbox> Compare</label>", "label", "compare"),
        ("<li data-pz-item=mug><label><input type=radio> Blue</label>", "label", "click"),
        ("<li data-pz-item=mug><label><input type=radio> Blue</label>", "input", "click"),
        ("<label data-pz-event=more>Of <a href=#x>this</a><input></label>", "a", "more"),
        ("<label data-pz-event=look for=there>Look</label><input id=there>", "label", "look"),
        ("<label data-pz-event=pick><input disabled type=radio> Blue</label>", "label", "pick"),
        ("<label data-pz-event=pick><input><select></select></label>", "select", "pick"),
    ],
)
def test_a_click_on_a_label_counts_once(shop: Shop, body: str, clicked: str, tracked: str) -> None:
    """Browsers click its control as well."""
    shop.open(body, auto="click")
    shop.click(clicked)
    assert types(shop.told()) == [tracked]


def test_an_item_without_an_event_of_its_own_is_clicked_only_where_that_is_asked_for(
    shop: Shop,
) -> None:
    shop.open(CARD)
    shop.click("a b")
    assert shop.told() == []
    shop.open(f"{CARD}<p>Elsewhere</p>", auto="click")
    shop.click("a b")
    shop.click("p")
    shop.click("button")
    [clicked, added] = shop.told()
    assert (clicked["eventType"], clicked["itemId"]) == ("click", "mug")
    assert added["eventType"] == "add_to_cart"


# --- Views ---


def test_a_page_is_viewed_once_with_the_item_that_it_is_about(shop: Shop) -> None:
    shop.open("<body data-pz-item=mug><script>pz('identify', 'ana')</script>", auto="page click")
    [view] = shop.told()
    assert (view["eventType"], view["itemId"]) == ("view", "mug")
    assert shop.gateway.sandbox.requests()[-1]["userId"] == "ana", "known by then"


@pytest.mark.parametrize("before", ["", NO_NAVIGATION], ids=["Navigation API", "history alone"])
def test_an_app_that_changes_its_url_is_viewed_anew_once_each_time(shop: Shop, before: str) -> None:
    shop.open(f"{before}<body data-pz-item=home>", auto="page")
    shop.run("history.pushState({}, '', '/a'); document.body.dataset.pzItem = 'a'")
    eventually(lambda: shop.run("return location.pathname") == "/a", "the app has turned")
    for step in [
        "history.pushState({}, '', '/b'); history.replaceState({}, '', '/c')",
        "history.replaceState({scroll: 1}, '', '/c')",
        "location.hash = 'anchor'",
        "location.hash = '/route'",
        "history.back()",
    ]:
        shop.run(f"document.body.dataset.pzItem = 'c'; {step}")
        shop.browser.execute_async_script("setTimeout(arguments[0], 50)")
    events = shop.told()
    assert types(events) == ["view"] * len(events)
    assert [event["itemId"] for event in events] == ["home", "a", "c", "c", "c"]


def test_a_script_that_is_included_twice_counts_once(shop: Shop) -> None:
    source = f"{shop.gateway.url}/static/pz.js"
    again = f'<script src="{source}" data-site="shop" data-auto="page click"></script>'
    shop.open(f"{HOME}{again}{CARD}{again}", auto="page click")
    shop.click("button")
    assert types(shop.told()) == ["view", "add_to_cart"]


# --- Recommendations and purchases ---


def test_a_recommendation_goes_along_to_the_purchase_of_its_item_in_the_session(
    shop: Shop,
) -> None:
    shop.open(f"{CARD}<button data-pz-event=click data-pz-item=cup>Cup</button>", auto="click")
    shop.click("a b")
    shop.click("button[data-pz-item=cup]")
    shop.open("")
    shop.run("pz('track', 'purchase', {itemId: 'mug'}); pz('track', 'purchase', {itemId: 'cup'})")
    events = [event for event in shop.told() if event["eventType"] == "purchase"]
    assert [event.get("recommendationId") for event in events] == ["rid-1", None]
    shop.run("pz('reset'); pz('track', 'purchase', {itemId: 'mug'})")
    [event] = shop.told()
    assert "recommendationId" not in event


THANKS = """<script>
for (const itemId of ['mug', 'cup']) pz('track', 'purchase', {itemId, properties: {orderId: ORDER}})
</script>"""


def test_a_thank_you_page_that_is_loaded_again_counts_once(shop: Shop) -> None:
    first, second = (shop.page(THANKS.replace("ORDER", order)) for order in ("7", "'8'"))
    shop.visit(first)
    shop.visit(first)
    shop.visit(second)
    events = shop.told()
    assert [event["itemId"] for event in events] == ["mug", "cup"] * 2


def test_purchase_event_ids_are_unique_to_the_visitor(shop: Shop) -> None:
    address = shop.page(THANKS.replace("ORDER", "7"))
    shop.visit(address)
    mine = {event["eventId"] for event in shop.told()}
    shop.run("pz('consent', 'denied')")
    shop.browser.delete_all_cookies()
    shop.visit(address)
    others = {event["eventId"] for event in shop.told()}
    assert len(mine | others) == 4


# --- Sessions ---


def sessions(events: list[Event]) -> list[int]:
    """The session of each event, counted from 0 in the order of their appearance."""
    ids = [event["sessionId"] for event in events]
    return [list(dict.fromkeys(ids)).index(one) for one in ids]


def test_a_visitor_who_logs_in_and_leaves_at_once_has_one_session(shop: Shop) -> None:
    shop.open(HOME, auto="page")
    shop.run("pz('identify', 'u-1'); pz('track', 'add', {itemId: 'mug'})")
    shop.open(HOME, auto="page")
    events = shop.told(at_least=3)
    assert sorted(types(events)) == ["add", "view", "view"]
    assert sessions(events) == [0, 0, 0]


def test_a_visitor_without_cookies_has_one_session_until_the_log_out(shop: Shop) -> None:
    shop.open(NO_COOKIES + HOME, auto="page")
    # The page goes while the first answer is on its way, which nobody reads.
    shop.open(NO_COOKIES + HOME, auto="page")
    shop.run("pz('track', 'click'); pz('identify', 'ana'); pz('track', 'click')")
    first = shop.told()
    assert types(first) == ["view", "view", "click", "click"]
    shop.open(NO_COOKIES + HOME, auto="page")
    shop.run("pz('reset'); pz('track', 'click'); pz('track', 'click')")
    second = sorted(shop.told(at_least=3), key=itemgetter("sentAt"))  # of two sessions
    shop.run("pz('track', 'click')")
    assert sessions(first + second + shop.told()) == [0] * 5 + [1] * 3
    assert shop.browser.get_cookies() == []


def test_an_event_that_waited_joins_the_session_in_which_it_happened(shop: Shop) -> None:
    shop.open(HOME, auto="page")
    first = shop.told()
    shop.run("pz('consent', 'pending'); pz('track', 'late'); pz('reset'); pz('track', 'new')")
    shop.run("pz('consent', 'granted')")
    events = {event["eventType"]: event for event in shop.told(at_least=2)}
    assert sessions([*first, events["late"], events["new"]]) == [0, 0, 1]


HEARD = "window.heard = []; pz('session', (session) => heard.push(session));"


def test_a_page_hears_of_its_session_once_it_has_a_name_and_of_each_change(shop: Shop) -> None:
    shop.open(f"<script>{HEARD}</script>")
    assert shop.run("return heard") == []
    shop.told()
    [first] = eventually(lambda: shop.run("return heard"), "the session is named")
    sent = [request["sessionId"] for request in shop.gateway.sandbox.requests()]
    assert first == {"sessionId": sent[-1], "userId": None}
    shop.run("pz('identify', 'ana'); pz('identify', 'ana')")
    assert shop.run("return heard.slice(1)") == [{**first, "userId": "ana"}]
    shop.run("pz('reset')")
    shop.told()
    eventually(lambda: shop.run("return heard.length") == 3, "the new session is named")
    sent = [request["sessionId"] for request in shop.gateway.sandbox.requests()]
    last = shop.run("return heard[2]")
    assert last == {"sessionId": sent[-1], "userId": None} != first
    shop.run(f"{HEARD} heard.unshift(pz.site)")
    assert shop.run("return heard") == ["shop", last], "whoever asks later hears at once"


def test_a_page_hears_of_a_session_that_another_tab_begins(shop: Shop) -> None:
    address = shop.page(f"<script>{HEARD}</script>")
    shop.visit(address)
    shop.told()
    eventually(lambda: shop.run("return heard.length") == 1, "the session is named")
    first = shop.browser.current_window_handle
    shop.browser.switch_to.new_window("tab")
    shop.visit(address)
    shop.run("pz('reset')")
    shop.told()
    eventually(lambda: shop.run("return heard.length") == 2, "the new session is named")
    heard = shop.run("return heard")
    shop.browser.close()
    shop.browser.switch_to.window(first)
    eventually(lambda: shop.run("return heard") == heard, "this tab hears of it")


# --- Consent ---


def test_without_consent_nothing_is_stored_and_nothing_sent_until_it_is_given(shop: Shop) -> None:
    shop.open(HOME + CARD, auto="page", tag='data-consent="pending"')
    shop.click("button")
    shop.run("pz('track', 'purchase', {itemId: 'mug', properties: {orderId: 7}}); pz('flush')")
    shop.run("dispatchEvent(new Event('pagehide'))")
    shop.browser.execute_async_script("setTimeout(arguments[0], 100)")
    assert shop.stored() == []
    assert shop.run("return performance.getEntriesByType('resource').length") == 1, "the script"
    shop.run("pz('consent', 'granted')")
    assert types(shop.told()) == ["view", "add_to_cart", "purchase"]
    [cookie] = shop.browser.get_cookies()
    assert cookie["httpOnly"]


def test_denied_consent_empties_everything(shop: Shop) -> None:
    shop.open("<p>", tag='data-consent="pending"')
    shop.run("localStorage.setItem('theirs', '1'); pz('track', 'view')")
    shop.run("pz('consent', 'denied'); pz('track', 'view'); pz('flush')")
    shop.run("pz('consent', 'granted'); pz('track', 'view'); pz('track', 'view', {itemId: 'i'})")
    assert types(shop.told()) == ["view"] * 2
    shop.run("pz('track', 'view')")
    assert len(shop.stored()) > 1
    shop.run("pz('consent', 'denied')")
    assert shop.stored() == ["theirs"]


# --- Media ---

STRICT = "require-trusted-types-for 'script'; script-src 'unsafe-inline' {gateway}"


def test_media_tells_how_far_it_was_played_under_a_strict_policy(shop: Shop) -> None:
    sound = "<p data-pz-item=song data-pz-rec=rid-1><audio muted src=sound.wav></audio>"
    start = "<button data-testid=start>Let it be heard</button>"
    shop.open(sound + start, auto="media", policy=STRICT.format(gateway=shop.gateway.url))
    media = "const [done] = arguments, media = document.querySelector('audio');"
    loaded = "return performance.getEntriesByType('resource').some(e => /pz-media/.test(e.name))"
    eventually(lambda: shop.run(loaded), "the media file is there")
    assert complaints(shop.browser) == []
    find(shop.browser, "start").click()
    play = shop.browser.execute_async_script
    play(media + "media.ontimeupdate = () => media.currentTime > .5 && media.pause();"
         "media.onpause = () => done(); media.play()")  # fmt: skip
    play(media + "media.ontimeupdate = media.onpause = null; media.onended = () => done();"
         "media.play()")  # fmt: skip
    events = shop.told()
    assert [(event["eventType"], event["eventValue"] // 25 * 25) for event in events] == [
        ("play", 0),
        ("progress", 25),
        ("pause", 25),
        ("resume", 25),
        ("progress", 50),
        ("progress", 75),
        ("ended", 100),
    ]
    assert {(event["itemId"], event["recommendationId"]) for event in events} == {("song", "rid-1")}
    assert complaints(shop.browser) == []


# --- The rest ---


def test_debug_tells_each_step_of_an_event_in_the_console(shop: Shop) -> None:
    shop.open(HOME + "<script>pz('debug', true)</script>", auto="page")
    [view] = shop.told()
    shop.run("pz('debug', false)")
    lines = [entry["message"] for entry in shop.browser.get_log("browser")]
    steps = [line.split('"')[3] for line in lines if view["eventId"] in line]
    assert steps == ["queued", "sent", "accepted"]


ITEMLESS = """<p data-pz-item=''><b>Nothing</b><script>
const audio = new Audio(); document.body.append(audio);
const play = () => ['emptied', 'play'].forEach((type) => audio.dispatchEvent(new Event(type)));
setInterval(play, 50)</script>"""


def test_what_is_tracked_of_itself_needs_an_item_and_debug_says_so_once(shop: Shop) -> None:
    shop.open(ITEMLESS, auto="page click media")
    shop.run("pz('debug', true)")
    lines: list[str] = []

    def warned() -> bool:  # by the module with the warnings, and of the media file's events
        lines.extend(entry for entry in complaints(shop.browser) if "data-pz-item" in entry)
        return {line.split("automatic")[1].split()[0] for line in lines} >= {"view", "play"}

    eventually(warned, "both are told")
    shop.click("b")
    shop.run("pz('track', 'search')")
    assert types(shop.told()) == ["search"]
    assert len(lines) == 2


def test_debug_warns_of_misuse(shop: Shop) -> None:
    shop.open("<script>pz('debug', true)</script>")

    def warned() -> bool:  # once the module with the warnings is there
        shop.run("pz('track', 'click', {itemid: 'mug'})")
        lines = [entry["message"] for entry in shop.browser.get_log("browser")]
        return any('did you mean \\"itemId\\"?' in line for line in lines)

    eventually(warned, "the misspelt option is told")


def test_of_too_many_events_the_oldest_go_and_are_counted(shop: Shop) -> None:
    shop.open("", tag='data-consent="pending"')
    shop.run("for (let n = 0; n < 203; n++) pz('track', 'view', {itemId: 'i-' + n})")
    assert shop.run("return pz.dropped") == 3
    shop.run("pz('consent', 'granted')")
    items = [event["itemId"] for event in shop.told()]
    assert items[-190:] == [f"i-{n}" for n in range(13, 203)]
    assert "i-2" not in items


def test_an_event_that_is_too_large_to_keep_takes_no_other_with_it(shop: Shop) -> None:
    shop.open("")
    shop.run("for (const itemId of 'abc') pz('track', 'view', {itemId})")
    shop.run("pz('track', 'view', {properties: {text: 'x'.repeat(6e5)}})")
    assert [event["itemId"] for event in shop.told()] == ["a", "b", "c"]
    assert shop.run("return pz.dropped") == 1


@pytest.mark.parametrize("answer", ["'<h1>Back soon</h1>'", "'{\"ok\": true}'"])
def test_what_another_server_answers_is_no_acceptance(shop: Shop, answer: str) -> None:
    shop.open("")
    shop.run(f"""const real = fetch;
        window.fetch = async () => {{ window.fetch = real; return new Response({answer}) }};
        pz('track', 'view', {{itemId: 'mug'}}); pz('flush')""")
    assert [event["itemId"] for event in shop.told()] == ["mug"]


@pytest.mark.parametrize("junk", ['{"k": 5}', '{"k": null}', '{"k": [null]}', "5", "x"])
def test_junk_in_the_snippets_own_key_stops_nothing(shop: Shop, junk: str) -> None:
    shop.open("")
    shop.run(f"localStorage['pz:shop'] = '{junk}'")
    shop.run("pz('track', 'view', {itemId: 'mug', recommendationId: 'rid-1'}); pz('flush')")
    shop.run("pz('track', 'view', {itemId: 'mug'})")
    events = shop.told(at_least=2)
    assert [event["recommendationId"] for event in events] == ["rid-1", "rid-1"]
    assert sessions(events) == [0, 0]


def test_a_clock_that_is_set_back_stalls_no_page(shop: Shop) -> None:
    shop.open("")
    shop.run("""const real = fetch, now = Date.now;
        window.fetch = async () => {
            window.fetch = real;
            soon = () => Date.now = () => now() - 36e5;
            setTimeout(soon, 100);
            return new Response('{}', {status: 503, headers: {'Retry-After': '1'}});
        };
        pz('track', 'view', {itemId: 'mug'}); pz('flush')""")
    assert [event["itemId"] for event in shop.told()] == ["mug"]


def test_one_request_that_fails_costs_no_event_of_a_burst(shop: Shop) -> None:
    shop.open("")
    shop.run("""const real = fetch; let calls = 0;
        window.fetch = (...all) => calls++ ? real(...all) : Promise.reject(new TypeError('cut'));
        const text = 'x'.repeat(900);
        for (let n = 0; n < 180; n++)
            pz('track', 'view', {itemId: 'i-' + n, properties: {text}})""")
    told = {event["itemId"] for event in shop.told(at_least=180)}
    assert told == {f"i-{n}" for n in range(180)}
    assert not shop.run("return pz.dropped")


def test_an_event_that_makes_its_request_unreadable_goes_alone(shop: Shop) -> None:
    shop.open("<script>let deep = {}; for (let n = 0; n < 99; n++) deep = {deep}</script>")
    shop.run("for (const itemId of 'abc') pz('track', 'view', {itemId})")
    shop.run("pz('track', 'view', {properties: deep}); pz('track', 'view', {itemId: 'd'})")
    assert [event["itemId"] for event in shop.told()] == ["a", "b", "c", "d"]
    [complaint] = [entry for entry in complaints(shop.browser) if "refused" in entry]
    assert "pz.js" in complaint


# --- What host pages do ---


def test_a_burst_of_500_events_in_one_task_is_sent_whole(shop: Shop) -> None:
    shop.open("")
    shop.run("for (let n = 0; n < 500; n++) pz('track', 'view', {itemId: 'i-' + n})")
    events = shop.told(at_least=500)
    assert {event["itemId"] for event in events} == {f"i-{n}" for n in range(500)}
    assert shop.run("return pz.dropped") == 0
    assert set(sessions(events)) == {0}


def test_a_page_that_clears_the_storage_loses_no_event(shop: Shop) -> None:
    shop.open("")
    shop.run("pz('track', 'view', {itemId: 'mug'}); localStorage.clear()")
    assert [event["itemId"] for event in shop.told()] == ["mug"]


def test_a_log_out_that_clears_the_storage_ends_the_session(shop: Shop) -> None:
    shop.open("")
    shop.run("pz('track', 'before')")
    before = shop.told()
    shop.run("pz('reset'); localStorage.clear(); pz('track', 'after')")
    assert sessions(before + shop.told()) == [0, 1]


def test_a_second_site_on_a_page_is_refused_aloud(shop: Shop) -> None:
    source = f"{shop.gateway.url}/static/pz.js"
    shop.open("")
    shop.run(f"""const script = document.createElement('script');
        script.src = '{source}'; script.dataset.site = 'media'; document.head.append(script);""")
    [complaint] = eventually(lambda: complaints(shop.browser), "it says so")
    assert "second site" in complaint
    assert "media" in complaint
    assert shop.run("return pz.site") == "shop"


BUY = """document.querySelector('button').click();
  return Object.values(localStorage).some((record) => record.includes('"buy"'))"""


@pytest.mark.parametrize("again", ["", "with the tag"], ids=["other content", "the same tag"])
def test_a_page_that_is_written_anew_is_still_listened_to(shop: Shop, again: str) -> None:
    shop.open("")
    script = f'<script src="{shop.gateway.url}/static/pz.js" data-site="shop"><\\/script>'
    shop.run(f"""document.open();
        document.write(`{script if again else ""}<button data-pz-event=buy>Buy</button>`);
        document.close();""")
    if not again:
        shop.run("pz('track', 'view')")
    eventually(lambda: shop.run(BUY), "the click is tracked")
    assert "buy" in types(shop.told())


def test_prototype_js_garbles_no_list(shop: Shop) -> None:
    """It teaches arrays a toJSON that makes strings of them."""
    shop.open("")
    shop.run("""Array.prototype.toJSON = function () { return '[' + this.join() + ']' };
        pz('track', 'view', {itemId: 'mug', impression: ['mug', 'cup']}); pz('flush');""")
    [event] = shop.told()
    assert (event["itemId"], event["impression"]) == ("mug", ["mug", "cup"])
    assert shop.run("return JSON.stringify(['theirs'])") == '"[theirs]"'


def test_a_400_of_another_server_refuses_nothing(shop: Shop) -> None:
    shop.open("")
    shop.run("""const real = fetch;
        window.fetch = async () => {
            window.fetch = real;
            return new Response('<h1>Bad Request</h1>', {status: 400});
        };
        pz('track', 'view', {itemId: 'mug'}); pz('flush')""")
    assert [event["itemId"] for event in shop.told()] == ["mug"]


def test_a_base_address_of_the_page_is_not_the_gateways(shop: Shop) -> None:
    shop.open("<base href='https://elsewhere.example/'>")
    shop.run("pz('track', 'view', {itemId: 'mug'})")
    assert [event["itemId"] for event in shop.told()] == ["mug"]


def test_a_sandboxed_frame_without_an_origin_is_tracked_where_its_site_allows_it(
    shop: Shop,
) -> None:
    source = f"{shop.gateway.url}/static/pz.js"
    shop.open(f"""<iframe sandbox="allow-scripts" srcdoc="{STUB.replace('"', "&quot;")}
        <script src='{source}' data-site='framed'></script>
        <script>pz('track', 'view', {{itemId: 'framed'}}); pz('flush')</script>"></iframe>""")

    def framed() -> bool:
        return "framed" in [event.get("itemId") for event in shop.gateway.sandbox.events()]

    eventually(framed, "the frame's event arrives")
    shop.told(at_least=1)
