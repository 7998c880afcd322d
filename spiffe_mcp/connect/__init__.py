"""A stdio MCP server that is the mesh's own door: lines in, the server's answers from the mesh out.

For MCP clients that can only start a command. What such a client writes is posted to the agent's egress, as
the Streamable HTTP client that it is not; what comes back is written as lines. Nothing is decided here: who
calls is attested by the agent, which sees this process, and what may be called is decided behind it.

    stdin  -> `stdio`  lines -> `shim` -> `conversation` what goes with a message -> HTTP, the egress
    stdout <- `stdio`  lines <- `shim` <- `answer`       messages of an answer    <- HTTP

Modules, lowest first: `conversation` (pure), `egress` (where it is), `answer`, `shim`, `stdio`.
"""

from spiffe_mcp.connect.egress import Egress
from spiffe_mcp.connect.shim import Shim
from spiffe_mcp.connect.stdio import serving_stdio

__all__ = ["Egress", "Shim", "serving_stdio"]
