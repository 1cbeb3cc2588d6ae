"""Whether a secret is one: neither a placeholder nor short enough to be guessed."""

from __future__ import annotations

import re

NEW_SECRET = "python3 -c 'import secrets; print(secrets.token_hex())'"  # noqa: S105 - a command
DISTINCT = 8  # characters: fewer are a pattern; 32 random hexadecimal digits have more

# Parts of examples, compared without case and punctuation.
PLACEHOLDERS = (
    "changeme",
    "changethis",
    "example",
    "insecure",
    "password",
    "placeholder",
    "replaceme",
    "replacethis",
    "yourkey",
    "yoursecret",
    "yourtoken",
)


def weakness(secret: str, shortest: int) -> str | None:
    """Return why this is no secret, without telling it, or None; `shortest` is in characters."""
    letters = re.sub(r"[\W_]", "", secret).lower()
    if any(word in letters for word in PLACEHOLDERS):
        return "is a placeholder"
    if len(secret) < shortest:
        return f"has {len(secret)} characters, of {shortest} at least"
    if len(set(secret)) < DISTINCT:
        return f"consists of only {len(set(secret))} different characters"
    return None
