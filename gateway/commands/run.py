"""`make run`: everything at once on this machine, with a demo shop and, without AWS, a sandbox."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from gateway.commands.serve import gunicorn
from gateway.queues import QueueError
from gateway.queues.registry import find_queue
from gateway.sandbox import Sandbox
from gateway.settings import load
from gateway.strict_schema import SettingsError

SANDBOX_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
START_SECONDS = 30.0


def launch(port: int) -> int:
    """Run gunicorn and a sandbox until stopped. Raises SettingsError.

    The demo shop's events go to the sandbox; those of the sites file's own sites too where there is
    no AWS set-up.
    """
    _require_port(port)
    environ = {"GATEWAY_SECRET_KEY": secrets.token_hex(), **os.environ, "PORT": str(port)}
    inspector = _inspector(port, environ)
    environ["WEB_CONCURRENCY"] = "1"  # the demo shows what its one worker stored
    sites_file = Path(environ.get("GATEWAY_SITES", "sites.toml"))
    alone = "GATEWAY_SITES" not in environ and not sites_file.exists()
    aws = not alone and _has_aws(environ)
    with ExitStack() as cleanup:
        sandbox = _sandbox(port + 1)
        cleanup.callback(sandbox.stop)
        environ["GATEWAY_DEMO"] = sandbox.url
        if not aws:
            environ.update(SANDBOX_CREDENTIALS)
            environ["AWS_ENDPOINT_URL_PERSONALIZE_EVENTS"] = sandbox.url
        _require_queue(environ)
        welcome = _welcome(port, sandbox.url, inspector, _delivery(alone, aws))
        return _serve(port, environ, welcome)


def _inspector(port: int, environ: dict[str, str]) -> str:
    """Return the inspector's address; without a token in the environment, a link that logs in.

    The token of this run is behind the #, so browsers send it to no server; the page reads it.
    """
    address = f"http://127.0.0.1:{port}/inspect"
    if "GATEWAY_ADMIN_TOKEN" in environ:
        return address
    environ["GATEWAY_ADMIN_TOKEN"] = secrets.token_urlsafe(16)
    return f"{address}#token={environ['GATEWAY_ADMIN_TOKEN']}"


def _require_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SettingsError(f"PORT: {port}: {error.strerror}") from None
        except OverflowError:
            raise SettingsError(f"PORT: {port}: not from 0 to 65535") from None


def _require_queue(environ: Mapping[str, str]) -> None:
    try:
        find_queue(load(environ)).open_inbox().check()
    except QueueError as error:
        raise SettingsError(f"GATEWAY_QUEUE: the queue can't be kept here: {error}") from None


def _has_aws(environ: Mapping[str, str]) -> bool:
    import boto3

    return (
        "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS" in environ
        or boto3.Session().get_credentials() is not None
    )


def _sandbox(port: int) -> Sandbox:
    sandbox = Sandbox(port=port)
    try:
        sandbox.start()
    except (OSError, OverflowError):  # something else has that port, or there is none
        sandbox = Sandbox(port=0)
        sandbox.start()
    return sandbox


def _serve(port: int, environ: Mapping[str, str], welcome: str) -> int:
    command = gunicorn("--bind", f"127.0.0.1:{port}")
    server: subprocess.Popen[bytes] | None = None

    def end(which: int, _frame: object) -> None:
        if server:
            server.send_signal(signal.SIGINT if which == signal.SIGHUP else which)

    for which in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(which) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(which, end)
    # In a session of its own: a terminal that is closed says SIGHUP, to gunicorn a reload.
    server = subprocess.Popen(command, env=environ, start_new_session=True)
    try:
        if _answers(f"http://127.0.0.1:{port}/healthz", server):
            print(welcome, flush=True)
        return server.wait()
    finally:
        server.terminate()  # which does nothing where it has ended


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    """Return whether the server answers, once it does or has ended."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=1):  # noqa: S310 - our own address
                return True
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    return False


def _delivery(alone: bool, aws: bool) -> str:
    if alone:
        return "No sites file, so no AWS: delivering to the local PutEvents sandbox."
    if not aws:
        return "No AWS set-up: delivering to the local PutEvents sandbox."
    return "Delivering your sites' events to AWS, the demo shop's to the local PutEvents sandbox."


def _welcome(port: int, sandbox_url: str, inspector: str, delivery: str) -> str:
    lines = [
        "",
        f"Personalize Gateway is running. {delivery}",
        f"  Demo shop  http://127.0.0.1:{port}/demo/",
        f"  Inspector  {inspector}",
        f"  Sandbox    {sandbox_url}/",
        "Ctrl-C ends it.",
        "",
    ]
    return "\n".join(lines)
