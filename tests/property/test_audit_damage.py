"""Wherever a crash cuts an audit log, whichever byte is changed: the chain goes on, or says where not."""

import tempfile
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.audit import ChainReport, read_lines, verify
from spiffe_mcp.audit.log import AuditLog, Fsync
from spiffe_mcp.audit.record import AuditRecord, Outcome, Side

RECORDS = 5


def record(name: str) -> AuditRecord:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return AuditRecord(time=now, exchange=name, side=Side.INGRESS, outcome=Outcome.COMPLETED)


@cache
def whole() -> bytes:
    """A log of a few records."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        with AuditLog.open(path, fsync=Fsync.NEVER) as log:
            for number in range(RECORDS):
                log.append(record(f"exchange {number}, \u00e9"))
        return path.read_bytes()


def report_of(content: bytes, noted: str | None = None) -> ChainReport:
    return verify(content.splitlines(keepends=True), noted)


@given(st.data())
def test_a_log_that_is_cut_anywhere_goes_on_and_says_what_was_torn(data: st.DataObject) -> None:
    cut = whole()[: data.draw(st.integers(0, len(whole())))]
    torn = cut.rpartition(b"\n")[2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        path.write_bytes(cut)
        path.chmod(0o600)
        before = report_of(cut)
        assert before.intact == (torn == b"")
        assert before.count == cut.count(b"\n"), "whole lines are good"
        with AuditLog.open(path, fsync=Fsync.NEVER) as log:
            log.append(record("after"))
        after = verify(read_lines(path))
        assert after.intact
        assert after.count == cut.count(b"\n") + 1
        aside = Path(f"{path}.torn")
        assert (aside.read_bytes() if aside.exists() else b"\n") == torn + b"\n"
        if torn:
            assert sha256(torn).hexdigest().encode() in path.read_bytes().splitlines()[-1]


@given(st.data())
def test_a_byte_that_is_changed_breaks_its_line_or_the_next(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(whole()) - 1))
    changed = bytearray(whole())
    changed[place] ^= data.draw(st.integers(1, 255))
    line = whole()[:place].count(b"\n") + 1
    report = report_of(bytes(changed), noted=report_of(whole()).head)
    assert report.broken is not None
    # Of the last line, only who noted its hash can say anything: then the end is named.
    assert report.broken.line in {line, line + 1, RECORDS + 1}
    assert report.count <= RECORDS


@given(st.data())
def test_lines_that_are_removed_moved_or_doubled_are_missed(data: st.DataObject) -> None:
    lines = whole().splitlines(keepends=True)
    places = st.integers(0, RECORDS - 1)
    one, other = data.draw(places), data.draw(places)
    how = data.draw(st.sampled_from(["removed", "doubled", "exchanged"]))
    touched = [*lines]
    match how:
        case "removed":
            del touched[one]
        case "doubled":
            touched.insert(other, lines[one])
        case _:
            touched[one], touched[other] = lines[other], lines[one]
    report = report_of(b"".join(touched), noted=report_of(whole()).head)
    assert report.intact == (touched == lines)
