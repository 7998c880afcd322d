"""JSON-RPC and MCP: messages, eras, server-sent events, list pages, error answers. Pure."""
