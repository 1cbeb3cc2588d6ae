"""Serve `/static/`, the snippet and its builds, precompressed and to pages of any origin."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from wsgiref.headers import Headers
from wsgiref.types import WSGIApplication

from whitenoise import WhiteNoise

from gateway.web.snippet import CORE, RELEASES, STATIC, WHOLE, newest

PINNED = re.compile(r"/static/[\w-]+\.[0-9a-f]{12}\.js")
YEAR = 365 * 24 * 60 * 60
SHORT = 5 * 60  # seconds for which an unpinned script is cached


def in_front_of(app: WSGIApplication) -> WhiteNoise:
    """Return the application behind the static files, which are looked up once, now."""
    files = WhiteNoise(app, max_age=SHORT, add_headers_function=_headers)
    files.add_files(STATIC, "static")
    files.add_files(RELEASES, "static")
    # The pinned copies, which an upgrade does not overwrite while the server runs.
    for stem in WHOLE, CORE:
        files.add_file_to_dictionary(f"/static/{stem}.js", str(newest(stem)))
    return files


def _headers(headers: Headers, path: str, url: str) -> None:
    if PINNED.fullmatch(url):
        headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    # Of the content, not of the file's time, which differs between machines and is the same in
    # reproducible images. Weak, because all encodings share it, and so do proxies that compress.
    headers["ETag"] = f'W/"{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"'
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if path.endswith(".html"):  # as pages, they are served elsewhere
        headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    headers["X-Content-Type-Options"] = "nosniff"
