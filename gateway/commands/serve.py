"""`serve`: gunicorn with the gateway's configuration, from any folder."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.resources import files
from typing import Any, NoReturn

from gateway.settings import server_settings


def add_command(commands: Any) -> None:
    """Declare the command."""
    serve = commands.add_parser(
        "serve",
        help="accept events and deliver them: gunicorn with our configuration",
        usage="personalize-gateway serve [-- GUNICORN OPTIONS]",
    )
    serve.add_argument("options", nargs="*", metavar="OPTION", help="gunicorn's, after --")
    serve.set_defaults(run=run)


def run(options: argparse.Namespace) -> NoReturn:
    """Become gunicorn, so that signals reach its master. Raises SettingsError."""
    server_settings(os.environ)  # before gunicorn, which reads them as it is imported
    command = gunicorn(*options.options)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def gunicorn(*options: str) -> list[str]:
    """Return the command that starts gunicorn with our configuration and these options."""
    config = str(files("gateway") / "gunicorn.conf.py")
    # Not `-m gunicorn`: the new master of SIGUSR2 runs the module as a file, and beside gunicorn's
    # __main__.py its package `http` hides Python's.
    return [sys.executable, "-m", "gunicorn.app.wsgiapp", "--config", config, *options]
