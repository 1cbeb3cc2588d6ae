"""Remove AWS credentials from a process that doesn't need them."""

from __future__ import annotations

import ctypes
import os

PREFIX = "AWS_"


def drop_credentials() -> None:
    """Remove every AWS variable from this process's environment, and from the kernel's copy.

    The environment that a process started with stays readable in /proc/self/environ, where anybody
    who can make the process read a file would look first, so the text is overwritten there.
    """
    texts = _addresses() if os.path.exists("/proc/self/environ") else []
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    for address, size in texts:
        ctypes.memset(address, 0, size)


def _addresses() -> list[tuple[int, int]]:
    """Return where the C library holds the variables' texts, and their lengths."""
    pointers = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    found = []
    index = 0
    while address := pointers[index]:
        text = ctypes.string_at(address)
        if text.startswith(PREFIX.encode()):
            found.append((address, len(text)))
        index += 1
    return found
