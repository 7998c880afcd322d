"""Keeping browsers out of the egress: a page must not reach a listener on loopback under its own name.

DNS rebinding gives a foreign page the right to talk to 127.0.0.1; what it cannot do is lie in `Host` and
`Origin`. MCP demands the check (streamable-http "Security": "Servers MUST validate the Origin header"). Pure.
"""

from typing import Final
from urllib.parse import urlsplit

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers
from spiffe_mcp.http.messages import values

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def check_origin(headers: Headers) -> None:
    """Return if `Host` and `Origin` name this machine; raises `Refused(ORIGIN_FORBIDDEN)`."""
    for host in values(headers, b"host"):
        _check(f"//{host.decode('latin-1')}")
    for origin in values(headers, b"origin"):
        _check(origin.decode("latin-1"))


def _check(url: str) -> None:
    try:
        local = urlsplit(url).hostname in _LOCAL
    except ValueError:
        local = False
    if not local:
        raise Refused(Reason.ORIGIN_FORBIDDEN)
