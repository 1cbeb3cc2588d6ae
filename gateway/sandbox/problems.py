"""Word what is wrong with a request as AWS does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.sandbox.errors import ApiError

PROBLEMS_TOLD = 10  # in one message


@dataclass
class Report:
    """The problems found in one request."""

    problems: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    """Problems that the model allows but AWS reports, if there are no others."""
    ignored: list[str] = field(default_factory=list)

    def add(self, path: str, value: str, constraint: str) -> None:
        """Add that the value at a path fails a constraint."""
        if len(self.problems) < PROBLEMS_TOLD:
            self.problems.append(
                f"Value{value} at '{path}' failed to satisfy constraint: Member must {constraint}"
            )

    def add_null(self, path: str) -> None:
        """Add that a required value is missing."""
        self.add(path, " null", "not be null")

    def message(self) -> str:
        """Return all problems in one sentence, in AWS's wording."""
        count = len(self.problems)
        errors = "error" if count == 1 else "errors"
        return f"{count} validation {errors} detected: {'; '.join(self.problems)}"


def unexpected(value: Any, expected: str, path: str) -> ApiError:
    """Return the error for a value of another type than the model expects at a path."""
    position = f" at '{path}'" if path else ""
    match value:
        case dict():
            found = "Start of structure or map found where not expected"
        case list():
            found = "Start of list found where not expected"
        case _:
            found = f"{_token(value)} can not be converted to a {expected}"
    return ApiError("SerializationException", found + position)


def _token(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    return "STRING_VALUE" if isinstance(value, str) else "NUMBER_VALUE"
