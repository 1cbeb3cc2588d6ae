"""The name that a process counts under: to be given before `metrics` is loaded."""

from __future__ import annotations

import os

from prometheus_client import values


def set_process_label(name: str) -> None:
    """Count in files of this name; who bears it next counts on in them.

    Files by process ID, which are prometheus-client's way, would be left by each process that dies.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]
