"""Requests that no client should send, made from a seed: bytes, framing, HTTP, JSON and texts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests.helpers.hostile_inputs import CHUNKS, FRAMINGS, HEADERS, JSONS, LINES, TEXTS, VALUES
from tests.helpers.support import ORIGIN, beacon

POST = b"POST /events HTTP/1.1"
ROUTES = [
    *[POST] * 6,
    b"OPTIONS /events HTTP/1.1",
    b"GET /static/pz.js HTTP/1.1",
    b"GET /pixel.gif?trackingId=shop&eventType=view HTTP/1.1",
    b"GET /metrics HTTP/1.1",
    b"GET /inspect HTTP/1.1",
    b"POST /inspect HTTP/1.1",
]
WHOLE = {
    "eventType": "view",
    "itemId": "i",
    "impression": ["i"],
    "sentAt": 1763880000,
    "eventValue": 1,
    "recommendationId": "r",
}
MORE = {
    "userId": "u",
    "sessionId": "s",
    "signature": "00",
    "clientTime": 1763880000,
    "session": "x.1.1..y",
    "reset": False,
}
PIECES = [b"\0", b"\r", b"\n", b"\r\n", b"\xff", b'"', b" ", b":"]


class Attacker:
    """Makes one malformed request after the other; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ways: list[Callable[[], bytes]] = [
            self._nasty_event, self._nasty_event, self._nasty_json, self._nasty_header,
            self._nasty_framing, self._nasty_chunks, self._nasty_line, self._nasty_pixel,
            self._mutated, self._noise, self._pipeline,
        ]  # fmt: skip

    def request(self) -> bytes:
        """The bytes of one connection."""
        return self._one_of(self._ways)()

    def _one_of(self, choices: list[Any]) -> Any:
        return self._random.choice(choices)

    def _http(self, body: bytes, *headers: bytes, line: bytes = POST, sized: bool = True) -> bytes:
        length = [b"Content-Length: %d" % len(body)] if sized else []
        origin = f"Origin: {ORIGIN}".encode()
        return b"\r\n".join([line, b"Host: x", origin, *length, *headers, b"", body])

    def _json(self, value: Any) -> bytes:
        text = json.dumps(value, ensure_ascii=self._one_of([True, False]))
        return text.encode("utf-8", "surrogatepass")

    def _beacon(self) -> dict[str, Any]:
        """A valid one, with all members in its event."""
        item = {**WHOLE, "eventId": f"{self._random.getrandbits(64):x}", "properties": {"a": "b"}}
        item["metricAttribution"] = {"eventAttributionSource": "s"}
        more = {name: value for name, value in MORE.items() if self._random.random() < 0.5}
        return beacon(item, **more)

    def body(self) -> bytes:
        """A beacon some of whose members are replaced, renamed or added."""
        body = self._beacon()
        [item] = body["eventList"]
        objects = [body, item, item["properties"], item["metricAttribution"]]
        for _ in range(self._random.randint(1, 3)):
            target = self._one_of(objects)
            name = self._one_of([*target, *target, self._one_of(TEXTS)])
            target[name] = self._one_of(self._one_of([VALUES, TEXTS]))
        return self._json(body)

    def _nasty_event(self) -> bytes:
        return self._http(self.body())

    def _nasty_json(self) -> bytes:
        return self._http(self._one_of(JSONS))

    def _nasty_header(self) -> bytes:
        name, text = self._one_of(HEADERS), self._one_of(TEXTS)
        value = self._one_of([text, ORIGIN + text, f"pz_sid_shop={text}", f"127.0.0.1, {text}"])
        raw = f"{name}: {value}".encode("utf-8", "surrogatepass")
        return self._http(self._json(self._beacon()), raw, line=self._one_of(ROUTES))

    def _nasty_framing(self) -> bytes:
        headers = [self._one_of(FRAMINGS) for _ in range(self._random.randint(1, 3))]
        sized = self._one_of([True, False])
        return self._http(b"abcde", *headers, sized=sized, line=self._one_of(ROUTES))

    def _nasty_chunks(self) -> bytes:
        body = self._one_of(CHUNKS) + self._one_of(CHUNKS)
        return self._http(body, b"Transfer-Encoding: chunked", sized=False)

    def _nasty_line(self) -> bytes:
        return self._http(b"{}", line=self._one_of(LINES))

    def _nasty_pixel(self) -> bytes:
        query = {"trackingId": "shop", "eventType": "view", "itemId": "i", "impression": "i,j"}
        for _ in range(self._random.randint(1, 2)):
            query[self._one_of([*query, *query, self._one_of(TEXTS)])] = self._one_of(TEXTS)
        line = f"GET /pixel.gif?{urlencode(query, errors='surrogatepass')} HTTP/1.1"
        return self._http(b"", line=line.encode())

    def _mutated(self) -> bytes:
        """A valid request with some bytes flipped, cut out, doubled or put in."""
        raw = bytearray(self._http(self._json(self._beacon())))
        for _ in range(self._random.randint(1, 6)):
            at = self._random.randrange(len(raw))
            upto = at + self._random.randint(1, 20)
            match self._random.randrange(4):
                case 0:
                    raw[at] ^= 1 << self._random.randrange(8)
                case 1:
                    del raw[at:upto]
                case 2:
                    raw[at:at] = raw[at:upto]
                case 3:
                    raw[at:at] = self._one_of(
                        [b"\0", b"\r", b"\n", b"\r\n", b"\xff", b'"', b" ", b":"]
                    )
            if not raw:
                break
        return bytes(raw)

    def _noise(self) -> bytes:
        return self._random.randbytes(self._random.randint(1, 3000))

    def _pipeline(self) -> bytes:
        ways = [way for way in self._ways if way != self._pipeline]
        return b"".join(self._one_of(ways)() for _ in range(self._random.randint(2, 4)))
