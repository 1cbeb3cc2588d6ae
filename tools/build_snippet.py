"""`make snippet`: what pages load, built from static/*.src.js, compressed and kept under its hash.

A build that was released is neither changed nor removed any more: pages pin its URL.
"""

from __future__ import annotations

import re
from pathlib import Path

import minify
from whitenoise.compress import Compressor

from gateway.web.snippet import RELEASES, STATIC, pinned_name

NUMBER = re.compile(r"^ +const ([A-Z_]+) = ([\d.e]+);.*\n", re.MULTILINE)
NOTHING = re.compile(r"(?!)")
AUTOMATIC = re.compile(r"^ *// <auto>\n.*?^ *// </auto>\n", re.MULTILINE | re.DOTALL)


def built() -> dict[Path, bytes]:
    """Return the builds of all sources, by file."""
    media = _minified("pz-media")
    pinned = pinned_name("pz-media", media)
    # A pinned pz.<hash>.js loads the media file that belongs to it.
    script = _minified("pz").replace(b"pz-media.js", pinned.encode())
    core = _minified("pz", without=AUTOMATIC)
    return {
        STATIC / "pz.js": script,
        RELEASES / pinned_name("pz", script): script,
        STATIC / "pz-core.js": core,
        RELEASES / pinned_name("pz-core", core): core,
        STATIC / "pz-media.js": media,
        RELEASES / pinned: media,
    }


def _minified(stem: str, without: re.Pattern[str] = NOTHING) -> bytes:
    source = without.sub("", (STATIC / f"{stem}.src.js").read_text(encoding="utf-8"))
    # The minifier leaves named numbers named.
    numbers = dict(NUMBER.findall(source))
    source = re.sub(
        r"\b[A-Z_]+\b", lambda name: numbers.get(name[0], name[0]), NUMBER.sub("", source)
    )
    # One word for all declarations compresses better.
    source = re.sub(r"\bconst\b", "let", source)
    return minify.string("application/javascript", source).encode()


def main() -> None:
    """Write the builds."""
    RELEASES.mkdir(exist_ok=True)
    for path, script in built().items():
        path.write_bytes(script)
        if path.parent == RELEASES:
            Compressor(quiet=True).compress(str(path))


if __name__ == "__main__":
    main()
