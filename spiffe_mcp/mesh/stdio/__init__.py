"""An MCP server that speaks stdio, as one that speaks HTTP: the agent starts it, and stands before it.

    ingress -> HTTP on a Unix socket -> `bridge` -> `slots`, `sessions` -> `server` -> `process` -> stdin
                                                                                    <- stdout, stderr

Everything that decides stays where it is for any other server, in front of this. Here a message finds its
process and an answer whoever asked; nothing is admitted, filtered or recorded.

Modules, lowest first: `program` (values), `bound` (a script of its own), `launch`; `members`, `correlation`,
`backoff`, `stderr` (pure); `exchange`, `process`, `server`; `slots`, `sessions`; `bridge`, `serving`.
"""

from spiffe_mcp.mesh.stdio.program import Processes, Program
from spiffe_mcp.mesh.stdio.serving import bridging

__all__ = ["Processes", "Program", "bridging"]
