"""The shorthand grammar. What AWS CLI's parser makes of it is in test_conformance.py."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.put_events.shorthand import ShorthandError, convert, parse
from gateway.commands.put_events.skeletons import put_events_input

KEYS = st.text("abcXYZ019-_.#/:", min_size=1, max_size=5)
# AWS CLI itself reads some mixtures of quotes and backslashes otherwise than they were written.
TEXTS = st.text(st.characters(exclude_characters="\\", codec="utf-8"), max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def written(value: Any, quote: str) -> str:
    if isinstance(value, list):
        return f"[{','.join(written(member, quote) for member in value)}]"
    if isinstance(value, dict):
        members = (f"{key}={written(member, quote)}" for key, member in value.items())
        return f"{{{','.join(members)}}}"
    return quote + value.replace(quote, f"\\{quote}") + quote


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), st.sampled_from("'\""))
def test_what_is_written_is_read(members, quote):
    assert parse(",".join(f"{key}={written(it, quote)}" for key, it in members.items())) == members


@given(st.text("a,=[]{}\\ "), st.sampled_from("'\""))
def test_a_backslash_is_written_twice(text, quote):
    assert parse(f"a={quote}{text.replace(chr(92), chr(92) * 2)}{quote}") == {"a": text}


@given(st.lists(st.text("abc é!%&().-", min_size=1).filter(lambda s: s == s.strip()), min_size=2))
def test_a_list_may_do_without_brackets(values):
    assert parse(f"a={','.join(values)},b=c") == {"a": values, "b": "c"}


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        members = parse(text)
    except ShorthandError as error:
        members = {"": str(error).index("^")}
    assert members


@pytest.mark.parametrize(
    ("text", "expected", "received", "pointed"),
    [
        ("eventType", "=", "EOF", "eventType\n         ^"),
        ("a='b'c", ",", "c", "a='b'c\n     ^"),
        ("a=[b", ",", "EOF", "a=[b\n    ^"),
        ("a={b}", "=", "}", "a={b}\n    ^"),
        ("a='b", "closing '", "'", "a='b\n  ^"),
        ("a=b,", "<value>", "EOF", "a=b,\n    ^"),
        ("a=b,\nc]=d", "=", "]", "a=b,\nc]=d\n ^"),
        ("a=b]\n,c=d", ",", "]", "a=b]\n   ^\n,c=d"),
    ],
)
def test_a_mistake_is_pointed_at(text, expected, received, pointed):
    with pytest.raises(ShorthandError) as caught:
        parse(text)
    assert str(caught.value) == (
        f"Expected: '{expected}', received: '{received}' for input:\n{pointed}"
    )


def test_a_key_twice_is_pointed_at():
    with pytest.raises(ShorthandError, match='Second instance of key "a"') as caught:
        parse("a=b,c=d,a=e")
    assert "a=b,c=d,a=e\n        ^\n" in str(caught.value)


def test_too_deep_a_nesting_is_refused():
    with pytest.raises(ShorthandError, match="Nested too deeply"):
        parse("a=" + "[" * 100_000)


def test_only_at_reads_files():
    assert parse("a@=x,b=x,c@=[x,y],d={e=x,f@=x}", str.upper) == {
        "a": "X",
        "b": "x",
        "c": ["X", "Y"],
        "d": {"e": "x", "f": "X"},
    }


def test_values_become_what_the_model_says():
    shape = put_events_input().members["eventList"]
    event = parse("eventValue=1.5,impression=i1,sentAt=5,metricAttribution={x=y},z=1")
    assert convert([event], shape) == [
        {
            "eventValue": 1.5,
            "impression": ["i1"],
            "sentAt": "5",
            "metricAttribution": {"x": "y"},
            "z": "1",
        }
    ]


@pytest.mark.parametrize("value", ["much", ["1"], {"a": "1"}, "9" * 5000])
def test_a_value_that_is_not_a_number_is_refused(value):
    with pytest.raises(ShorthandError, match="Not a number"):
        convert(value, SimpleNamespace(type_name="long"))
