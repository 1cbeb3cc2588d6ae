"""`personalize-gateway sandbox`: the local stand-in for Amazon Personalize's PutEvents.

For any AWS SDK whose endpoint is set to it. It insists on a signature (of which it can check the
form only, having no secret), validates more strictly than boto3 does, keeps what it received for
`GET /requests` and a live page at `/`, and misbehaves on request (`PUT /faults`).
"""

from __future__ import annotations

import argparse
import sys

from gateway.sandbox.faults import Faults
from gateway.sandbox.stand_in import KEEP, Sandbox, serve

__all__ = ["Faults", "Sandbox", "add_arguments", "run", "serve"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=8001, help="port to listen on, 0 for any (%(default)s)")
    add("--tracking-id", action="append", default=[], metavar="ID",
        help="know only this tracking ID; may be repeated (all are known)")  # fmt: skip
    add("--keep", type=int, default=KEEP, metavar="N", help="calls to keep (%(default)s)")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="delay every answer")
    add("--throttle-rate", type=float, default=0.0, metavar="P",
        help="share of calls that get a ThrottlingException, 0 to 1")  # fmt: skip
    add("--error-rate", type=float, default=0.0, metavar="P",
        help="share of calls that get a server error, 0 to 1")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run the command until SIGTERM or SIGINT; return its exit status."""
    try:
        faults = Faults(
            latency=args.latency, throttle_rate=args.throttle_rate, error_rate=args.error_rate
        )
        serve(args.host, args.port, faults, args.tracking_id, args.keep, _announce)
    except (OSError, OverflowError, ValueError) as error:
        print(f"personalize-gateway sandbox: {error}", file=sys.stderr)
        return 1
    return 0


def _announce(url: str) -> None:
    print(
        f"PutEvents sandbox on {url}: point an SDK to it with "
        f"AWS_ENDPOINT_URL_PERSONALIZE_EVENTS={url}",
        flush=True,
    )
