"""Masks what GATEWAY_REDACT names, for the inspector and the logs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

MASK = "•••"
OPENINGS = ("{", "[", '"')  # of JSON that may hold an object
SHORTEST = 3  # characters of a value that is looked for in a message


class Redactor:
    """Knows the names, in any case."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(name.casefold() for name in names)

    def event(self, text: str) -> str:
        """An event's JSON text with the values of these names masked, at any depth."""
        if not self._names:
            return text
        try:
            return json.dumps(self._masked(json.loads(text)))
        except RecursionError:
            return json.dumps({"properties": MASK})

    def message(self, text: str, events: Iterable[str]) -> str:
        """A message about these events, which may quote them, without the values."""
        if not self._names:
            return text
        try:
            found = {value for event in events for value in self._found(json.loads(event))}
        except RecursionError:
            return MASK
        for value in sorted(found, key=len, reverse=True):
            text = text.replace(value, MASK)
        return text

    def names(self, name: str) -> bool:
        """Whether values of this name are masked."""
        return name.casefold() in self._names

    def _masked(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: MASK if self.names(name) else self._masked(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._masked(inner) for inner in value]
        opened = _opened(value)
        if opened is value or opened is MASK:
            return opened
        masked = self._masked(opened)
        return value if masked == opened else masked

    def _found(self, value: Any, *, hidden: bool = False) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from self._found(inner, hidden=hidden or self.names(name))
        elif isinstance(value, list):
            for inner in value:
                yield from self._found(inner, hidden=hidden)
        else:
            opened = _opened(value)
            if (hidden or opened is MASK) and len(text := str(value)) >= SHORTEST:
                yield text
            if opened is not value and opened is not MASK:
                yield from self._found(opened, hidden=hidden)


def _opened(value: Any) -> Any:
    """What a text holds, where that is JSON with objects in it: PutEvents' properties are one."""
    if not isinstance(value, str) or "{" not in value or value.lstrip()[:1] not in OPENINGS:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return MASK
