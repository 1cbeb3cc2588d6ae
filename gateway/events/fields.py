"""marshmallow fields for PutEvents' members, with the limits of botocore's service model.

Source: botocore `personalize-events/2018-03-22`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from marshmallow import ValidationError, fields, validate

from gateway.events import strict_json

# What broken templates send instead of a value.
PLACEHOLDERS = frozenset({"null", "undefined", "NaN", "[object Object]"})

# AWS refuses these as keys of properties, in any case.
RESERVED_KEYS = frozenset(
    {"userid", "sessionid", "eventtype", "timestamp", "recommendationid", "impression"}
)

MOST_ERRORS = 20  # reported for one object, so that a response is not much longer than its request

NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?", re.ASCII)
MILLISECONDS_FROM = 1e11  # as seconds the year 5138, as milliseconds 1973
LAST_SECOND = 253_402_214_399  # 9999-12-30T23:59:59Z: boto3 takes it in any time zone


def is_placeholder(text: str) -> bool:
    """Return whether a text stands for a missing value."""
    return not text.strip() or text in PLACEHOLDERS


def _storable(text: str) -> None:
    if strict_json.UNSTORABLE.search(text):
        raise ValidationError("Holds U+0000 or a lone surrogate.")


def _meaningful(text: str) -> None:
    if is_placeholder(text):
        raise ValidationError(f"{text!a} is a placeholder, not a value.")


def _printable_ascii(text: str) -> None:
    # The model's ^[\x20-\x7E]*[\x21-\x7E]+[\x20-\x7E]*$ in linear time: that one backtracks.
    if not (text.isascii() and text.isprintable() and text.strip(" ")):
        raise ValidationError("Must be printable ASCII, and not only blanks.")


class Text(fields.String):
    """A text of 1 to `longest` characters; `also` are further validators."""

    def __init__(self, longest: int = 256, *also: Any, **kwargs: Any) -> None:
        super().__init__(validate=[validate.Length(1, longest), _storable, *also], **kwargs)
        self._is_plain = re.compile(rf"[!-~][ -~]{{0,{longest - 1}}}").fullmatch

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        # A short cut for nearly all texts: printable ASCII of a valid length passes every check.
        if isinstance(value, str) and self._is_plain(value) and value not in PLACEHOLDERS:
            return value
        return super().deserialize(value, *args, **kwargs)


class Name(Text):
    """A Text that identifies something: placeholders are refused."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(256, _meaningful, **kwargs)


class OptionalName(Text):
    """A Text whose placeholders are read as a missing value, None."""

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, str) and is_placeholder(value):
            return None
        return super().deserialize(value, *args, **kwargs)


class Token(fields.String):
    """A text that the gateway issued; any other type counts as missing."""

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value if isinstance(value, str) else None


class AttributionSource(Text):
    """A Text of up to 1024 characters of printable ASCII."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(1024, _printable_ascii, **kwargs)


class RawList(fields.List[Any]):
    """A list whose items are not checked here, null included: each is validated later."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields.Raw(), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return value


class BoundedList(fields.List[Any]):
    """A list whose length is validated before its items."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self._validate(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Number(fields.Float):
    """A finite JSON number; numbers as text are refused."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, str):
            raise self.make_error("invalid")
        number: float = super()._deserialize(value, attr, data, **kwargs)
        return number


class StrictBool(fields.Boolean):
    """`true` or `false`, and not 1 or 0, which Python considers equal."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Timestamp(fields.Field[float]):
    """A time in seconds or milliseconds since 1970, also as text, or in ISO 8601 (UTC if naive).

    Loads as seconds since 1970.
    """

    default_error_messages = {  # noqa: RUF012 - marshmallow's own way
        "invalid": "Not a time: give seconds or milliseconds since 1970, or ISO 8601.",
        "range": "Not a time between the years 1970 and 9999.",
    }

    @staticmethod
    def shifted(seconds: float, shift: float) -> float:
        """Return a time moved by `shift` seconds, within the range of valid times."""
        return min(max(seconds + shift, 0.0), float(LAST_SECOND))

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if type(value) is float and 0 <= value < MILLISECONDS_FROM:  # what nearly all are
            return value
        return super().deserialize(value, *args, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, str):
            seconds = self._number(float(value)) if NUMBER.fullmatch(value) else self._date(value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        else:
            seconds = self._number(value)
        if not 0 <= seconds <= LAST_SECOND:
            raise self.make_error("range")
        return float(seconds)

    @staticmethod
    def _number(value: float) -> float:
        """Return seconds; a number too large for seconds is read as milliseconds."""
        return value / 1000 if MILLISECONDS_FROM <= value <= LAST_SECOND * 1000 else value

    def _date(self, text: str) -> float:
        try:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise self.make_error("invalid") from None


class Properties(fields.Field[str]):
    """A JSON object of scalars, or a text that holds one. Loads as JSON text of 1024 characters.

    PutEvents' map has strings only, so other scalars become strings; null means an unset key.
    """

    default_error_messages = {  # noqa: RUF012 - marshmallow's own way
        "invalid": "Not a JSON object, nor a text that holds one.",
        "length": "Longer than 1024 characters as JSON.",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        content = self._object(value)
        if _is_plain(content):  # what nearly all are
            return self._short(value if isinstance(value, str) else strict_json.dumps(content))
        wrong = ((key, [why]) for key, item in content.items() if (why := _refused(key, item)))
        if errors := dict(islice(wrong, MOST_ERRORS)):
            raise ValidationError(errors)
        members = {key: _scalar(item) for key, item in content.items() if item is not None}
        return self._short(strict_json.dumps(members))

    def _short(self, text: str) -> str:
        if len(text) > 1024:
            raise self.make_error("length")
        return text

    def _object(self, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            try:
                value = strict_json.loads(value)
            except strict_json.InvalidJson as error:
                raise ValidationError(f"The text is unreadable: {error}.") from None
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value


def _is_plain(members: dict[str, Any]) -> bool:
    """Return whether all values are valid texts, and all keys allowed."""
    try:
        text = "".join([*members, *members.values()])
    except TypeError:
        return False
    reserved = not RESERVED_KEYS.isdisjoint(map(str.casefold, members))
    return not reserved and not strict_json.UNSTORABLE.search(text)


def _refused(key: str, value: Any) -> str | None:
    if key.casefold() in RESERVED_KEYS:
        return "Reserved by PutEvents."
    if isinstance(value, dict | list):
        return "Nested values are not possible: the API's map is of strings."
    if strict_json.UNSTORABLE.search(f"{key}{value}"):
        return "Holds U+0000 or a lone surrogate."
    if value in (float("inf"), float("-inf")):
        return "Not a finite number."
    return None


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else strict_json.dumps(value)
