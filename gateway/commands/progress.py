"""A bar for what takes a while, on a terminal; elsewhere the command's last line has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def bar(what: str, total: int | None) -> tqdm[Any]:
    """On stderr, to be updated as events are done with; `total` None: nobody knows."""
    from tqdm import tqdm

    return tqdm(None, what, total, leave=False, disable=None, delay=0.5)
