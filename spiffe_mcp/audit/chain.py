"""The hash chain: records in, lines out, each bound to the bytes of the one before.

A line is one JSON object with sorted keys and a line feed. It carries `seq`, counted from 1, and `prev`, the
SHA-256 (hex) of all bytes of the previous line, its line feed included; the first line's `prev` is 64 zeros.
So `sed -n 1p audit.jsonl | sha256sum` is the `prev` of line 2.

What this shows: a line that was edited, removed, moved, inserted or cut. What it cannot show by itself:

 - lines missing at the end, or an edit of the last line: nothing was written after them;
 - a chain rewritten from some line on, by someone who can write the file: there is no key in it.

Both show as soon as one later hash is known from elsewhere: note the head where the host cannot change it,
and give it to `verify` as `noted`. Signed checkpoints will do that by themselves.

Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

import orjson

from spiffe_mcp.errors import Refused
from spiffe_mcp.strict_json import JsonObject, loads_object

GENESIS: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class Link:
    """The place in a chain after some line: that line's number and hash."""

    seq: int = 0
    hash: str = GENESIS

    def seal(self, document: JsonObject) -> bytes:
        """The next line: `document` bound to this place. `seq` and `prev` are this chain's alone."""
        bound = {**document, "seq": self.seq + 1, "prev": self.hash}
        return orjson.dumps(bound, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)

    def after(self, line: bytes) -> Self:
        """The place after `line`, which this place's `seal` made."""
        return type(self)(self.seq + 1, sha256(line).hexdigest())


@dataclass(frozen=True, slots=True)
class Break:
    """The first line (from 1) that does not continue the chain, and why."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What `verify` found. `count` lines are intact, `head` is the hash of the last of them."""

    count: int
    head: str
    first_time: str
    last_time: str
    broken: Break | None

    @property
    def intact(self) -> bool:
        """Whether every line continues the one before."""
        return self.broken is None


def verify(lines: Iterable[bytes], noted: str | None = None) -> ChainReport:
    """Follow the chain through `lines`, each with its line feed, up to the first that breaks it.

    `noted` is a hash known from elsewhere: a chain that never had it is broken at its end.
    """
    link, first, last, broken = Link(), "", "", None
    seen = noted is None
    for line in lines:
        document, what = follow(link, line)
        if document is None:
            broken = Break(link.seq + 1, what)
            break
        link = link.after(line)
        seen = seen or link.hash == noted
        last = str(document.get("time", last))
        first = first or last
    if broken is None and not seen:
        broken = Break(
            link.seq + 1, "the noted hash is not in this chain: lines are missing, or it was rewritten"
        )
    return ChainReport(link.seq, link.hash, first, last, broken)


def follow(link: Link, line: bytes) -> tuple[JsonObject | None, str]:
    """What `line` says if it continues the chain at `link`, or nothing and why it does not."""
    if not line.endswith(b"\n"):
        return None, "cut in the middle: no line feed"
    try:
        document = loads_object(line)
    except Refused as refused:
        return None, f"not a record: {refused.reason.code}"
    if document.get("seq") != link.seq + 1:
        return (
            None,
            f"seq is {document.get('seq')!a:.24}, not {link.seq + 1}: lines were removed, added or moved",
        )
    if document.get("prev") != link.hash:
        return None, f"prev is not the hash of line {link.seq}: that line was changed, or this one was put in"
    return document, ""
