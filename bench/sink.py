"""PutEvents at the cost of next to nothing: takes what it is sent, and notes when it came.

    python -m bench.sink PORT [DELAY]

DELAY is in milliseconds.

Not the sandbox, which checks signatures and every member, at several times the cost of the call.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
EVENT_ID = re.compile(rb'"eventId": ?"([^"]+)"')


class Arrivals:
    """What came since somebody asked: calls, events, the times of the first and the last."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, list[str]]] = []

    def note(self, body: bytes) -> None:
        self.calls.append((time.time(), [found.decode() for found in EVENT_ID.findall(body)]))

    def summary(self) -> bytes:
        calls, self.calls = self.calls, []
        return json.dumps(
            {
                "calls": len(calls),
                "events": sum(len(ids) for _, ids in calls),
                "seconds": calls[-1][0] - calls[0][0] if calls else 0.0,
                "at": {event_id: at for at, ids in calls for event_id in ids},
            }
        ).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 as boto3 speaks it."""

    def __init__(self, arrivals: Arrivals, delay: float) -> None:
        self._arrivals = arrivals
        self._delay = delay
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n") + 4) > 3:
            length = LENGTH.search(self._received, 0, end)
            whole = end + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            request = bytes(self._received[:whole])
            del self._received[:whole]
            self._answer(request, request[end:])

    def _answer(self, request: bytes, body: bytes) -> None:
        if request.startswith(b"GET"):
            summary = self._arrivals.summary()
            head = ANSWER.replace(b"Length: 0", b"Length: %d" % len(summary))
            self._transport.write(head + summary)
        else:
            self._arrivals.note(body)
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, ANSWER)


async def main() -> None:
    arrivals = Arrivals()
    loop = asyncio.get_running_loop()
    port, delay = int(sys.argv[1]), int((sys.argv[2:] or ["0"])[0]) / 1000
    server = await loop.create_server(lambda: Connection(arrivals, delay), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
