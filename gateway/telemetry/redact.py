"""Masks what GATEWAY_REDACT names, for the inspector and the logs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

MASK = "•••"
SHORTEST = 3  # characters of a value that is looked for in a message


class Redactor:
    """Knows the names, in any case."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(name.casefold() for name in names)

    def event(self, text: str) -> str:
        """An event's JSON text with the values of these names masked, at any depth."""
        return json.dumps(self._masked(json.loads(text))) if self._names else text

    def message(self, text: str, events: Iterable[str]) -> str:
        """A message about these events, which may quote them, without the values."""
        if self._names:
            found = {value for event in events for value in self._found(json.loads(event))}
            for value in sorted(found, key=len, reverse=True):
                text = text.replace(value, MASK)
        return text

    def names(self, name: str) -> bool:
        """Whether values of this name are masked."""
        return name.casefold() in self._names

    def _masked(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: MASK if self.names(name) else self._masked(_opened(name, inner))
                for name, inner in value.items()
            }
        return [self._masked(inner) for inner in value] if isinstance(value, list) else value

    def _found(self, value: Any, *, hidden: bool = False) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from self._found(_opened(name, inner), hidden=hidden or self.names(name))
        elif isinstance(value, list):
            for inner in value:
                yield from self._found(inner, hidden=hidden)
        elif hidden and len(text := str(value)) >= SHORTEST:
            yield text


def _opened(name: str, value: Any) -> Any:
    """PutEvents has its properties as a text that holds a JSON object."""
    if name == "properties" and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return MASK
    return value
