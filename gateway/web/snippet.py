"""Find the snippet's builds, each kept under its hash, and print the tag that pins one."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape
from importlib.resources import files
from pathlib import Path

STATIC = Path(str(files("gateway") / "static"))
RELEASES = STATIC / "releases"  # released builds stay here: pages pin them

STUB = "window.pz=window.pz||function(){(pz.q=pz.q||[]).push(arguments)}"


def pinned_name(stem: str, script: bytes) -> str:
    """Return the file name of a build that never changes: `pz.0123456789ab.js`."""
    return f"{stem}.{hashlib.sha256(script).hexdigest()[:12]}.js"


def newest() -> Path:
    """Return the pinned copy of static/pz.js."""
    return RELEASES / pinned_name("pz", (STATIC / "pz.js").read_bytes())


def integrity(script: bytes) -> str:
    """Return a script's hash for Subresource Integrity."""
    return f"sha384-{b64encode(hashlib.sha384(script).digest()).decode()}"


def stub_hash() -> str:
    """Return the stub's hash, for a page's Content-Security-Policy."""
    return f"sha256-{b64encode(hashlib.sha256(STUB.encode()).digest()).decode()}"


def tag(site: str, public_url: str) -> str:
    """Return the HTML to paste: the stub that queues early calls, and the pinned newest build."""
    build = newest()
    source = escape(f"{public_url}/static/{build.name}")
    return (
        f"<script>{STUB}</script>\n"
        f'<script async src="{source}" data-site="{escape(site)}"\n'
        f'  integrity="{integrity(build.read_bytes())}" crossorigin="anonymous"></script>'
    )
