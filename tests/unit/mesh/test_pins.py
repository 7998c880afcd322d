"""A legacy session stays where it was made, or its client is told that it is gone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.pins import Pins, Session
from spiffe_mcp.mesh.routes import ServerName
from spiffe_mcp.mesh.sessions import IDLE
from spiffe_mcp.tables import LocalTable
from tests.exchange.playbook import EGRESS_ROUTE, NOW

FIRST, SECOND, THIRD = (Address(host, 8443) for host in ("one", "two", "three"))
PLACES = (FIRST, SECOND)
SESSION = Session(b"s-1", SpiffeId.parse("spiffe://a.test/planner"), EGRESS_ROUTE.name)


def pins(capacity: int = 100) -> Pins:
    return Pins(LocalTable(capacity))


def test_a_session_goes_where_it_was_made() -> None:
    remembered = pins()
    remembered.made(SESSION, SECOND, NOW)
    assert remembered.address(SESSION, PLACES, NOW) == SECOND


def test_where_one_was_made_that_nobody_remembers_is_not_known() -> None:
    assert pins().address(SESSION, PLACES, NOW) is None


def test_the_same_name_for_another_caller_or_server_is_another_session() -> None:
    remembered = pins()
    remembered.made(SESSION, SECOND, NOW)
    assert remembered.address(replace(SESSION, server=ServerName("bank")), PLACES, NOW) is None
    stranger = replace(SESSION, caller=SpiffeId.parse("spiffe://a.test/guest"))
    assert remembered.address(stranger, PLACES, NOW) is None


def test_a_session_whose_address_is_gone_is_unknown_and_not_moved() -> None:
    remembered = pins()
    remembered.made(SESSION, SECOND, NOW)
    with pytest.raises(Refused) as caught:
        remembered.address(SESSION, (FIRST, THIRD), NOW)
    assert caught.value.reason is Reason.SESSION_UNKNOWN


def test_it_is_remembered_as_long_as_it_is_used_and_not_for_ever() -> None:
    remembered, now = pins(), NOW
    remembered.made(SESSION, SECOND, now)
    for _ in range(3):
        now += IDLE
        assert remembered.address(SESSION, PLACES, now) == SECOND
    assert remembered.address(SESSION, PLACES, now + IDLE + timedelta(seconds=1)) is None


def test_one_caller_does_not_take_the_room_of_others() -> None:
    remembered = pins(capacity=10)
    for number in range(100):
        remembered.made(replace(SESSION, id=b"s-%d" % number), FIRST, NOW)
    guest = replace(SESSION, caller=SpiffeId.parse("spiffe://a.test/guest"))
    remembered.made(guest, SECOND, NOW)
    assert remembered.address(guest, PLACES, NOW) == SECOND
