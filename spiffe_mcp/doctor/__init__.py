"""What is wrong with one agent's surroundings, and what to do about it: `spiffe-mcp doctor`."""
