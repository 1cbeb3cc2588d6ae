"""PORT and WEB_CONCURRENCY, which gunicorn reads too: a wrong one ends in a line that names it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.support import ROOT


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        (["gunicorn", "wsgi:app"], "PORT", "abc"),
        (["gunicorn", "wsgi:app"], "WEB_CONCURRENCY", "0"),
        (["gateway", "serve"], "PORT", "abc"),
        (["gateway", "serve"], "WEB_CONCURRENCY", "abc"),
        (["gateway", "run"], "PORT", "abc"),
        (["gateway", "run"], "WEB_CONCURRENCY", "abc"),
    ],
)
def test_an_invalid_value_gives_a_one_line_error_that_names_it(
    environ: dict[str, str], command: list[str], name: str, value: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **environ, name: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    [line] = (ended.stdout + ended.stderr).splitlines()
    assert line.startswith(f"personalize-gateway: {name}: ")
