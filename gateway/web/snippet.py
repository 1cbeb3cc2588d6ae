"""The snippet's builds, each kept under its hash, and the tag that pins one in a site's pages."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape
from importlib.resources import files
from pathlib import Path

STATIC = Path(str(files("gateway") / "static"))
RELEASES = STATIC / "releases"  # a build once released stays here: pages pin it

STUB = "window.pz=window.pz||function(){(pz.q=pz.q||[]).push(arguments)}"


def pinned_name(stem: str, script: bytes) -> str:
    """The file name under which a build is never changed: `pz.0123456789ab.js`."""
    return f"{stem}.{hashlib.sha256(script).hexdigest()[:12]}.js"


def newest() -> Path:
    """The kept copy of static/pz.js."""
    return RELEASES / pinned_name("pz", (STATIC / "pz.js").read_bytes())


def integrity(script: bytes) -> str:
    """What a browser compares before it runs the script (Subresource Integrity)."""
    return f"sha384-{b64encode(hashlib.sha384(script).digest()).decode()}"


def stub_hash() -> str:
    """What a page's Content-Security-Policy names to let the stub run."""
    return f"sha256-{b64encode(hashlib.sha256(STUB.encode()).digest()).decode()}"


def tag(site: str, public_url: str) -> str:
    """HTML: the stub that keeps early calls, and the newest build under the gateway's address."""
    build = newest()
    source = escape(f"{public_url}/static/{build.name}")
    return (
        f"<script>{STUB}</script>\n"
        f'<script async src="{source}" data-site="{escape(site)}"\n'
        f'  integrity="{integrity(build.read_bytes())}" crossorigin="anonymous"></script>'
    )
