"""`personalize-gateway put-events`: AWS CLI v2's `aws personalize-events put-events`.

Options, precedence, exit statuses and requests are AWS CLI's. Beyond that, the request must be one
that the gateway would take. boto3 is imported only for a call.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.commands.put_events.options import (
    CONFIGURATION,
    GENERAL,
    INTERRUPTED,
    PROG,
    SERVICE,
    CommandError,
    parse,
    print_help,
    usage_error,
)

if TYPE_CHECKING:
    from gateway.events import schemas


def main(argv: list[str]) -> int:
    """Run the command with its own arguments; return the exit status."""
    try:
        return _run(argv)
    except CommandError as error:
        status, message = error.status, str(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        status, message = GENERAL, str(error) or type(error).__name__
    print(f"\n{PROG}: [ERROR]: {message}", file=sys.stderr)
    return status


def _run(argv: list[str]) -> int:
    options = parse(argv)
    if options.help:
        print_help(argv)
        return 0
    if options.debug:
        logging.basicConfig(level=logging.DEBUG)
    from gateway.commands.put_events import skeletons

    shape = skeletons.put_events_input()
    try:
        parameters = skeletons.parameters(vars(options), shape)
        if skeleton := skeletons.WRITERS.get(options.generate_cli_skeleton):
            sys.stdout.write(skeleton(shape))
            return 0
        parameters = skeletons.checked(parameters, shape)
    except skeletons.ParameterError as error:
        raise usage_error(str(error)) from None
    if options.enqueue and not options.generate_cli_skeleton:
        _refuse_aws_options(options)
        return _enqueue(_check(parameters, None))
    _check(parameters, shape.members["eventList"].metadata["max"])
    return _call(options, parameters)


def _check(parameters: dict[str, Any], most: int | None) -> schemas.Request:
    """Check as `POST /events` would, but that at most so many events fit in one call.

    None: any number, for the queue, which checks each event itself.
    """
    from gateway.events import schemas

    try:
        request = _read(parameters)
    except schemas.InvalidRequest as error:
        raise _refused(error.errors or {"_schema": [str(error)]}) from None
    problems: dict[Any, Any] = {}
    if most is not None:
        _, errors = schemas.accept_events(
            request, event_types=(), now=time.time(), new_id=lambda: "new"
        )
        problems = {"eventList": errors} if errors else {}
        if len(request.event_list) > most:
            problems["eventList"] = [f"Longer than {most}, the most that one call may carry."]
    if request.session_id is None:
        problems["sessionId"] = ["A placeholder, not an ID."]
    if request.anonymised:
        problems["userId"] = ["A placeholder, not an ID: leave it out for an unknown visitor."]
    if problems:
        raise _refused(problems)
    return request


def _read(parameters: dict[str, Any]) -> schemas.Request:
    """Return the request as several, if it has more events than one may hold."""
    from gateway.events import schemas

    events, most = parameters["eventList"], schemas.EVENTS_A_REQUEST
    requests = [
        schemas.read_request(
            json.dumps({**parameters, "eventList": events[start : start + most]}).encode()
        )
        for start in range(0, len(events) or 1, most)
    ]
    return replace(
        requests[0], event_list=[event for request in requests for event in request.event_list]
    )


def _refused(problems: dict[Any, Any]) -> CommandError:
    return usage_error("\n".join(["The gateway's validation failed:", *_lines("", problems)]))


def _lines(path: str, problems: Any) -> Iterator[str]:
    """Yield a line for each invalid member, such as `eventList[0].itemId: …`."""
    if not isinstance(problems, dict):
        yield f"{path}: {' '.join(problems)}".removeprefix(": ")
        return
    for name, inner in problems.items():
        key = f"[{name}]" if isinstance(name, int) else f".{name}"
        yield from _lines(path if name == "_schema" else f"{path}{key}".strip("."), inner)


def _refuse_aws_options(options: argparse.Namespace) -> None:
    """Reject options that --enqueue would ignore: the environment configures the queue."""
    for name in ("endpoint_url", "region", "profile", "no_sign_request", "no_verify_ssl"):
        if getattr(options, name):
            raise usage_error(f"--{name.replace('_', '-')} has no effect with --enqueue.")


def _enqueue(request: schemas.Request) -> int:
    """Put the events into the queue; they are durable when this returns."""
    from gateway.commands.put_events.enqueue import enqueue
    from gateway.events import schemas
    from gateway.strict_schema import SettingsError

    try:
        enqueue(request, os.environ)
    except schemas.InvalidRequest as error:
        raise _refused(error.errors) from None
    except SettingsError as error:
        raise CommandError(CONFIGURATION, str(error)) from None
    return 0


def _call(options: argparse.Namespace, parameters: dict[str, Any]) -> int:
    """Send the request. For the skeleton `output` only make the client, as AWS CLI does."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError

    settings = {
        "connect_timeout": options.cli_connect_timeout or None,  # None makes botocore wait forever
        "read_timeout": options.cli_read_timeout or None,
    }
    if options.no_sign_request:
        settings["signature_version"] = UNSIGNED
    try:
        client = boto3.Session(profile_name=options.profile or None).client(
            "personalize-events",
            # AWS CLI v2 knows AWS_REGION; boto3 does not.
            region_name=options.region or os.environ.get("AWS_REGION") or None,
            endpoint_url=options.endpoint_url,
            verify=False if options.no_verify_ssl else options.ca_bundle,
            config=Config(**settings),
        )
        if not options.generate_cli_skeleton:
            client.put_events(**parameters)
    except (NoCredentialsError, NoRegionError) as error:
        name = type(error).__name__.removesuffix("Error")
        raise CommandError(CONFIGURATION, f"An error occurred ({name}): {error}") from None
    except ClientError as error:
        raise CommandError(SERVICE, str(error)) from None
    return 0
