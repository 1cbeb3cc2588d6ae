"""Takes AWS's credentials away from a process that has no business with them."""

from __future__ import annotations

import ctypes
import os

PREFIX = "AWS_"


def drop_credentials() -> None:
    """Remove every AWS variable from this process's environment, and from the kernel's copy.

    What a process was started with stays readable in /proc/self/environ, the first file that
    anybody asks for who has found a way to read files: so there the text is blanked.
    """
    texts = _addresses() if os.path.exists("/proc/self/environ") else []
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    for address, size in texts:
        ctypes.memset(address, 0, size)


def _addresses() -> list[tuple[int, int]]:
    """Where the C library has their texts, and how long they are."""
    pointers = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    found = []
    index = 0
    while address := pointers[index]:
        text = ctypes.string_at(address)
        if text.startswith(PREFIX.encode()):
            found.append((address, len(text)))
        index += 1
    return found
