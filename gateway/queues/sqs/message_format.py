"""Convert records to message bodies and back, and pack messages into calls. Pure.

A body is ASCII JSON, since SQS refuses some characters and counts bytes:
`{"v": 1, "site": "shop", "records": [[…], …]}`, each record an array in the order of ROW.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from gateway.queues import QueueUnavailable, Record
from gateway.reasons import Reason

VERSION = 1
ENTRIES = 10  # in one batch call, SQS's maximum
BATCH_BYTES = 256 << 10  # of one call: SQS's old maximum; its present one is higher
MESSAGE_BYTES = 250_000  # of one body, leaving room for attributes

STRING, OPTIONAL, NUMBER = (str,), (str, type(None)), (int, float)
ROW = {
    "session_id": STRING,
    "user_id": OPTIONAL,
    "event_id": STRING,
    "event": STRING,
    "received": OPTIONAL,
    "received_at": NUMBER,
}


class UnknownMessageFormat(ValueError):
    """A message that the gateway did not write, or of a newer version."""


class Chunk(NamedTuple):
    """A caller's records of one site as JSON rows; a chunk is never split between messages."""

    site: str
    rows: str


class Message(NamedTuple):
    """A message's body, and the numbers of the chunks in it."""

    body: str
    chunks: list[int]


def chunks(records: Iterable[Record]) -> list[Chunk]:
    """Return a caller's records as chunks: one for each site, more if they are too long."""
    written = []
    for site, group in groupby(records, key=lambda record: record.site):
        rows: list[str] = []
        size = 0
        for record in group:
            row = _row(record)
            if len(row) > MESSAGE_BYTES:  # the received text may be far longer than what is sent
                row = _row(record._replace(received=None))
            if len(row) > MESSAGE_BYTES:
                raise QueueUnavailable(
                    Reason.SQS_TOO_LARGE, "an event is longer than an SQS message"
                )
            if rows and size + len(row) > MESSAGE_BYTES:
                written.append(Chunk(site, ",".join(rows)))
                rows, size = [], 0
            rows.append(row)
            size += len(row) + 1
        written.append(Chunk(site, ",".join(rows)))
    return written


def _row(record: Record) -> str:
    return json.dumps([getattr(record, name) for name in ROW], separators=(",", ":"))


def body(site: str, rows: str, **more: Any) -> str:
    """Return a message's body; `more` are further members."""
    extra = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in more.items())
    return f'{{"v":{VERSION},"site":{json.dumps(site)},"records":[{rows}]{extra}}}'


def read(text: str) -> tuple[list[Record], dict[str, Any]]:
    """Return a body's records, and all its members. Raises UnknownMessageFormat."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnknownMessageFormat(f"not JSON: {error}") from None
    if not isinstance(members, dict) or "v" not in members:
        raise UnknownMessageFormat("not a message of ours")
    if members["v"] != VERSION:
        raise UnknownMessageFormat(
            f"version {members['v']!r:.20} of the format; this program knows {VERSION}"
        )
    site, rows = members.get("site"), members.get("records")
    if not isinstance(site, str) or not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise UnknownMessageFormat("not a message of ours")
    return [Record(site, *row) for row in rows], members


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == len(ROW)
        and all(isinstance(value, kinds) for value, kinds in zip(row, ROW.values(), strict=True))
    )


def pack(written: Sequence[Chunk]) -> list[Message]:
    """Pack chunks into messages of one site each; put several in one only if that saves calls."""
    sites: dict[str, list[int]] = {}
    for number, chunk in enumerate(written):
        sites.setdefault(chunk.site, []).append(number)
    total = sum(len(chunk.rows) for chunk in written)
    most = ENTRIES * (1 + total // BATCH_BYTES)
    together = 1
    while True:
        messages = [
            Message(body(site, ",".join(written[number].rows for number in group)), group)
            for site, numbers in sites.items()
            for group in _groups(numbers, written, together)
        ]
        if len(messages) <= most or together >= len(written):
            return messages
        together *= 2


def _groups(numbers: Sequence[int], written: Sequence[Chunk], most: int) -> Iterator[list[int]]:
    group: list[int] = []
    size = 0
    for number in numbers:
        length = len(written[number].rows) + 1
        if group and (len(group) == most or size + length > MESSAGE_BYTES):
            yield group
            group, size = [], 0
        group.append(number)
        size += length
    if group:
        yield group


def calls(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield messages in groups, each as many as one call may hold."""
    call: list[Message] = []
    size = 0
    for message in messages:
        if call and (len(call) == ENTRIES or size + len(message.body) > BATCH_BYTES):
            yield call
            call, size = [], 0
        call.append(message)
        size += len(message.body)
    if call:
        yield call
