"""The clock of the commands."""

from datetime import timedelta

from spiffe_mcp.cli import clock


def test_the_clock_is_aware_and_in_utc() -> None:
    assert clock.now().utcoffset() == timedelta(0)
