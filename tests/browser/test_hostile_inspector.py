"""What strangers send is shown in the inspector as text, and runs nowhere."""

from __future__ import annotations

from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.helpers.browsers import chromium, complaints
from tests.helpers.hostile_inputs import TEXTS
from tests.helpers.support import ADMIN_TOKEN, Gateway, beacon, event, eventually

MARKUP = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


def test_markup_in_events_is_text_to_the_inspector(gateway: Gateway, tmp_path: Path) -> None:
    gateway.start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
    nasty = [text for text in TEXTS if len(text) < 250]
    for text in [MARKUP, *nasty]:
        odd = event(eventType=text or "view", itemId=text, properties={text: text})
        gateway.post(beacon(odd, event(**{text: text}), event(eventId=text), userId=text))
    gateway.assert_accepted(event(eventType=MARKUP, itemId=MARKUP, eventId="the-last"))
    with chromium(tmp_path / "profile") as browser:
        browser.get(f"{gateway.url}/inspect")
        browser.find_element(By.ID, "token").send_keys(ADMIN_TOKEN)
        browser.find_element(By.CSS_SELECTOR, "#log-in button").click()
        eventually(lambda: "the-last" in browser.page_source, "the events are shown", 20)
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        eventually(lambda: MARKUP in _text(browser), "with all that they hold")
        assert browser.title.startswith("Inspector")
        assert (
            browser.find_elements(By.CSS_SELECTOR, "#events img, #events script, #events svg") == []
        )
        # The log-in page itself is a 401, of which the console tells.
        assert [line for line in complaints(browser) if "401" not in line] == []
        cookies = browser.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
    [cookie] = cookies
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert ADMIN_TOKEN not in cookie["value"]


def _text(browser: Chrome) -> str:
    return str(browser.execute_script("return document.getElementById('events').textContent"))
