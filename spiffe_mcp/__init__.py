"""SPIFFE workload identity and mutual-TLS mesh agent for MCP."""

# Loaded before anything else can load grpc. The other way round, the engine's library frees nothing of what a
# decision made: 4 KB a call were seen with regopy 1.5.2 and grpcio 1.85.1, and none in this order.
import regopy  # noqa: F401  for the order alone

__version__ = "0.1.0"
