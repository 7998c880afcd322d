"""A hundred rotations during two thousand connections: no call fails, and no byte is another one.

One caller comes through an egress, whose hops change with its SVID; the others shake hands anew for
each call, with the SVID of that moment. What is said is hashed where it is said, and where it is heard.
"""

import asyncio
import json
import random
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path

from spiffe_mcp.http import Reply, ResponseHead
from spiffe_mcp.http.client import ClientConnection
from spiffe_mcp.tls import TlsProtocol
from tests.fakes.mcp_client import Hop, call
from tests.fakes.mcp_server import JSON, STREAM, Message, event, result_of
from tests.fakes.mesh import PLANNER, SERVER, Mesh, running_mesh
from tests.fakes.streaming import PROGRESS

CONNECTIONS = 2_000
ROTATIONS = 100
DIRECT, THROUGH_EGRESS = 6, 1  # callers at a time
SOON = 1.0  # seconds in which a new SVID is the one that is shown


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def text_of(seed: int) -> str:
    """Some text, of some length, that no other seed gives."""
    source = random.Random(seed)  # noqa: S311  to be told apart, not to be secret
    return f"{seed} " + source.randbytes(source.randrange(1, 8_000)).hex()


@dataclass
class Heard:
    """What the server heard and said, by its hash; in one JSON body or in a stream."""

    heard: dict[int, str] = field(default_factory=dict)
    said: dict[int, str] = field(default_factory=dict)

    async def __call__(self, message: Message, reply: Reply) -> None:
        number, text = message["id"], text_of(-message["id"])
        assert number not in self.heard, "a call was made twice"
        self.heard[number] = digest(message["params"]["arguments"]["text"])
        self.said[number] = digest(text)
        if number % 2:
            await reply.send(ResponseHead(200, JSON), result_of(message, text))
            return
        await reply.start(STREAM)
        await reply.write(event(PROGRESS))
        await reply.write(event(result_of(message, text)))
        reply.finish()


@dataclass
class Newest:
    """Which SVID of the ingress is the newest, since when; and how long an older one was still shown."""

    mesh: Mesh
    superseded: dict[bytes, float] = field(default_factory=dict)
    longest: float = 0.0
    _hop: Hop | None = None

    def hop(self) -> Hop:
        """A client with the planner's newest SVID, made once for each."""
        if self._hop is None or self._hop.svid is not self.mesh.svid(PLANNER):
            self._hop = self.mesh.hop(PLANNER)
        return self._hop

    def rotate(self) -> None:
        self.superseded[self.mesh.svid(SERVER).chain_der[0]] = asyncio.get_running_loop().time()
        self.mesh.provider.rotate()

    def shown(self, leaf: bytes) -> None:
        """In a handshake that began now."""
        since = self.superseded.get(leaf)
        if since is not None:
            self.longest = max(self.longest, asyncio.get_running_loop().time() - since)


def text_in(content_type: bytes, body: bytes) -> str:
    """What the server said, however it came."""
    if content_type.startswith(b"text/event-stream"):
        body = body.replace(b"\r\n", b"\n").strip().split(b"\n\n")[-1].partition(b"data: ")[2]
    text: str = json.loads(body)["result"]["content"][0]["text"]
    return text


async def whole(connection: ClientConnection) -> bytes:
    body = b""
    while chunk := await connection.read():
        body += chunk
    return body


async def test_no_call_fails_and_no_byte_is_lost_while_svids_rotate(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        server, newest, numbers = Heard(), Newest(mesh), count(1)
        said: dict[int, str] = {}
        heard: dict[int, str] = {}
        direct = count(1)
        opened: list[ClientConnection] = []
        done = asyncio.Event()

        async def ask_directly() -> None:
            while (connection_number := next(direct)) <= CONNECTIONS:
                if connection_number % (CONNECTIONS // ROTATIONS) == 0:
                    newest.rotate()
                number = next(numbers)
                said[number] = digest(text := text_of(number))
                hop = newest.hop()
                request = hop.signed(call("echo", message_id=number, text=text))
                async with hop.connected() as connection:
                    newest.shown(leaf_shown_on(connection))
                    opened.append(connection)
                    head = await connection.exchange(request)
                    assert head.status == 200
                    heard[number] = digest(
                        text_in(dict(head.headers)[b"content-type"], await whole(connection))
                    )

        async def ask_through_the_egress() -> None:
            while not done.is_set():
                number = next(numbers)
                said[number] = digest(text := text_of(number))
                answer = await mesh.planner.ask(call("echo", message_id=number, text=text))
                assert answer.status == 200
                heard[number] = digest(text_in(dict(answer.headers)[b"content-type"], answer.body))

        with mesh.server.answering(server):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(THROUGH_EGRESS):
                    tasks.create_task(ask_through_the_egress())
                async with asyncio.TaskGroup() as callers:
                    for _ in range(DIRECT):
                        callers.create_task(ask_directly())
                done.set()
        assert said == server.heard
        assert server.said == heard
        assert len(newest.superseded) == ROTATIONS
        assert newest.longest < SOON
        records = mesh.log("ingress").records()
        assert {record["outcome"] for record in records} == {"completed"}  # and no handshake was refused
        assert len(set(map(id, opened))) == CONNECTIONS, "each on a connection of its own"
        assert mesh.log("ingress").report().intact


def leaf_shown_on(connection: ClientConnection) -> bytes:
    """The certificate that the ingress has shown."""
    transport = connection._transport
    assert isinstance(transport, TlsProtocol)
    assert transport._session.peer is not None
    return transport._session.peer.leaf_der


async def test_one_large_answer_that_streams_across_rotations_arrives_as_it_was_said(folder: Path) -> None:
    events, every = 1_500, 100
    said = sha256()

    async def stream(message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        for number in range(events):
            if number % every == 0:
                mesh.provider.rotate()
            params = {"progressToken": 1, "progress": number, "message": text_of(number)}
            progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            said.update(chunk := event(json.dumps(progress).encode()))
            await reply.write(chunk)
        said.update(chunk := event(result_of(message, "done")))
        await reply.write(chunk)
        reply.finish()

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        before = mesh.svid(PLANNER)
        heard, size = sha256(), 0
        with mesh.server.answering(stream):
            async with await mesh.planner.begin(call("echo", text="go on")) as response:
                async for chunk in response:
                    heard.update(chunk)
                    size += len(chunk)
        assert heard.digest() == said.digest()
        assert size > 10_000_000
        assert mesh.svid(PLANNER) != before
        assert mesh.log("ingress").last()["outcome"] == mesh.log("planner").last()["outcome"] == "completed"
