"""Set the label under which a process counts its metrics, before `metrics` is imported."""

from __future__ import annotations

import os

from prometheus_client import values


def set_process_label(name: str) -> None:
    """Count in files of this name; the next process with the name continues them.

    prometheus-client names the files by process ID, so each process that dies would leave some.
    During an upgrade of gunicorn by SIGUSR2 the processes of the old master count as well, so those
    of the new one have its process ID in their names.
    """
    label = f"{name}-{os.getppid()}" if "GUNICORN_PID" in os.environ else name
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        # The parameter is public. prometheus-client sets the class on import, without a parameter.
        values.ValueClass = values.MultiProcessValue(lambda: label)  # type: ignore[no-untyped-call]
