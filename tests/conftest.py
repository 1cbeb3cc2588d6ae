"""Fixtures shared by the suite: real parts, each in a folder of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.app import create_app
from gateway.sandbox import Sandbox
from gateway.settings import Settings, load
from tests.helpers import secrecy
from tests.helpers.support import Gateway, Start, Stored, environment, write_sites

secrecy.watch()

# They start first: a worker that met one of them last would be the only one left at work.
LONGEST_FILES = [
    "browser/test_snippet_delivery.py",
    "integration/test_sqs.py",
    "soak/test_conservation.py",
    "soak/test_conservation_sqs.py",
    "integration/test_conformance.py",
    "integration/test_disk_full.py",
    "browser/test_npm.py",
    "integration/test_damaged_file.py",
    "integration/test_queue_sqlite.py",
    "integration/test_packaging.py",
    "integration/test_serving.py",
    "browser/test_demo.py",
    "integration/test_project_rules.py",
    "integration/test_readiness.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, in this order, then the others as they were."""
    ranks = {f"tests/{name}": rank for rank, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """A test that tells a secret fails, whatever it tests."""
    report = yield
    try:
        secrecy.search_report(item, report)
    except AssertionError as error:
        report.outcome, report.longrepr = "failed", str(error)
    return report


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
def start(environ: dict[str, str]) -> Start:
    """A gateway with other settings than the suite's usual ones, or other sites."""

    def started(sites: str = "", **changes: str) -> FlaskClient:
        if sites:
            write_sites(Path(environ["GATEWAY_SITES"]), sites)
        return create_app(load({**environ, **changes})).test_client()

    return started


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """The records in the queue's file, oldest first."""

    def read() -> list[dict[str, Any]]:
        path = tmp_path / "queue.db"
        if not path.is_file():
            return []
        with closing(sqlite3.connect(path)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM queue ORDER BY id")]

    return read


@pytest.fixture
def gateway(tmp_path: Path, environ: dict[str, str], sandbox: Sandbox) -> Iterator[Gateway]:
    """`gunicorn wsgi:app` as operators start it, delivering to the sandbox; not started yet."""
    served = Gateway(tmp_path, environ, sandbox)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def running_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests of a module that need no settings of their own."""
    folder = tmp_path_factory.mktemp("gateway")
    with Sandbox(port=0) as sandbox:
        gateway = Gateway(folder, environment(folder), sandbox)
        try:
            yield gateway.start()
        finally:
            gateway.stop()
