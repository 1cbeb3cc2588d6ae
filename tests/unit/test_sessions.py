"""Sessions continue while the visitor is active, and their tokens can't be forged."""

from __future__ import annotations

import base64
import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.web.session_lifetime import DAY, LONGEST_VISIT, Lifetime, Session
from gateway.web.sessions import LATEST, LONGEST, Claims, Sessions, Visit

NOW = 1_763_880_000.75
MINUTES = 30
TIMEOUT = MINUTES * 60
SESSIONS = Sessions("shop", ["key"], Lifetime(MINUTES))
SESSION = Session("0123456789abcdef", 1_763_879_000, int(NOW))
TOKEN = SESSIONS.sign(SESSION)
LOGGED_IN = frozenset({SESSION.id})
LIFETIME = Lifetime(MINUTES).timeout


def visit(
    cookie: str | None = None,
    now: float = NOW,
    *,
    tag: str | None = None,
    user: str | None = None,
    times: tuple[float, ...] | None = None,
    first: str = "first",
    sessions: Sessions = SESSIONS,
) -> Visit:
    """A request's events, which happened as they came unless other times are given."""
    return sessions.visit(Claims(user, tag, cookie), times or (now,), now, lambda: first)


def session_of(visit: Visit, sessions: Sessions = SESSIONS) -> Session:
    """The session that is handed out, into which all of the events went."""
    session = sessions.read(visit.token)
    assert session is not None
    assert set(visit.session_ids) == {session.id}
    return session


def is_known(token: str | None, now: float = NOW, sessions: Sessions = SESSIONS) -> bool:
    return set(visit(token, now, sessions=sessions).session_ids) == {SESSION.id}


def test_a_token_is_read_back() -> None:
    assert SESSIONS.read(TOKEN) == SESSION


def test_a_new_visitor_gets_a_session_and_its_token() -> None:
    new = visit()
    session = session_of(new)
    assert (session.started, session.renewed, session.user) == (int(NOW), int(NOW), "")
    assert new.cookie_seconds == LIFETIME


def test_a_fresh_cookie_is_not_set_again_but_its_token_returned() -> None:
    for age in (0, TIMEOUT / 10 - 1):
        assert visit(TOKEN, NOW + age) == Visit([SESSION.id], TOKEN, None)


def test_a_token_is_renewed_after_a_tenth_of_its_time() -> None:
    later = NOW + TIMEOUT / 10
    renewed = visit(TOKEN, later)
    assert session_of(renewed) == SESSION._replace(renewed=int(later))
    assert renewed.cookie_seconds == LIFETIME


def test_a_session_ends_when_its_time_is_over() -> None:
    assert is_known(TOKEN, SESSION.renewed + LIFETIME)
    over = SESSION.renewed + LIFETIME + 1
    session = session_of(visit(TOKEN, over))
    assert session.id != SESSION.id
    assert (session.started, session.renewed) == (over, over)


def test_a_session_lasts_as_long_as_it_is_renewed_and_a_day_at_most() -> None:
    token: str | None = TOKEN
    now = NOW
    while now <= SESSION.started + LONGEST_VISIT:
        session = session_of(visited := visit(token, now))
        assert (session.id, session.started) == (SESSION.id, SESSION.started)
        left = visited.cookie_seconds
        assert left is None or now + left < SESSION.started + LONGEST_VISIT + 1
        token = visited.token
        now += TIMEOUT - 1
    assert session_of(visit(token, now)).id != SESSION.id


@given(
    minutes=st.integers(1, 2 * 60),
    start=st.floats(1e9, 2e9),
    gaps=st.lists(st.floats(0, 1), min_size=1, max_size=8),
)
@example(minutes=1, start=1e9 + 0.999, gaps=[0.0999, 1.0])
def test_a_visitor_has_never_less_than_the_whole_timeout(
    minutes: int, start: float, gaps: list[float]
) -> None:
    sessions = Sessions("shop", ["key"], Lifetime(minutes))
    visited = visit(None, start, sessions=sessions)
    first = session_of(visited, sessions)
    token, now, expires = visited.token, start, start + (visited.cookie_seconds or 0)
    for gap in gaps:
        now += gap * minutes * 60
        assert now <= expires  # as the browser reckons, by Max-Age
        visited = visit(token, now, sessions=sessions)
        session = session_of(visited, sessions)
        assert (session.id, session.started) == (first.id, first.started)
        if visited.cookie_seconds is not None:
            token, expires = visited.token, now + visited.cookie_seconds


