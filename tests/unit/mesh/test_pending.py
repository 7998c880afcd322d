"""A question is answered once, in the session to which it was let through."""

from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mcp import MessageId
from spiffe_mcp.mesh.pending import PATIENCE, Pending
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.tables import LocalTable
from tests.fakes.mini_ca import NOW

PLANNER = SpiffeId.parse("spiffe://a.test/planner")
ALICE = Owner(PLANNER, PLANNER, "alice", "https://idp.a.test")


def waiting(message_id: MessageId = 1, capacity: int = 10) -> Pending:
    pending = Pending(LocalTable(capacity))
    pending.asked(b"s", message_id, ALICE, NOW)
    return pending


def refused(pending: Pending, session: bytes, message_id: MessageId, after: timedelta = timedelta()) -> bool:
    try:
        pending.answered(session, message_id, NOW + after)
    except Refused as error:
        return error.reason is Reason.MCP_RESPONSE_UNEXPECTED
    return False


def test_it_is_answered_once() -> None:
    pending = waiting()
    assert not refused(pending, b"s", 1)
    assert refused(pending, b"s", 1)
    assert len(pending) == 0


@pytest.mark.parametrize(("session", "message_id"), [(b"t", 1), (b"s", 2), (b"s", "1")])
def test_nothing_else_answers_it(session: bytes, message_id: MessageId) -> None:
    pending = waiting()
    assert refused(pending, session, message_id)
    assert not refused(pending, b"s", 1)


def test_a_question_that_comes_again_is_the_same() -> None:
    pending = waiting()
    pending.asked(b"s", 1, ALICE, NOW)
    assert not refused(pending, b"s", 1)
    assert refused(pending, b"s", 1)


def test_nobody_waits_for_ever() -> None:
    assert not refused(waiting(), b"s", 1, after=PATIENCE - timedelta(seconds=1))
    assert refused(waiting(), b"s", 1, after=PATIENCE)


def test_full_it_takes_no_more_and_forgets_nothing() -> None:
    pending = waiting(capacity=1)
    with pytest.raises(Refused) as caught:
        pending.asked(b"s", 2, ALICE, NOW)
    assert caught.value.reason is Reason.MCP_SERVER_REQUESTS_FULL
    assert not refused(pending, b"s", 1)
