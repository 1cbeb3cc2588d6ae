"""Sessions: a visit goes on while the visitor is there, and nobody can make one up."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.sessions import LONGEST, Session, Sessions

NOW = 1_763_880_000.75
MINUTES = 30
TIMEOUT = MINUTES * 60
SESSIONS = Sessions("shop", ["key"], MINUTES)
SESSION = Session("0123456789abcdef", 1_763_870_000, int(NOW))
TOKEN = SESSIONS.sign(SESSION)


def no_new_id() -> str:
    raise AssertionError("a new session begins")


def test_a_token_is_read_back() -> None:
    assert SESSIONS.read(TOKEN, NOW) == SESSION


def test_a_new_visitor_gets_a_session_and_its_token() -> None:
    session, token = SESSIONS.visit(None, NOW, lambda: "new")
    assert session == Session("new", int(NOW), int(NOW))
    assert SESSIONS.read(token, NOW) == session


def test_a_fresh_token_is_worth_no_header() -> None:
    for age in (0, TIMEOUT / 10 - 1):
        assert SESSIONS.visit(TOKEN, NOW + age, no_new_id) == (SESSION, None)


def test_a_token_is_renewed_once_a_tenth_of_its_time_is_over() -> None:
    later = NOW + TIMEOUT / 10
    session, token = SESSIONS.visit(TOKEN, later, no_new_id)
    assert session == SESSION._replace(renewed=int(later))
    assert SESSIONS.read(token, later) == session


def test_a_session_lasts_as_long_as_it_is_renewed() -> None:
    token: str | None = TOKEN
    for visit in range(100):
        now = NOW + visit * (TIMEOUT - 1)
        session, renewed = SESSIONS.visit(token, now, no_new_id)
        assert (session.id, session.started) == (SESSION.id, SESSION.started)
        token = renewed or token


def test_a_session_ends_when_its_time_is_over() -> None:
    over = SESSION.renewed + SESSIONS.lifetime + 1
    assert SESSIONS.read(TOKEN, over) is None
    session, token = SESSIONS.visit(TOKEN, over, lambda: "new")
    assert session == Session("new", over, over)
    assert token is not None


@given(
    minutes=st.integers(1, 24 * 60),
    start=st.floats(1e9, 2e9),
    gaps=st.lists(st.floats(0, 1), min_size=1, max_size=8),
)
@example(minutes=1, start=1e9 + 0.999, gaps=[0.0999, 1.0])
def test_a_visitor_has_never_less_than_the_whole_timeout(
    minutes: int, start: float, gaps: list[float]
) -> None:
    sessions = Sessions("shop", ["key"], minutes)
    first, token = sessions.visit(None, start, lambda: "first")
    assert token is not None
    assert sessions.lifetime >= minutes * 60
    now, expires = start, start + sessions.lifetime  # as the browser reckons, by Max-Age
    for gap in gaps:
        now += gap * minutes * 60
        assert now <= expires
        session, renewed = sessions.visit(token, now, no_new_id)
        assert (session.id, session.started) == (first.id, first.started)
        if renewed is not None:
            token, expires = renewed, now + sessions.lifetime


def test_a_session_that_seems_to_come_from_the_future_goes_on() -> None:
    assert SESSIONS.visit(TOKEN, NOW - 3600, no_new_id) == (SESSION, None)


@pytest.mark.parametrize("site", ["media", "shop2", "sho", "Shop", ""])
def test_another_sites_token_is_not_believed(site: str) -> None:
    assert Sessions(site, ["key"], MINUTES).read(TOKEN, NOW) is None


@pytest.mark.parametrize("keys", [["other"], ["KEY"], ["key "], ["keykey"], [""]])
def test_a_token_of_another_key_is_not_believed(keys: list[str]) -> None:
    assert SESSIONS.read(Sessions("shop", keys, MINUTES).sign(SESSION), NOW) is None


def test_keys_can_be_rotated_without_ending_a_session() -> None:
    rings = [["key"], ["new", "key"], ["newest", "new"]]
    token = TOKEN
    for before, after in pairwise(rings):
        assert Sessions("shop", before, MINUTES).read(token, NOW) == SESSION
        assert Sessions("shop", after, MINUTES).read(token, NOW) == SESSION
        token = Sessions("shop", after, MINUTES).sign(SESSION)
    assert SESSIONS.read(token, NOW) is None


def test_the_newest_key_signs() -> None:
    token = Sessions("shop", ["new", "key"], MINUTES).sign(SESSION)
    assert Sessions("shop", ["new"], MINUTES).read(token, NOW) == SESSION
    assert SESSIONS.read(token, NOW) is None


def signed(payload: str) -> str:
    """A token of ours that holds something that we never put into one."""
    return SESSIONS._signer.sign(payload).decode()


@pytest.mark.parametrize(
    "token",
    {
        "missing": None,
        "empty": "",
        "blank": " ",
        "unsigned": "0123456789abcdef.1763880000.1763880000",
        "signature alone": TOKEN.rpartition(".")[2],
        "no signature": TOKEN.rpartition(".")[0] + ".",
        "another ID": TOKEN.replace("0123", "3210"),
        "another time": TOKEN.replace(str(int(NOW)), str(int(NOW) + 1)),
        "another signature": TOKEN[:-4] + ("AAAA" if TOKEN[-4:] != "AAAA" else "BBBB"),
        "quoted": f'"{TOKEN}"',
        "twice": TOKEN + TOKEN,
        "4 KB": "a" * 4096,
        "4 KB that begin well": TOKEN + "." + "a" * 4096,
        "a megabyte of dots": "." * 1_000_000,
        "not ASCII": "ü.1.2.ж",
        "not ASCII before ours": "ü" + TOKEN,
        "replacement character": "\ufffd" * 40,
        "lone surrogate": "\ud800" + TOKEN,
        "NUL": "\0" + TOKEN,
        "a JWT": base64.b64encode(b'{"alg":"none"}').decode() + ".e30.",
        "too few parts": signed("id.1763880000"),
        "too many parts": signed("id.1.1763880000.1763880000"),
        "times that are none": signed("id.now.then"),
    }.items(),
    ids=lambda case: case[0],
)
def test_a_token_that_is_not_ours_begins_a_new_session(token: tuple[str, str | None]) -> None:
    session, renewed = SESSIONS.visit(token[1], NOW, lambda: "new")
    assert session == Session("new", int(NOW), int(NOW))
    assert renewed is not None


def test_a_truncated_token_is_not_believed() -> None:
    assert [SESSIONS.read(TOKEN[:end], NOW) for end in range(len(TOKEN))] == [None] * len(TOKEN)


@given(
    st.text(max_size=LONGEST + 8) | st.binary(max_size=64).map(lambda text: text.decode("latin-1"))
)
def test_no_text_is_believed_or_raises(text: str) -> None:
    assert SESSIONS.read(text, NOW) is None


@given(st.integers(0, len(TOKEN) - 2), st.characters(max_codepoint=0x17F))
def test_no_changed_character_is_believed(index: int, character: str) -> None:
    # But for the very last: its low bits are padding that base64 ignores.
    changed = TOKEN[:index] + character + TOKEN[index + 1 :]
    assert SESSIONS.read(changed, NOW) == (SESSION if changed == TOKEN else None)
