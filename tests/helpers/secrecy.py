"""Each secret of the suite bears a mark; all that is logged and answered is searched for it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

MARK = "not-to-be-told"
# Logs have no session tokens and no user agents either.
PRIVATE = re.compile(
    rf"{MARK}|[0-9a-f]{{32}}\.\d{{10}}\.\d{{10}}\.|python-requests/|HeadlessChrome"
)


def search_answer(headers: Iterable[tuple[str, str]], body: bytes, where: str) -> None:
    """Fail where an answer tells a secret."""
    assert MARK.encode() not in body, f"a secret is in the answer to {where}"
    told = [name for name, value in headers if MARK in value]
    assert not told, f"a secret is in the headers {told} of the answer to {where}"


def search_log(text: str, where: str) -> None:
    """Fail where a log or an output tells a secret, or of a visitor."""
    found = PRIVATE.search(text)
    assert not found, f"{found and found[0]!r} is in {where}"


class Client(FlaskClient):
    """The test client of every application in this process."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        answer = super().open(*args, **kwargs)
        body = answer.get_data() if answer.content_length else b""  # not of an endless stream
        search_answer(answer.headers, body, answer.request.path)
        return answer


def watch() -> None:
    """Search all answers to this process, and what the programs that it runs print."""
    Flask.test_client_class = Client
    send, communicate = requests.Session.send, subprocess.Popen.communicate

    def sent(self: requests.Session, request: Any, **options: Any) -> requests.Response:
        answer = send(self, request, **options)
        body = b"" if options.get("stream") else answer.content
        search_answer(answer.headers.items(), body, request.path_url)
        return answer

    def communicated(self: Any, *args: Any, **kwargs: Any) -> Any:
        printed = communicate(self, *args, **kwargs)
        for text in filter(None, printed):
            search_log(text if isinstance(text, str) else text.decode("latin-1"), str(self.args))
        return printed

    requests.Session.send = sent  # type: ignore[method-assign]
    subprocess.Popen.communicate = communicated  # type: ignore[method-assign]


def search_report(item: pytest.Item, report: pytest.TestReport) -> None:
    """Fail where the test, or a process whose log is in its folder, has told something."""
    for title, text in report.sections:
        search_log(text, title)
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    for log in Path(folder).glob("*.log") if folder else ():
        search_log(log.read_text(errors="replace"), log.name)
