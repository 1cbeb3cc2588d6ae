"""The application as it is served, which also tells what its worker process has at hand."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from wsgi import app as gateway


def app(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/probe":
        return gateway(environ, start_response)
    started_with = Path("/proc/self/environ").read_text().strip("\0")
    found = {
        "environ": list(os.environ),
        "started_with": [text.partition("=")[0] for text in started_with.split("\0")],
        "knows_the_key": "AWS-KEY-OF-THE-TEST" in started_with + repr(os.environ),
        "modules": list(sys.modules),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
