"""An event's ID is good in the session to which it was sent, and for the stream that it was on."""

from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mcp import Call, Response, parse, read_call
from spiffe_mcp.mesh.replays import LASTING, Owed, Replays
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.tables import LocalTable
from tests.exchange.playbook import legacy
from tests.fakes.mini_ca import NOW

PLANNER = SpiffeId.parse("spiffe://a.test/planner")
ALICE = Owner(PLANNER, PLANNER, "alice", "https://idp.a.test")
SECOND = timedelta(seconds=1)


def called(method: str = "tools/list", message_id: object = 7) -> Call:
    request = legacy(method, id=message_id)
    return read_call(parse(request.body), request.headers)


def response(body: bytes) -> Response:
    message = parse(body)
    assert isinstance(message, Response)
    return message


def sent(owed: Owed | None = None, capacity: int = 10) -> Replays:
    replays = Replays(LocalTable(capacity))
    assert replays.passed(b"s", b"e1", owed, ALICE, NOW)
    return replays


def test_after_an_event_comes_what_its_stream_was_to_answer() -> None:
    owed = Owed.by(called())
    assert owed is not None
    assert sent(owed).after(b"s", b"e1", NOW) == owed
    assert sent(None).after(b"s", b"e1", NOW) is None


@pytest.mark.parametrize(
    ("session", "event", "after"),
    [
        pytest.param(b"t", b"e1", timedelta(), id="of another session"),
        pytest.param(b"s", b"e2", timedelta(), id="never sent"),
        pytest.param(b"s", b"e1", LASTING, id="too long ago"),
    ],
)
def test_another_event_opens_nothing(session: bytes, event: bytes, after: timedelta) -> None:
    with pytest.raises(Refused) as caught:
        sent().after(session, event, NOW + after)
    assert caught.value.reason is Reason.SESSION_EVENT_UNKNOWN


def test_an_event_that_is_sent_again_stays_on_its_stream_and_lasts() -> None:
    owed = Owed.by(called())
    replays = sent(owed)
    assert replays.passed(b"s", b"e1", None, ALICE, NOW + LASTING - SECOND)
    assert replays.after(b"s", b"e1", NOW + LASTING) == owed
    assert len(replays) == 1


def test_full_it_takes_no_more_and_says_so() -> None:
    replays = sent(capacity=1)
    assert not replays.passed(b"s", b"e2", None, ALICE, NOW)
    assert replays.after(b"s", b"e1", NOW) is None


def test_only_the_answer_to_that_call_is_owed() -> None:
    owed = Owed.by(called())
    assert owed is not None
    assert owed.is_paid_by(response(b'{"jsonrpc":"2.0","id":7,"result":{}}'))
    assert not owed.is_paid_by(response(b'{"jsonrpc":"2.0","id":"7","result":{}}'))
    assert not owed.is_paid_by(response(b'{"jsonrpc":"2.0","id":8,"result":{}}'))
    assert not owed.is_paid_by(response(b'{"jsonrpc":"2.0","error":{"code":1,"message":""}}'))


def test_nothing_is_owed_to_a_notification() -> None:
    assert Owed.by(called("notifications/initialized", None)) is None