def test_a_session_from_the_future_continues() -> None:
    assert visit(TOKEN, NOW - 3600) == Visit([SESSION.id], TOKEN, None)


def test_a_repeated_request_joins_the_session_it_started() -> None:
    assert visit().session_ids == visit(None, NOW + 60).session_ids
    assert visit().session_ids != visit(first="another").session_ids
    media = Sessions("media", ["key"], Lifetime(MINUTES))
    assert visit().session_ids != visit(sessions=media).session_ids
    assert (
        visit().session_ids
        != visit(sessions=Sessions("shop", ["kez"], Lifetime(MINUTES))).session_ids
    )


# The tag: the token that the page had when the events happened


def test_a_late_event_joins_the_session_it_happened_in() -> None:
    came = NOW + 5 * 3600
    for at in (NOW, NOW + LIFETIME - 1, NOW - 60, 0):
        late = visit(None, came, tag=TOKEN, times=(at,))
        assert late == Visit([SESSION.id], None, None)  # which is over, and hands out nothing


def test_an_event_after_the_tags_end_joins_the_present_session() -> None:
    came, after = NOW + 5 * 3600, NOW + LIFETIME + 1
    begun = visit(None, came, tag=TOKEN, times=(after,))
    assert session_of(begun).id != SESSION.id
    assert begun.cookie_seconds == LIFETIME
    held = visit(begun.token, came, tag=TOKEN, times=(after,))
    assert held == Visit(begun.session_ids, begun.token, None)


def test_each_event_of_a_request_finds_its_own_session() -> None:
    came = NOW + 5 * 3600
    mixed = visit(None, came, tag=TOKEN, times=(NOW + 1, NOW + 2, came, came))
    assert mixed.session_ids[:2] == [SESSION.id] * 2
    present = SESSIONS.read(mixed.token)
    assert present is not None
    assert mixed.session_ids[2:] == [present.id] * 2


def test_a_visit_while_offline_is_one_session() -> None:
    times = tuple(NOW + step * (TIMEOUT - 1) for step in range(5))
    assert set(visit(None, NOW + 9 * 3600, tag=TOKEN, times=times).session_ids) == {SESSION.id}


def test_a_tag_ends_after_a_day() -> None:
    end = SESSION.started + LONGEST_VISIT
    times = tuple(range(int(NOW), end + TIMEOUT, TIMEOUT - 1))
    ids = visit(None, times[-1], tag=TOKEN, times=times).session_ids
    assert [id_ == SESSION.id for id_ in ids] == [at <= end for at in times]


def test_events_older_than_a_page_keeps_them_join_no_session() -> None:
    latest = SESSION.renewed + LIFETIME + LATEST
    assert visit(None, latest, tag=TOKEN, times=(NOW,)).session_ids == [SESSION.id]
    assert session_of(visit(None, latest + 1, tag=TOKEN, times=(NOW,))).id != SESSION.id


def test_event_times_in_the_future_count_as_now() -> None:
    assert visit(None, NOW, tag=TOKEN, times=(NOW + 5 * 3600,)) == Visit(
        [SESSION.id], TOKEN, LIFETIME
    )


def test_a_tag_wins_over_the_cookie_and_restores_a_missing_one() -> None:
    assert visit(None, tag=TOKEN) == Visit([SESSION.id], TOKEN, LIFETIME)
    earlier = SESSIONS.sign(Session("earlier", SESSION.started - 1, int(NOW)))
    assert visit(earlier, tag=TOKEN) == Visit([SESSION.id], TOKEN, LIFETIME)


