"""What a check found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """A tick or a cross: what it is about, what was found, and what to do (or, at a tick, mind)."""

    what: str
    ok: bool
    text: str
    remedy: str | None = None
