"""What a fake SPIFFE agent tells its streams: bytes as the test has them, and the statuses that end a stream.

script = Script()
script.say(message)                              # to every open stream, and first of all to every new one
script.end(grpc.StatusCode.PERMISSION_DENIED)    # to everybody, now and until something is said again
script.turn_away(grpc.StatusCode.NOT_FOUND)      # to new streams only: open ones go on, as SPIRE's do
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import grpc

from spiffe_mcp.identity.update import SvidPart

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Stream: TypeAlias = Callable[[bytes, Context], AsyncIterator[bytes]]


@dataclass(frozen=True)
class Status:
    """How a stream ends. The text is hostile enough to break a log line that is not careful."""

    code: grpc.StatusCode
    detail: str = "as the test wants it\n"


class Script:
    """What the streams of one workload are told."""

    def __init__(self, answer: bytes | None = None) -> None:
        self._answer: bytes | Status | None = answer
        self._serial = 1  # of the answer
        self._turned_away: Status | None = None
        self._ended: int | None = None  # the last stream that a status is for; None: for all
        self._changed = asyncio.Event()
        self.open = 0  # streams that are open now
        self.opened = 0  # streams that were ever opened

    def say(self, answer: bytes) -> None:
        """Send this to everybody."""
        self._change(answer)

    def end(self, code: grpc.StatusCode, detail: str = Status.detail) -> None:
        """End every stream, and answer new ones so."""
        self._change(Status(code, detail))

    def end_open(self, code: grpc.StatusCode) -> None:
        """End every stream that is open, and say nothing to new ones."""
        self.end(code)
        self._ended = self.opened

    def silence(self) -> None:
        """Say nothing to whoever comes from now on."""
        self._answer = None

    def turn_away(self, code: grpc.StatusCode, detail: str = Status.detail) -> None:
        """End new streams. Open ones go on, and are told what is said later."""
        self._turned_away = Status(code, detail)

    def admit(self) -> None:
        """Turn nobody away any more."""
        self._turned_away = None

    async def until_opened(self, streams: int) -> None:
        """Wait until this many streams have been opened, from the first on."""
        while self.opened < streams:
            await self._changed.wait()

    async def play(self, context: Context) -> AsyncIterator[bytes]:
        """One stream from its beginning to its end."""
        self.open += 1
        self.opened += 1
        number = self.opened
        self._wake()
        try:
            if self._turned_away is not None:
                await context.abort(self._turned_away.code, self._turned_away.detail)
            said = 0
            while True:
                changed, answer = self._changed, self._answer
                if isinstance(answer, Status) and self._ended is not None and number > self._ended:
                    pass  # not for this one
                elif isinstance(answer, Status):
                    if answer.code is grpc.StatusCode.OK:
                        return
                    await context.abort(answer.code, answer.detail)
                elif answer is not None and said != self._serial:
                    said = self._serial
                    yield answer
                await changed.wait()
        finally:
            self.open -= 1
            self._wake()

    def _change(self, answer: bytes | Status) -> None:
        self._answer = answer
        self._serial += 1
        self._ended = None
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def members(part: SvidPart) -> dict[str, Any]:
    """The members of an X509SVID message, which the Workload API and the Broker API spell alike."""
    return {
        "spiffe_id": part.spiffe_id,
        "x509_svid": part.chain,
        "x509_svid_key": part.key,
        "bundle": part.bundle,
        "hint": part.hint,
    }


class FakeServer(ABC):
    """A gRPC service on a Unix socket that can die and come back on the same path."""

    def __init__(self, path: Path, service: str, credentials: grpc.ServerCredentials | None = None) -> None:
        self._path = path
        self._service = service
        self._credentials = credentials
        self._server: grpc.aio.Server | None = None

    @abstractmethod
    def streams(self) -> Mapping[str, Stream]:
        """What answers each method."""

    @property
    def address(self) -> str:
        """What a client is configured with."""
        return f"unix://{self._path}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; return once connections are accepted."""
        self._server = grpc.aio.server()
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_stream_rpc_method_handler(stream) for name, stream in self.streams().items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(self._service, handlers),)
        )
        if self._credentials is None:
            self._server.add_insecure_port(self.address)
        else:
            self._server.add_secure_port(self.address, self._credentials)
        await self._server.start()

    async def stop(self) -> None:
        """Cut every stream and remove the socket, as an agent that dies."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None
