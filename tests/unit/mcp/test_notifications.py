"""The lists of what a server may tell hold notifications alone, and 2026-07-28 the fewer."""

from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.methods import REQUESTS
from spiffe_mcp.mcp.notifications import CHANGES, PASSED


def test_every_era_has_a_list_of_notifications() -> None:
    assert PASSED.keys() == {*Era}
    assert all(method.startswith("notifications/") for methods in PASSED.values() for method in methods)


def test_what_was_subscribed_to_is_not_told_in_the_answer_to_a_call() -> None:
    assert PASSED[Era.MODERN] == {"notifications/message", "notifications/progress"}
    assert PASSED[Era.MODERN] < PASSED[Era.LEGACY]


def test_what_changes_is_what_can_be_asked() -> None:
    assert PASSED[Era.LEGACY] >= CHANGES.keys()
    for era in Era:
        assert REQUESTS[era].keys() >= {*CHANGES.values()}
