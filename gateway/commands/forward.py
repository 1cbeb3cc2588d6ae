"""`forward`: deliver the queue, beside gunicorn or by itself, until stopped."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from gateway.commands import progress
from gateway.observability import logs, process_label
from gateway.queues import Lease, QueueBackend
from gateway.queues.registry import find_queue
from gateway.strict_schema import SettingsError

if TYPE_CHECKING:
    from gateway.forwarder.forwarder import Forwarder

PARENT_SECONDS = 0.2  # between looks whether the parent lives
YIELDING = 5  # niceness: storing comes first, and calls fill up where there is a backlog
TURN_SECONDS = 0.5  # between looks whether the queue has become free

log = logging.getLogger(__name__)


def add_command(commands: Any) -> None:
    """Declare the command."""
    forward = commands.add_parser("forward", help="deliver the queue until stopped")
    forward.add_argument("--once", action="store_true", help="deliver what is there, then exit")
    forward.add_argument(
        "--beside", type=int, metavar="PID", help="stop when this parent process is gone"
    )
    forward.add_argument(
        "--metrics-port", type=int, metavar="N", help="answer /metrics and /healthz on this port"
    )
    forward.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Deliver; return the exit status."""
    if options.beside:
        process_label.set_process_label("forwarder")
        os.nice(YIELDING)
    _become_greenlets()
    logs.configure()
    from gateway.forwarder.delivery_recorder import DeliveryRecorder
    from gateway.forwarder.forwarder import Forwarder
    from gateway.forwarder.metrics_server import serve_metrics
    from gateway.forwarder.personalize import Personalize
    from gateway.observability.history import open_history
    from gateway.observability.redaction import Redactor
    from gateway.reload import ReloadableSettings

    reloadable = ReloadableSettings(os.environ)
    settings = reloadable.settings
    queue = find_queue(settings)
    lease, outbox = queue.open_outbox(once=options.once)
    history = open_history(settings, queue.history_path)
    recorder = DeliveryRecorder(queue, history, Redactor(settings.redact))
    forwarder = Forwarder(outbox, lease, Personalize(reloadable), reloadable, recorder)
    if options.metrics_port is not None:
        try:
            serve_metrics(options.metrics_port, queue, forwarder)
        except (OSError, OverflowError) as error:
            raise SettingsError(f"--metrics-port {options.metrics_port}: {error}") from None
    _obey_signals(forwarder)
    if options.beside:
        threading.Thread(target=_stop_with, args=[options.beside, forwarder], daemon=True).start()
    if options.once:
        return _once(queue, lease, forwarder)
    _wait_for_turn(lease, forwarder)
    forwarder.run()
    return 0


def _become_greenlets() -> None:
    """Make all threads greenlets from here on, as in the web end.

    Threads compete for the interpreter at every byte sent or received, which makes calls take
    half as long again. `select` is left alone: nothing that calls it waits.
    """
    from gevent import monkey

    monkey.patch_all(select=False)


def _obey_signals(forwarder: Forwarder) -> None:
    """Stop on SIGTERM and SIGINT, reload the sites file on SIGHUP."""

    def finish(*_signal: Any) -> None:
        forwarder.stop()

    def reload(*_signal: Any) -> None:
        forwarder.reload()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    signal.signal(signal.SIGHUP, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # the supervisor had it wait


def _once(queue: QueueBackend, lease: Lease, forwarder: Forwarder) -> int:
    if not lease.acquire():
        print("Another forwarder delivers this queue", file=sys.stderr)
        return 1
    with progress.bar("Delivering", queue.status().queued) as bar:
        forwarder.run_once(lambda settled: bar.update(settled - bar.n))
    left = queue.count_unsettled()
    print(f"{forwarder.settled} settled, {left} still queued")
    return int(left > 0)


def _stop_with(parent: int, forwarder: Forwarder) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    forwarder.stop()


def _wait_for_turn(lease: Lease, forwarder: Forwarder) -> None:
    """Return once the queue is ours, or we are to stop; log once that another forwarder has it."""
    is_logged = False
    while not forwarder.stopping and not lease.acquire():
        if not is_logged:
            log.info("Another forwarder delivers this queue; waiting for its turn")
            is_logged = True
        time.sleep(TURN_SECONDS)
