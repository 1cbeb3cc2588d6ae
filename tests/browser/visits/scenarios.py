"""What befalls visits. Each is written as its steps, and many go on in one browser at a time."""

from __future__ import annotations

import math
import time

from selenium.webdriver.common.by import By

from tests.browser.visits.shop import Fault
from tests.browser.visits.visit import LATER, Steps, Visit

KILOBYTE = "x" * 1000


def returns(visit: Visit, **options: object) -> Steps:
    """Open a later page, which finds what earlier ones left, and sends it.

    Its clock is behind, so that it waits in vain for a lease to run out.
    """
    visit.lane.fault = None
    visit.open("/later", ahead=-LATER, **options)
    yield visit.empty


def opens(visit: Visit, **options: object) -> Steps:
    visit.open(**options)
    yield visit.loaded


def close_the_tab(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.track(3)
    visit.close()
    yield from returns(visit)


def follow_a_link(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.track(2)
    visit.follow()
    yield visit.loaded
    visit.track(2)
    visit.back()
    yield visit.loaded
    visit.track(2)
    visit.follow("away")
    yield from returns(visit)


def reload(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.track(2)
    visit.reload()
    yield visit.loaded
    visit.track()
    yield from returns(visit)


def lose_the_renderer(visit: Visit) -> Steps:
    if not visit.engine.driver_survives:
        yield from opens(visit, wakes=8000)
    yield from opens(visit)
    visit.track(3)
    visit.kill()
    if visit.engine.driver_survives:
        yield from returns(visit)
    else:  # another tab finds what is left, with nobody at the wheel
        yield lambda: visit.posts() > 0


def go_offline_and_online(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.offline(True)
    visit.track(2)
    began = time.monotonic()
    yield 3.0  # it tries, in vain
    visit.track()
    assert visit.run("return outbox()") == 3
    tries = visit.posts()
    # Each wait is twice the one before it, from half a second; other visits may hold this one up.
    longest = math.log2(2 * (time.monotonic() - began) + 1)
    assert tries <= 1 + math.ceil(longest), "it does not wait between tries"
    visit.offline(False)
    yield visit.empty


def meet_503(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.lane.fault = Fault(503)
    visit.track(10)
    yield 5.0
    assert visit.posts() >= 2
    visit.lane.fault = None
    visit.track()
    yield visit.empty


def meet_503_and_leave(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.lane.fault = Fault(503, "1")
    visit.track(10)
    yield lambda: visit.posts() >= 1
    visit.track()
    visit.close()
    yield from returns(visit)


def meet_429(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.lane.fault = Fault(429, "3")
    visit.track(10)
    yield lambda: visit.posts() >= 1
    visit.lane.fault = None
    visit.track()
    visit.run("pz('flush')")
    yield visit.empty
    (first, _), (second, _) = visit.lane.posts[:2]
    assert second - first >= 3, "Retry-After was not waited for"


def meet_429_and_leave(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.lane.fault = Fault(429, "60")
    visit.track(10)
    yield lambda: visit.posts() >= 1
    visit.track(2)
    visit.close()
    yield from returns(visit)


def meet_silence_and_leave(visit: Visit) -> Steps:
    """Leave while a request hangs that will never be answered."""
    yield from opens(visit)
    visit.lane.fault = Fault("hang")
    visit.track(10)
    yield 0.5
    visit.track(2)
    visit.follow()
    yield visit.loaded
    visit.close()
    yield from returns(visit)


def meet_silence(visit: Visit) -> Steps:
    """The request is never answered: it is given up with its lease."""
    yield from opens(visit)
    visit.lane.fault = Fault("hang")
    visit.track(10)
    yield 1.0
    visit.lane.fault = None
    visit.pass_time()
    yield visit.empty


def lose_the_answer(visit: Visit) -> Steps:
    """Accepted, but nobody hears of it: neither the page, nor of a session."""
    yield from opens(visit)
    visit.lane.fault = Fault("lost")
    visit.track(10)
    yield 2.0
    assert 1 <= visit.posts() <= 6  # Chromium itself sends each once more
    visit.lane.fault = None
    yield visit.empty


def lose_the_answer_and_leave(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.lane.fault = Fault("lost")
    visit.track(3)
    visit.follow()
    yield visit.loaded
    yield from returns(visit)


def leave_with_200_kilobytes(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.track(200, KILOBYTE)
    visit.follow()
    yield visit.loaded
    visit.track()
    yield from returns(visit)


def track_500_at_once(visit: Visit) -> Steps:
    yield from opens(visit)
    visit.track(500)
    assert visit.run("return pz.dropped") == 0
    yield visit.empty


def lose_the_storage(visit: Visit) -> Steps:
    """The host page clears the storage while the gateway is away."""
    yield from opens(visit)
    visit.lane.fault = Fault(503)
    visit.track(10)
    yield lambda: visit.posts() >= 1
    visit.run("localStorage.clear()")
    visit.track()
    visit.lane.fault = None
    yield lambda: visit.accepted() >= 1
    yield visit.empty


def fill_the_storage(visit: Visit) -> Steps:
    """The host page fills the storage while the gateway is away, and gives it back later."""
    yield from opens(visit)
    visit.lane.fault = Fault(503)
    visit.track(10)
    yield lambda: visit.posts() >= 1
    visit.run(FILL)
    visit.track(5)
    tries = visit.posts()
    yield lambda: visit.posts() > tries
    visit.run("localStorage.clear()")
    visit.lane.fault = None
    yield lambda: visit.accepted() >= 1
    yield visit.empty


def close_five_tabs(visit: Visit) -> Steps:
    for _ in range(5):
        yield from opens(visit)
    for _ in range(5):
        visit.tabs.append(visit.tabs.pop(0))
        visit.track(10)
    for _ in range(5):
        visit.close()
    yield from returns(visit)


def have_no_storage(visit: Visit) -> Steps:
    yield from opens(visit, blocked=1)
    visit.track(3)
    visit.lane.fault = Fault(503)
    yield lambda: visit.posts() >= 1
    visit.lane.fault = None
    yield 3.0
    visit.track(2)
    visit.follow()
    yield visit.loaded
    yield from returns(visit)


def be_in_a_sandboxed_frame(visit: Visit) -> Steps:
    yield from opens_frame(visit)
    visit.track(3)
    visit.close()
    yield from returns(visit)


def opens_frame(visit: Visit) -> Steps:
    visit.open(frame=1)
    yield lambda: visit.run("return !!(frames[0].pz && frames[0].pz.site)")
    visit.run("window.trackAll = frames[0].trackAll")


def obey_a_strict_policy(visit: Visit) -> Steps:
    yield from opens(visit, policy=1)
    visit.track(3)
    visit.follow()
    yield visit.loaded
    yield from returns(visit)


def be_a_third_party(visit: Visit) -> Steps:
    """Cookies don't stick, and yet it is one session."""
    yield from opens(visit, elsewhere=1)
    visit.track(2)
    visit.follow()
    yield visit.loaded
    visit.track(2)
    visit.close()
    yield from returns(visit, elsewhere=1)


def bounce_before_the_script(visit: Visit) -> Steps:
    """What was said to the stub of a page that is gone is lost; but nothing else is."""
    visit.lane.script_seconds = 1.0
    visit.open()
    visit.run("pz('track', 'view', {itemId: 'bounced'})")
    visit.follow()
    visit.lane.script_seconds = 0.0
    yield visit.loaded
    visit.track(2)
    visit.close()
    yield from returns(visit)


def load_the_script_twice(visit: Visit) -> Steps:
    yield from opens(visit, tags=2)
    visit.track(3)
    visit.close()
    yield from returns(visit)


def lose_the_queue(visit: Visit) -> Steps:
    """SQS is away for ten seconds; one tab stays, another is closed."""
    outage = visit.lane.outage
    assert outage
    yield from opens(visit)
    outage.begin()
    visit.track(10)
    yield lambda: 503 in [what for _, what in visit.lane.posts]
    yield from opens(visit)
    visit.track(3)
    visit.close()
    yield outage.over
    yield from returns(visit)


def come_back(visit: Visit) -> Steps:
    """With the back/forward cache the page is as it was; either way it is one more view."""
    yield from opens(visit, auto="page")
    yield visit.empty
    visit.follow()
    yield visit.loaded
    visit.back()
    yield 1.0
    yield visit.loaded
    assert visit.run("return location.pathname") == "/"
    visit.persisted = visit.run("return persisted")
    visit.track()
    visit.close()
    yield from returns(visit)


FILL = """
for (let size = 2 ** 22; size >= 1; size /= 2) {
  try {
    for (let n = 0; ; n++) localStorage.setItem('full-' + size + '-' + n, 'x'.repeat(size));
  } catch (error) {}
}
"""

BROKEN = """
const broken = (name) => () => { throw new Error(name + ' is broken'); };
const replaced = (name) => ({ configurable: true, get: broken(name), set: broken(name) });
for (const name of ['localStorage', 'sessionStorage', 'crypto', 'history', 'navigation'])
  Object.defineProperty(window, name, replaced(name));
for (const name of ['fetch', 'Request', 'Blob', 'IntersectionObserver', 'MutationObserver'])
  window[name] = broken(name);
navigator.sendBeacon = broken('sendBeacon');
"""
BUTTON = '<button id="buy" data-pz-event="buy" onclick="window.bought = 1">Buy</button>'


def break_the_browser(visit: Visit) -> Steps:
    """Whatever the page has done to it, its own click handlers and links work."""
    yield from opens(visit, before=BROKEN, body=BUTTON, auto="page click impression")
    visit.run("pz('track', 'view', {itemId: 'i'}); pz('identify', 'u'); pz('reset'); pz('flush')")
    visit.tab().find_element(By.ID, "buy").click()
    assert visit.run("return bought") == 1
    yield 3.0  # its timers go off
    assert visit.run("return errors") == []
    visit.follow()
    yield lambda: "/next" in visit.tab().current_url


ALL = (
    close_the_tab,
    follow_a_link,
    reload,
    lose_the_renderer,
    go_offline_and_online,
    meet_503,
    meet_503_and_leave,
    meet_429,
    meet_429_and_leave,
    meet_silence_and_leave,
    meet_silence,
    lose_the_answer,
    lose_the_answer_and_leave,
    leave_with_200_kilobytes,
    track_500_at_once,
    lose_the_storage,
    fill_the_storage,
    close_five_tabs,
    have_no_storage,
    be_in_a_sandboxed_frame,
    obey_a_strict_policy,
    be_a_third_party,
    bounce_before_the_script,
    load_the_script_twice,
    lose_the_queue,
    come_back,
    break_the_browser,
)
