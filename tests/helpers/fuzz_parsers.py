"""Fuzz the parsers of untrusted input: `python -m tests.helpers.fuzz_parsers`.

Takes libFuzzer's options, such as `-seed=1 -runs=1000`. A process of its own: it ends as atheris
likes, and its instrumentation would slow down other tests.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl, quote

import atheris
from werkzeug.datastructures import MultiDict

with atheris.instrument_imports(include=["gateway"]):
    from gateway import origins
    from gateway.events import schemas, strict_json
    from gateway.web import pixel, rate_limits
    from gateway.web.session_lifetime import Lifetime, Session
    from gateway.web.sessions import Sessions

from tests.helpers.hostile_inputs import JSONS, TEXTS
from tests.helpers.malformed_http import Attacker
from tests.helpers.support import ORIGIN

NOW = 1_763_880_000.0
OWN = origins.pattern([ORIGIN, "https://*.shop.example.org", "http://[::1]:8000"])
SESSIONS = Sessions("shop", ["newer", "older"], Lifetime(30))
GOOD = Session("0" * 32, int(NOW), int(NOW))


def read_body(data: bytes) -> None:
    """What is accepted is accepted again as it is; all else raises InvalidRequest."""
    try:
        request = schemas.read_request(data)
    except schemas.InvalidRequest:
        return
    accepted, errors = schemas.accept_events(
        request, event_types=(), now=NOW, new_id=lambda: "an-id"
    )
    assert len(accepted) + len(errors) == len(request.event_list)
    for item in accepted:
        assert len(item.text.encode()) <= schemas.EVENT_BYTES
        values = json.loads(item.text)
        again = schemas.accept_event(values, (), now=NOW, shift=0.0, new_id=str)
        assert json.loads(again.text) == values


def read_json(data: bytes) -> None:
    """What is read can be written and read again; all else raises InvalidJson."""
    try:
        value = strict_json.loads(data)
    except strict_json.InvalidJson:
        return
    if not re.search(r"\binf\b", shown := repr(value)):  # 1e999 is one to Python
        assert repr(strict_json.loads(strict_json.dumps(value))) == shown


def read_token(data: bytes) -> None:
    """No token stands for a session that was not signed."""
    assert SESSIONS.read(data.decode("latin-1")) in (None, GOOD)


def match_origin(data: bytes) -> None:
    """No origin but a site's own is let in."""
    origin = data.decode("latin-1")
    if OWN.match(origin):
        assert origin in (ORIGIN, "http://[::1]:8000") or origin.endswith(".shop.example.org")
        assert origins.normalise(origin) == origin


def read_pixel(data: bytes) -> None:
    """An address says nothing of a user; what is no view in it raises InvalidRequest."""
    query = MultiDict(parse_qsl(data.decode("latin-1"), keep_blank_values=True))
    try:
        request = pixel.read_query(query)
    except schemas.InvalidRequest:
        return
    assert (request.user_id, request.session_id, request.session) == (None, None, None)
    assert not {"properties", "eventValue", "sentAt"} & request.event_list[0].keys()


def count_address(data: bytes) -> None:
    """Whatever a proxy says of an address, it is counted as something."""
    assert isinstance(rate_limits.network(data.decode("latin-1")), str)


ROOMS = [read_body, read_json, read_token, match_origin, count_address, read_pixel]


def one_input(data: bytes) -> None:
    """The first byte chooses the room."""
    if data:
        ROOMS[data[0] % len(ROOMS)](data[1:])


def write_seeds(folder: Path) -> None:
    """Where the search begins: what is valid, and what is known to be nasty."""
    texts = [text.encode("utf-8", "surrogatepass") for text in TEXTS]
    bodies = [Attacker(number).body() for number in range(100)]
    seeds = [
        *(b"\0" + body for body in [*JSONS, *bodies]),
        *(b"\1" + body for body in [*JSONS, *bodies]),
        *(b"\2" + token for token in [SESSIONS.sign(GOOD).encode(), *texts]),
        *(b"\5trackingId=shop&eventType=view&itemId=" + quote(t).encode() for t in texts),
        *(b"\4" + address for address in [b"::ffff:10.0.0.1", b"2001:db8::1%eth0", *texts]),
        *(b"\3" + ORIGIN.encode() + text for text in [b"", *texts]),
    ]
    for number, seed in enumerate(seeds):
        (folder / str(number)).write_bytes(seed)
    names = [
        *schemas.RequestSchema().fields,
        *schemas.EventSchema().fields,
        "eventAttributionSource",
    ]
    pieces = [f'\\"{name}\\":' for name in names] + ["\\\\ud800", "e999", "null", "[{", "}]"]
    (folder / "words.dict").write_text("".join(f'"{piece}"\n' for piece in pieces))


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        write_seeds(Path(name))
        options = ["-max_len=8192", f"-dict={name}/words.dict", f"-artifact_prefix={name}/", name]
        atheris.Setup([*sys.argv, *options], one_input)
        atheris.Fuzz()
