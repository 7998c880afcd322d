"""The signed user context that travels with a call. Pure."""
