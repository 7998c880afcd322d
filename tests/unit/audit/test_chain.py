"""The chain shows every change that it can show, and the docstring names those that it cannot."""

from collections.abc import Callable
from hashlib import sha256

import orjson
import pytest

from spiffe_mcp.audit.chain import GENESIS, Link, verify


def written(count: int, salt: str = "") -> list[bytes]:
    """A chain of that many lines."""
    link, lines = Link(), []
    for number in range(1, count + 1):
        line = link.seal({"time": f"t{number}", "what": f"{salt}{number}"})
        lines.append(line)
        link = link.after(line)
    return lines


def test_a_line_is_bound_to_the_bytes_before_it() -> None:
    """`sha256sum` of one line, line feed included, is the `prev` of the next."""
    first, second = written(2)
    assert first == b'{"prev":"%s","seq":1,"time":"t1","what":"1"}\n' % GENESIS.encode()
    assert orjson.loads(second)["prev"] == sha256(first).hexdigest()


def test_a_record_cannot_bring_its_own_place() -> None:
    """`seq` and `prev` are the chain's."""
    line = orjson.loads(Link().seal({"seq": 7, "prev": "x"}))
    assert (line["seq"], line["prev"]) == (1, GENESIS)


def test_an_intact_chain_is_reported_with_its_head() -> None:
    """The head is what to note elsewhere."""
    lines = written(3)
    report = verify(lines)
    assert report.intact
    assert (report.count, report.first_time, report.last_time) == (3, "t1", "t3")
    assert report.head == sha256(lines[-1]).hexdigest()


def test_no_lines_are_an_intact_chain() -> None:
    """Of nothing."""
    report = verify([])
    assert (report.intact, report.count, report.head) == (True, 0, GENESIS)


def _edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:1], lines[1].replace(b'"2"', b'"X"'), *lines[2:]]


@pytest.mark.parametrize(
    ("tamper", "line", "what"),
    [
        (_edited, 3, "line 2: that line was changed"),
        (lambda lines: [lines[0], *lines[2:]], 2, "removed"),
        (lambda lines: lines[1:], 1, "removed"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2, "moved"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "added"),
        (lambda lines: [lines[0], written(2, "other")[1], *lines[2:]], 2, "put in"),
        (lambda lines: [*lines[:2], lines[2][:-9] + b"\n", lines[3]], 3, "json.malformed"),
        (lambda lines: [*lines[:3], lines[3][:-1]], 4, "cut in the middle"),
        (lambda lines: [*lines[:3], lines[3][:20]], 4, "cut in the middle"),
        (lambda lines: [b"\n", *lines], 1, "json.malformed"),
        (lambda lines: [b"[]\n", *lines], 1, "json.malformed"),
        (lambda lines: [b"\xff\n", *lines], 1, "json.not_utf8"),
        (
            lambda lines: [lines[0].replace(b'"seq":1', b'"seq":1,"seq":1'), *lines[1:]],
            1,
            "json.duplicate_key",
        ),
        (lambda lines: [lines[0].replace(b'"seq":1,', b""), *lines[1:]], 1, "seq"),
        (lambda lines: [lines[0].replace(b'"seq":1', b'"seq":"1"'), *lines[1:]], 1, "seq"),
        (lambda lines: [lines[0].replace(b"}\n", b" }\n"), *lines[1:]], 2, "line 1"),
    ],
)
def test_tampering_is_found_at_its_line(
    tamper: Callable[[list[bytes]], list[bytes]], line: int, what: str
) -> None:
    """Edited, removed, moved, doubled, foreign, cut, or no record at all."""
    report = verify(tamper(written(4)))
    assert report.broken is not None
    assert report.broken.line == line
    assert what in report.broken.what
    assert report.count == line - 1


def test_lines_missing_at_the_end_show_only_against_a_noted_hash() -> None:
    """Said openly: the chain alone cannot tell."""
    lines = written(4)
    noted = verify(lines).head
    assert verify(lines[:3]).intact
    cut = verify(lines[:3], noted)
    assert cut.broken is not None
    assert (cut.broken.line, cut.count) == (4, 3)
    assert verify([*lines, Link(4, noted).seal({})], noted).intact


def test_a_rewritten_chain_shows_against_a_noted_hash() -> None:
    """There is no key in the chain, so whoever can write the file can write another one."""
    noted = verify(written(4)).head
    forged = written(5, "forged")
    assert verify(forged).intact
    assert not verify(forged, noted).intact


def test_hashing_is_over_bytes_and_not_over_meaning() -> None:
    """The same JSON in another spelling is another line."""
    first, second = written(2)
    spelled = orjson.dumps(orjson.loads(first)) + b"\n"
    assert verify([spelled, second]).intact is (spelled == first)
    respelled = first.replace(b":1,", b": 1,")
    assert not verify([respelled, second]).intact
