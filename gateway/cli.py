"""`personalize-gateway`: the operator's commands. What a command needs is imported in it alone."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway import __version__

if TYPE_CHECKING:
    from gateway.forwarder import Forwarder
    from gateway.queues import Lease

PARENT_SECONDS = 0.2  # between looks whether the parent lives
TURN_SECONDS = 0.5  # between looks whether the queue has become free


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["put-events"]:  # its options are AWS CLI's, and so is its parser
        from gateway import put_events

        return put_events.main(arguments[1:])
    from gateway.queues import QueueError
    from gateway.strict_schema import SettingsError

    options = _parser(arguments[:1]).parse_args(arguments)
    try:
        status: int = options.run(options)
    except (SettingsError, QueueError) as error:
        print(f"personalize-gateway: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser(command: list[str]) -> argparse.ArgumentParser:
    from gateway import check, operate, trace

    parser = argparse.ArgumentParser(
        prog="personalize-gateway", description="Event-collection gateway for Amazon Personalize"
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    forward = commands.add_parser("forward", help="deliver the queue until stopped")
    forward.add_argument("--once", action="store_true", help="deliver what is there, then exit")
    forward.add_argument(
        "--beside", type=int, metavar="PID", help="stop when this parent process is gone"
    )
    forward.add_argument(
        "--metrics-port", type=int, metavar="N", help="answer /metrics and /healthz on this port"
    )
    forward.set_defaults(run=_forward)

    operate.add_commands(commands)
    check.add_command(commands)
    trace.add_command(commands)

    snippet = commands.add_parser("snippet", help="the tag to paste into a site's pages")
    snippet.add_argument("site", metavar="SITE", help="the site's key in the sites file")
    snippet.set_defaults(run=_snippet)

    sandbox = commands.add_parser("sandbox", help="a local stand-in for PutEvents")
    if command == ["sandbox"]:
        from gateway import sandbox as stand_in

        stand_in.add_arguments(sandbox)
        sandbox.set_defaults(run=stand_in.run)

    demo = commands.add_parser("run", help="everything at once, with the demo shop")
    demo.add_argument("--port", type=int, default=8000)
    demo.set_defaults(run=_run)

    commands.add_parser("put-events", help="AWS CLI's put-events, with the same options")
    return parser


def _forward(options: argparse.Namespace) -> int:
    from gateway import logs, processes

    if options.beside:
        processes.count_as("forwarder")
    from gateway import metering, metrics
    from gateway.forwarder import Forwarder
    from gateway.personalize import Personalize
    from gateway.queues.urls import open_outbox, queue_status
    from gateway.redact import Redactor
    from gateway.settings import load
    from gateway.trail import open_trail

    logs.configure()
    settings = load(os.environ)
    lease, outbox = open_outbox(settings, once=options.once)
    trail, redactor = open_trail(settings), Redactor(settings.redact)
    pulse = metering.Pulse(settings, lease.report, trail)
    if options.metrics_port is not None:
        metering.serve(options.metrics_port, pulse)
    rates = {site.key: site.calls_per_second for site in settings.sites.values()}
    forwarder = Forwarder(
        metering.Settling(outbox, trail),
        metering.Sending(Personalize(settings.sites).send, trail, redactor),
        max_age=settings.max_age,
        calls_per_second=lambda site: rates.get(site, float("inf")),
        report=pulse.report,
        paced=metrics.PACED.observe,
    )

    def finish(*_signal: object) -> None:
        forwarder.stop()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    if options.beside:
        threading.Thread(target=_stop_with, args=[options.beside, forwarder], daemon=True).start()
    if options.once and not lease.acquire():
        print("Another forwarder delivers this queue", file=sys.stderr)
        return 1
    if not options.once:
        _wait_for_turn(lease, forwarder)
        forwarder.run()
        return 0
    forwarder.run_once()
    left = queue_status(settings).queued
    if left:
        print(f"{left} events are still queued", file=sys.stderr)
    return int(left > 0)


def _stop_with(parent: int, forwarder: Forwarder) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    forwarder.stop()


def _wait_for_turn(lease: Lease, forwarder: Forwarder) -> None:
    """Return once the queue is ours, or we are to stop; say once that another one has it."""
    said = False
    while not forwarder.stopping and not lease.acquire():
        if not said:
            print("Another forwarder delivers this queue; waiting for its turn", file=sys.stderr)
            said = True
        time.sleep(TURN_SECONDS)


def _snippet(options: argparse.Namespace) -> int:
    from gateway.settings import load
    from gateway.snippet import tag
    from gateway.strict_schema import SettingsError

    settings = load(os.environ)
    if options.site not in settings.sites:
        raise SettingsError(f"no [sites.{options.site}] in the sites file")
    print(tag(options.site, settings.public_url))
    return 0


def _run(options: argparse.Namespace) -> int:
    from gateway.launch import launch

    return launch(options.port)


if __name__ == "__main__":
    sys.exit(main())
