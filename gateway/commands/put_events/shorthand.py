"""Parse AWS CLI's shorthand for structures: `key=value,list=a,b,nested={k=v},more=[x,y]`.

Where the grammar leaves room for doubt, the text is read as AWS CLI reads it, oddities included.
Pure: what `key@=file://…` names is read by a function that is passed in.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Any

_KEY = re.compile(r"[A-Za-z0-9\-_.#/:]*")
_QUOTED = {
    "'": re.compile(r"'(?:\\'|[^'])*'"),
    '"': re.compile(r'"(?:\\"|[^"])*"'),
}
# What unquoted text may not hold: quotes, commas, most control characters, all beyond U+FFFF.
_NEVER = r"\"',\x00-\x08\x0e-\x1b\U00010000-\U0010ffff"
_START = rf"(?:\\,|[^=\[{{\x00-\x20{_NEVER}])"
# The first value after `key=` may hold `=`, and ends at a closing bracket; later ones, the reverse.
_FIRST = re.compile(rf"{_START}(?:\\,|[^\]}}{_NEVER}])*")
_LATER = re.compile(rf"{_START}(?:\\,|[^={_NEVER}])*")

_NUMBERS: dict[str, Callable[[Any], float]] = {
    "float": float,
    "double": float,
    "integer": int,
    "long": int,
}


class ShorthandError(ValueError):
    """The text is not valid shorthand; the message points to the place."""


def parse(text: str, read: Callable[[str], Any] = lambda value: value) -> dict[str, Any]:
    """Parse one structure; scalars stay text. `read` resolves the values of `key@=`."""
    try:
        return _Parser(text, read).structure()
    except RecursionError:
        raise ShorthandError("Nested too deeply") from None


def convert(value: Any, shape: Any) -> Any:
    """Convert parsed values to the model's shape: numbers, and lists of single values."""
    if shape.type_name == "structure" and isinstance(value, dict):
        known = shape.members
        return {k: convert(v, known[k]) if k in known else v for k, v in value.items()}
    if shape.type_name == "list":
        members = value if isinstance(value, list) else [value]
        return [convert(member, shape.member) for member in members]
    if number := _NUMBERS.get(shape.type_name):
        try:
            return number(value)
        except (TypeError, ValueError, OverflowError):
            raise ShorthandError(f"Not a number: {value!r}") from None
    return value


class _Parser:
    """A recursive-descent parser of one text; `at` is the next character's index."""

    def __init__(self, text: str, read: Callable[[str], Any]) -> None:
        self.text = text
        self.read = read
        self.at = 0
        self.from_files = False

    def structure(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while True:
            start = self.at
            key = self._key()
            value = self._value()
            if key in members:
                raise ShorthandError(
                    f'Second instance of key "{key}" encountered for input:\n{self._point(start)}\n'
                    'Often a "," stands where a space should part two events.'
                )
            members[key] = value
            if self._ended():
                return members
            self._expect(",")

    def _key(self) -> str:
        match = _KEY.match(self.text, self.at)
        key = match.group() if match else ""
        self.at += len(key)
        self._skip()
        self.from_files = self._peek() == "@"
        if self.from_files:
            self.at += 1
        self._expect("=")
        return key

    def _value(self) -> Any:
        """Parse a value after `key=` at the outermost level."""
        return self._bracketed() if self._peek() in ("[", "{") else self._csv()

    def _bracketed(self) -> Any:
        """Parse a value inside brackets, where a comma always ends it."""
        match self._peek():
            case "[":
                return self._list()
            case "{":
                return self._object()
        return self._scalar(_FIRST) or ""

    def _list(self) -> list[Any]:
        self._expect("[")
        values = []
        while self._peek() != "]":
            values.append(self._bracketed())
            self._separate("]")
        self.at += 1
        return values

    def _object(self) -> dict[str, Any]:
        self._expect("{")
        members = {}
        while self._peek() != "}":
            key = self._key()
            members[key] = self._bracketed()
            self._separate("}")
        self.at += 1
        return members

    def _csv(self) -> Any:
        """Parse `a` or `a,b,c`; what looks like a further value may be the next key."""
        values = [self._scalar(_FIRST) or ""]
        self._skip()
        while self._peek() == ",":
            self._expect(",")
            value = self._scalar(_LATER)
            if value is not None:
                self._skip()
            if value is None or self._peek() not in ("", ","):
                if self._ended():
                    self._fail("<value>")
                self.at = self.text.rindex(",", 0, self.at + 1)
                break
            values.append(value)
        return values if len(values) > 1 else values[0]

    def _scalar(self, word: re.Pattern[str]) -> Any:
        """Parse a quoted text or a word, or read it from a file; None if there is neither."""
        quote = self._peek()
        match = _QUOTED.get(quote, word).match(self.text, self.at)
        if match is None:
            if quote in _QUOTED and word is _FIRST:
                self._fail(f"closing {quote}")
            return None
        self.at = match.end()
        if quote in _QUOTED:
            value = match.group()[1:-1].replace(f"\\{quote}", quote).replace("\\\\", "\\")
        else:
            value = match.group().replace("\\,", ",").rstrip()
        return self.read(value) if self.from_files else value

    def _separate(self, closing: str) -> None:
        self._skip()
        if self._peek() != closing:
            self._expect(",")

    def _expect(self, char: str) -> None:
        self._skip()
        if self._peek() != char:
            self._fail(char)
        self.at += 1
        self._skip()

    def _skip(self) -> None:
        while not self._ended() and self.text[self.at] in string.whitespace:
            self.at += 1

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _ended(self) -> bool:
        return self.at >= len(self.text)

    def _fail(self, expected: str) -> None:
        raise ShorthandError(
            f"Expected: '{expected}', received: '{self._peek() or 'EOF'}' "
            f"for input:\n{self._point(self.at)}"
        )

    def _point(self, at: int) -> str:
        """Return the text with a caret under the character at `at`."""
        newline = self.text.find("\n", at)
        end = len(self.text) if newline < 0 else newline
        column = at - self.text.rfind("\n", 0, at) - 1
        return f"{self.text[:end]}\n{' ' * column}^{self.text[end:]}"
