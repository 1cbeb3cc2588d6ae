"""Run blocking calls in native threads, so that they don't stall a gevent worker's loop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_in_threadpool(function: Callable[..., Result], *args: Any) -> Result:
    """Call a function in gevent's native thread pool under gevent, else directly.

    Under gevent a `threading.Thread` is a greenlet too, and a call into SQLite stalls them all.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return function(*args)
    import gevent

    def outcome() -> tuple[Result | None, BaseException | None]:
        """Return an exception instead of raising it: gevent would print its traceback."""
        try:
            return function(*args), None
        except BaseException as error:
            return None, error

    result, error = gevent.get_hub().threadpool.apply(outcome)
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]
