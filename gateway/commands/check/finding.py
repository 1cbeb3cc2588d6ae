"""The result of one check."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """A tick or a cross: what was checked, what was found, and what to do about it."""

    what: str
    ok: bool
    text: str
    remedy: str | None = None
