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


class FileLock:
    """A lock on a file of its own, between processes and between objects of one process.

    Acquiring never waits: shared or exclusive, it yields whether the lock was free.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def shared(self) -> Iterator[bool]:
        """Hold the lock beside others that share it."""
        file = _opened(self.path)
        try:
            yield _locked(file, fcntl.LOCK_SH)
        finally:
            os.close(file)

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Hold the lock alone."""
        file = _opened(self.path)
        try:
            yield _locked(file, fcntl.LOCK_EX)
        finally:
            os.close(file)


class QueueLocks:
    """The locks and the notes beside a queue's file, which all its processes share."""

    def __init__(self, path: Path) -> None:
        self._access = FileLock(Path(f"{path}-gate.lock"))
        # Shared by writers, exclusive for a checkpoint. SQLite checkpoints beside a writer where
        # its own lock is taken, which before its version 3.51.3 can damage the file:
        # https://www.sqlite.org/wal.html#walresetbug.
        self.write = FileLock(Path(f"{path}-write.lock"))
        # Names where a damaged file is set aside; stays until its repair is complete, so that an
        # interrupted repair is resumed before any process uses the file.
        self.repair_note = Path(f"{path}-repair")
        # Exists once a process has found damage, which the forwarder may never come upon.
        self.damage_note = Path(f"{path}-damage")
        # Exists since an input or output error, until a checkpoint has written all of the WAL to
        # the file: the kernel reports a lost write once, and a later fsync succeeds without it.
        self.error_note = Path(f"{path}-io-error")

    def remove(self) -> None:
        """Delete the lock files of a database that is gone."""
        self._access.path.unlink()
        self.write.path.unlink()

    @contextmanager
    def using(self) -> Iterator[None]:
        """Use the file. Raises QueueUnavailable while it is being repaired."""
        with self._access.shared() as is_free:
            # Asked while the lock is held, so that a repair can't begin in between. Refused users
            # hold it for microseconds, so they don't starve a repair that waits for it.
            if not is_free or os.path.exists(self.repair_note):
                raise QueueUnavailable(Reason.REPAIRING, "the queue's file is being repaired")
            yield

    @contextmanager
    def repairing(self, wait_seconds: float) -> Iterator[None]:
        """Have the file alone. Raises QueueUnavailable if it stays in use for too long."""
        deadline = time.monotonic() + wait_seconds
        while True:
            with self._access.exclusive() as is_free:
                if is_free:
                    yield
                    return
            if time.monotonic() > deadline:
                raise QueueUnavailable(Reason.BUSY, "the queue's file is in use")
            time.sleep(0.01)


def _opened(path: Path) -> int:
    """Open a lock file of its own description; closing it unlocks it.

    As a bare descriptor: a file object costs two more system calls, at every transaction.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return file_permissions.opener(os.fspath(path), flags)
    except FileNotFoundError:
        file_permissions.make_folder(path.parent)
        return file_permissions.opener(os.fspath(path), flags)


def _locked(file: int, how: int) -> bool:
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
        """Return whether the lock is ours now. Raises QueueUnavailable if there can't be one.

        Asked again while it is ours, it sees to it that others meet it: the file may have been
        deleted or replaced.
        """
        if self._file is not None and _is_at(self._file, self._path):
            return True
        self.release()
        try:
            file = os.fdopen(_opened(self._path), "ab", buffering=0)
        except OSError as error:
            raise QueueUnavailable(Reason.CANNOT_OPEN, str(error)) from error
        try:
            if _locked(file.fileno(), fcntl.LOCK_EX):
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
    """Return what the forwarder of a file reported last; None if it never did."""
    try:
        return ForwarderStatus(**json.loads(_condition_path(path).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
