"""SPIFFE workload identity and mutual-TLS mesh agent for MCP."""

__version__ = "0.1.0"
