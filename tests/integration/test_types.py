"""`personalize-gateway types`: TypeScript of a site's events, from the sites file and its schema.

That TypeScript reads it so is shown in test_npm.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.events.dataset_schema import parse_columns
from tests.helpers.support import ROOT, SITES, write_sites

FIELDS = [
    {"name": "USER_ID", "type": "string"},
    {"name": "ITEM_ID", "type": "string"},
    {"name": "EVENT_TYPE", "type": "string"},
    {"name": "EVENT_VALUE", "type": ["float", "null"]},
    {"name": "IMPRESSION", "type": "string"},
    {"name": "TIMESTAMP", "type": "long"},
    {"name": "COLOUR", "type": ["null", "string"], "categorical": True},
    {"name": "BASKET_SIZE", "type": "int"},
    {"name": "GIFT", "type": ["boolean", "double", "long"]},
]


def printed(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, keys: str, schema: Any = None
) -> int:
    """Run the command for a site with these keys; its exit status."""
    sites = Path(environ["GATEWAY_SITES"])
    write_sites(sites, SITES.replace("[sites.media]", f"{keys}\n[sites.media]"))
    if schema is not None:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        (sites.parent / "interactions.json").write_text(text)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir("/")  # the schema's path is relative to the sites file
    return main(["types", "shop"])


@pytest.mark.parametrize(
    ("keys", "schema", "members"),
    [
        ("", None, ["[eventType: string]: PzProperties;"]),
        (
            'event_types = ["view", "add \\"it\\""]',
            None,
            ['"add \\"it\\"": PzProperties;', '"view": PzProperties;'],
        ),
        (
            'event_types = ["view"]\nschema = "interactions.json"',
            {"type": "record", "fields": FIELDS},
            ['"view": { colour?: string | null; basketSize: number; gift: boolean | number };'],
        ),
        (
            'schema = "interactions.json"',
            {"type": "record", "fields": FIELDS[:6]},
            ["[eventType: string]: Record<string, never>;"],
        ),
    ],
    ids=["any", "event types", "both", "schema"],
)
def test_types_has_the_sites_event_types_and_properties(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keys: str,
    schema: Any,
    members: list[str],
) -> None:
    assert printed(environ, monkeypatch, keys, schema) == 0
    assert capsys.readouterr().out.splitlines() == [
        "// Printed by `personalize-gateway types shop`.",
        "interface PzEvents {",
        *(f"  {member}" for member in members),
        "}",
    ]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (None, "No such file or directory"),
        ("{", "not JSON"),
        ("[]", 'not an Avro schema: it has no list "fields"'),
        ({"fields": [{"type": "int"}]}, 'a field without a proper name: {"type":"int"}'),
        ({"fields": [{"name": "A B", "type": "int"}]}, "a field without a proper name"),
        ({"fields": [{"name": "A", "type": {"type": "array"}}]}, "A: its type"),
        ({"fields": [{"name": "A", "type": []}]}, "A: its type [] is none of boolean, double"),
    ],
)
def test_a_schema_that_cannot_be_read_is_one_line(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    schema: Any,
    problem: str,
) -> None:
    assert printed(environ, monkeypatch, 'schema = "interactions.json"', schema) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "[sites.shop]: schema: " in line
    assert problem in line


def test_a_site_that_does_not_exist_is_one_line(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["types", "nowhere"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_documented_schema_has_columns() -> None:
    path = ROOT / "docs/interactions.json"
    names = [column.name for column in parse_columns(path.read_bytes())]
    assert names == ["USER_ID", "ITEM_ID", "EVENT_TYPE", "TIMESTAMP"]
