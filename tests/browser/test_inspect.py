"""`/inspect` and `trace`: each event's life, for who has the admin token, in real browsers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from flask.testing import FlaskClient
from selenium.webdriver import Chrome, Firefox
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from gateway.app import create_app
from gateway.sandbox import Faults, Sandbox
from gateway.settings import load
from tests.helpers.browsers import chromium, complaints, find, firefox
from tests.helpers.support import ROOT, Gateway, beacon, event, eventually, write_sites
from tools import openapi

TOKEN = "token-of-the-suite"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FORM = "application/x-www-form-urlencoded"
SCREENSHOTS = ROOT / ".cache/screenshots"
MARKUP = "<img src=x onerror=alert(1)>"
Events = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("inspect")
    environ = {
        "GATEWAY_SITES": str(write_sites(folder / "sites.toml")),
        "GATEWAY_QUEUE": f"sqlite:///{folder}/queue.db",
        "GATEWAY_SECRET_KEY": "a-secret-of-the-suite-of-32-characters",
        "GATEWAY_MIN_FREE_BYTES": "0",
        "GATEWAY_ADMIN_TOKEN": TOKEN,
        "GATEWAY_REDACT": "Email",
    }
    with Sandbox(port=0) as sandbox:
        sandbox.faults = Faults(refuse_item_ids=("poison",))
        gateway = Gateway(folder, environ, sandbox)
        gateway.start()
        yield gateway
        gateway.stop()


@pytest.fixture(scope="module")
def lives(served: Gateway) -> Events:
    """Events of which each has another fate, by that."""
    sent = {
        "delivered": event(properties={"email": "ada@example.com", "list": "home"}),
        "dead": event(itemId="poison", eventType="purchase"),
        "refused": event(itemId=7, properties={"note": MARKUP}, eventType=MARKUP),
        "foreign": event(),
    }
    kept = [sent["delivered"], sent["dead"]]
    assert served.post(beacon(*kept, sent["refused"], userId="u-17")).status_code == 200
    assert served.post(beacon(sent["foreign"]), Origin="https://else.example").status_code == 403
    for state in ("delivered", "dead"):
        eventually(
            lambda state=state: _trace(served, sent[state])["lives"][0]["state"] == state, state
        )
    return sent


def _get(gateway: Gateway, what: str, **members: str) -> Any:
    url = f"{gateway.url}/inspect/{what}"
    answer = requests.get(url, members, headers=BEARER, timeout=10)
    assert answer.status_code == 200, answer.text
    document = openapi.document()["paths"][f"/inspect/{what}"]["get"]["responses"]["200"]
    jsonschema.validate(answer.json(), document["content"]["application/json"]["schema"])
    return answer.json()


def _trace(gateway: Gateway, one: dict[str, Any]) -> Any:
    found = _get(gateway, "trace", id=one["eventId"])
    return found if found["lives"] else {"lives": [{"state": None}]}


def test_an_events_life_is_told_from_the_browser_to_aws(served: Gateway, lives: Events) -> None:
    [life] = _trace(served, lives["delivered"])["lives"]
    steps = [step["step"] for step in life["steps"]]
    assert steps[:3] == ["accepted", "queued", "sent"]
    assert steps[-1] == "delivered"
    times = [step["at"] for step in life["steps"]]
    assert times == sorted(times)
    last = next(one for one in life["requests"] if one["id"] == life["steps"][-1]["request"])
    assert last["outcome"] == "accepted"
    calls = {
        call["requestId"]: call
        for call in requests.get(f"{served.sandbox.url}/requests", timeout=10).json()
    }
    ids = [one["eventId"] for one in calls[last["awsRequestId"]]["eventList"]]
    assert lives["delivered"]["eventId"] in ids


def test_what_is_not_delivered_tells_why(served: Gateway, lives: Events) -> None:
    dead = _trace(served, lives["dead"])
    assert dead["lives"][0]["reason"] == "refused"
    assert "Invalid item ID: poison" in dead["lives"][0]["message"]
    assert dead["deadLetters"][0]["reason"] == "refused"
    [refused] = _trace(served, lives["refused"])["lives"]
    assert (refused["state"], refused["reason"]) == ("refused", "invalid_event")
    assert refused["message"] == "itemId: Not a valid string."
    assert _trace(served, lives["foreign"])["lives"][0]["reason"] == "foreign_origin"


def test_masked_values_never_reach_the_history(served: Gateway, lives: Events) -> None:
    [life] = _trace(served, lives["delivered"])["lives"]
    assert life["event"]["properties"] == {"email": "•••", "list": "home"}
    folder = Path(served.environ["GATEWAY_SITES"]).parent
    for file in folder.glob("queue.db-trail*"):
        assert b"ada@example.com" not in file.read_bytes()


def test_a_duplicate_is_shown_and_changes_no_status(served: Gateway) -> None:
    one = event()
    served.assert_accepted(one, sessionId="s")
    served.assert_accepted(one, sessionId="s")
    eventually(lambda: len(_states(served, one)) >= 5, "both are told")
    assert "dropped" in _states(served, one)
    assert _trace(served, one)["lives"][0]["state"] != "dropped"


def _states(gateway: Gateway, one: dict[str, Any]) -> list[str]:
    return [step["step"] for step in _trace(gateway, one)["lives"][0].get("steps", [])]


@pytest.mark.parametrize(
    ("filters", "fates"),
    [
        ({"user": "u-17"}, {"delivered", "dead", "refused"}),
        ({"type": "purchase"}, {"dead"}),
        ({"reason": "foreign_origin"}, {"foreign"}),
        ({"reason": "refused", "type": "purchase", "site": "shop"}, {"dead"}),
        ({"site": "media"}, set()),
    ],
)
def test_the_stream_is_filtered(
    served: Gateway, lives: Events, filters: dict[str, str], fates: set[str]
) -> None:
    found = {life["eventId"] for life in _get(served, "events", **filters)["events"]}
    assert {name for name, one in lives.items() if one["eventId"] in found} == fates


def test_the_stream_goes_on_where_the_last_answer_ended(served: Gateway, lives: Events) -> None:
    after = str(_get(served, "events")["next"])
    one = event()
    served.assert_accepted(one)
    eventually(
        lambda: (
            one["eventId"]
            in {life["eventId"] for life in _get(served, "events", after=after)["events"]}
        ),
        "the new one is told",
    )
    ids = {life["eventId"] for life in _get(served, "events", after=after)["events"]}
    assert not ids & {old["eventId"] for old in lives.values()}


@pytest.mark.usefixtures("lives")
def test_numbers_tell_what_happened_and_what_waits(served: Gateway) -> None:
    numbers = eventually(lambda: _get(served, "numbers"), "numbers")
    assert {"queued", "delivered", "refused", "dead", "requests", "fill", "depth"} <= {
        what for _, what, *_ in numbers["ticks"]
    }
    assert numbers["queue"]["dead"] >= 1
    assert numbers["troubles"] == []


@pytest.mark.usefixtures("lives")
def test_the_report_is_the_commands(served: Gateway) -> None:
    reports = _get(served, "report")["sites"]
    assert [report["site"] for report in reports] == ["shop", "media", "servers"]
    assert reports[0]["refused"].keys() == {"refused"}
    run = served.operate("report", "--json")
    assert [json.loads(line)["advice"] for line in run.stdout.splitlines()] == [
        report["advice"] for report in reports
    ]


def test_the_command_tells_the_same(served: Gateway, lives: Events) -> None:
    def run(event_id: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", "trace", event_id]
        return subprocess.run(command, cwd=ROOT, env=served.environ, capture_output=True, text=True)

    told = run(lives["dead"]["eventId"])
    assert told.returncode == 0
    assert "dead letter 1: refused: " in told.stdout
    assert "in PutEvents request " in told.stdout
    unknown = run("never-seen")
    assert unknown.returncode == 1
    assert unknown.stdout == ""
    assert unknown.stderr.startswith("Nothing is known of never-seen:")


# The way in


@pytest.fixture
def visitor(environ: dict[str, str]) -> FlaskClient:
    return create_app(load({**environ, "GATEWAY_ADMIN_TOKEN": TOKEN})).test_client(
        use_cookies=False
    )


def test_a_log_in_gives_a_cookie_that_no_script_and_no_other_site_gets(
    visitor: FlaskClient,
) -> None:
    form = visitor.get("/inspect")
    assert form.status_code == 401
    assert "That is not the token." in form.text
    assert "hidden>That" in form.text
    wrong = visitor.post("/inspect/log-in", data={"token": "guess"})
    assert (wrong.status_code, wrong.location) == (303, "../inspect?wrong")
    assert "Set-Cookie" not in wrong.headers
    assert "hidden>That" not in visitor.get("/inspect?wrong").text
    right = visitor.post("/inspect/log-in", data={"token": TOKEN})
    morsel = right.headers["Set-Cookie"]
    assert "; HttpOnly" in morsel
    assert "; SameSite=Strict" in morsel
    assert "; Max-Age=3600" in morsel
    assert TOKEN not in morsel
    cookie = morsel.partition(";")[0]
    inside = visitor.get("/inspect", headers={"Cookie": cookie})
    assert inside.status_code == 200
    assert "script-src 'self'" in inside.headers["Content-Security-Policy"]
    for changed in (cookie[:-1] + "~", f"pz_admin={TOKEN}", "pz_admin=1.2.3"):
        answer = visitor.get("/inspect/events", headers={"Cookie": changed})
        assert (answer.status_code, answer.headers["X-Gateway-Reason"]) == (401, "admin_token")


def test_a_log_out_after_the_log_in_is_over_leads_to_the_form_as_well(visitor: FlaskClient) -> None:
    answer = visitor.post("/inspect/log-out")
    assert (answer.status_code, answer.location) == (303, "../inspect")


def test_a_log_in_ends_with_its_hour_or_the_token(
    visitor: FlaskClient, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = visitor.post("/inspect/log-in", data={"token": TOKEN})
    cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    other = create_app(
        load({**environ, "GATEWAY_ADMIN_TOKEN": "another-token-of-the-suite"})
    ).test_client()
    assert other.get("/inspect/events", headers=cookie).status_code == 401
    assert "Set-Cookie" not in visitor.get("/inspect/numbers", headers=cookie).headers
    monkeypatch.setattr("gateway.web.admin.auth.RENEW_AFTER", -1)
    assert "Set-Cookie" in visitor.get("/inspect/numbers", headers=cookie).headers
    monkeypatch.setattr("gateway.web.admin.auth.LONGEST", -1)
    assert visitor.get("/inspect/events", headers=cookie).status_code == 401


def test_token_guessing_is_rate_limited_for_the_guesser_alone(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.web.rate_limits.FixedWindowStorage._turn", lambda _: None)
    settings = load({**environ, "GATEWAY_ADMIN_TOKEN": TOKEN, "GATEWAY_TRUSTED_PROXIES": "1"})
    client = create_app(settings).test_client(use_cookies=False)
    guesser, other = ({"X-Forwarded-For": f"192.0.2.{n}"} for n in (7, 8))
    logged_in = client.post("/inspect/log-in", data={"token": TOKEN}, headers=guesser)
    cookie = {"Cookie": logged_in.headers["Set-Cookie"].partition(";")[0]}
    for guess in range(30):
        told = client.get("/metrics", headers={"Authorization": f"Bearer {guess}", **guesser})
        assert told.status_code == 401
    form = client.post("/inspect/log-in", data={"token": TOKEN}, headers=guesser)
    for refused in form, client.get("/metrics", headers={**BEARER, **guesser}):
        assert (refused.status_code, refused.headers["X-Gateway-Reason"]) == (429, "admin_guesses")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert "Set-Cookie" not in refused.headers
    assert client.get("/metrics", headers={**BEARER, **other}).status_code == 200
    assert client.get("/metrics", headers={**cookie, **guesser}).status_code == 200
    assert "admin_guesses: " in caplog.text
    assert "192.0.2" not in caplog.text


def test_a_log_in_reads_little_of_anybody_and_nothing_of_an_address_that_is_locked_out(
    visitor: FlaskClient,
) -> None:
    costly = b"%e4=%e4&" * 32768
    large = visitor.post("/inspect/log-in", data=costly, content_type=FORM)
    assert large.status_code == 413
    assert visitor.post("/inspect/log-in", data={"token": TOKEN}).status_code == 303
    for _ in range(30):
        visitor.post("/inspect/log-in", data={"token": "guess"})
    unread = BytesIO(costly[:4000])
    locked = visitor.post("/inspect/log-in", input_stream=unread, content_type=FORM)
    assert (locked.status_code, locked.headers["X-Gateway-Reason"]) == (429, "admin_guesses")
    assert unread.tell() == 0


def test_without_a_token_there_is_no_inspector_and_no_trail(
    client: FlaskClient, tmp_path: Path
) -> None:
    for path in (
        "/inspect",
        "/inspect/events",
        "/inspect/numbers",
        "/inspect/report",
        "/inspect/trace?id=x",
    ):
        assert client.get(path).status_code == 404
    assert not list(tmp_path.glob("*-trail"))


# In browsers


@pytest.fixture(params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chrome | Firefox]:
    with chromium(tmp_path / "profile") if request.param == "chromium" else firefox() as driver:
        yield driver


def test_an_operator_logs_in_sees_an_event_come_and_finds_it(
    served: Gateway, lives: Events, browser: Chrome | Firefox
) -> None:
    browser.get(f"{served.url}/inspect#token=wrong")
    WebDriverWait(browser, 15).until(lambda page: page.find_elements(By.ID, "token"))
    browser.get(f"{served.url}/inspect?again#token={TOKEN}")
    _until(browser, lambda: find(browser, "pulse").text == "live")
    assert TOKEN not in browser.current_url
    one = event(itemId="fresh")
    served.assert_accepted(one, userId="u-99")
    row = (By.CSS_SELECTOR, f'[data-id="{one["eventId"]}"][data-state="delivered"]')
    _until(browser, lambda: browser.find_elements(*row))

    report = (By.CSS_SELECTOR, '[data-testid="reports"] [data-site="shop"]')
    _until(browser, lambda: browser.find_elements(*report))
    assert "Too few interactions to train" in browser.find_element(*report).text

    find(browser, "filter-reason").send_keys("invalid_event")
    listed = (By.CSS_SELECTOR, "#events [data-id]")
    refused = lives["refused"]["eventId"]
    _until(
        browser,
        lambda: [e.get_attribute("data-id") for e in browser.find_elements(*listed)] == [refused],
    )
    assert MARKUP in find(browser, "events").text  # as text, and nothing else
    assert not browser.find_elements(By.CSS_SELECTOR, "#events img")
    find(browser, "filter-reason").clear()

    find(browser, "where-id").send_keys(lives["dead"]["eventId"])
    find(browser, "where").click()
    _until(browser, lambda: "It is dead letter 1: refused" in find(browser, "where-found").text)
    _take_pictures(browser)
    if isinstance(browser, Chrome):
        assert [one for one in complaints(browser) if "401" not in one] == []


def _until(browser: Chrome | Firefox, holds: Any) -> None:
    WebDriverWait(browser, 15, 0.1).until(lambda _: holds())


def _take_pictures(browser: Chrome | Firefox) -> None:
    """Of the desktop and of a phone, bright and dark; nothing may be wider than the phone."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    name = browser.name.partition("-")[0]
    browser.set_window_size(1280, 1000)
    browser.save_screenshot(str(SCREENSHOTS / f"inspect-{name}.png"))
    if isinstance(browser, Chrome):
        dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
        phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        browser.save_screenshot(str(SCREENSHOTS / "inspect-dark.png"))
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        browser.save_screenshot(str(SCREENSHOTS / "inspect-phone.png"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
