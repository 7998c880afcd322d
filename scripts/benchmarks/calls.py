"""The calls that are made: one form for each kind of target, different words and another ID each time.

What varies is of one length, so that every request of a target has the same size: ten digits stand where the
ID stands, and again at the end of what is said.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

FIRST_ID: Final = 1_000_000_000  # ten digits, and so are all that a run can reach
ID_MARK: Final = 9_999_999_999
TEXT_MARK: Final = "@@@@@@@@@@"
_TEXT: Final = "summarise the open invoices of the third quarter, by vendor and currency, row "
_MODERN: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
}


@dataclass(frozen=True, slots=True)
class Form:
    """A request of which the ID and the end of the text are left open."""

    headers: tuple[tuple[str, str], ...]
    body: str  # with ID_MARK and TEXT_MARK, once each

    def pieces(self) -> tuple[str, str, str]:
        """What stands before, between and after the two."""
        before, rest = self.body.split(str(ID_MARK))
        between, after = rest.split(TEXT_MARK)
        return before, between, after

    def filled(self, number: int) -> bytes:
        """The body of call `number`."""
        return self.body.replace(str(ID_MARK), str(number)).replace(TEXT_MARK, str(number)).encode()


def text_of(number: int) -> str:
    """What call `number` has to bring back."""
    return f"{_TEXT}{number}"


def modern(tool: str = "echo") -> Form:
    """`tools/call` of 2026-07-28."""
    mirrors = (("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool))
    return _form(tool, mirrors, {"_meta": _MODERN})


def legacy(tool: str = "echo", extra: tuple[tuple[str, str], ...] = ()) -> Form:
    """`tools/call` of 2025-06-18, as servers without sessions take it; `extra` headers of a peer's own."""
    return _form(tool, (("MCP-Protocol-Version", "2025-06-18"), *extra), {})


def streaming(events: int, size: int) -> bytes:
    """A modern call that is answered with so many events of so many bytes."""
    arguments = {"events": events, "bytes": size}
    params = {"name": "stream", "arguments": arguments, "_meta": _MODERN}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


def script(form: Form, url: str) -> str:
    """The form as a script for wrk: what does not vary is put together once."""
    place = urlsplit(url)
    before, between, after = form.pieces()
    size = len(form.filled(FIRST_ID))
    head = [f"POST {place.path} HTTP/1.1", f"Host: {place.netloc}", f"Content-Length: {size}"]
    head += [f"{name}: {value}" for name, value in form.headers]
    return _SCRIPT.format(
        head=_lua("\r\n".join(head) + "\r\n\r\n" + before),
        between=_lua(between),
        after=_lua(after),
    )


def _form(tool: str, headers: tuple[tuple[str, str], ...], extra: dict[str, Any]) -> Form:
    params = {"name": tool, "arguments": {"text": _TEXT + TEXT_MARK}, **extra}
    body = {"jsonrpc": "2.0", "id": ID_MARK, "method": "tools/call", "params": params}
    accepted = (("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream"))
    return Form((*accepted, *headers), json.dumps(body, separators=(",", ":")))


def _lua(text: str) -> str:
    """`text` as a string of Lua: every byte but letters, digits and blanks by its number."""
    return '"' + re.sub(r"[^A-Za-z0-9 ]", lambda found: _escaped(found[0]), text) + '"'


def _escaped(character: str) -> str:
    return "".join(rf"\{byte:03d}" for byte in character.encode())


# `init` gets the first number of this run, so that no two runs make the same call.
_SCRIPT: Final = """\
local head, between, after = {head}, {between}, {after}
local number

function init(arguments)
   number = tonumber(arguments[1])
end

function request()
   number = number + 1
   local digits = string.format("%d", number)
   return head .. digits .. between .. digits .. after
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{{"calls": %d, "microseconds": %d, "p50": %d, "p99": %d, ' ..
      '"status": %d, "broken": %d}}\\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""