def test_an_ended_session_is_not_returned_to_the_visitor() -> None:
    # After a log-out, say: an event from before it arrives.
    later = SESSIONS.sign(Session("later", int(NOW) + 10, int(NOW) + 10))
    assert visit(later, NOW + 20, tag=TOKEN, times=(NOW,)) == Visit([SESSION.id], later, None)


def test_the_later_renewed_of_two_tokens_counts() -> None:
    renewed = SESSION._replace(renewed=SESSION.renewed + 600)
    newer, now = SESSIONS.sign(renewed), NOW + 601
    assert visit(newer, now, tag=TOKEN) == Visit([SESSION.id], newer, None)
    assert visit(TOKEN, now, tag=newer) == Visit([SESSION.id], newer, LIFETIME - 1)
    assert visit(newer, now, tag=TOKEN, times=(NOW,)) == Visit([SESSION.id], newer, None)


# Who it is


def test_an_anonymous_visitor_who_logs_in_keeps_the_session() -> None:
    known = visit(TOKEN, user="ann")
    session = session_of(known)
    assert session == SESSION._replace(user=session.user)
    assert session.user
    assert "ann" not in str(known.token)
    assert known.cookie_seconds == LIFETIME
    for user in "ann", None:  # a page that knows no userId is no other person's
        assert visit(known.token, user=user) == Visit([SESSION.id], known.token, None, LOGGED_IN)


def test_another_person_gets_another_session() -> None:
    ann = visit(TOKEN, user="ann")
    for cookie, tag in (
        (ann.token, None),
        (None, ann.token),
        (ann.token, ann.token),
        (TOKEN, ann.token),
    ):
        bob = visit(cookie, NOW + 1, tag=tag, user="bob")
        assert session_of(bob).id != SESSION.id
        assert session_of(bob).started == int(NOW + 1)
        assert bob.cookie_seconds == LIFETIME
        assert visit(bob.token, NOW + 2, user="bob").token == bob.token


def test_concurrent_requests_of_another_person_share_a_session() -> None:
    ann = visit(TOKEN, user="ann").token
    one, two = (visit(ann, NOW + n, tag=ann, user="bob", first=str(n)) for n in (1, 2))
    assert one.session_ids == two.session_ids
    assert one.session_ids != visit(ann, NOW, user="eve").session_ids


def test_the_mark_of_a_user_differs_between_sessions() -> None:
    marks = {session_of(visit(first=first, user="ann")).user for first in ("1", "2")}
    assert len(marks) == 2


def test_a_late_event_of_the_previous_person_stays_with_that_person() -> None:
    ann = visit(TOKEN, user="ann")
    bob = visit(ann.token, NOW + 10, user="bob")
    late = visit(bob.token, NOW + 20, tag=ann.token, user="ann", times=(NOW + 5,))
    assert late == Visit([SESSION.id], None, None, LOGGED_IN)


def test_a_late_event_of_another_person_leaves_the_cookie_to_the_visitor() -> None:
    bob = visit(None, user="bob")
    for tag in bob.token, None:
        came = NOW + 200
        late = visit(bob.token, came, tag=tag, user="ann", times=(NOW + 100,))
        assert late.session_ids != bob.session_ids
        assert (late.token, late.cookie_seconds) == (None, None)
        prompt = visit(bob.token, came, tag=tag, user="ann", times=(came - 1,))
        assert session_of(prompt).id == late.session_ids[0]


def test_an_old_anonymous_tag_joins_no_other_persons_session() -> None:
    ann = visit(TOKEN, user="ann", times=(NOW + 600,), now=NOW + 600).token
    renewed = SESSIONS.sign(SESSION._replace(renewed=SESSION.renewed + 700))
    for tag in TOKEN, renewed:
        bob = visit(ann, NOW + 701, tag=tag, user="bob")
        assert session_of(bob).id != SESSION.id
        again = visit(bob.token, NOW + 702, tag=tag, user="bob")
        assert again == Visit(bob.session_ids, bob.token, None, frozenset(bob.session_ids))
        eve = visit(bob.token, NOW + 703, tag=tag, user="eve")
        assert session_of(eve).id not in (SESSION.id, *bob.session_ids)
        late = visit(bob.token, NOW + 704, tag=tag, user="eve", times=(NOW + 1,))
        assert not {SESSION.id, *bob.session_ids} & set(late.session_ids)
    for user in "ann", None:
        kept = visit(ann, NOW + 701, tag=renewed, user=user)
        assert session_of(kept).user == SESSIONS.read(ann).user  # type: ignore[union-attr]


