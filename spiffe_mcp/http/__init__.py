"""HTTP/1.1 over any asyncio byte stream (RFC 9112). Knows nothing of TLS, MCP or the mesh."""

from spiffe_mcp.http.client import Response
from spiffe_mcp.http.messages import Headers, Limits, Request, ResponseHead
from spiffe_mcp.http.pool import Connector, HttpClient
from spiffe_mcp.http.reply import Reply
from spiffe_mcp.http.server import HttpServer, Service

__all__ = [
    "Connector",
    "Headers",
    "HttpClient",
    "HttpServer",
    "Limits",
    "Reply",
    "Request",
    "Response",
    "ResponseHead",
    "Service",
]
