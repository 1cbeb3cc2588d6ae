"""Locks on files beside the database: who may use it, who writes, and who is its forwarder."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from gateway import file_permissions
from gateway.queues import ForwarderStatus, QueueUnavailable
from gateway.reasons import Reason

REPAIRING = "the queue's file is being repaired"


class Gate:
    """Who may use the file, and when: all at any time, but for who repairs it or folds its log."""

    def __init__(self, path: Path) -> None:
        self._read = Path(f"{path}-gate.lock")
        self._write = Path(f"{path}-write.lock")
        # Says under what name a damaged file is set aside; stays until its repair is complete,
        # so that a repair that was cut short is taken up again before anybody uses the file.
        self.repair_note = Path(f"{path}-repair")
        # There where somebody met damage, which the forwarder by itself may never come upon.
        self.damage_note = Path(f"{path}-damage")
        # There since an input or output error, until all of the log is in the file: what the
        # system failed to write it may take for written, and a later fsync succeeds without it.
        self.error_note = Path(f"{path}-io-error")

    def remove(self) -> None:
        """Leave no locks beside a file that is gone."""
        self._read.unlink()
        self._write.unlink()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Use the file. Raises QueueUnavailable while it is being repaired."""
        self._require_no_repair()  # so that a repair does not wait for newcomers for ever
        with _opened(self._read) as file:
            if not _locked(file, fcntl.LOCK_SH):
                raise QueueUnavailable(Reason.REPAIRING, REPAIRING)
            self._require_no_repair()
            yield

    def _require_no_repair(self) -> None:
        if self.repair_note.exists():
            raise QueueUnavailable(Reason.REPAIRING, REPAIRING)

    @contextmanager
    def writing(self) -> Iterator[bool]:
        """Whether who has begun a transaction may write in it: not while somebody folds the log."""
        with _opened(self._write) as file:
            yield _locked(file, fcntl.LOCK_SH)

    @contextmanager
    def folding(self) -> Iterator[bool]:
        """Whether the log may be folded: not while anybody writes.

        SQLite folds beside a writer where it can't have its own lock at once, which before its
        version 3.51.3 can damage the file: https://www.sqlite.org/wal.html#walresetbug.
        """
        with _opened(self._write) as file:
            yield _locked(file, fcntl.LOCK_EX)

    @contextmanager
    def closed(self, patience: float) -> Iterator[None]:
        """Have the file alone. Raises QueueUnavailable where somebody uses it for too long."""
        deadline = time.monotonic() + patience
        with _opened(self._read) as file:
            while not _locked(file, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise QueueUnavailable(Reason.BUSY, "the queue's file is in use")
                time.sleep(0.01)
            yield


def _opened(path: Path) -> IO[bytes]:
    """For nobody else to open: even who may only read a file can lock it. Closing it unlocks it."""
    try:
        return open(path, "ab", buffering=0, opener=file_permissions.opener)
    except FileNotFoundError:
        file_permissions.make_folder(path.parent)
        return open(path, "ab", buffering=0, opener=file_permissions.opener)


def _locked(file: IO[bytes], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:  # it is gone; or to open it will say what is wrong
        return False


class ForwarderLock:
    """The lease on a file: at most one process holds it, and the kernel frees it when that dies."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}-forwarder.lock")
        self._condition = _condition_path(path)
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Whether the lock is ours now. Raises QueueUnavailable where there can't be one.

        Asked again while it is ours, it sees to it that others meet it: the file may have been
        deleted or replaced.
        """
        if self._file is not None and _is_at(self._file, self._path):
            return True
        self.release()
        try:
            file = _opened(self._path)
        except OSError as error:
            raise QueueUnavailable(Reason.CANNOT_OPEN, str(error)) from error
        try:
            if _locked(file, fcntl.LOCK_EX):
                self._file = file
        except OSError as error:  # the file system has no locks
            raise QueueUnavailable(Reason.CANNOT_OPEN, f"{self._path}: {error}") from error
        finally:
            if self._file is None:
                file.close()
        return self._file is not None

    def report(self, condition: ForwarderStatus) -> None:
        """Write beside the file how delivery is going: see `read_status`."""
        draft = self._condition.with_suffix(".new")
        with suppress(OSError):  # a full disk, say: then it is out of date, which also tells
            with open(draft, "w", encoding="utf-8", opener=file_permissions.opener) as file:
                json.dump(asdict(condition), file)
            draft.replace(self._condition)

    def release(self) -> None:
        """Let the next forwarder in."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _condition_path(path: Path) -> Path:
    return Path(f"{path}-forwarder.json")


def read_status(path: Path) -> ForwarderStatus | None:
    """What the forwarder of a file said last; None where it never did."""
    try:
        return ForwarderStatus(**json.loads(_condition_path(path).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
