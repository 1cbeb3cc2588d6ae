"""Find the snippet's builds, each kept under its hash, and print the tag that pins one."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path

STATIC = Path(str(files("gateway") / "static"))
RELEASES = STATIC / "releases"  # released builds stay here: pages pin them

WHOLE, CORE = "pz", "pz-core"  # builds: with all of data-auto, and with nothing automatic
AUTOMATIC = ("page", "click", "impression", "media")  # what data-auto may have

STUB = "window.pz=window.pz||function(){(pz.q=pz.q||[]).push(arguments)}"


def pinned_name(stem: str, script: bytes) -> str:
    """Return the file name of a build that never changes: `pz.0123456789ab.js`."""
    return f"{stem}.{hashlib.sha256(script).hexdigest()[:12]}.js"


def newest(stem: str = WHOLE) -> Path:
    """Return the pinned copy of static/pz.js, or of another build."""
    return RELEASES / pinned_name(stem, (STATIC / f"{stem}.js").read_bytes())


def integrity(script: bytes) -> str:
    """Return a script's hash for Subresource Integrity."""
    return f"sha384-{b64encode(hashlib.sha384(script).digest()).decode()}"


def stub_hash() -> str:
    """Return the stub's hash, for a page's Content-Security-Policy."""
    return f"sha256-{b64encode(hashlib.sha256(STUB.encode()).digest()).decode()}"


def tag(site: str, public_url: str, auto: Iterable[str] = ()) -> str:
    """Return the HTML to paste: the stub for early calls, and the smallest build that serves."""
    automatic = escape(" ".join(auto))
    build = newest(WHOLE if automatic else CORE)
    attributes = f' data-auto="{automatic}"' if automatic else ""
    source = escape(f"{public_url}/static/{build.name}")
    return (
        f"<script>{STUB}</script>\n"
        f'<script async src="{source}" data-site="{escape(site)}"{attributes}\n'
        f'  integrity="{integrity(build.read_bytes())}" crossorigin="anonymous"></script>'
    )
