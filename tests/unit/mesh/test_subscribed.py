"""An update is for the session that asked for it, of the resource or of what it is part of."""

from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mcp import Notification, Request
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.mesh.subscribed import LASTING, MAX_ANCESTORS, OfSubscribed, Subscribed
from spiffe_mcp.tables import LocalTable
from tests.fakes.mini_ca import NOW

PLANNER = SpiffeId.parse("spiffe://a.test/planner")
ALICE = Owner(PLANNER, PLANNER, "alice", "https://idp.a.test")
SECOND = timedelta(seconds=1)


def subscribed(uri: str = "demo://dir/a", capacity: int = 10) -> Subscribed:
    subscriptions = Subscribed(LocalTable(capacity))
    subscriptions.added(b"s", uri, ALICE, NOW)
    return subscriptions


@pytest.mark.parametrize(
    ("to", "uri", "told"),
    [
        ("demo://dir/a", "demo://dir/a", True),
        ("demo://dir/a", "demo://dir/ab", False),
        ("demo://dir/a", "demo://dir", False),
        ("demo://dir", "demo://dir/a/b", True),
        ("demo://dir/", "demo://dir/a", True),
        ("demo://dir", "demo://dir" + "/x" * MAX_ANCESTORS, False),
    ],
)
def test_of_the_resource_or_of_what_it_is_part_of(to: str, uri: str, told: bool) -> None:
    assert subscribed(to).has(b"s", uri, NOW) is told


def test_for_this_session_and_until_it_wants_no_more() -> None:
    subscriptions = subscribed()
    assert not subscriptions.has(b"t", "demo://dir/a", NOW)
    subscriptions.removed(b"t", "demo://dir/a")
    assert subscriptions.has(b"s", "demo://dir/a", NOW)
    subscriptions.removed(b"s", "demo://dir/a")
    assert not subscriptions.has(b"s", "demo://dir/a", NOW)
    assert len(subscriptions) == 0


def test_it_lasts_while_it_is_told_of() -> None:
    subscriptions = subscribed()
    subscriptions.added(b"s", "demo://dir/a", ALICE, NOW)  # once more is the same
    assert subscriptions.has(b"s", "demo://dir/a", NOW + LASTING - SECOND)
    assert subscriptions.has(b"s", "demo://dir/a", NOW + LASTING)
    assert not subscriptions.has(b"s", "demo://dir/a", NOW + 3 * LASTING)


def test_full_it_refuses() -> None:
    with pytest.raises(Refused) as caught:
        subscribed(capacity=1).added(b"s", "demo://b", ALICE, NOW)
    assert caught.value.reason is Reason.SUBSCRIPTIONS_FULL


class Everything:
    """Lets everything be said."""

    def notification(self, notification: Notification) -> bytes:
        return notification.raw

    def request(self, request: Request) -> bytes:
        return request.raw


def test_only_updates_are_looked_at() -> None:
    said = OfSubscribed(Everything(), lambda uri: uri == "demo://a")

    def passes(method: str, **params: str) -> bool:
        return said.notification(Notification(b"{}", method, dict(params))) == b"{}"

    assert passes("notifications/resources/updated", uri="demo://a")
    assert not passes("notifications/resources/updated", uri="demo://b")
    assert not passes("notifications/resources/updated")
    assert passes("notifications/resources/list_changed")
    assert said.request(Request(b"[]", 1, "ping", None)) == b"[]"
