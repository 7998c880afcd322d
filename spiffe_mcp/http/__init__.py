"""HTTP/1.1 over any byte stream. Knows nothing of MCP."""
