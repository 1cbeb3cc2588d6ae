"""`types`: TypeScript types of a site's events, which narrow the snippet's calls."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from typing import Any

from gateway.events.dataset_schema import EVENT_COLUMNS, Column, parse_columns
from gateway.settings import Settings, load
from gateway.sites import Site
from gateway.strict_schema import SettingsError

# Avro's types in TypeScript.
TYPES = {
    "string": "string",
    "boolean": "boolean",
    **dict.fromkeys(("int", "long", "float", "double"), "number"),
    "null": "null",
}


def add_command(commands: Any) -> None:
    """Declare the command."""
    types = commands.add_parser("types", help="TypeScript types of a site's events")
    types.add_argument("site", metavar="SITE", help="the site's key in the sites file")
    types.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    settings = load(os.environ)
    site = settings.site(options.site)
    print(declaration(site.key, site.event_types, _columns(settings, site)))
    return 0


def _columns(settings: Settings, site: Site) -> list[Column] | None:
    if site.schema is None:
        return None
    path = settings.sites_file.parent / site.schema
    try:
        return parse_columns(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"[sites.{site.key}]: schema: {path}: {reason}") from None


def declaration(site: str, event_types: Iterable[str], columns: list[Column] | None) -> str:
    """Return the interface `PzEvents` with each event type; any type where none are listed."""
    properties = "PzProperties" if columns is None else _object(columns)
    names = [json.dumps(name) for name in sorted(event_types)] or ["[eventType: string]"]
    return "\n".join(
        [
            f"// Printed by `personalize-gateway types {site}`.",
            "interface PzEvents {",
            *(f"  {name}: {properties};" for name in names),
            "}",
        ]
    )


def _object(columns: list[Column]) -> str:
    """Return an object type: a key for each column that properties fill."""
    members = [
        f"{column.property_key}{'?' if 'null' in column.types else ''}: {_type(column)}"
        for column in columns
        if column.name not in EVENT_COLUMNS
    ]
    return f"{{ {'; '.join(members)} }}" if members else "Record<string, never>"


def _type(column: Column) -> str:
    return " | ".join(dict.fromkeys(TYPES[name] for name in TYPES if name in column.types))
