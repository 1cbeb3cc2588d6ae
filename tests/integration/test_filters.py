"""Consent, rate limits and bots: each filter answers with its reason, and counts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from werkzeug.test import TestResponse

from gateway.observability.history.reader import EventFilter, HistoryReader
from gateway.settings import Settings
from gateway.web.bots import is_bot
from gateway.web.rate_limits import RateLimiter, network
from tests.helpers.support import (
    ADMIN_TOKEN,
    ORIGIN,
    SITES,
    Start,
    Stored,
    beacon,
    event,
    eventually,
    free_port,
    post,
)

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/143.0.0.0 Safari/537.36"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def sites(*lines: str) -> str:
    """The suite's sites, with further settings for `shop`."""
    text = SITES.replace("events_per_minute = 1000000", "", 1)
    return text.replace("[sites.media]", "\n".join(lines) + "\n\n[sites.media]")


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"gateway_events_{name}_total", labels) or 0.0


# What somebody does not want


@pytest.mark.parametrize(
    ("name", "header", "reason"), [("honor_gpc", "Sec-GPC", "gpc"), ("honor_dnt", "DNT", "dnt")]
)
def test_opt_out_headers_are_honoured_by_default_and_leave_no_trace(
    start: Start,
    stored: Stored,
    caplog: pytest.LogCaptureFixture,
    name: str,
    header: str,
    reason: str,
) -> None:
    client = start()
    before = count("dropped", site="shop", reason=reason)
    response = post(client, beacon(event(), event()), **{header: "1"})
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["X-Gateway-Reason"] == reason
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Set-Cookie" not in response.headers
    assert "X-Gateway-Session" not in response.headers
    assert stored() == []
    assert count("dropped", site="shop", reason=reason) == before + 2
    assert f"{reason}: " in caplog.text
    assert post(client, **{header: "0"}).headers.get("X-Gateway-Reason") is None
    honest = post(start(sites(f"{name} = false")), **{header: "1"})
    assert "X-Gateway-Reason" not in honest.headers
    assert len(stored()) == 2


@pytest.mark.parametrize("header", ["Sec-GPC", "DNT"])
def test_opt_out_headers_delete_a_cookie_that_lasts_for_days(start: Start, header: str) -> None:
    client = start(sites("visitor_days = 30", "pixel = true"))
    before = set_cookie(post(client))
    assert before["max-age"] == str(30 * 24 * 60 * 60)
    for drop in (
        lambda: post(client, **{header: "1"}),
        lambda: client.get("/pixel.gif?trackingId=shop&eventType=view", headers={header: "1"}),
    ):
        after = set_cookie(drop())
        assert (after.value, after["max-age"], after["path"]) == ("", "0", before["path"])
        assert client.get_cookie("pz_sid_shop") is None
        assert "Set-Cookie" not in drop().headers  # the browser has none now
        assert set_cookie(post(client)).value.split(".")[0] != before.value.split(".")[0]


def set_cookie(response: TestResponse) -> Morsel[str]:
    [morsel] = SimpleCookie(response.headers["Set-Cookie"]).values()
    return morsel


UNSEEN = "ann.unseen@example.com"
EVIL = "https://evil.example"


