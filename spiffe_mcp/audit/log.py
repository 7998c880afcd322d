"""The audit log: one file, one writer, one line for each record, each bound to the one before (`chain`).

Opening takes an exclusive lock and finds the end of the chain:

 - a last line without line feed is what a crash in mid-write leaves. It was never acknowledged, so it is
   moved to `<file>.torn` (appended, never overwritten) and the next line says so in `recovered`;
 - anything else at the end that is not a chain is refused: somebody has to look, and a new file begins a new
   chain. Only the end is read; `verify` reads all of it.

Fail closed: what cannot be written is `Refused(AUDIT_UNAVAILABLE)`, and the exchange with it. A write that
failed is taken back, so that the chain stays whole. Before the next exchange may begin, a line of its own has
to say how many records were `lost`: no call is made while nothing can be written. After a failed fsync
nothing is known of the disk, and the log stays closed.

`always` fsyncs each record before it is acknowledged; `never` leaves that to the kernel: a crash of the
process loses nothing, a crash of the host what the kernel still held.

Blocking I/O on a local file, on purpose: the record is written before the answer goes on.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from enum import Enum
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from spiffe_mcp.audit.chain import Link, follow
from spiffe_mcp.audit.record import AuditRecord, ReloadRecord
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject, loads_object

MIN_FREE_BYTES: Final = 1024 * 1024  # below this no new exchange begins; records of running ones still fit
_TAIL_BYTES: Final = 4 * 1024 * 1024  # far more than two lines
_LINES_COMPARED: Final = 2
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Fsync(Enum):
    """When a record has to be on the disk."""

    ALWAYS = "always"
    NEVER = "never"


class AuditLog:
    """An open audit log. Implements `AuditSink`; not for several threads."""

    def __init__(self, path: Path, file: int, fsync: Fsync) -> None:
        self._path = path
        self._file = file
        self._fsync = fsync
        self._failed = ""
        self._size = 0
        self._link = Link()
        self._notes: JsonObject = {}
        self._lost = 0

    @classmethod
    def open(cls, path: Path, *, fsync: Fsync = Fsync.ALWAYS) -> Self:
        """Open or create (0600) the log at `path`; raises `Refused(AUDIT_UNAVAILABLE)` with what to do."""
        try:
            log = cls(path, os.open(path, _FLAGS, 0o600), fsync)
        except OSError as error:
            raise _unavailable(path, error.strerror or "cannot be opened") from None
        try:
            log._begin()
        except OSError as error:
            log.close()
            raise _unavailable(path, error.strerror or "cannot be read") from None
        except Refused:
            log.close()
            raise
        return log

    @property
    def head(self) -> Link:
        """Number and hash of the last line: what to note elsewhere."""
        return self._link

    def ensure_writable(self) -> None:
        """See `AuditSink`: cheap, and asked before every exchange."""
        if self._failed:
            raise _unavailable(self._path, self._failed)
        try:
            found, space = os.fstat(self._file), os.fstatvfs(self._file)
        except OSError as error:
            raise _unavailable(self._path, error.strerror or "gone") from None
        if found.st_nlink == 0:
            raise _unavailable(self._path, "the file was removed: restart to begin a new one")
        if found.st_size != self._size:
            raise _unavailable(self._path, "somebody else wrote to the file: verify it, then restart")
        if space.f_bavail * space.f_frsize < MIN_FREE_BYTES:
            raise _unavailable(self._path, "the disk is full")
        if self._lost:
            self._write({"kind": "gap"})

    def append(self, record: AuditRecord | ReloadRecord) -> None:
        """See `AuditSink`. The record is written whole or not at all."""
        if self._failed:
            raise _unavailable(self._path, self._failed)
        try:
            self._write(record.document())
        except Refused:
            self._lost += 1
            raise
        if self._fsync is Fsync.ALWAYS:
            self._sync()

    def close(self) -> None:
        """Release the file and its lock."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._failed = -1, self._failed or "closed"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        """Lock, then find the end of the chain."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _unavailable(self._path, "another process writes to it: give each its own file") from None
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & _OTHERS_WRITE:
            raise _unavailable(self._path, "not a file that only its owner can write")
        self._size = found.st_size
        if self._size == 0:
            _sync_directory(self._path.parent)
        start = max(0, self._size - _TAIL_BYTES)
        *lines, torn = os.pread(self._file, self._size - start, start).split(b"\n")
        if start and len(lines) < _LINES_COMPARED:
            raise _unavailable(self._path, "its end is no audit log: move the file away")
        self._link = _end_of(self._path, [line + b"\n" for line in lines[-_LINES_COMPARED:]])
        # Last, so that a file which is no audit log is left as it is.
        if torn:
            self._set_aside(torn)

    def _set_aside(self, torn: bytes) -> None:
        aside = self._path.with_name(self._path.name + ".torn")
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _write_all(file, torn + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        # Only now, with the bytes safe elsewhere.
        self._size -= len(torn)
        os.ftruncate(self._file, self._size)
        self._notes["recovered"] = {"torn_bytes": len(torn), "torn_sha256": sha256(torn).hexdigest()}

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file, self._size)
        except OSError as error:
            self._failed = f"a line is torn and cannot be taken back ({error.strerror}): restart"

    def _write(self, document: JsonObject) -> None:
        if self._lost:
            self._notes["lost"] = self._lost
        line = self._link.seal({**document, **self._notes} if self._notes else document)
        try:
            _write_all(self._file, line)
        except OSError as error:
            self._take_back()
            raise _unavailable(self._path, error.strerror or "cannot be written") from None
        self._link, self._size = self._link.after(line), self._size + len(line)
        self._notes, self._lost = {}, 0

    def _sync(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # The kernel may have dropped the pages and reports it once only: a later fsync proves nothing.
            self._failed = f"the disk failed ({error.strerror}): check it, then restart"
            raise _unavailable(self._path, self._failed) from None


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a log, each with its line feed, for `chain.verify`; raises `OSError`."""
    with path.open("rb") as file:
        yield from file


def read_records(path: Path) -> Iterator[JsonObject]:
    """The records of a log, not verified; raises `OSError`, and `Refused(JSON_*)` at a line that is none."""
    for line in read_lines(path):
        yield loads_object(line)


def _end_of(path: Path, lines: list[bytes]) -> Link:
    """The link after the last of at most two `lines`, which has to continue what is before it."""
    link = Link()
    try:
        if len(lines) == _LINES_COMPARED:
            seq = loads_object(lines[0]).get("seq")
            link = Link(seq if isinstance(seq, int) else -1, sha256(lines[0]).hexdigest())
    except Refused:
        raise _unavailable(path, "its last lines are no records: verify it, and move it away") from None
    for line in lines[-1:]:
        document, what = follow(link, line)
        if document is None:
            raise _unavailable(path, f"its last line: {what}: verify it, and move it away")
        link = link.after(line)
    return link


def _sync_directory(folder: Path) -> None:
    """Make the name of a new file as durable as its records."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write_all(file: int, content: bytes) -> None:
    """All of `content`, however little a single write takes."""
    written = os.write(file, content)
    while written < len(content):
        written += os.write(file, content[written:])


def _unavailable(path: Path, what: str) -> Refused:
    return Refused(Reason.AUDIT_UNAVAILABLE, f"{path}: {what}")
