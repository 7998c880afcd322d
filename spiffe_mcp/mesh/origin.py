"""Keeping browsers out of the egress: a page must not reach a listener on loopback under its own name.

DNS rebinding gives a foreign page the right to talk to 127.0.0.1; what it cannot do is lie in `Host` and
`Origin`. MCP demands the check (streamable-http "Security": "Servers MUST validate the Origin header"). Pure.
"""

from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers
from spiffe_mcp.http.messages import values

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def check_origin(headers: Headers) -> None:
    """Return if `Host` and `Origin` name this machine; raises `Refused(ORIGIN_FORBIDDEN)`."""
    authorities = [b"//" + host for host in values(headers, b"host")]
    for url in (*authorities, *values(headers, b"origin")):
        if not _is_local(url):
            raise Refused(Reason.ORIGIN_FORBIDDEN)


@lru_cache(maxsize=256)
def _is_local(url: bytes) -> bool:
    """Whether `url` names this machine: follows from its octets alone, and callers say the same each time."""
    try:
        return urlsplit(url.decode("latin-1")).hostname in _LOCAL
    except ValueError:
        return False
