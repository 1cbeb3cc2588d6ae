"""Load a marshmallow schema strictly: one line names every problem and the nearest known name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from marshmallow import Schema, ValidationError


class SettingsError(Exception):
    """Say in one line which setting is unknown, malformed or contradictory."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a quoted TOML key may hold line breaks


def load_or_raise(schema: Schema, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the loaded values; raise SettingsError, whose message begins with `where`."""
    try:
        return dict(schema.load(values))
    except ValidationError as error:
        known = [item.data_key or name for name, item in schema.fields.items()]
        raise SettingsError("; ".join(_lines(error.messages, known, source))) from None


def _lines(messages: Any, known: list[str], source: str) -> Iterator[str]:
    for name, texts in messages.items():
        name_shown = name if name in known and name.isupper() else f"{source}: {name}"
        text = flatten_messages(texts)
        if text == "Unknown field.":
            nearest = get_close_matches(name, known, 1)
            text = "unknown" + (f" (did you mean {nearest[0]}?)" if nearest else "")
        yield f"{name_shown}: {text}"


def flatten_messages(texts: Any) -> str:
    """Join marshmallow's messages, which nest for lists, into one line."""
    values = texts.values() if isinstance(texts, dict) else texts
    return (
        texts if isinstance(texts, str) else " ".join(flatten_messages(value) for value in values)
    )
