"""Whatever the text, parsing gives a value that spells it again, or `Refused`."""

import string
from collections.abc import Callable
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId

_Value = TypeVar("_Value")

# Text that gets past the first check often enough for the later ones to be reached.
NEARLY = st.builds(
    "spiffe://{}/{}".format, st.text("ab.-_A:%@", max_size=8), st.text("w./*%?#\n\x00", max_size=8)
)
SEGMENTS = st.lists(
    st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=5), min_size=1, max_size=4
)


def outcome(parse: Callable[[str], _Value], text: str) -> _Value | Refused:
    """What `parse` makes of `text`; any other exception fails the test."""
    try:
        return parse(text)
    except Refused as refused:
        return refused


@given(st.text() | NEARLY)
@example("spiffe://a.test/w\n")
@example("spiffe://a.test/\ud800")
def test_an_id_is_parsed_exactly_or_refused(text: str) -> None:
    parsed = outcome(SpiffeId.parse, text)
    if isinstance(parsed, Refused):
        assert parsed.reason is Reason.ID_MALFORMED
        assert parsed.detail.isascii()
        assert parsed.detail.isprintable()
    else:
        assert str(parsed) == text
        assert text.isascii()
        assert text.isprintable()


@given(st.text() | NEARLY)
def test_a_pattern_is_parsed_exactly_or_refused(text: str) -> None:
    parsed = outcome(IdPattern.parse, text)
    if isinstance(parsed, Refused):
        assert parsed.reason is Reason.ID_MALFORMED
    else:
        assert str(parsed) == text


@given(SEGMENTS, SEGMENTS)
def test_only_admits_the_one_it_was_made_for(one: list[str], other: list[str]) -> None:
    allowed = AllowedIds.only(SpiffeId.parse(f"spiffe://a.test/{'/'.join(one)}"))
    try:
        allowed.authorize(SpiffeId.parse(f"spiffe://a.test/{'/'.join(other)}"))
    except Refused:
        assert one != other
    else:
        assert one == other


@given(SEGMENTS, SEGMENTS)
def test_a_tail_pattern_admits_what_lies_below_and_nothing_beside(head: list[str], found: list[str]) -> None:
    pattern = IdPattern.parse(f"spiffe://a.test/{'/'.join(head)}/**")
    below = len(found) > len(head) and found[: len(head)] == head
    assert pattern.matches(SpiffeId.parse(f"spiffe://a.test/{'/'.join(found)}")) is below