def test_two_people_at_once_in_two_tabs_stay_in_two_sessions() -> None:
    cookie = visit(TOKEN, user="ann").token
    tags = {"ann": cookie, "bob": cookie}
    seen: dict[str, set[str]] = {"ann": set(), "bob": set()}
    for step in range(1, 100):
        user = ("ann", "bob")[step % 2]
        visited = visit(cookie, NOW + step * 60, tag=tags[user], user=user)
        seen[user] |= set(visited.session_ids)
        tags[user] = visited.token or tags[user]
        cookie = visited.token if visited.cookie_seconds is not None else cookie
    assert (len(seen["ann"]), len(seen["bob"])) == (1, 1)
    assert seen["ann"] != seen["bob"]


def test_a_repeated_log_out_changes_nothing() -> None:
    def reset(cookie: str | None, now: float, user: str | None = None) -> Visit:
        return SESSIONS.visit(Claims(user, TOKEN, cookie, True), (NOW,), now, lambda: "reset")

    out = reset(TOKEN, NOW + 1)
    assert session_of(out).id != SESSION.id
    bob = visit(out.token, NOW + 2, tag=out.token, user="bob").token
    assert reset(bob, NOW + 3) == Visit(out.session_ids, bob, None, frozenset(out.session_ids))
    later = visit(bob, NOW + 4, user="eve").token
    assert reset(later, NOW + 5).cookie_seconds is None


# Visitors who are recognised for days


DAYS = 30
LONG = Sessions("shop", ["key"], Lifetime(MINUTES, DAYS))


def test_an_anonymous_visitor_keeps_the_session_for_days_by_the_cookie() -> None:
    visited = visit(sessions=LONG)
    first, cookie, now = session_of(visited, LONG), visited.token, NOW
    end = first.started + DAYS * DAY
    while now < end:
        visited = visit(cookie, now, tag=cookie, sessions=LONG)
        assert session_of(visited, LONG)[:2] == first[:2]
        if visited.cookie_seconds is not None:
            assert visited.cookie_seconds == math.ceil(end - now)
        cookie, now = visited.token, now + DAY
    after = visit(cookie, end + 1, tag=cookie, first="later", sessions=LONG)
    assert session_of(after, LONG).id != first.id


@pytest.mark.parametrize("minutes_late", [0, 31, 600], ids="{} minutes late".format)
def test_a_log_in_after_days_joins_the_visitors_session_which_ends_as_any_other(
    minutes_late: int,
) -> None:
    at = NOW + 9 * DAY
    now = at + minutes_late * 60
    anonymous = LONG.sign(SESSION._replace(renewed=int(at)))
    ann = visit(anonymous, now, tag=anonymous, user="ann", times=(at,), sessions=LONG)
    assert session_of(ann, LONG).id == SESSION.id
    assert session_of(ann, LONG).user
    assert ann.cookie_seconds == LIFETIME
    for tag in anonymous, ann.token:  # another tab has not heard of the log-in
        later = visit(ann.token, now + TIMEOUT, tag=tag, sessions=LONG)
        assert session_of(later, LONG).id == SESSION.id
        assert session_of(later, LONG).user
    over = now + LIFETIME + 1
    for tag in anonymous, ann.token:
        assert session_of(visit(None, over, tag=tag, sessions=LONG), LONG).id != SESSION.id


