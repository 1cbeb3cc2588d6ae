"""Fixtures shared by the suite: real parts, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.app import create_app
from gateway.sandbox import Sandbox
from gateway.settings import Settings, load

from .support import Gateway, environment


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The suite's AWS."""
    with Sandbox(port=0) as sandbox:
        yield sandbox


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load(environ)


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def gateway(tmp_path: Path, environ: dict[str, str], sandbox: Sandbox) -> Iterator[Gateway]:
    """`gunicorn wsgi:app` as operators start it, delivering to the sandbox; not started yet."""
    served = Gateway(tmp_path, environ, sandbox)
    yield served
    served.stop()
