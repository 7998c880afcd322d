"""Point 33: a legacy session is who opened it, and for anybody else it does not exist."""

import asyncio

from tests.intermediary.check import Bench, Need, check
from tests.intermediary.client import Answer
from tests.intermediary.mcp import bodiless, legacy, legacy_call, opened, response, said
from tests.intermediary.upstream import Answering, Message


def _seen(answer: Answer, session: str) -> tuple[int, list[bytes], bytes]:
    headers = sorted(name for name, _ in answer.head.headers if name != b"date")
    return answer.status, headers, answer.body.replace(session.encode(), b"SESSION")


@check(33, "MCP 2025-11-25 security best practices: sessions are not authentication")
async def a_session_that_nobody_opened_is_unknown(bench: Bench) -> None:
    for forged in ("suite-forged", "eyJ1cHN0cmVhbSI6InN1aXRlLSJ9", "session-999999", "x" * 300):
        request = legacy_call("echo", session=forged, text="suite-forged")
        answer = await bench.refused(request)
        assert answer.status == 404, f"status {answer.status}, not 404"
    await bench.serves()


@check(33, "MCP 2025-11-25 security best practices: session hijacking", Need.IDENTITIES)
async def a_session_of_another_caller_is_unknown(bench: Bench) -> None:
    assert bench.other is not None
    session = await opened(bench.client)
    params = {"name": "echo", "arguments": {"text": "suite-hijacked"}}
    mark = len(bench.upstream.received)
    stolen = await bench.other.ask(legacy("tools/call", params, session=session, message_id="suite-s"))
    unknown = await bench.other.ask(legacy("tools/call", params, session="session-x", message_id="suite-s"))
    assert not bench.upstream.since(mark), "another caller's session was used"
    assert _seen(stolen, session) == _seen(unknown, "session-x")
    assert stolen.status == 404
    assert (await bench.ask(legacy("tools/call", params, session=session))).result


@check(33, "MCP 2025-11-25 basic/transports, Session Management", Need.IDENTITIES)
async def a_session_is_ended_by_its_owner_alone(bench: Bench) -> None:
    assert bench.other is not None
    session = await opened(bench.client)
    assert (await bench.other.ask(bodiless(b"DELETE", session))).status == 404
    assert (await bench.ask(legacy_call("echo", session=session, text="x"))).result
    ended = await bench.ask(bodiless(b"DELETE", session))
    assert ended.status < 300
    gone = await bench.refused(legacy_call("echo", session=session, text="suite-ended"))
    assert gone.status == 404


@check(33, "MCP 2025-11-25 basic/transports, Listening for Messages", Need.IDENTITIES)
async def nobody_listens_to_a_session_of_another_caller(bench: Bench) -> None:
    assert bench.other is not None
    session = await opened(bench.client)
    mark = len(bench.upstream.received)
    for headers in ({}, {"Last_Event_ID": "suite-1"}):
        answer = await bench.other.ask(bodiless(b"GET", session, X_Suite="suite-listens", **headers))
        assert answer.status in (404, 405), answer.status
        unknown = await bench.other.ask(bodiless(b"GET", "session-x", X_Suite="suite-listens", **headers))
        assert _seen(answer, session) == _seen(unknown, "session-x")
    assert not [received for received in bench.upstream.received[mark:] if received.method == b"GET"]


@check(33, "MCP 2025-11-25 basic/transports, Listening for Messages from the Server")
async def who_opened_a_session_hears_what_its_server_tells(bench: Bench) -> None:
    told = b'{"jsonrpc": "2.0", "method": "notifications/resources/list_changed"}'
    delivered = asyncio.Event()

    async def tells(_: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.event(told)
        await delivered.wait()
        await answering.event(told)
        await answering.end()

    session = await opened(bench.client)
    with bench.upstream.answering("GET", tells):
        async with bench.send(bodiless(b"GET", session)) as wire:
            assert b" 200 " in (await wire.head()).start
            assert told in await wire.event()
            delivered.set()
            assert told in await wire.event()


@check(33, "MCP 2025-11-25 basic/transports, Resumability and Redelivery", Need.IDENTITIES)
async def an_event_of_another_session_opens_nothing(bench: Bench) -> None:
    """Servers look events up in one store for all sessions."""
    assert bench.other is not None

    async def streams(message: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.piece(b"id: suite-e7\ndata:\n\n")
        await answering.event(response(message, said("done")))
        await answering.end()

    session, own = await opened(bench.client), await opened(bench.other)
    with bench.upstream.answering("tools/call", streams):
        await bench.ask(legacy_call("echo", session=session, text="suite-kept"))
    mark = len(bench.upstream.received)
    answer = await bench.other.ask(bodiless(b"GET", own, Last_Event_ID="suite-e7"))
    assert answer.status >= 400
    assert not [received for received in bench.upstream.received[mark:] if received.method == b"GET"]


@check(33, "MCP 2025-11-25 basic/transports, Session Management")
async def two_sessions_in_one_request_are_none(bench: Bench) -> None:
    session = await opened(bench.client)
    request = legacy_call("echo", session=session, text="suite-two").with_header(
        "Mcp-Session-Id", "suite-other"
    )
    await bench.refused(request)
