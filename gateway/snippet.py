"""The tag that a site pastes into its pages."""

from __future__ import annotations

from html import escape

STUB = "window.pz=window.pz||function(){(pz.q=pz.q||[]).push(arguments)}"


def tag(site: str, public_url: str) -> str:
    """HTML: the stub that keeps early calls, and the script, under the gateway's address."""
    source = escape(f"{public_url}/static/pz.js")
    return (
        f"<script>{STUB}</script>\n"
        f'<script async src="{source}" data-site="{escape(site)}"></script>'
    )
