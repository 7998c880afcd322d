"""The MCP server behind an ingress: how it is reached, what it lists right now, and who may send to it.

`Upstream.send` takes a `Permit`, or a `Declined` to say that there is none, so that no byte can reach the
server that was not admitted. The one exception is the ingress's own question what tools there are
(`inspection`).

Modules, lowest first: `connect` (TCP, Unix socket, TLS), `inspection`, `server`.
"""

from spiffe_mcp.mesh.upstream.server import Upstream

__all__ = ["Upstream"]
