"""One client, its lines, and a server that answers as the test says; over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pytest

from spiffe_mcp.connect import shim as shims
from spiffe_mcp.connect.egress import Egress
from spiffe_mcp.connect.shim import Shim
from spiffe_mcp.http import HttpClient, Reply, Request, ResponseHead
from spiffe_mcp.http.messages import values
from spiffe_mcp.mesh.addresses import Address
from tests.unit.http.serving import RecordingService, serving, until

Handler: TypeAlias = Callable[[Any, Request, Reply], Awaitable[None]]

JSON: Final = ResponseHead(200, ((b"content-type", b"application/json"),))
STREAM: Final = ResponseHead(200, ((b"content-type", b"text/event-stream"),))
META: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE: Final = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25"},
}
INITIALIZED: Final = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def ask(message_id: Any, method: str = "tools/list", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}


def result(message_id: Any, **members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": message_id, "result": members}).encode()


def error(message_id: Any) -> bytes:
    body = {"jsonrpc": "2.0", "id": message_id, "error": {"code": -32600, "message": "no"}}
    return json.dumps(body).encode()


def event(data: bytes, event_id: bytes = b"") -> bytes:
    return (b"id: " + event_id + b"\n" if event_id else b"") + b"retry: 1\ndata: " + data + b"\n\n"


@dataclass
class Client:
    """What a client writes and reads."""

    service: RecordingService
    lines: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    written: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    def say(self, message: Any) -> None:
        self.lines.put_nowait(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def hear(self) -> Any:
        return json.loads(await self.written.get())

    def close(self) -> None:
        self.lines.put_nowait(b"")

    async def source(self) -> AsyncIterator[bytes]:
        while line := await self.lines.get():
            yield line

    def posted(self, method: str) -> list[Request]:
        """What came of `method`."""
        posts = [request for request in self.service.requests if request.method == b"POST"]
        return [request for request in posts if json.loads(request.body).get("method") == method]


async def session(message: Any, request: Request, reply: Reply) -> None:
    """A legacy server with one session, that says nothing of its own accord."""
    if request.method == b"GET":
        await reply.send(ResponseHead(405, ()), b"")
    elif request.method == b"DELETE" or "id" not in message or "method" not in message:
        await reply.send(ResponseHead(202, ()), b"")
    elif message["method"] == "initialize":
        head = ResponseHead(200, (*JSON.headers, (b"mcp-session-id", b"s-1")))
        await reply.send(head, result(message["id"], protocolVersion="2025-11-25"))
    else:
        await reply.send(JSON, result(message["id"], said=message["method"]))


@asynccontextmanager
async def connected(handler: Handler = session) -> AsyncIterator[Client]:
    async def handle(request: Request, reply: Reply) -> None:
        await handler(json.loads(request.body) if request.body else {}, request, reply)

    async with serving(handle) as server, asyncio.TaskGroup() as tasks:
        client = Client(server.service)
        egress = Egress(Address("127.0.0.1", server.port))
        shim = Shim(HttpClient(egress.connect), egress.host, b"/desk/mcp", client.written.put)
        tasks.create_task(shim.serve(client.source()))
        yield client
        client.close()


@asynccontextmanager
async def in_session(handler: Handler = session) -> AsyncIterator[Client]:
    async with connected(handler) as client:
        client.say(INITIALIZE)
        assert (await client.hear())["result"]["protocolVersion"] == "2025-11-25"
        client.say(INITIALIZED)
        yield client


async def test_a_message_is_posted_as_it_came() -> None:
    line = b'{"jsonrpc":"2.0", "id":1 ,"method":"tools/list","params":{"x":1.0}}'
    async with connected() as client:
        client.say(line)
        assert await client.hear() == {"jsonrpc": "2.0", "id": 1, "result": {"said": "tools/list"}}
    (request,) = client.service.requests
    assert (request.target, request.body) == (b"/desk/mcp", line)


async def test_a_line_that_is_no_message_is_answered_so() -> None:
    async with connected() as client:
        client.say(b"{nonsense")
        answer = await client.hear()
    assert (answer["id"], answer["error"]["data"]) == (None, {"reason": "json.malformed"})
    assert client.service.requests == []


async def test_a_slow_request_holds_up_no_other() -> None:
    release = asyncio.Event()

    async def handler(message: Any, _: Request, reply: Reply) -> None:
        if message["id"] == "slow":
            await release.wait()
        await reply.send(JSON, result(message["id"]))

    async with connected(handler) as client:
        client.say(ask("slow"))
        client.say(ask("quick"))
        assert (await client.hear())["id"] == "quick"
        release.set()
        assert (await client.hear())["id"] == "slow"


async def test_a_stream_is_written_as_it_comes() -> None:
    more = asyncio.Event()

    async def handler(message: Any, _: Request, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(event(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'))
        await more.wait()
        await reply.write(event(result(message["id"])))
        reply.finish()

    async with connected(handler) as client:
        client.say(ask(1))
        assert (await client.hear())["method"] == "notifications/progress"
        more.set()
        assert (await client.hear())["id"] == 1


async def test_what_initialize_settled_goes_with_all_that_follows() -> None:
    async with in_session() as client:
        client.say(ask(1))
        await client.hear()
    initialized, listed = client.posted("notifications/initialized"), client.posted("tools/list")
    for request in (*initialized, *listed):
        assert values(request.headers, b"mcp-session-id") == (b"s-1",)
        assert values(request.headers, b"mcp-protocol-version") == (b"2025-11-25",)


async def test_a_notification_arrives_before_the_request_that_came_after_it() -> None:
    release, order = asyncio.Event(), []

    async def handler(message: Any, request: Request, reply: Reply) -> None:
        if message.get("method") == "notifications/initialized":
            await release.wait()
        order.append(message.get("method"))
        await session(message, request, reply)

    async with in_session(handler) as client:
        client.say(ask(1))
        client.say(ask(2))
        await until(client.lines.empty)
        release.set()
        assert {(await client.hear())["id"], (await client.hear())["id"]} == {1, 2}
    assert order[:2] == ["initialize", "notifications/initialized"]
    assert order.count("tools/list") == 2


async def test_the_session_is_ended_when_the_client_closes_its_side() -> None:
    async with in_session() as client:
        pass
    request = client.service.requests[-1]
    assert (request.method, values(request.headers, b"mcp-session-id")) == (b"DELETE", (b"s-1",))


async def test_what_was_asked_before_the_end_is_answered() -> None:
    async with connected() as client:
        client.say(ask(1))
        client.close()
        assert (await client.hear())["id"] == 1


async def test_what_the_server_says_of_its_own_accord_is_written() -> None:
    async def handler(message: Any, request: Request, reply: Reply) -> None:
        if request.method != b"GET":
            await session(message, request, reply)
            return
        await reply.start(STREAM)
        if not values(request.headers, b"last-event-id"):
            await reply.write(event(b'{"jsonrpc":"2.0","id":"s","method":"ping"}', b"e-1"))
            reply.finish()
        else:
            await reply.write(event(b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'))
            await asyncio.Event().wait()

    async with in_session(handler) as client:
        assert (await client.hear())["method"] == "ping"
        client.say({"jsonrpc": "2.0", "id": "s", "result": {}})
        assert (await client.hear())["method"] == "notifications/message"
    gets = [request for request in client.service.requests if request.method == b"GET"]
    assert [values(request.headers, b"last-event-id") for request in gets] == [(), (b"e-1",)]
    assert any(b'"result"' in request.body for request in client.service.requests)


async def test_a_stream_that_broke_off_is_gone_on_with() -> None:
    async def handler(message: Any, request: Request, reply: Reply) -> None:
        if values(request.headers, b"last-event-id"):
            await reply.start(STREAM)
            await reply.write(event(result(7, whole=True)))
            reply.finish()
        elif message.get("id") == 7:
            await reply.start(STREAM)
            await reply.write(b"id: e-7\nretry: 1\ndata:\n\n")
            reply.cut()
        else:
            await session(message, request, reply)

    async with in_session(handler) as client:
        client.say(ask(7))
        assert (await client.hear())["result"] == {"whole": True}


async def test_a_stream_that_cannot_be_gone_on_with_is_an_error() -> None:
    async def handler(_: Any, __: Request, reply: Reply) -> None:
        await reply.start(STREAM)
        reply.finish()

    async with connected(handler) as client:
        client.say(ask(7))
        answer = await client.hear()
    assert (answer["id"], answer["error"]["code"]) == (7, -32603)


async def test_a_session_that_was_forgotten_is_opened_anew_once_for_all() -> None:
    forgotten, sessions = True, 0

    async def handler(message: Any, request: Request, reply: Reply) -> None:
        nonlocal sessions, forgotten
        if message.get("method") == "initialize":
            sessions += 1
            head = ResponseHead(200, (*JSON.headers, (b"mcp-session-id", b"s-%d" % sessions)))
            await reply.send(head, result(message["id"], protocolVersion="2025-11-25"))
        elif values(request.headers, b"mcp-session-id") == (b"s-1",) and "id" in message:
            await reply.send(ResponseHead(404, JSON.headers), error(message["id"]))
        else:
            await session(message, request, reply)

    async with in_session(handler) as client:
        client.say(ask(1))
        client.say(ask(2))
        answers = [await client.hear(), await client.hear()]
    assert {answer["id"] for answer in answers} == {1, 2}
    assert all("result" in answer for answer in answers)
    assert sessions == 2
    assert len(client.posted("notifications/initialized")) == 2


async def test_an_error_that_names_no_request_is_the_answer_to_the_one_it_came_for() -> None:
    async def handler(_: Any, __: Request, reply: Reply) -> None:
        await reply.send(ResponseHead(400, JSON.headers), error(None))

    async with connected(handler) as client:
        client.say(ask("x"))
        assert await client.hear() == json.loads(error("x"))


@pytest.mark.parametrize("status", [200, 502])
async def test_an_answer_without_a_message_is_an_error(status: int) -> None:
    async def handler(_: Any, __: Request, reply: Reply) -> None:
        await reply.send(ResponseHead(status, ()), b"")

    async with connected(handler) as client:
        client.say(ask(1))
        answer = await client.hear()
    assert (answer["id"], answer["error"]["code"]) == (1, -32603)


async def test_a_modern_cancellation_ends_the_request_and_goes_no_further() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(_: Any, __: Request, reply: Reply) -> None:
        await reply.start(STREAM)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with connected(handler) as client:
        client.say(ask(1, _meta=META))
        await begun.wait()
        client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        await ended.wait()
    assert client.posted("notifications/cancelled") == []
    assert client.written.empty()


async def test_a_legacy_cancellation_is_a_message() -> None:
    cancelled = asyncio.Event()

    async def handler(message: Any, request: Request, reply: Reply) -> None:
        if message.get("method") == "notifications/cancelled":
            cancelled.set()
        await session(message, request, reply)

    async with in_session(handler) as client:
        client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        await cancelled.wait()


async def test_an_id_that_still_runs_and_one_request_too_many_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shims, "MAX_RUNNING", 1)
    release = asyncio.Event()

    async def handler(message: Any, _: Request, reply: Reply) -> None:
        await release.wait()
        await reply.send(JSON, result(message["id"]))

    async with connected(handler) as client:
        client.say(ask(1))
        client.say(ask(1))
        client.say(ask(2))
        reasons = [(await client.hear())["error"]["data"]["reason"] for _ in range(2)]
        release.set()
        assert (await client.hear())["result"] == {}
    assert reasons == ["mcp.id_malformed", "http.busy"]


async def test_an_agent_that_is_not_there_is_an_error_that_says_so() -> None:
    egress = Egress(Address("127.0.0.1", 1))
    written: asyncio.Queue[bytes] = asyncio.Queue()
    shim = Shim(HttpClient(lambda: egress.connect(patience=0.01)), egress.host, b"/desk/mcp", written.put)

    async def lines() -> AsyncIterator[bytes]:
        yield json.dumps(ask(1)).encode()

    await shim.serve(lines())
    answer = json.loads(await written.get())
    assert (answer["id"], answer["error"]["data"]) == (1, {"reason": "upstream.unreachable"})
    assert answer["error"]["message"] == "No mesh agent answers at 127.0.0.1:1: ConnectionRefusedError"
