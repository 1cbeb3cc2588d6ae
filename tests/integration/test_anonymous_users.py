"""Sites without accounts: the sessionId is the userId while nobody is logged in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.support import SITES, Gateway, Start, Stored, beacon, post, write_sites

MEDIA = "https://media.example.com"
ON = "anonymous_user_id = true"


def sites(*lines: str) -> str:
    """The suite's sites, with further settings for `shop`."""
    return SITES.replace("[sites.media]", "\n".join(lines) + "\n\n[sites.media]")


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_the_session_is_the_user_until_somebody_logs_in(
    start: Start, stored: Stored, on: bool
) -> None:
    browser = start(sites(ON, "pixel = true") if on else sites("pixel = true"))
    post(browser)
    browser.get("/pixel.gif?trackingId=shop&eventType=view&itemId=i-1")
    post(browser, beacon(userId="ann"))
    post(browser)  # a page that doesn't know the user, in her session
    post(browser, beacon(reset=True))
    post(browser, beacon(sessionId="own"))
    records = stored()
    first, last = records[0]["session_id"], records[4]["session_id"]
    assert [record["session_id"] for record in records] == [*[first] * 4, last, "own"]
    users = [record["user_id"] for record in records]
    assert users == (
        [first, first, "ann", None, last, "own"] if on else [None, None, "ann", None, None, None]
    )


def test_a_user_id_without_its_proof_is_an_anonymous_visitors(start: Start, stored: Stored) -> None:
    browser = start(sites(ON, 'user_secret = "s3"'))
    post(browser, beacon(userId="ann", signature="wrong"))
    [record] = stored()
    assert record["user_id"] == record["session_id"]


def test_other_sites_and_opt_outs_are_left_alone(start: Start, stored: Stored) -> None:
    browser = start(sites(ON))
    post(browser, Sec_GPC="1")
    assert post(browser, beacon(trackingId="media"), Origin=MEDIA).status_code == 204
    [record] = stored()
    assert (record["site"], record["user_id"]) == ("media", None)


@pytest.mark.parametrize("lines", [[], [ON]], ids=["off", "on"])
def test_start_up_warns_once_of_what_this_forecloses(gateway: Gateway, lines: list[str]) -> None:
    write_sites(Path(gateway.environ["GATEWAY_SITES"]), sites(*lines))
    gateway.start()
    warnings = re.findall(r"anonymous_user_id: shop: .* never be joined", gateway.log.read_text())
    assert len(warnings) == len(lines)
