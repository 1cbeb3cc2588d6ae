"""JSON as RFC 8259 has it and no further: what another parser might read differently is refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

import orjson

# NUL and lone surrogates: legal JSON escapes that UTF-8 databases and AWS cannot hold.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")

DEPTH = 64  # of objects and arrays in one another; PutEvents has 4
STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|([][{}])', re.DOTALL)
OPENING = frozenset("{[")


class InvalidJson(ValueError):
    """The text is not JSON that every parser reads alike; the message says why."""


def loads(text: bytes | str) -> Any:
    """Decode one JSON value (UTF-8 if bytes); raise InvalidJson, and nothing else."""
    try:
        text = text.decode() if isinstance(text, bytes) else text
        _measure(text)
        return _DECODER.decode(text)
    except InvalidJson:
        raise
    except UnicodeDecodeError:
        raise InvalidJson("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"not JSON: {error}") from None
    except ValueError:  # int() refuses texts of more than 4,300 digits
        raise InvalidJson("holds a number that is too long") from None


def dumps(value: Any) -> str:
    """Encode compactly, text as it is."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits
        return _ENCODER.encode(value)


def storable(text: str) -> str:
    """A text that others wrote, without lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _measure(text: str) -> None:
    """Refuse what is nested too deeply, whatever is left of the interpreter's own stack."""
    if text.count("{") + text.count("[") <= DEPTH:
        return
    depth = 0
    for bracket in STRING_OR_BRACKET.findall(text):
        if bracket in OPENING:
            depth += 1
            if depth > DEPTH:
                raise InvalidJson("nested too deeply")
        elif bracket:
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        count = Counter(name for name, _ in pairs)
        twice = next(name for name in count if count[name] > 1)
        raise InvalidJson(f"has the key {twice[:64]!a} twice")
    return members


def _constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
