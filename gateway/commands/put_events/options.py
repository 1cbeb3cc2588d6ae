"""Parse the options of AWS CLI v2's `put-events`, in its two steps and with its messages."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn
from urllib.parse import urlsplit

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


def usage_error(message: str) -> CommandError:
    """Return the error of invalid options or parameters, worded like AWS CLI's."""
    return CommandError(USAGE, f"An error occurred (ParamValidation): {message}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise usage_error(f"{message}\n\n{HELP}")


class UnsupportedOption(argparse.Action):
    """An AWS CLI option that ends the command with the reason why it is not supported."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = self.option_strings[0]
        raise usage_error(f"{name} is not supported here: {UNSUPPORTED[name]}.")


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse in two steps as AWS CLI does, so that abbreviations mean the same."""
    options, others = _global_parser().parse_known_args(argv)
    options.help = others in (["help"], ["--help"], ["-h"])
    if options.help:
        return options
    options, unknown = _command_parser(argv).parse_known_args(others, options)
    if unknown:
        raise usage_error(f"Unknown options: {', '.join(unknown)}\n\n{HELP}")
    if options.endpoint_url is not None and not urlsplit(options.endpoint_url).scheme:
        raise usage_error(f'Bad value for --endpoint-url "{options.endpoint_url}": no scheme.')
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


def print_help(argv: list[str]) -> None:
    """Print all options."""
    parents = [_global_parser(), _command_parser(argv)]
    argparse.ArgumentParser(PROG, parents=parents, add_help=False).print_help()
