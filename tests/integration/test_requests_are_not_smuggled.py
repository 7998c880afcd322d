"""No framing of a request makes an agent and whoever is behind it see another number of requests.

Each attack is a call whose text is `outer`, framed so that some reader would see a second one in it, whose
text is `smuggled`; then comes an honest call, `last`, after which the connection closes. What was executed is
read off the server. The one rule: `smuggled` never is, and what is not exactly one call is none.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from spiffe_mcp.http import Request
from tests.fakes.mcp_client import call, with_header
from tests.fakes.mesh import Mesh
from tests.fakes.raw_http import SIDES, Side, chunked, head_of, plain

pytestmark = pytest.mark.asyncio(loop_scope="module")

TE: Final = b"Transfer-Encoding: chunked"
NONE: Final[list[str]] = []  # refused, and the connection with it
ONE: Final = ["outer", "last"]  # one call, whatever else it looked like
NEXT: Final = ["last"]  # refused as a call; the connection goes on


class Parts(NamedTuple):
    """What an attack is made of."""

    outer: Request
    smuggled: bytes

    @property
    def body(self) -> bytes:
        return self.outer.body

    @property
    def length(self) -> int:
        return len(self.outer.body)

    def framed(self, framing: bytes, payload: bytes, start: bytes | None = None) -> bytes:
        """The outer call under other framing."""
        return head_of(self.outer, start) + b"\r\n" + framing + b"\r\n\r\n" + payload


Attack = Callable[[Parts], bytes]


def lines(*framing: bytes) -> Attack:
    """The body is chunked, behind it is the other request; header lines say `framing`, `@` its length."""

    def attack(parts: Parts) -> bytes:
        payload = chunked(parts.body) + parts.smuggled
        length = b"%d" % len(payload)
        return parts.framed(b"\r\n".join(framing).replace(b"@", length), payload)

    return attack


def length(written: bytes) -> Attack:
    """The length of the body is written so; `@` is what it really is."""

    def attack(parts: Parts) -> bytes:
        framing = b"Content-Length: " + written.replace(b"@", b"%d" % parts.length)
        return parts.framed(framing, parts.body + parts.smuggled)

    return attack


def chunks(written: bytes) -> Attack:
    """The chunks are written so; `SIZE`, `BODY` and `NEXT` stand for size, body and the other request."""

    def attack(parts: Parts) -> bytes:
        payload = written.replace(b"SIZE", b"%x" % parts.length).replace(b"BODY", parts.body)
        return parts.framed(TE, payload.replace(b"NEXT", parts.smuggled))

    return attack


def started(start: bytes, *extra: bytes) -> Attack:
    """Another start line, and the other request behind it as a body would be."""

    def attack(parts: Parts) -> bytes:
        framing = b"\r\n".join([b"Content-Length: %d" % len(parts.smuggled), *extra])
        return parts.framed(framing, parts.smuggled, start)

    return attack


def extra(line: bytes) -> Attack:
    """An honest request with one header line more."""
    return lambda parts: plain(parts.outer, line)


ATTACKS: Final[dict[str, tuple[Attack, list[str]]]] = {
    # two statements of the length
    "length, then chunked": (lines(b"Content-Length: @", TE), NONE),
    "chunked, then length": (lines(TE, b"Content-Length: @"), NONE),
    "chunked, and a length of 0": (lines(TE, b"Content-Length: 0"), NONE),
    "a length, and chunked behind a bare LF": (lines(b"X: a\n" + TE, b"Content-Length: @"), NONE),
    "a length, and chunked behind a bare CR": (lines(b"X: a\r" + TE, b"Content-Length: @"), NONE),
    "a length, and chunked with a space": (lines(b"Transfer-Encoding : chunked", b"Content-Length: @"), NONE),
    "a length, and chunked folded": (lines(b"Transfer-Encoding:\r\n chunked", b"Content-Length: @"), NONE),
    "a length, and a fold to chunked": (lines(b"X: a\r\n " + TE, b"Content-Length: @"), NONE),
    "a length, and something like chunked": (
        lines(b"Transfer-Encoding: xchunked", b"Content-Length: @"),
        NONE,
    ),
    "two lengths": (length(b"@\r\nContent-Length: 0"), NONE),
    "two equal lengths": (length(b"@\r\nContent-Length: @"), NONE),
    "a list of lengths": (length(b"@, @"), NONE),
    "a length and a folded one": (length(b"@\r\n 0"), NONE),
    # codings
    "identity after chunked": (lines(TE + b", identity"), NONE),
    "identity before chunked": (lines(b"Transfer-Encoding: identity, chunked"), NONE),
    "gzip before chunked": (lines(b"Transfer-Encoding: gzip, chunked"), NONE),
    "chunked twice": (lines(TE, TE), NONE),
    "chunked twice in a line": (lines(TE + b", chunked"), NONE),
    "chunked, then another line": (lines(TE, b"Transfer-Encoding: x"), NONE),
    "another line, then chunked": (lines(b"Transfer-Encoding: x", TE), NONE),
    "chunked in quotes": (lines(b'Transfer-Encoding: "chunked"'), NONE),
    "chunked with a parameter": (lines(TE + b";q=1"), NONE),
    "chunked behind a vertical tab": (lines(b"Transfer-Encoding: \x0bchunked"), NONE),
    "chunked and a NUL": (lines(TE + b"\0"), NONE),
    "chunked with a long s": (lines("Transfer-Encoding: chunked\u017f".encode()), NONE),
    # lengths
    "a length with a plus": (length(b"+@"), NONE),
    "a negative length": (length(b"-@"), NONE),
    "a length in hexadecimal": (length(b"0x@"), NONE),
    "a length with an exponent": (length(b"@e0"), NONE),
    "a length with a point": (length(b"@.0"), NONE),
    "a length with a gap": (length(b"@ 0"), NONE),
    "a length beyond 64 bits": (length(b"18446744073709551616@"), NONE),
    "no length": (length(b""), NONE),
    "a length of 0": (length(b"0"), NONE),
    # chunks
    "a size with 0x": (chunks(b"0xSIZE\r\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "a size with a plus": (chunks(b"+SIZE\r\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "a size behind a space": (chunks(b" SIZE\r\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "a size with an underscore": (chunks(b"0_SIZE\r\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "a size beyond 64 bits": (chunks(b"10000000000000000SIZE\r\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "a size ended by LF": (chunks(b"SIZE\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "a chunk ended by LF": (chunks(b"SIZE\r\nBODY\n0\r\n\r\nNEXT"), NONE),
    "a chunk without an end": (chunks(b"SIZE\r\nBODY0\r\n\r\nNEXT"), NONE),
    "a chunk longer than it says": (chunks(b"SIZE\r\nBODYxx\r\n0\r\n\r\nNEXT"), NONE),
    "an extension ended by LF": (chunks(b"SIZE;a=b\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "an extension with a bare CR": (chunks(b"SIZE;a=\rb\r\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "an extension with a NUL": (chunks(b"SIZE;a=\0\r\nBODY\r\n0\r\n\r\nNEXT"), NONE),
    "a last chunk ended by LF": (chunks(b"SIZE\r\nBODY\r\n0\n\nNEXT"), NONE),
    "a last chunk and no empty line": (chunks(b"SIZE\r\nBODY\r\n0\r\nNEXT"), NONE),
    "a trailer": (chunks(b"SIZE\r\nBODY\r\n0\r\nX: y\r\n\r\nNEXT"), NONE),
    "a length in a trailer": (chunks(b"SIZE\r\nBODY\r\n0\r\nContent-Length: 9\r\n\r\nNEXT"), NONE),
    "a tool in a trailer": (chunks(b"SIZE\r\nBODY\r\n0\r\nMcp-Name: pay\r\n\r\nNEXT"), NONE),
    # names of headers
    "a space before the colon": (extra(b"Content-Length : 0"), NONE),
    "a space before the name": (extra(b" Content-Length: 0"), NONE),
    "a tab before the name": (extra(b"\tContent-Length: 0"), NONE),
    "a NUL in a name": (extra(b"Content-Length\0: 0"), NONE),
    "a colon alone": (extra(b": x"), NONE),
    "no colon": (extra(b"Content-Length 0"), NONE),
    # start lines
    "an absolute target": (started(b"POST http://127.0.0.1/desk/mcp HTTP/1.1"), NONE),
    "an authority": (started(b"POST 127.0.0.1:80 HTTP/1.1"), NONE),
    "an asterisk": (started(b"OPTIONS * HTTP/1.1"), NONE),
    "CONNECT": (started(b"CONNECT 127.0.0.1:80 HTTP/1.1"), NONE),
    "HTTP/1.0": (started(b"POST /desk/mcp HTTP/1.0", b"Connection: keep-alive"), NONE),
    "HTTP/0.9": (lambda parts: b"POST /desk/mcp\r\n" + parts.smuggled, NONE),
    "HTTP/1.1 in lower case": (started(b"POST /desk/mcp http/1.1"), NONE),
    "a second space": (started(b"POST /desk/mcp  HTTP/1.1"), NEXT),  # RFC 9112 section 3 lets it pass
    "a request in the target": (started(b"POST /desk/mcp HTTP/1.1\rX: HTTP/1.1"), NONE),
    "the preface of HTTP/2": (lambda parts: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + parts.smuggled, NONE),
    # other protocols
    "h2c": (
        started(
            b"POST /desk/mcp HTTP/1.1",
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        ),
        NONE,
    ),
    "a WebSocket": (
        started(
            b"GET /desk/mcp HTTP/1.1",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ),
        NONE,
    ),
    # methods with a body that is a request
    "GET with a body": (started(b"GET /desk/mcp HTTP/1.1"), NEXT),
    "HEAD with a body": (started(b"HEAD /desk/mcp HTTP/1.1"), NEXT),
    "DELETE with a body": (started(b"DELETE /desk/mcp HTTP/1.1"), NEXT),
    "TRACE with a body": (started(b"TRACE /desk/mcp HTTP/1.1"), NEXT),
    # clear, if unusual: exactly one
    "chunked": (lambda parts: parts.framed(TE, chunked(parts.body)), ONE),
    "chunked in capitals": (
        lambda parts: parts.framed(b"TRANSFER-ENCODING:\tCHUNKED ", chunked(parts.body)),
        ONE,
    ),
    "an extension": (chunks(b'SIZE;a="b;c"\r\nBODY\r\n0\r\n\r\n'), ONE),
    "zeros before a size": (chunks(b"0000SIZE\r\nBODY\r\n00\r\n\r\n"), ONE),
    "a length with an underscore": (extra(b"Content_Length: 0"), ONE),
    "a coding with an underscore": (extra(b"Transfer_Encoding: chunked"), ONE),
    "a method to override": (extra(b"X-HTTP-Method-Override: DELETE"), ONE),
    "an expectation": (extra(b"Expect: 100-continue"), ONE),
    "an expectation nobody knows": (extra(b"Expect: 200-ok"), ONE),
    "a connection option that names the tool": (extra(b"Connection: mcp-name, content-type"), ONE),
    "an announced trailer": (extra(b"Trailer: Mcp-Name"), ONE),
    "a coding the client would take": (extra(b"TE: trailers, chunked"), ONE),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("attack", "executed"), ATTACKS.values(), ids=ATTACKS)
async def test_what_is_executed_is_what_was_authorised(
    mesh: Mesh, side: str, attack: Attack, executed: list[str]
) -> None:
    before = len(mesh.server.called)
    raw_to: Side = SIDES[side]
    async with raw_to(mesh) as raw:
        parts = Parts(_signed(mesh, side, "outer"), plain(_signed(mesh, side, "smuggled")))
        raw.say(attack(parts) + plain(_signed(mesh, side, "last"), b"Connection: close"))
        await raw.closed()
        statuses = raw.statuses
    said = [message["params"]["arguments"]["text"] for message in mesh.server.called[before:]]
    assert said == executed, raw.received
    assert [status for status in statuses if status < 400] == [200] * len(executed)
    assert len(statuses) <= 2, "one answer for each request, and one for what was none"
    assert (await mesh.planner.ask(call("echo", text="as ever"))).text == "as ever"


def _signed(mesh: Mesh, side: str, text: str) -> Request:
    """A call as that side takes it: a peer's bears a user context."""
    request = call("echo", text=text)
    return mesh.hop().signed(request) if side == "ingress" else with_header(request, "x-side", side)


