"""gRPC over a Unix socket, as every source of identity speaks it: requests out, messages in as bytes.

Messages stay bytes here: where gRPC decodes, a malformed one is logged and becomes None. Status codes go to
whoever asked; what one means is a matter of the API, and what to do then is the watcher's. Nothing here knows
an API.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import grpc

from spiffe_mcp.errors import Reason, Refused

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # a message carries every federated bundle
CONNECT_TIMEOUT_MS: Final = 5_000

# Workload Endpoint section 4: no authority, an absolute path, nothing else.
_ADDRESS: Final = re.compile(r"unix:///[^?#\x00-\x20]+")
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),  # its meaning in gRPC: the time for one attempt
    # Channels to the same socket would share one back-off, of up to two minutes, beneath ours.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy of the environment has no part in what goes over a Unix socket.
    ("grpc.enable_http_proxy", 0),
)

Metadata: TypeAlias = tuple[tuple[str, str], ...]
_Call: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"


def checked_address(socket: str, reason: Reason) -> str:
    """`socket` if it is `unix:///path`; raises `Refused(reason)`."""
    if not _ADDRESS.fullmatch(socket):
        raise Refused(reason, f"{socket[:200]!a} is not unix:///path")
    return socket


def open_channel(socket: str) -> grpc.aio.Channel:
    """A channel of its own: a new one has no back-off to sit out."""
    return grpc.aio.insecure_channel(socket, options=_OPTIONS)


async def messages(
    channel: grpc.aio.Channel, method: str, request: bytes, metadata: Metadata = ()
) -> AsyncGenerator[bytes, None]:
    """The messages of one stream to its end; raises `grpc.aio.AioRpcError` if that is not a good one."""
    call: _Call = channel.unary_stream(method, request_serializer=None, response_deserializer=None)
    async for message in call(request, metadata=metadata):
        yield message


@dataclass(slots=True)
class _Line:
    """A channel, and how many use it."""

    channel: grpc.aio.Channel
    users: int = 0


class SharedChannel:
    """The channel that those who begin now use together, until it breaks or is renewed.

    Whoever is on an older one keeps it; the last to leave closes it.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._newest: _Line | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[grpc.aio.Channel]:
        """The newest channel. One on which the other side could not be reached is not used again."""
        line = self._newest = self._newest or _Line(open_channel(self._socket))
        line.users += 1
        try:
            yield line.channel
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and line is self._newest:
                self._newest = None
            raise
        finally:
            line.users -= 1
            if line.users == 0 and line is not self._newest:
                await line.channel.close()

    async def renew(self) -> None:
        """Let those who begin from now on use another channel."""
        line, self._newest = self._newest, None
        if line is not None and line.users == 0:
            await line.channel.close()
