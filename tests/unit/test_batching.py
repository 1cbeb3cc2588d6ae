"""Records → PutEvents calls: what goes together, in which order, and how a call is split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.forwarder.batching import CALL_EVENTS, Call, bisect, split_into_calls
from gateway.queues import Delivery
from tests.helpers.queue_contract import record

WHO = st.tuples(
    st.sampled_from(["shop", "media"]),
    st.sampled_from(["s-1", "s-2", "s-3"]),
    st.sampled_from([None, "u-1", "u-2"]),
)


def deliveries(*who: tuple[str, str, str | None]) -> list[Delivery]:
    """Records of these sites, sessions and users, numbered from 0."""
    return [
        Delivery(number, record(site, session, user_id=user, event_id=str(number)), 0)
        for number, (site, session, user) in enumerate(who)
    ]


def of(users: str) -> list[Delivery]:
    """A session's records, by a letter for each one's user; `-` is nobody."""
    return deliveries(*[("shop", "s-1", None if user == "-" else user) for user in users])


def handles(call: Call) -> list[int]:
    return [item.handle for item in call.deliveries]


@pytest.mark.parametrize(
    ("users", "wanted"),
    [
        ("", []),
        ("-", [1]),
        ("-" * 10, [10]),
        ("-" * 11, [10, 1]),
        ("-" * 100, [10] * 10),
        ("--uu", [2, 2]),  # the visitor logs in
        ("--uuu--", [2, 3, 2]),  # and out: never joined across
        ("uvuv", [1, 1, 1, 1]),
        ("-" * 12 + "u" * 12, [10, 2, 10, 2]),
    ],
)
def test_a_session_makes_calls_of_ten_and_a_new_one_where_the_user_changes(users, wanted):
    made = list(split_into_calls(of(users)))
    assert [len(call.deliveries) for call in made] == wanted
    assert [*chain(*map(handles, made))] == list(range(len(users)))


def test_a_call_says_whose_it_is():
    [anonymous, known] = split_into_calls(
        deliveries(("media", "s-7", None), ("media", "s-7", "u-1"))
    )
    assert anonymous[:3] == ("media", "s-7", None)
    assert known[:3] == ("media", "s-7", "u-1")


@given(st.text("-uv", max_size=80))
def test_every_event_of_a_batch_is_sent_once_in_order_with_its_user(users):
    batch = of(users)
    calls = list(split_into_calls(batch))
    assert [*chain(*map(handles, calls))] == [delivery.handle for delivery in batch]
    for call in calls:
        assert 1 <= len(call.deliveries) <= CALL_EVENTS
        assert {delivery.record[:3] for delivery in call.deliveries} == {call[:3]}


@pytest.mark.parametrize("size", range(2, 11))
def test_halves_are_the_call_in_two_parts_neither_empty_the_earlier_first(size):
    [call] = split_into_calls(of("u" * size))
    first, second = bisect(call)
    assert handles(first) + handles(second) == handles(call)
    assert abs(len(first.deliveries) - len(second.deliveries)) <= 1
    assert first[:3] == second[:3] == call[:3]


@pytest.mark.parametrize("size", range(1, 11))
def test_halving_finds_one_guilty_event_in_few_calls(size):
    for guilty in range(size):
        sent = _search(next(split_into_calls(of("-" * size))), {guilty})
        assert len(sent) <= 9
        assert [guilty] in sent


def _search(call: Call, guilty: set[int]) -> list[Sequence[int]]:
    """The calls made until each guilty event stands alone."""
    sent: list[Sequence[int]] = [handles(call)]
    if guilty.intersection(sent[0]) and len(call.deliveries) > 1:
        for half in bisect(call):
            sent += _search(half, guilty)
    return sent