def test_an_event_of_days_ago_joins_the_visitors_session_after_a_log_out() -> None:
    at = NOW + 9 * DAY
    anonymous = LONG.sign(SESSION._replace(renewed=int(at)))
    claims = Claims(None, anonymous, anonymous, True)
    out = LONG.visit(claims, (at + 60,), at + 60, lambda: "reset")
    assert session_of(out, LONG).id != SESSION.id
    late = visit(out.token, at + 3600, tag=anonymous, times=(at,), sessions=LONG)
    assert late == Visit([SESSION.id], None, None)


def test_a_tag_alone_lasts_no_longer_than_any_other_session() -> None:
    for user in None, "ann":
        after = visit(None, NOW + LIFETIME + 1, tag=TOKEN, user=user, sessions=LONG)
        assert session_of(after, LONG).id != SESSION.id


# Who is believed


@pytest.mark.parametrize("site", ["media", "shop2", "sho", "Shop", ""])
def test_another_sites_token_is_invalid(site: str) -> None:
    assert Sessions(site, ["key"], Lifetime(MINUTES)).read(TOKEN) is None


@pytest.mark.parametrize("keys", [["other"], ["KEY"], ["key "], ["keykey"], [""]])
def test_a_token_of_another_key_is_invalid(keys: list[str]) -> None:
    assert SESSIONS.read(Sessions("shop", keys, Lifetime(MINUTES)).sign(SESSION)) is None


def test_keys_can_be_rotated_without_ending_a_session() -> None:
    rings = [["key"], ["new", "key"], ["newest", "new"]]
    token = visit(TOKEN, user="ann").token
    for before, after in pairwise(rings):
        for keys in before, after:
            ring = Sessions("shop", keys, Lifetime(MINUTES))
            visited = visit(token, user="ann", sessions=ring)
            assert session_of(visited, ring).id == SESSION.id
        token = visited.token
    assert SESSIONS.read(token) is None


def test_the_newest_key_signs() -> None:
    token = Sessions("shop", ["new", "key"], Lifetime(MINUTES)).sign(SESSION)
    assert Sessions("shop", ["new"], Lifetime(MINUTES)).read(token) == SESSION
    assert SESSIONS.read(token) is None


def signed(payload: str) -> str:
    """A token of ours that holds something that we never put into one."""
    return SESSIONS._signer.sign(payload).decode()


@pytest.mark.parametrize(
    "token",
    {
        "missing": None,
        "empty": "",
        "blank": " ",
        "unsigned": "0123456789abcdef.1763880000.1763880000.",
        "signature alone": TOKEN.rpartition(".")[2],
        "no signature": TOKEN.rpartition(".")[0] + ".",
        "another ID": TOKEN.replace("0123", "3210"),
        "another time": TOKEN.replace(str(int(NOW)), str(int(NOW) + 1)),
        "another user": TOKEN.replace("..", ".0123456789abcdef."),
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
        "too few parts": signed("id.1763880000.1763880000"),
        "too many parts": signed("id.1.1763880000.1763880000."),
        "times that are none": signed("id.now.then."),
    }.items(),
    ids=lambda case: case[0],
)
def test_an_invalid_token_starts_a_new_session(token: tuple[str, str | None]) -> None:
    assert visit(token[1]) == visit(tag=token[1]) == visit()


def test_a_truncated_token_is_invalid() -> None:
    assert [SESSIONS.read(TOKEN[:end]) for end in range(len(TOKEN))] == [None] * len(TOKEN)


@given(
    st.text(max_size=LONGEST + 8) | st.binary(max_size=64).map(lambda text: text.decode("latin-1"))
)
def test_arbitrary_text_is_invalid_and_raises_nothing(text: str) -> None:
    assert SESSIONS.read(text) is None


@given(st.integers(0, len(TOKEN) - 1), st.characters(max_codepoint=0x17F))
def test_a_token_with_a_changed_character_is_invalid(index: int, character: str) -> None:
    changed = TOKEN[:index] + character + TOKEN[index + 1 :]
    # base64 has two ways to write some signatures.
    same = changed == TOKEN or index > TOKEN.rindex(".")
    assert SESSIONS.read(changed) in ((SESSION, None) if same else (None,))
