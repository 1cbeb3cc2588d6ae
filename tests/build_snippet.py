"""`make snippet`: what pages load, built from static/*.src.js, compressed and kept under its hash.

A build that was committed is neither changed nor removed any more: pages pin its URL.
"""

from __future__ import annotations

from pathlib import Path

import minify
from whitenoise.compress import Compressor

from gateway.snippet import RELEASES, STATIC, pinned_name


def built() -> dict[Path, bytes]:
    """What the sources amount to, by the file that it belongs in."""
    source = (STATIC / "pz.src.js").read_text(encoding="utf-8")
    script = minify.string("application/javascript", source).encode()
    return {STATIC / "pz.js": script, RELEASES / pinned_name("pz", script): script}


def main() -> None:
    RELEASES.mkdir(exist_ok=True)
    for path, script in built().items():
        path.write_bytes(script)
        if path.parent == RELEASES:
            Compressor(quiet=True).compress(str(path))


if __name__ == "__main__":
    main()
