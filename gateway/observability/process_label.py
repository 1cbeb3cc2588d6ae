"""Set the label under which a process counts its metrics, before `metrics` is imported."""

from __future__ import annotations

import os

from prometheus_client import values


def set_process_label(name: str) -> None:
    """Count in files of this name; the next process with the name continues them.

    prometheus-client names the files by process ID, so each process that dies would leave some.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        # The parameter is public. prometheus-client sets the class on import, without a parameter.
        values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]
