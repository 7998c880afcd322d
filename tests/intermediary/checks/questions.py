"""Point 27: a legacy server asks what its client offered to answer, and that client answers once."""

import asyncio
import json
from typing import Final

from tests.intermediary.check import Bench, Need, check
from tests.intermediary.client import Outgoing
from tests.intermediary.mcp import COMMON, LEGACY, fresh_id, legacy_call, opened, response, said
from tests.intermediary.upstream import Answering, Message, Received

SAMPLING: Final = {"messages": [], "maxTokens": 1}
ACCEPTED: Final = range(200, 300)


def _answer(question: str, session: str) -> Outgoing:
    """What a client POSTs in answer to a question."""
    said_by_user = {"role": "assistant", "content": {"type": "text", "text": "suite-yes"}, "model": "m"}
    body = {"jsonrpc": "2.0", "id": question, "result": said_by_user}
    pairs = ((b"MCP-Protocol-Version", LEGACY.encode()), (b"Mcp-Session-Id", session.encode()))
    return Outgoing(json.dumps(body).encode(), (*COMMON, *pairs))


class _Asking:
    """A tool that asks the client something before it is done."""

    def __init__(self, method: str) -> None:
        self.question = fresh_id()
        self.done = asyncio.Event()
        self._method = method

    async def __call__(self, message: Message, answering: Answering) -> None:
        asked = {"jsonrpc": "2.0", "id": self.question, "method": self._method, "params": SAMPLING}
        await answering.stream()
        await answering.event(json.dumps(asked).encode())
        await self.done.wait()
        await answering.event(response(message, said("done")))
        await answering.end()

    def answers_in(self, bench: Bench, mark: int) -> list[Message]:
        """What the server has got in answer."""
        return [
            received.message for received in bench.upstream.received[mark:] if self.is_answered_by(received)
        ]

    def is_answered_by(self, received: Received) -> bool:
        """Whether that is an answer."""
        return received.message.get("id") == self.question and "method" not in received.message


@check(27, "MCP 2025-11-25 client/sampling; basic/transports, Sending Messages")
async def a_question_reaches_the_client_that_offered_to_answer_and_its_answer_the_server(
    bench: Bench,
) -> None:
    session, asking, mark = await opened(bench.client), _Asking("sampling/createMessage"), 0
    with bench.upstream.answering("tools/call", asking):
        async with bench.send(legacy_call("echo", session=session, text="suite-asks")) as wire:
            await wire.head()
            assert asking.question.encode() in await wire.event()
            mark = len(bench.upstream.received)
            assert (await bench.ask(_answer(asking.question, session))).status in ACCEPTED
            asking.done.set()
            assert b'"done"' in await wire.event()
    (answer,) = asking.answers_in(bench, mark)
    assert answer["result"]["content"]["text"] == "suite-yes"


@check(27, "MCP 2025-11-25 client/sampling: one request, one response")
async def a_question_is_answered_once(bench: Bench) -> None:
    session, asking = await opened(bench.client), _Asking("sampling/createMessage")
    with bench.upstream.answering("tools/call", asking):
        async with bench.send(legacy_call("echo", session=session, text="suite-asks")) as wire:
            await wire.head()
            await wire.event()
            mark = len(bench.upstream.received)
            await bench.ask(_answer(asking.question, session))
            assert (await bench.ask(_answer(asking.question, session))).refuses
            asking.done.set()
            await wire.event()
    assert len(asking.answers_in(bench, mark)) == 1


@check(27, "MCP 2025-11-25 client/sampling: only to pending requests")
async def an_answer_to_what_nobody_asked_reaches_nobody(bench: Bench) -> None:
    session = await opened(bench.client)
    await bench.refused(_answer(fresh_id(), session))
    await bench.serves()


@check(27, "MCP 2025-11-25 security best practices: session hijacking", Need.IDENTITIES)
async def nobody_answers_what_another_was_asked(bench: Bench) -> None:
    assert bench.other is not None
    session, asking = await opened(bench.client), _Asking("sampling/createMessage")
    own = await opened(bench.other)
    with bench.upstream.answering("tools/call", asking):
        async with bench.send(legacy_call("echo", session=session, text="suite-asks")) as wire:
            await wire.head()
            await wire.event()
            mark = len(bench.upstream.received)
            for tried in (session, own):
                assert (await bench.other.ask(_answer(asking.question, tried))).refuses
            assert not asking.answers_in(bench, mark)
            asking.done.set()
            await wire.event()


@check(27, "MCP 2025-11-25 client/roots, Error Handling: a client that does not take it says so")
async def a_server_is_told_that_its_question_was_not_delivered(bench: Bench) -> None:
    session, asking = await opened(bench.client), _Asking("roots/list")
    mark = len(bench.upstream.received)
    with bench.upstream.answering("tools/call", asking):
        async with bench.send(legacy_call("echo", session=session, text="suite-asks")) as wire:
            await wire.head()
            told = await bench.upstream.arrival(mark, asking.is_answered_by)
            asking.done.set()
            answer = await wire.whole_body()
    assert asking.question.encode() not in answer
    assert b'"done"' in answer, "the call itself went well"
    assert "error" in told.message
