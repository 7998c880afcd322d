"""`python -m spiffe_mcp` is the command `spiffe-mcp`."""

from spiffe_mcp.cli.main import main

main()