@pytest.mark.parametrize(
    ("body", "origin", "status", "steps"),
    [
        (beacon(event(itemId=UNSEEN), userId=UNSEEN), ORIGIN, 204, 1),
        (beacon(event(itemId=UNSEEN), userId=UNSEEN), EVIL, 204, 1),
        (beacon(event(itemId=UNSEEN), userId=UNSEEN, trackingId="nobody"), EVIL, 204, 1),
        (beacon(event(itemId=UNSEEN), userId=UNSEEN, wrong=UNSEEN), ORIGIN, 400, 0),
    ],
    ids=["a site's page", "a foreign origin", "an unknown site", "an invalid request"],
)
@pytest.mark.parametrize("header", ["Sec-GPC", "DNT"])
def test_the_history_keeps_only_count_and_reason_of_dropped_requests(
    start: Start,
    tmp_path: Path,
    header: str,
    body: dict[str, Any],
    origin: str,
    status: int,
    steps: int,
) -> None:
    client = start(sites("honor_gpc = true"), GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
    response = post(client, body, **{header: "1"}, Origin=origin)
    assert response.status_code == status
    assert post(client).status_code == 204  # whose step is written after that
    trail = HistoryReader(tmp_path / "queue.db-trail")
    eventually(lambda: told(trail, "queued"), "the history is written")
    dropped = told(trail, "dropped")
    assert (len(dropped), told(trail, "refused")) == (steps, [])
    reason = {"Sec-GPC": "gpc", "DNT": "dnt"}[header]
    for life in dropped:
        assert (life["reason"], life["event"], life["userId"]) == (reason, {}, None)
    for file in tmp_path.glob("queue.db*"):
        assert UNSEEN.encode() not in file.read_bytes()


def told(trail: HistoryReader, state: str) -> list[dict[str, Any]]:
    _, lives = trail.lives(EventFilter(), 0)
    return [life for life in lives if life["state"] == state]


def test_a_site_that_ignores_opt_outs_still_checks_the_origin(start: Start) -> None:
    client = start(sites("honor_gpc = false", "honor_dnt = false"))
    assert post(client, Sec_GPC="1", Origin=EVIL).status_code == 403


def test_bots_are_counted_and_dropped_only_if_the_site_drops_them(
    start: Start, stored: Stored
) -> None:
    seen, dropped = count("from_bots", site="shop"), count("dropped", site="shop", reason="bot")
    kept = post(start(), User_Agent=GOOGLEBOT)
    assert "X-Gateway-Reason" not in kept.headers
    assert len(stored()) == 1
    client = start(sites("drop_bots = true"))
    response = post(client, User_Agent=GOOGLEBOT)
    assert (response.status_code, response.headers["X-Gateway-Reason"]) == (204, "bot")
    assert "Set-Cookie" not in response.headers
    assert "X-Gateway-Reason" not in post(client, User_Agent=CHROME).headers
    assert len(stored()) == 2
    assert count("from_bots", site="shop") == seen + 2
    assert count("dropped", site="shop", reason="bot") == dropped + 1


@pytest.mark.parametrize(
    ("user_agent", "bot"),
    [
        (GOOGLEBOT, True),
        ("curl/8.0", True),
        ("GPTBot/1.2", True),
        (CHROME, False),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", False),
        ("Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux", False),
        ("aws-sdk-js/3.900.0 ua/2.1 os/linux lang/js", False),
        ("", False),
        ("\u00fc\x00", False),
        ("x" * 100_000 + "Googlebot", False),
    ],
)
def test_bots_are_recognised_by_their_user_agent(user_agent: str, bot: bool) -> None:
    assert is_bot(user_agent) is bot


# What is too much

NOON = 1_800_000_000.0  # a full minute


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The time that rates go by."""
    now = {"now": NOON + 45.5}
    monkeypatch.setattr(
        "gateway.app.RateLimiter", lambda url, key: RateLimiter(url, key, lambda: now["now"])
    )
    return now


@pytest.mark.usefixtures("clock")
def test_an_address_past_its_limit_waits_and_others_do_not(
    start: Start, stored: Stored, caplog: pytest.LogCaptureFixture
) -> None:
    client = start(sites("events_per_minute = 100"), GATEWAY_TRUSTED_PROXIES="1")
    before = count("refused", site="shop", reason="rate_limit")
    forty = [beacon(*(event() for _ in range(40))) for _ in range(4)]
    answers = [post(client, body, X_Forwarded_For="192.0.2.7") for body in forty]
    assert [answer.status_code for answer in answers] == [204, 204, 429, 429]
    refused = answers[-1]
    assert refused.headers["X-Gateway-Reason"] == "rate_limit"
    assert refused.headers["x-amzn-ErrorType"] == "ThrottlingException"
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert refused.headers["Retry-After"] == "15"
    assert count("refused", site="shop", reason="rate_limit") == before + 80
    assert "rate_limit: " in caplog.text
    assert "192.0.2" not in caplog.text
    assert post(client, X_Forwarded_For="192.0.2.8").status_code == 204
    media = beacon(trackingId="media")
    other = post(client, media, X_Forwarded_For="192.0.2.7", Origin="https://media.example.com")
    assert other.status_code == 204
    assert len(stored()) == 82


def test_the_limit_is_renewed_each_minute(start: Start, clock: dict[str, float]) -> None:
    client = start(sites("events_per_minute = 2"))
    assert post(client, beacon(event(), event())).status_code == 204
    assert post(client).status_code == 429
    clock["now"] = NOON + 60
    assert post(client).status_code == 204


@pytest.mark.usefixtures("clock")
def test_a_first_request_larger_than_the_limit_is_accepted(start: Start) -> None:
    client = start(sites("events_per_minute = 2"))
    assert post(client, beacon(event(), event(), event())).status_code == 204
    assert post(client).status_code == 429


@pytest.mark.usefixtures("clock")
def test_forwarded_addresses_are_ignored_without_trusted_proxies(start: Start) -> None:
    client = start(sites("events_per_minute = 1"))
    answers = [post(client, X_Forwarded_For=f"192.0.2.{n}").status_code for n in range(3)]
    assert answers == [204, 429, 429]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("body", "origin", "status"),
    [(beacon(trackingId="nobody"), ORIGIN, 404), (beacon(), EVIL, 403)],
    ids=["an unknown site", "a foreign origin"],
)
def test_rejected_requests_are_limited_apart_from_visitors_of_the_address(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    body: dict[str, Any],
    origin: str,
    status: int,
) -> None:
    monkeypatch.setattr("gateway.web.filters.REJECTED_A_MINUTE", 5)
    client = start(sites("events_per_minute = 1000"), GATEWAY_TRUSTED_PROXIES="1")
    stranger = {"X_Forwarded_For": "192.0.2.7", "Origin": origin}
    answers = [post(client, body, **stranger) for _ in range(6)]
    assert {answer.status_code for answer in answers[:-1]} == {status}
    limited = answers[-1]
    assert (limited.status_code, limited.headers["X-Gateway-Reason"]) == (429, "rate_limit")
    assert limited.headers["Retry-After"] == "15"
    unread = post(client, b"{" * 1000, **{**stranger, "Origin": EVIL})
    assert unread.status_code == 429
    assert post(client, X_Forwarded_For="192.0.2.7").status_code == 204
    assert post(client, body, X_Forwarded_For="192.0.2.8", Origin=origin).status_code == status


def test_the_history_keeps_little_of_rejected_requests(start: Start, tmp_path: Path) -> None:
    client = start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
    many = [event(itemId=UNSEEN, eventType="view" * 100) for _ in range(90)]
    for _ in range(30):
        post(client, beacon(*many, userId="ann", trackingId="nobody"))
    good = event()
    assert post(client, beacon(good)).status_code == 204
    trail = HistoryReader(tmp_path / "queue.db-trail")
    eventually(lambda: told(trail, "queued"), "the history is written")
    refused = told(trail, "refused")
    assert [life["eventId"] for life in refused] == [one["eventId"] for one in many[:10]]
    assert {len(life["event"]["eventType"]) for life in refused} == {256}
    assert {life["message"] for life in refused} == {"No site has this trackingId (90 events)"}
    assert sum(len(life["steps"]) for life in refused) <= 200  # 100 a second
    for file in tmp_path.glob("queue.db*"):
        assert UNSEEN.encode() not in file.read_bytes()


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("proxies", "said", "statuses"),
    [
        ("1", ["9.9.9.1, 192.0.2.1", "9.9.9.2, 192.0.2.1", "192.0.2.2"], [204, 429, 204]),
        ("2", ["9.9.9.1, 192.0.2.1, 10.0.0.1", "9.9.9.2, 192.0.2.1, 10.0.0.2"], [204, 429]),
        ("2", ["192.0.2.1", "192.0.2.2", "192.0.2.3, 10.0.0.1"], [204, 429, 204]),
    ],
    ids=["one", "two", "one of two left out"],
)
def test_addresses_claimed_before_the_trusted_proxies_are_ignored(
    start: Start, proxies: str, said: list[str], statuses: list[int]
) -> None:
    client = start(sites("events_per_minute = 1"), GATEWAY_TRUSTED_PROXIES=proxies)
    assert [post(client, X_Forwarded_For=line).status_code for line in said] == statuses


@pytest.mark.usefixtures("clock")
def test_opt_outs_are_never_recorded_as_rate_limited(start: Start) -> None:
    """What is refused is in the trail, what is unwanted is not."""
    client = start(sites("events_per_minute = 1"))
    before = count("dropped", site="shop", reason="gpc")
    answers = [post(client, Sec_GPC="1") for _ in range(3)]
    assert [answer.headers["X-Gateway-Reason"] for answer in answers] == ["gpc"] * 3
    assert count("dropped", site="shop", reason="gpc") == before + 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("unknown", "192.0.2.1:443", False),
        ("192.0.2.1:443", "192.0.2.1:5000", True),
        ("[2001:db8::1]:443", "2001:db8::2", True),
        ("", "", True),
    ],
)
def test_an_ipv6_network_counts_as_one_client(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis of the test's own; its port is in `args`."""
    port = str(free_port())
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", ""]
    with subprocess.Popen([*command, "--dir", tmp_path], stdout=subprocess.DEVNULL) as server:
        ping = ["redis-cli", "-p", port, "ping"]
        eventually(lambda: b"PONG" in subprocess.run(ping, capture_output=True).stdout, "it runs")
        yield server
        server.terminate()


def keys(redis: subprocess.Popen[bytes]) -> str:
    command = ["redis-cli", "-p", redis.args[4], "keys", "*"]  # type: ignore[index]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_nodes_count_together_in_redis_and_continue_without_it(
    start: Start, redis: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://:secret-of-redis@127.0.0.1:{redis.args[4]}"  # type: ignore[index]
    subprocess.run(
        ["redis-cli", "-p", redis.args[4], "config", "set", "requirepass", "secret-of-redis"],  # type: ignore[index]
        check=True,
        capture_output=True,
    )
    text = sites("events_per_minute = 3")
    nodes = [start(text, GATEWAY_RATE_LIMIT_STORAGE=url) for _ in range(2)]
    statuses = [post(nodes[n % 2]).status_code for n in range(4)]
    assert statuses == [204, 204, 204, 429]
    redis.kill()
    redis.wait()
    assert [post(nodes[0]).status_code for _ in range(4)] == [204, 204, 204, 429]
    assert "rate_limit_storage: " in caplog.text
    assert "secret-of-redis" not in caplog.text


def test_redis_holds_no_addresses(settings: Settings, redis: subprocess.Popen[bytes]) -> None:
    rates = RateLimiter(f"redis://127.0.0.1:{redis.args[4]}", "key")  # type: ignore[index]
    assert rates.wait(settings.sites["shop"], "192.0.2.7", 1) == 0
    assert "shop" in keys(redis)
    assert "192" not in keys(redis)
