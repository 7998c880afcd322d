"""The clock of the command line: the one place here that asks what time it is."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)  # noqa: TID251  a command is the root of what it runs; the rest is handed `now`
