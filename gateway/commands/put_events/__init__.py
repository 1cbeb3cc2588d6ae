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
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from gateway.events import schemas

PROG = "personalize-gateway put-events"
HELP = f"To see help text, you can run:\n\n  {PROG} help"

# AWS CLI v2's documented return codes.
USAGE, CONFIGURATION, SERVICE, GENERAL, INTERRUPTED = 252, 253, 254, 255, 130

# AWS CLI's output options and their values: checked, but without effect.
SILENT = {
    "--output": "json text table yaml yaml-stream off",
    "--color": "on off auto",
    "--cli-binary-format": "base64 raw-in-base64-out",
}
# AWS CLI's options that are not supported, each with the reason.
UNSUPPORTED = {
    "--query": "PutEvents answers nothing that could be queried",
    "--cli-error-format": "errors come in the one format",
    "--cli-auto-prompt": "there are no prompts",
}


class CommandError(Exception):
    """End the command with an exit status and a message on stderr."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


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
    options = _parse(argv)
    if options.help:
        parents = [_global_parser(), _command_parser(argv)]
        argparse.ArgumentParser(PROG, parents=parents, add_help=False).print_help()
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
        raise _usage_error(str(error)) from None
    if options.enqueue and not options.generate_cli_skeleton:
        _refuse_aws_options(options)
        return _enqueue(_check(parameters, None))
    _check(parameters, shape.members["eventList"].metadata["max"])
    return _call(options, parameters)


def _usage_error(message: str) -> CommandError:
    return CommandError(USAGE, f"An error occurred (ParamValidation): {message}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _usage_error(f"{message}\n\n{HELP}")


class UnsupportedOption(argparse.Action):
    """An AWS CLI option that ends the command with the reason why it is not supported."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = self.option_strings[0]
        raise _usage_error(f"{name} is not supported here: {UNSUPPORTED[name]}.")


def _parse(argv: list[str]) -> argparse.Namespace:
    """Parse in two steps as AWS CLI does, so that abbreviations mean the same."""
    options, others = _global_parser().parse_known_args(argv)
    options.help = others in (["help"], ["--help"], ["-h"])
    if options.help:
        return options
    options, unknown = _command_parser(argv).parse_known_args(others, options)
    if unknown:
        raise _usage_error(f"Unknown options: {', '.join(unknown)}\n\n{HELP}")
    if options.endpoint_url is not None and not urlsplit(options.endpoint_url).scheme:
        raise _usage_error(f'Bad value for --endpoint-url "{options.endpoint_url}": no scheme.')
    return options


def _global_parser() -> _Parser:
    """Return a parser of AWS CLI's global options."""
    parser = _Parser(PROG, add_help=False)
    parser.add_argument("--debug", action="store_true", help="log what boto3 does")
    parser.add_argument("--endpoint-url", help="in place of the service's own")
    parser.add_argument("--region", help="in place of the environment's or the profile's")
    parser.add_argument("--profile", help="of AWS's configuration and credentials files")
    parser.add_argument("--no-sign-request", action="store_true", help="send no credentials")
    parser.add_argument("--no-verify-ssl", action="store_true", help="trust any certificate")
    parser.add_argument("--ca-bundle", help="a file of the certificates to trust")
    for name in ("--cli-read-timeout", "--cli-connect-timeout"):
        parser.add_argument(name, type=int, default=60, help="seconds; 0 waits forever")
    silent = parser.add_argument_group("accepted, though there is no output that they could shape")
    for name, choices in SILENT.items():
        silent.add_argument(name, choices=choices.split())
    for name in ("--no-paginate", "--no-cli-pager", "--no-cli-auto-prompt"):
        silent.add_argument(name, action="store_true")
    for name in UNSUPPORTED:
        parser.add_argument(name, action=UnsupportedOption, nargs="?", help=argparse.SUPPRESS)
    return parser


def _command_parser(argv: list[str]) -> _Parser:
    """Return a parser of the command's options; as in AWS CLI, only full names count as given."""
    needed = "--cli-input-json" not in argv and "--cli-input-yaml" not in argv
    if "--generate-cli-skeleton" in argv:
        value = argv[argv.index("--generate-cli-skeleton") + 1 :][:1]
        needed = needed and value == ["output"]
    parser = _Parser(PROG, add_help=False)
    parser.add_argument("--tracking-id", required=needed)
    parser.add_argument("--user-id")
    parser.add_argument("--session-id", required=needed)
    parser.add_argument("--event-list", required=needed, nargs="*", help="JSON or shorthand")
    for name in ("--cli-input-json", "--cli-input-yaml"):
        parser.add_argument(name, help="every parameter in one text, or file://…")
    parser.add_argument(
        "--generate-cli-skeleton",
        nargs="?",
        const="input",
        choices=("input", "yaml-input", "output"),
        help="send nothing; print an input to fill in, or only check this one (output)",
    )
    parser.add_argument("--enqueue", action="store_true", help="hand the events to the queue")
    return parser


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
    return _usage_error("\n".join(["The gateway's validation failed:", *_lines("", problems)]))


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
            raise _usage_error(f"--{name.replace('_', '-')} has no effect with --enqueue.")


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