@pytest.mark.parametrize("side", SIDES)
async def test_requests_in_a_row_are_answered_in_a_row(mesh: Mesh, side: str) -> None:
    """Pipelining is honest: each is authorised for itself."""
    texts = [f"call {number}" for number in range(20)]
    before = len(mesh.server.called)
    async with SIDES[side](mesh) as raw:
        *most, last = (_signed(mesh, side, text) for text in texts)
        raw.say(b"".join(map(plain, most)) + plain(last, b"Connection: close"))
        await raw.closed()
        assert raw.statuses == [200] * 20
        places = [raw.received.index(text.encode()) for text in texts]
    assert places == sorted(places)
    assert [message["params"]["arguments"]["text"] for message in mesh.server.called[before:]] == texts


@pytest.mark.parametrize("side", SIDES)
async def test_a_client_that_waits_to_be_told_to_go_on_is_told(mesh: Mesh, side: str) -> None:
    request = _signed(mesh, side, "told")
    whole = plain(request, b"Expect: 100-continue", b"Connection: close")
    head, body = whole[: -len(request.body)], whole[-len(request.body) :]
    async with SIDES[side](mesh) as raw:
        raw.say(head)
        await raw.says(b"HTTP/1.1 100 Continue\r\n\r\n")
        raw.say(body)
        await raw.closed()
        assert raw.statuses == [200]
