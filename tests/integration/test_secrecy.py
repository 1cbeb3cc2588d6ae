"""The watch over secrets sees what it should: a gateway that told one would fail its test."""

from __future__ import annotations

import subprocess
import sys

import pytest
import requests
from flask import Flask

from gateway.sandbox import Sandbox
from tests.helpers import secrecy
from tests.helpers.support import SECRET_KEY

TOKEN = "0123456789abcdef0123456789abcdef.1763880000.1763880000.mark.signature"
PRINT = "import sys; print(sys.argv[1], file=sys.stderr)"


@pytest.mark.parametrize("text", [SECRET_KEY, TOKEN, "python-requests/2.32", "x HeadlessChrome/1"])
def test_a_secret_in_a_log_or_an_output_is_found(text: str) -> None:
    with pytest.raises(AssertionError):
        secrecy.search_log(f"before\n{text} after", "the log")
    with pytest.raises(AssertionError):
        subprocess.run([sys.executable, "-c", PRINT, text], stderr=subprocess.PIPE)


@pytest.mark.parametrize("where", ["header", "body"])
def test_a_secret_in_an_answer_is_found(where: str) -> None:
    app = Flask(__name__)
    answer = ("", {"X": SECRET_KEY}) if where == "header" else SECRET_KEY
    app.add_url_rule("/", view_func=lambda: answer)
    with pytest.raises(AssertionError):
        app.test_client().get("/")


def test_a_secret_in_what_a_process_answers_is_found(sandbox: Sandbox) -> None:
    with pytest.raises(AssertionError):
        requests.get(sandbox.url, hooks={"response": tell}, timeout=5)


def tell(answer: requests.Response, **_: object) -> None:
    answer.headers["X"] = SECRET_KEY
