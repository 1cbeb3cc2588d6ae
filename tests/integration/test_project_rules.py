"""The house keeps its own rules: format, lint, types, import contracts, and what is built."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
from marshmallow import Schema

from gateway.environment_schema import EnvironmentSchema
from gateway.sites import SiteSchema
from tests.helpers.support import ROOT
from tools import build_snippet

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    ["ruff format --check", "ruff check", "mypy", "lint-imports", "codespell"],
)
def test_the_tools_find_nothing(command: str) -> None:
    program, *options = command.split()
    run = subprocess.run([BIN / program, *options], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_built_snippet_is_the_source_minified() -> None:
    for path, script in build_snippet.built().items():
        assert path.read_bytes() == script, "run `make snippet`"


@pytest.mark.parametrize(("build", "budget"), [("pz.js", 4096), ("pz-core.js", 3186)])
def test_the_snippet_keeps_to_its_budget(build: str, budget: int) -> None:
    script = (ROOT / "static" / build).read_bytes()
    assert len(gzip.compress(script, 9)) <= budget


@pytest.mark.parametrize("schema", [EnvironmentSchema(), SiteSchema()], ids=repr)
def test_every_setting_is_in_the_reference_with_its_default(schema: Schema) -> None:
    text = (ROOT / "docs/settings.md").read_text()
    for name, field in schema.fields.items():
        [row] = [
            row for row in text.splitlines() if row.startswith(f"| `{field.data_key or name}`")
        ]
        default = field.load_default
        if isinstance(default, int) and default:
            assert f"| `{str(default).lower()}` |" in row


def test_the_reference_names_no_setting_that_does_not_exist() -> None:
    known = {item.data_key for item in EnvironmentSchema().fields.values()}
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        named = set(re.findall(r"GATEWAY_[A-Z_]+[A-Z]", document.read_text()))
        assert named - known <= {"GATEWAY_PORT", "GATEWAY_SERVICE"}, document


def test_the_documents_link_to_files_that_exist() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
