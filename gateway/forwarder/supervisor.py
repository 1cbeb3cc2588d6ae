"""One forwarder beside gunicorn: restarted when it dies, ended when gunicorn's master ends.

Nothing here but a word in the log relies on the child's exit status, which gunicorn's master may
reap first, and nothing on a pipe, which a worker forked at the wrong moment would inherit and hold
open. The forwarder is told its parent's process ID, and ends when it has another parent.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

LONGEST_PAUSE = 30.0  # seconds between restarts of a forwarder that keeps dying at once
LONG_ENOUGH = 10.0  # seconds of life after which a death counts as the first
STOP_SECONDS = 25.0  # to finish what is in flight

log = logging.getLogger("gunicorn.error")  # the master's own


class Supervisor:
    """Keeps one forwarder process running, from a thread of gunicorn's master."""

    def __init__(self, environ: Callable[[], Mapping[str, str]]) -> None:
        """`environ()` is what the forwarder's environment has beyond the master's."""
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="supervisor", daemon=True)
        # A worker forked while Popen is at work inherits the pipe on which Popen waits for the
        # child's exec, and so makes it wait for ever. They take turns.
        self._forking = threading.Lock()
        os.register_at_fork(
            before=self._forking.acquire,
            after_in_parent=self._forking.release,
            after_in_child=self._forking.release,
        )

    def start(self) -> None:
        """Start the forwarder, and again whenever it dies."""
        self._thread.start()

    def reload(self) -> None:
        """Let the forwarder read the sites file again."""
        self._signal(signal.SIGHUP)

    def stop(self) -> None:
        """Let the forwarder finish what is in flight, and end."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(which)

    def _keep(self) -> None:
        # Inherited: a forwarder that can't yet handle this signal, which would end it, waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        command = [sys.executable, "-m", "gateway", "forward", "--beside", str(os.getpid())]
        pause = 0.0
        while not self._stopping.wait(pause):
            started = time.monotonic()
            try:
                how = self._run(command)
            except OSError as error:  # no memory, no disk, or an upgrade is replacing Python
                how = str(error)
            if self._stopping.is_set():
                return
            lived = time.monotonic() - started
            pause = 0.5 if lived > LONG_ENOUGH else min(LONGEST_PAUSE, max(0.5, pause * 2))
            log.error(
                "The forwarder died after %.0f s (%s); restarting in %.1f s", lived, how, pause
            )

    def _run(self, command: list[str]) -> str:
        """Run it until it ends; how it did."""
        with self._forking:
            self._process = subprocess.Popen(
                command, env={**os.environ, **self._environ()}, process_group=0
            )
        if self._stopping.is_set():  # while there was nothing to terminate
            self._process.terminate()
        code = self._process.wait()  # returns as well when gunicorn has reaped it: with 0
        signals = {-number: number.name for number in signal.Signals}
        return signals.get(code, f"exit status {code or '0 or not known'}")
