"""Read and write strict JSON (RFC 8259); refuse what other parsers might read differently."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

import orjson

# NUL and lone surrogates: legal JSON escapes that databases in UTF-8 and AWS can't hold.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")

DEPTH = 64  # of nested objects and arrays; PutEvents needs 4
STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|([][{}])', re.DOTALL)
OPENING = frozenset("{[")


class InvalidJson(ValueError):
    """The text is not JSON that all parsers read alike; the message says why."""


def loads(text: bytes | str) -> Any:
    """Decode one JSON value (bytes are UTF-8). Raises InvalidJson and nothing else."""
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
    """Encode compactly, without escaping non-ASCII text."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits
        return _ENCODER.encode(value)


def storable(text: str) -> str:
    """Return a text from outside with its lone surrogates replaced."""
    return text.encode("utf-8", "replace").decode()


def _measure(text: str) -> None:
    """Raise InvalidJson if a value is nested too deeply, however deep the stack already is."""
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
