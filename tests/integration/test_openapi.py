"""docs/openapi.json says what the gateway does: built from the schemas, held against a server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import create_app
from gateway.settings import Settings
from gateway.web.errors import TYPES
from tests.helpers.support import ROOT, SITES, Gateway, write_sites
from tools import openapi

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
CONFIGURATION = ROOT / "tests/helpers/schemathesis.toml"


def test_the_committed_document_is_what_the_schemas_say() -> None:
    assert openapi.DOCUMENT.read_text(encoding="utf-8") == openapi.text(), "run `make openapi`"


def test_every_route_is_in_the_document(settings: Settings) -> None:
    app = create_app(replace(settings, admin_token="token"))
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    documented = set(openapi.document()["paths"])
    assert routes == documented - {"/static/pz.js"}


def test_every_way_to_refuse_events_is_in_the_document() -> None:
    answers = openapi.document()["paths"]["/events"]["post"]["responses"]
    assert {str(status) for status in TYPES} - set(answers) == {
        "401",
        "500",
    }  # the admin token's, and what must never be


def test_a_running_gateway_answers_as_the_document_says(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No 5xx, no status, header or body that is not in it; what fits it and only that is taken."""
    allowed = SITES.replace("[sites.media]", "pixel = true\n\n[sites.media]")
    write_sites(Path(gateway.environ["GATEWAY_SITES"]), allowed)
    gateway.start()
    seed = os.environ.get("SOAK_SEED", "20180322")
    examples = "3000" if "SOAK_SECONDS" in os.environ else "100"
    command = [SCHEMATHESIS, "--config-file", CONFIGURATION, "run", openapi.DOCUMENT]
    options = ["--exclude-path-regex", "^/(inspect|metrics)"]  # see tests/browser/test_inspect.py
    options += ["--url", gateway.url, "--seed", seed, "--max-examples", examples]
    run = subprocess.run(
        [*command, *options],
        cwd=tmp_path,  # where it leaves its notes
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"seed {seed}\n{run.stdout}{run.stderr}"
    with capsys.disabled():
        tried = re.search(r"(\d+) generated", run.stdout)
        print(f"\nschemathesis: seed {seed}, {tried and tried[1]} requests")
    assert len(gateway.sandbox.events()) > 50, "part of the traffic is accepted"
