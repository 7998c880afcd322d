"""The newest is kept, the oldest makes room, and there is never more than was allowed."""

from spiffe_mcp.recent import Recent


def test_what_is_kept_is_found_until_it_is_the_oldest_of_too_many() -> None:
    recent: Recent[str, int] = Recent(2)
    assert recent.keep("a", 1) == 1
    recent.keep("b", 2)
    recent.keep("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (None, 2, 3)
    assert len(recent) == 2


def test_what_is_kept_again_is_the_newest_and_the_only_one_of_its_key() -> None:
    recent: Recent[str, int] = Recent(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        recent.keep(key, value)
    assert recent == {"a": 3, "c": 4}
