"""strict_json: what every parser reads alike is read; all else is refused, and in one way."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.events.strict_json import InvalidJson, dumps, loads

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"{}", {}),
        (b" \t\r\n[1, 2.5, -3e2]\n", [1, 2.5, -300.0]),
        (b'{"a": {"b": null}, "b": [true, false]}', {"a": {"b": None}, "b": [True, False]}),
        (b'{"a": {"a": 1}, "b": {"a": 2}}', {"a": {"a": 1}, "b": {"a": 2}}),
        ('"\u00fc \U0001f6d2"'.encode(), "\u00fc \U0001f6d2"),
        (rb'"\u00fc \ud83d\uded2"', "\u00fc \U0001f6d2"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        ("null", None),
    ],
)
def test_json_is_read(text: bytes | str, value: Any) -> None:
    assert loads(text) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"),
        (b" ", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b'{"a": 1}garbage', "not JSON"),
        (b"{}\0", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 1 /* one */}', "not JSON"),
        (b"{1: 2}", "not JSON"),
        (b"01", "not JSON"),
        (b"+1", "not JSON"),
        (b"0x10", "not JSON"),
        (b"1_000", "not JSON"),
        ("\u0661".encode(), "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b'"\0"', "not JSON"),
        (rb'"\x41"', "not JSON"),
        (rb'"\u12"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ("\ufeff{}", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'"\xc3"', "not UTF-8"),
        (b'"\xc0\x80"', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b"nan", "not JSON"),
        (b'{"a": 1, "a": 1}', "the key 'a' twice"),
        (rb'{"a": 1, "\u0061": 2}', "the key 'a' twice"),
        (b'[{"b": [{"c": {"d": 1, "e": 2, "d": 3}}]}]', "the key 'd' twice"),
        (rb'{"\ud800": 1, "\ud800": 2}', r"the key '\ud800' twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 65 + b"]" * 65, "nested too deeply"),
        (rb'["\"", "\\",' + b'{"a":[' * 32 + b"]}" * 32 + b"]", "nested too deeply"),
        (b"{" + b",".join(b'"%d":0' % n for n in range(50_000)) + b',"0":0}', "the key '0' twice"),
        (b'{"%s": 1, "%s": 2}' % (b"a" * 9000, b"a" * 9000), f"the key {'a' * 64!r} twice"),
        (b"1" * 5000, "a number that is too long"),
        (b'{"a": [-' + b"9" * 100_000 + b"]}", "a number that is too long"),
    ],
    ids=lambda value: str(value[:24]),
)
def test_what_parsers_read_differently_is_refused_with_the_reason(
    text: bytes | str, says: str
) -> None:
    with pytest.raises(InvalidJson) as caught:
        loads(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"[" * 64 + b"]" * 64, b"[" + b"[]," * 100 + b"1]", rb'["' + rb"[\"{" * 100 + b'"]']
)
def test_brackets_count_only_where_they_are_open_at_once(text: bytes) -> None:
    assert loads(text) == json.loads(text)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    read = loads(dumps(value))
    assert read == value
    assert repr(read) == repr(value)  # 1, 1.0 and True are equal


@given(VALUES)
def test_escapes_and_plain_text_are_read_alike(value: Any) -> None:
    assert loads(json.dumps(value, ensure_ascii=True).encode()) == value


@given(st.binary() | VALUES.map(lambda value: dumps(value).encode("utf-8", "surrogatepass")))
@example(b'{"":0,"":0}')
@example(b"1e999")
def test_any_bytes_are_read_or_refused_in_one_way(text: bytes) -> None:
    with suppress(InvalidJson):
        loads(text)


@given(st.text(alphabet='{}[]",:\\u0dD8-+.eE1truefalsnINaity \n'))
def test_any_text_made_of_jsons_own_letters_is_read_as_json_does_or_refused(text: str) -> None:
    try:
        value = loads(text)
    except InvalidJson:
        return
    assert repr(value) == repr(json.loads(text))


def test_text_is_written_as_it_is() -> None:
    assert dumps({"a": ["\u00fc\U0001f6d2", 1.5, None]}) == '{"a":["\u00fc\U0001f6d2",1.5,null]}'
