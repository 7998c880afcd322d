"""Point 22: a subscription's stream carries what its client asked for, and may have."""

import asyncio
import json
from typing import Any, Final

from tests.intermediary.check import Bench, check
from tests.intermediary.client import Outgoing
from tests.intermediary.mcp import legacy, modern, opened, response
from tests.intermediary.upstream import Answering, Message

ID_KEY: Final = "io.modelcontextprotocol/subscriptionId"
TOOLS: Final = "notifications/tools/list_changed"
PROMPTS: Final = "notifications/prompts/list_changed"
UPDATED: Final = "notifications/resources/updated"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


def _listen(**wanted: Any) -> Outgoing:
    return modern("subscriptions/listen", {"notifications": wanted})


def _told(message: Message, method: str, **params: Any) -> bytes:
    said = {**params, "_meta": {ID_KEY: message["id"]}}
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": said}).encode()


def _acknowledged(message: Message) -> bytes:
    return _told(message, ACKNOWLEDGED, notifications=message["params"]["notifications"])


@check(22, "MCP 2026-07-28 basic/patterns/subscriptions")
async def what_was_subscribed_to_is_told_at_once_and_under_the_id_of_the_request(bench: Bench) -> None:
    told: list[bytes] = []

    async def tells(message: Message, answering: Answering) -> None:
        told[:] = [_acknowledged(message), _told(message, TOOLS)]
        await answering.stream()
        for said in told:
            await answering.event(said)
        await answering.gone.wait()

    with bench.upstream.answering("subscriptions/listen", tells):
        async with bench.send(_listen(toolsListChanged=True)) as wire:
            assert b" 200 " in (await wire.head()).start
            for number in range(2):
                assert told[number] in await wire.event()


@check(22, "MCP 2026-07-28 basic/patterns/subscriptions: types the client has not explicitly requested")
async def what_was_not_subscribed_to_is_not_told(bench: Bench) -> None:
    async def tells(message: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.event(_told(message, TOOLS))  # before the acknowledgement
        await answering.event(_acknowledged(message))
        await answering.event(_told(message, PROMPTS))
        await answering.event(_told(message, UPDATED, uri="suite://secret"))
        await answering.event(_told({"id": "another"}, UPDATED, uri="suite://open"))
        await answering.event(_told(message, UPDATED, uri="suite://open"))
        await answering.end()

    with bench.upstream.answering("subscriptions/listen", tells):
        answer = await bench.ask(_listen(toolsListChanged=True, resourceSubscriptions=["suite://open"]))
    methods = [message.get("method") for message in answer.messages]
    assert methods == [ACKNOWLEDGED, UPDATED], methods
    assert b"secret" not in answer.body


@check(22, "MCP 2026-07-28 basic/patterns/cancellation")
async def who_leaves_is_subscribed_no_more(bench: Bench) -> None:
    gone: list[Any] = []
    noticed = asyncio.Event()

    async def tells(message: Message, answering: Answering) -> None:
        await answering.stream()
        await answering.event(_acknowledged(message))
        await answering.gone.wait()
        gone.append(message["id"])
        noticed.set()

    mark = len(bench.upstream.received)
    with bench.upstream.answering("subscriptions/listen", tells):
        async with bench.send(_listen(toolsListChanged=True)) as wire:
            await wire.head()
            assert b"acknowledged" in await wire.event()
            (received,) = bench.upstream.since(mark)
        await noticed.wait()
    assert gone == [received.message["id"]]


@check(22, "MCP 2025-11-25 server/resources, Subscriptions")
async def an_update_is_for_the_session_that_subscribed(bench: Bench) -> None:
    async def tells(message: Message, answering: Answering) -> None:
        await answering.stream()
        for uri in ("suite://open", "suite://secret"):
            said = {"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": uri}}
            await answering.event(json.dumps(said).encode())
        await answering.event(response(message, {}))
        await answering.end()

    session = await opened(bench.client)
    subscribed = await bench.ask(legacy("resources/subscribe", {"uri": "suite://open"}, session=session))
    assert subscribed.error is None
    with bench.upstream.answering("ping", tells):
        answer = await bench.ask(legacy("ping", session=session))
    assert b"suite://open" in answer.body
    assert b"suite://secret" not in answer.body
