"""Show a progress bar for long commands, on a terminal only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def bar(label: str, total: int | None) -> tqdm[Any]:
    """Return a bar on stderr, to be updated by events; a `total` of None means unknown."""
    from tqdm import tqdm

    return tqdm(None, label, total, leave=False, disable=None, delay=0.5)
