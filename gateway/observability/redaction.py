"""Mask the properties that GATEWAY_REDACT names, for the inspector and the logs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

MASK = "•••"
OPENINGS = ("{", "[", '"')  # how JSON begins that may hold an object
SHORTEST = 3  # characters; shorter values are not searched for in messages


class Redactor:
    """Mask values by the names of their properties, ignoring case."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(name.casefold() for name in names)

    def event(self, text: str) -> str:
        """Return an event's JSON text with the values of these names masked, at any depth."""
        if not self._names:
            return text
        try:
            return json.dumps(self._masked(json.loads(text)))
        except RecursionError:
            return json.dumps({"properties": MASK})

    def message(self, text: str, events: Iterable[str]) -> str:
        """Return a message about these events without the masked values that it may quote."""
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
        """Return whether values of this name are masked."""
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
    """Return the value of a text that holds JSON with objects, as PutEvents' properties do.

    Any other value is returned as it is, and text that looks like JSON but is not as MASK.
    """
    if not isinstance(value, str) or "{" not in value or value.lstrip()[:1] not in OPENINGS:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return MASK
