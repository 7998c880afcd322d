"""HTTP messages as values, and the framing rules of RFC 9112 that both sides share.

Header names are lower case; order and duplicates are kept, because whoever decides must see them. Pure.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

# What a message says of its body's length, where that is no number.
UNSTATED: Final = -1
CHUNKED: Final = -2

# What the writer of a message sets itself: its framing, and what belongs to one connection and is never
# passed on (RFC 9110 section 7.6.1).
_FRAMING: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# RFC 9112 section 3.2.1: origin-form, the characters of RFC 3986. Dots and double slashes are opaque here:
# whoever routes compares whole paths.
_ORIGIN_FORM: Final = re.compile(rb"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
# RFC 9112 section 3.2: a host and perhaps a port. No comma: two Hosts folded into one line are two.
_HOST: Final = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+;=%:\[\]]*")

_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT.value, HTTPStatus.NOT_MODIFIED.value})
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a message is read before it is refused. Sizes in bytes, times in seconds."""

    head: int = 32 * 1024
    body: int = 4 * 1024 * 1024
    bodies: int = 256 * 1024 * 1024  # of all requests that are being read or answered
    connections: int = 4096
    read_timeout: float = 30.0  # from the first byte of a request to its last
    idle_timeout: float = 300.0  # between two requests on one connection
    write_timeout: float = 60.0  # for a client that reads nothing of what waits for it
    linger_timeout: float = 2.0  # for a refused client to read why, before the connection goes


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request: the body is bounded and buffered, because it is authorised as a whole."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes = b""

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and headers; the body follows as a stream."""

    status: int
    headers: Headers

    @property
    def has_body(self) -> bool:
        """Whether a response of this status has a body at all (RFC 9112 section 6.3)."""
        return self.status not in _BODILESS


def values(headers: Headers, name: bytes) -> tuple[bytes, ...]:
    """All values of the header `name` (lower case), in order."""
    return tuple([value for key, value in headers if key == name])  # a list is twice as fast as a generator


def body_length(headers: Headers) -> int:
    """The length of the body as `Content-Length` has it, CHUNKED, or UNSTATED where nothing is said of it.

    Refuses a message whose end two readers could see in different places (RFC 9112 section 6.3).
    """
    lengths = values(headers, b"content-length")
    codings = values(headers, b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Refused(Reason.HTTP_FRAMING, "more than one statement of the body's length")
    if lengths:
        if not lengths[0].isdigit():  # of bytes: ASCII, no sign, no blank
            raise Refused(Reason.HTTP_FRAMING, "content-length")
        return int(lengths[0])
    if codings and codings[0].lower() != b"chunked":
        raise Refused(Reason.HTTP_FRAMING, "transfer-encoding")
    return CHUNKED if codings else UNSTATED


def check_request(target: bytes, headers: Headers) -> int:
    """The framing rules, a target in origin-form, and exactly one Host (RFC 9112 section 3.2).

    Returns what `body_length` returns.
    """
    length = body_length(headers)
    if not _ORIGIN_FORM.fullmatch(target):
        raise Refused(Reason.HTTP_TARGET, "not a path in origin-form")
    hosts = values(headers, b"host")
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise Refused(Reason.HTTP_HOST, "exactly one Host is needed")
    return length


def encode_request(request: Request) -> bytes:
    """The request as bytes; framing is ours: one Content-Length."""
    start = b"%s %s HTTP/1.1" % (request.method, request.target)
    length = b"content-length: %d\r\n" % len(request.body)
    return _block(start, request.headers, length) + request.body


def encode_head(head: ResponseHead, framing: bytes = b"") -> bytes:
    """The response's head as bytes; `framing` are its last lines, whole."""
    start = b"HTTP/1.1 %d %s" % (head.status, _PHRASES.get(head.status, b""))
    return _block(start, head.headers, framing)


def _block(start: bytes, headers: Headers, framing: bytes) -> bytes:
    """Start line and headers. Framing among `headers` is dropped: a message has one, and it is ours.

    Raises ValueError if a value would end its line: what follows would pass for a header or a message.
    """
    lines = [b"%s: %s" % header for header in headers if header[0] not in _FRAMING]
    block = b"\r\n".join((start, *lines, framing))
    ends = len(lines) + 1 + framing.count(b"\n")
    if block.count(b"\n") != ends or block.count(b"\r") != ends or b"\0" in block:
        raise ValueError("a line break or NUL inside a header")
    return block + b"\r\n"
