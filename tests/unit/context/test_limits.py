"""The limits agree with each other and with the format."""

from datetime import timedelta

from spiffe_mcp.context.limits import DEFAULT_LIMITS, DEFAULT_TTL, LINK_SEPARATOR
from tests.fakes.links import link


def test_a_link_is_short_lived_unless_told_and_never_long_lived() -> None:
    assert timedelta(seconds=60) == DEFAULT_TTL
    assert DEFAULT_LIMITS.max_lifetime == timedelta(seconds=300)
    assert DEFAULT_LIMITS.clock_skew == timedelta(seconds=30)


def test_the_separator_of_links_is_in_none() -> None:
    assert LINK_SEPARATOR not in link().encode()
