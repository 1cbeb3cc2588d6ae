"""A disk that loses what was not synced, made of a recording of a process' writes and syncs.

strace records them, and lets some fail. It needs no privileges, unlike a file system of our own.
As ext4 does, the disk forgets what was waiting when a sync fails, though it can still be read.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.helpers.support import ROOT

SCRIPT = """
import os, sys
from pathlib import Path
from gateway.queues import QueueError, Record
from gateway.queues.sqlite.inbox import SqliteInbox
from gateway.queues.sqlite.outbox import SqliteOutbox
path = Path(sys.argv[1])
def inbox():
    return SqliteInbox(path, max_bytes=1 << 40, min_free_bytes=0, dedupe_seconds=3600)
inboxes = [inbox(), inbox()]
outbox = SqliteOutbox(path, dedupe_seconds=3600)
for n in range(40):
    try:
        inboxes[n % 2].put([Record("shop", f"s-{n % 4}", None, f"e-{n}", "{}", None, 1.0)])
        os.write(1, f"stored e-{n};".encode())
    except QueueError:
        inboxes[n % 2] = inbox()  # as if it were another process, which has met no error
    if n % 5 == 4:
        try:
            taken = [d for batch in outbox.receive("shop", 1) for d in batch]
            os.write(1, "".join(f"settled {item.record.event_id};" for item in taken).encode())
            outbox.settle(taken, [], [])
            outbox.tidy()
        except QueueError:
            pass
"""
CALL = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d+)")
CALLS = "trace=pwrite64,write,fsync,fdatasync,ftruncate,unlink"
HEX = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Crash(NamedTuple):
    """The database as a loss of power left it, and what was promised by then."""

    path: Path
    acknowledged: set[str]
    settled: set[str]


def crashes(folder: Path, fault: str, dice: random.Random) -> Iterator[Crash]:
    """Run a queue with both ends; yield it as after a loss of power at some moments."""
    folder.mkdir()
    path, trace = folder / "queue.db", folder / "trace"
    when = (
        f"inject={fault}:when={dice.randint(12, 60)}..{dice.randint(61, 99)}+{dice.randint(7, 30)}"
    )
    inject = [] if fault == "none" else ["-e", when]
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-xx", "-s", "4200", "-e", CALLS, *inject, "-o", str(trace),
         sys.executable, "-c", SCRIPT, str(path)],
        cwd=ROOT, timeout=200, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    lines = trace.read_text().splitlines()
    moments = {*dice.sample(range(len(lines)), 25), len(lines) - 1}
    disk, acknowledged, settled = Disk(folder), set[str](), set[str]()
    for number, line in enumerate(lines):
        for word, name in disk.happens(line):
            (acknowledged if word == "stored" else settled).add(name)
        if number in moments and acknowledged:
            where = folder / f"crash-{number}"
            where.mkdir()
            disk.lose_power(where, dice)
            yield Crash(where / "queue.db", set(acknowledged), set(settled))


class Disk:
    """What is on it for good, and what waits, by the files' names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: defaultdict[str, bytearray] = defaultdict(bytearray)
        self._waiting: defaultdict[str, list[tuple[int, bytes | None]]] = defaultdict(list)

    def happens(self, line: str) -> list[tuple[str, str]]:
        """Follow a call; the words of one that tells what the queue has promised."""
        if not (call := CALL.match(line)):
            return []
        name, rest, result = call.groups()
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in HEX.findall(rest)]
        if name == "write" and rest.startswith("1<"):
            words = texts[0].decode().split(";")
            return [tuple(word.split()) for word in words if word]  # type: ignore[misc]
        where = re.match(r"\d+<((?:\\x[0-9a-f]{2})+)>", rest)
        file = bytes.fromhex(where[1].replace("\\x", "")).decode() if where else ""
        if name == "unlink" and result == "0":
            self._kept.pop(texts[0].decode(), None)
            self._waiting.pop(texts[0].decode(), None)
        elif name == "pwrite64" and int(result) > 0:
            self._waiting[file].append((int(rest.rsplit(", ", 1)[1]), texts[0][: int(result)]))
        elif name == "ftruncate" and result == "0":
            self._waiting[file].append((int(rest.rsplit(", ", 1)[1], 0), None))
        elif name in ("fsync", "fdatasync"):
            waiting = self._waiting.pop(file, [])
            for change in waiting if result == "0" else ():
                _apply(self._kept[file], *change)
        return []

    def lose_power(self, where: Path, dice: random.Random) -> None:
        """Write out what is left: of what waits, any part."""
        for name in ("queue.db", "queue.db-wal"):
            content = bytearray(self._kept[f"{self._folder}/{name}"])
            for change in self._waiting[f"{self._folder}/{name}"]:
                if dice.random() < 0.5:
                    _apply(content, *change)
            (where / name).write_bytes(content)


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    content.extend(bytes(max(0, at - len(content))))
    if data is None:
        del content[at:]
    else:
        content[at : at + len(data)] = data
