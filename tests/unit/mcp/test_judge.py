"""Message by message: the call's own answer passes, what a server may say passes, the rest does not."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.call import read_call
from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.judge import WITHHELD, CallJudge, OfAnEra, StreamJudge, same_id
from spiffe_mcp.mcp.message import Notification, Request, Response, parse
from tests.unit.mcp import captured

CALL = read_call(parse(captured.MODERN_CALL[0]), captured.MODERN_CALL[1])
NOTIFICATION = read_call(parse(captured.INITIALIZED[0]), captured.INITIALIZED[1])


def response(body: bytes) -> Response:
    message = parse(body)
    assert isinstance(message, Response)
    return message


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        (b'{"jsonrpc":"2.0","id":3,"result":{"content":[]}}', False),
        (b'{"jsonrpc":"2.0","id":3,"result":{"content":[],"isError":false}}', False),
        (b'{"jsonrpc":"2.0","id":3,"result":{"content":[],"isError":true}}', True),
        (b'{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":""}}', True),
    ],
)
def test_whether_the_call_failed_is_known(body: bytes, failed: bool) -> None:
    judge = CallJudge(CALL)
    assert judge.response(response(body)) == body
    assert (judge.answered, judge.failed) == (True, failed)


def test_what_goes_on_in_place_of_the_response_is_anothers_to_say() -> None:
    judge = CallJudge(CALL, lambda answer: answer.raw.replace(b"[]", b"[0]"))
    assert b"[0]" in judge.response(response(b'{"jsonrpc":"2.0","id":3,"result":{"content":[]}}'))


def test_nobody_answers_a_notification() -> None:
    judge = CallJudge(NOTIFICATION)
    with pytest.raises(Refused) as caught:
        judge.response(response(b'{"jsonrpc":"2.0","id":3,"result":{}}'))
    assert caught.value.reason is Reason.MCP_ANSWER_UNEXPECTED
    judge.ended()


def test_an_answer_that_is_owed_and_did_not_come_is_missed() -> None:
    judge = CallJudge(CALL)
    with pytest.raises(Refused) as caught:
        judge.ended()
    assert caught.value.reason is Reason.MCP_ANSWER_MISSING


class Mute:
    """Lets nothing be said."""

    def notification(self, _: Notification) -> bytes:
        return WITHHELD

    def request(self, _: Request) -> bytes:
        return WITHHELD


def test_what_a_server_says_unasked_is_anothers_to_judge() -> None:
    judge = CallJudge(CALL, unasked=Mute())
    assert judge.notification(Notification(b"{}", "notifications/progress", None)) == WITHHELD
    assert judge.request(Request(b"{}", 1, "ping", None)) == WITHHELD


@pytest.mark.parametrize("era", Era)
def test_by_itself_an_era_has_notifications_and_no_requests(era: Era) -> None:
    told, unknown = Notification(b"1", "notifications/message", None), Notification(b"2", "ping", None)
    assert (OfAnEra(era).notification(told), OfAnEra(era).notification(unknown)) == (b"1", WITHHELD)
    with pytest.raises(Refused) as caught:
        OfAnEra(era).request(Request(b"{}", 1, "ping", None))
    assert caught.value.reason is Reason.MCP_SERVER_REQUEST_REFUSED


def test_a_number_is_no_text() -> None:
    assert same_id(1, 1)
    assert same_id("1", "1")
    assert not same_id("1", 1)


def test_an_answer_whose_rest_may_come_on_another_stream_is_not_missed() -> None:
    seen: list[bytes] = []
    judge = CallJudge(CALL, remember=lambda event: not seen.append(event))  # type: ignore[func-returns-value]
    judge.identified(b"e1")
    assert (judge.answered, seen) == (True, [b"e1"])
    judge.ended()


def test_an_event_that_nobody_remembers_changes_nothing() -> None:
    for judge in (CallJudge(CALL), CallJudge(CALL, remember=lambda _: False)):
        judge.identified(b"e1")
        assert not judge.answered


def test_a_stream_without_a_call_lets_pass_what_is_owed_and_ends_at_any_time() -> None:
    owed, other = (response(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % message_id) for message_id in (3, 4))
    judge = StreamJudge(lambda answer: answer.id == 3, lambda _: b"new", Mute(), lambda _: False)
    assert (judge.response(owed), judge.response(other)) == (b"new", WITHHELD)
    assert judge.notification(Notification(b"{}", "notifications/progress", None)) == WITHHELD
    assert judge.request(Request(b"{}", 1, "ping", None)) == WITHHELD
    judge.identified(b"e")
    judge.ended()
