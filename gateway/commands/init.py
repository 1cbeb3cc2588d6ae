"""`init`: write a sites file and a `.env` to start from, and say what to do next."""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path
from typing import Any

from gateway.strict_schema import SettingsError

SITES = """\
# The sites whose pages may send events, a table each. Every key: docs/settings.md.
# "shop" is the site's key: in pages as data-site, in requests as trackingId.

[sites.shop]
# From CreateEventTracker; aws personalize list-event-trackers finds it.
tracking_id = "00000000-0000-0000-0000-000000000000"
# The origins of the pages, exactly as browsers send them; "https://*.example.com" for subdomains.
origins = ["https://shop.example.com", "http://localhost:3000"]
# Where the dataset group is.
region = "us-east-1"
# event_types = ["view", "purchase"]    # accept no others
# allow_missing_origin = true           # accept events that servers send
"""
ENVIRONMENT = """\
# Read by `personalize-gateway serve` and every command that runs in this folder; what the
# environment sets wins. Every setting: docs/settings.md.

# Signs the session cookies. Keep it secret, and the same on all machines of one gateway.
GATEWAY_SECRET_KEY={secret_key}

# The gateway's address as browsers see it, and how many reverse proxies stand in front.
# GATEWAY_PUBLIC_URL=https://events.example.com
# GATEWAY_TRUSTED_PROXIES=1

# Opens /metrics and /inspect to those who send this token.
# GATEWAY_ADMIN_TOKEN={admin_token}

# Without AWS: run `personalize-gateway sandbox`, and have events delivered to it.
# AWS_ENDPOINT_URL_PERSONALIZE_EVENTS=http://127.0.0.1:8001
# AWS_ACCESS_KEY_ID=sandbox
# AWS_SECRET_ACCESS_KEY=sandbox
"""
NEXT_STEPS = """\
Wrote sites.toml, and .env with a new secret key (mode 600). Next:

1. Put your tracking ID, your pages' origins and the region into sites.toml;
   `personalize-gateway check` says what is still missing.
2. Start it, where AWS credentials are to be had: personalize-gateway serve
3. Paste the tag into your pages: personalize-gateway snippet shop
"""


def add_command(commands: Any) -> None:
    """Declare the command."""
    init = commands.add_parser("init", help="write sites.toml and .env to start from")
    init.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    """Write both files, or neither where one is there already."""
    environment = ENVIRONMENT.format(
        secret_key=secrets.token_hex(), admin_token=secrets.token_urlsafe()
    )
    written: list[Path] = []
    try:
        for name, text, mode in (("sites.toml", SITES, 0o666), (".env", environment, 0o600)):
            _create(Path(name), text, mode, written)
    except OSError as error:
        for path in written:
            path.unlink()
        if isinstance(error, FileExistsError):
            raise SettingsError(f"{error.filename}: exists already; nothing was written") from None
        raise SettingsError(f"{error.filename}: {error.strerror}") from None
    print(NEXT_STEPS, end="")
    return 0


def _create(path: Path, text: str, mode: int, written: list[Path]) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    written.append(path)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
