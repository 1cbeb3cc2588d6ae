"""What is logged: each trouble once a minute, on one line, whatever visitors wrote into it."""

from __future__ import annotations

import logging

import pytest

from gateway.logs import Repeats, printable


def test_the_same_reason_is_logged_once_a_minute_with_a_count_of_the_rest(caplog):
    now = [0.0]
    repeats = Repeats(logging.getLogger("gateway.test"), clock=lambda: now[0])
    for moment in range(90):
        now[0] = float(moment)
        repeats.say("foreign_origin", f"at {moment}")
    repeats.say("unknown_site", "another reason")
    assert caplog.messages == [
        "foreign_origin: at 0",
        "foreign_origin: at 60 (59 more in the meantime)",
        "unknown_site: another reason",
    ]


def test_each_site_and_each_reason_of_it_is_logged_by_itself(caplog):
    repeats = Repeats(logging.getLogger("gateway.test"), clock=lambda: 0.0)
    for who in ("shop", "media"):
        for reason in ("throttled", "unreachable", "throttled"):
            repeats.say(reason, "why", who)
    assert caplog.messages == [
        "shop: throttled: why",
        "shop: unreachable: why",
        "media: throttled: why",
        "media: unreachable: why",
    ]


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", "\ud800", "a\u2028b", "a\rb", "\0"])
def test_what_visitors_write_stays_on_its_line(text, caplog):
    Repeats(logging.getLogger("gateway.test")).say("invalid_request", f"Invalid: {text}")
    [message] = caplog.messages
    assert message.isascii()
    assert message.isprintable()
    assert printable(text) == ascii(text)[1:-1]


def test_a_long_text_is_cut():
    assert printable("a" * 100_000) == "a" * 500 + "…"


def test_ordinary_text_is_logged_as_it_is():
    assert printable("Käse ☃ 𝄞") == "Käse ☃ 𝄞"
