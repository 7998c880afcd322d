"""HTTP messages as values, and the framing rules of RFC 9112 that both sides share.

Header names are lower case; order and duplicates are kept, because whoever decides must see them. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

# RFC 9110 section 7.6.1: what belongs to one connection and is never passed on.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
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
# What the writer of a message sets itself.
_FRAMING: Final = HOP_BY_HOP | {b"content-length"}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a message is read before it is refused. Sizes in bytes, times in seconds."""

    head: int = 32 * 1024
    body: int = 4 * 1024 * 1024
    read_timeout: float = 30.0  # from the first byte of a request to its last
    idle_timeout: float = 300.0  # between two requests on one connection


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


def values(headers: Headers, name: bytes) -> tuple[bytes, ...]:
    """All values of the header `name` (lower case), in order."""
    return tuple(value for key, value in headers if key == name)


def end_to_end(headers: Headers) -> Headers:
    """`headers` without what belongs to one connection, and without framing (RFC 9110 section 7.6.1)."""
    nominated = {
        token.strip().lower() for value in values(headers, b"connection") for token in value.split(b",")
    }
    dropped = _FRAMING | nominated
    return tuple(pair for pair in headers if pair[0] not in dropped)


def check_framing(headers: Headers) -> None:
    """Refuse a message whose end two readers could see in different places (RFC 9112 section 6.3)."""
    lengths = values(headers, b"content-length")
    codings = values(headers, b"transfer-encoding")
    if len(lengths) > 1 or (lengths and codings):
        raise Refused(Reason.HTTP_FRAMING, "more than one statement of the body's length")
    if lengths and not (lengths[0].isdigit() and lengths[0].isascii()):
        raise Refused(Reason.HTTP_FRAMING, "content-length")
    if codings and codings != (b"chunked",):
        raise Refused(Reason.HTTP_FRAMING, "transfer-encoding")


def check_request(request_headers: Headers) -> None:
    """The framing rules, and exactly one Host (RFC 9112 section 3.2)."""
    check_framing(request_headers)
    if len(values(request_headers, b"host")) != 1:
        raise Refused(Reason.HTTP_HOST, "exactly one Host is needed")


def encode_request(request: Request) -> bytes:
    """The request as bytes; framing is ours: one Content-Length."""
    lines = [b"%s %s HTTP/1.1\r\n" % (request.method, request.target)]
    lines += _header_lines(request.headers)
    lines.append(b"content-length: %d\r\n\r\n" % len(request.body))
    lines.append(request.body)
    return b"".join(lines)


def encode_head(head: ResponseHead, *framing: tuple[bytes, bytes]) -> bytes:
    """The response's head as bytes, `framing` headers last."""
    lines = [b"HTTP/1.1 %d %s\r\n" % (head.status, _phrase(head.status))]
    lines += _header_lines(head.headers)
    lines += _header_lines(framing)
    lines.append(b"\r\n")
    return b"".join(lines)


def _header_lines(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [b"%s: %s\r\n" % header for header in headers]


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
