"""`personalize-gateway`: the operator's commands. What a command needs is imported in it alone."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

from gateway import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    _prepare_output()
    arguments = list(sys.argv[1:] if argv is None else argv)
    from gateway.commands.env_file import load_env_file
    from gateway.strict_schema import SettingsError

    try:
        if "--beside" not in arguments:  # gunicorn's forwarder has the settings that gunicorn has
            load_env_file()
    except SettingsError as error:
        return _failed(error)
    if arguments[:1] == ["put-events"]:  # its options are AWS CLI's, and so is its parser
        from gateway.commands import put_events

        return put_events.main(arguments[1:])
    from gateway.queues import QueueError

    if unreadable := [
        argument for argument in arguments if argument.encode(errors="ignore").decode() != argument
    ]:
        return _failed(f"an argument is no text: {unreadable[0]}")
    options = _parser(arguments[:1]).parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except (SettingsError, QueueError) as error:
        return _failed(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `… | head` has seen enough
        _print_no_more()
        return 141
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _print_no_more()
        return _failed(error)
    return status


def _prepare_output() -> None:
    """Print to nobody where it is closed (`>&-`), and what it has no letters for in ASCII."""
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _failed(error: Exception | str) -> int:
    sys.stderr.write(f"personalize-gateway: {error}\n")  # in one piece: the log has a thread
    return 1


def _print_no_more() -> None:
    """Python would flush the rest at its end, to nobody or a full disk."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(command: list[str]) -> argparse.ArgumentParser:
    from gateway.commands import (
        check,
        dead_letters,
        forget,
        forward,
        init,
        queue,
        report,
        serve,
        trace,
        typescript,
    )

    parser = argparse.ArgumentParser(
        prog="personalize-gateway", description="Event-collection gateway for Amazon Personalize"
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init.add_command(commands)
    serve.add_command(commands)
    forward.add_command(commands)
    queue.add_command(commands)
    dead_letters.add_command(commands)
    check.add_command(commands)
    trace.add_command(commands)
    report.add_command(commands)
    forget.add_command(commands)
    typescript.add_command(commands)

    _add_snippet(commands)
    sandbox = commands.add_parser("sandbox", help="a local stand-in for PutEvents")
    if command == ["sandbox"]:
        from gateway import sandbox as stand_in

        stand_in.add_arguments(sandbox)
        sandbox.set_defaults(run=stand_in.run)

    demo = commands.add_parser("run", help="everything at once, with the demo shop")
    demo.add_argument("--port", type=int, help="the environment's PORT, or 8000, by default")
    demo.set_defaults(run=_run)

    commands.add_parser("put-events", help="AWS CLI's put-events, with the same options")
    return parser


def _add_snippet(commands: Any) -> None:
    snippet = commands.add_parser("snippet", help="the tag to paste into a site's pages")
    snippet.add_argument("site", metavar="SITE", help="the site's key in the sites file")
    help_ = "track it: page, click, impression, media"
    snippet.add_argument("--auto", nargs="+", default=[], metavar="WHAT", help=help_)
    snippet.set_defaults(run=_snippet)


def _snippet(options: argparse.Namespace) -> int:
    from gateway.settings import load
    from gateway.strict_schema import SettingsError
    from gateway.web.snippet import AUTOMATIC, tag

    settings = load(os.environ)
    site = settings.site(options.site)
    automatic = " ".join(options.auto).replace(",", " ").split()
    if unknown := set(automatic) - set(AUTOMATIC):
        raise SettingsError(f"--auto knows {', '.join(AUTOMATIC)}, and not {min(unknown)!r}")
    print(tag(site.key, settings.public_url, automatic))
    return 0


def _run(options: argparse.Namespace) -> int:
    from gateway.commands.run import launch
    from gateway.settings import server_settings

    return launch(server_settings(os.environ)[0] if options.port is None else options.port)


if __name__ == "__main__":
    sys.exit(main())
