"""The faults that the sandbox can simulate, to test callers against them."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

A_DAY = 86_400


class Fate(enum.Enum):
    """What happens to one call before its content is read."""

    NONE = enum.auto()
    HANG = enum.auto()
    CUT_BEFORE = enum.auto()
    CUT_AFTER = enum.auto()
    THROTTLE = enum.auto()
    INTERNAL_ERROR = enum.auto()
    UNAVAILABLE = enum.auto()


@dataclass(frozen=True)
class Faults:
    """The faults in force; none by default. Rates are probabilities from 0 to 1."""

    latency: float = 0.0
    """Seconds by which every answer is delayed."""
    throttle_rate: float = 0.0
    """ThrottlingException."""
    error_rate: float = 0.0
    """InternalServerException (500) or ServiceUnavailable (503)."""
    hang_rate: float = 0.0
    """Probability that a call is neither recorded nor answered."""
    cut_rate: float = 0.0
    """Probability that the connection is cut, before or after the call is recorded."""
    refuse_item_ids: tuple[str, ...] = ()
    """InvalidInputException for a call with any of these items."""
    refuse_tracking_ids: tuple[str, ...] = ()
    """InvalidInputException about the tracking ID."""
    access_denied_tracking_ids: tuple[str, ...] = ()
    """AccessDeniedException."""
    retry_after: int | None = None
    """Seconds for the Retry-After header of throttled calls and server errors."""
    seed: int | None = None
    """Seed that makes random faults repeatable."""

    def __post_init__(self) -> None:
        """Raise ValueError that names a value out of range."""
        for name, (is_valid, expected) in _EXPECTED.items():
            if not is_valid(getattr(self, name)):
                raise ValueError(f"{name} must be {expected}")

    @classmethod
    def from_json(cls, value: Any) -> Faults:
        """Return the faults of a JSON object; missing ones are off. Raises ValueError."""
        if not isinstance(value, dict):
            raise ValueError("faults must be a JSON object")
        names = [field.name for field in fields(cls)]
        for name in value:
            if name not in names:
                raise ValueError(f"unknown fault {name!r}: known are {', '.join(names)}")
        values: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in value.items()
        }
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the faults as a JSON object."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def fate(self, dice: random.Random) -> Fate:
        """Draw what happens to the next call."""
        for rate, fates in (
            (self.hang_rate, (Fate.HANG,)),
            (self.cut_rate, (Fate.CUT_BEFORE, Fate.CUT_AFTER)),
            (self.throttle_rate, (Fate.THROTTLE,)),
            (self.error_rate, (Fate.INTERNAL_ERROR, Fate.UNAVAILABLE)),
        ):
            if dice.random() < rate:
                return dice.choice(fates)
        return Fate.NONE


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= A_DAY


def _is_rate(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(text, str) for text in value)


def _is_whole(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _is_delay(value: Any) -> bool:
    return _is_whole(value) and (value is None or value >= 0)


_RATE = (_is_rate, "a number from 0 to 1")
_TEXTS = (_is_texts, "a tuple of texts (in JSON a list)")
_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "latency": (_is_seconds, f"a number of seconds from 0 to {A_DAY}"),
    "throttle_rate": _RATE,
    "error_rate": _RATE,
    "hang_rate": _RATE,
    "cut_rate": _RATE,
    "refuse_item_ids": _TEXTS,
    "refuse_tracking_ids": _TEXTS,
    "access_denied_tracking_ids": _TEXTS,
    "retry_after": (_is_delay, "a whole number of seconds, 0 or more, or null"),
    "seed": (_is_whole, "a whole number or null"),
}
