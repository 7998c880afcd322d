"""A TLS session on an asyncio transport: the only place where TLS meets a socket.

Towards the network it is an `asyncio.Protocol`; towards the protocol inside (HTTP, say) it is the transport
that this protocol writes to. The inner protocol is made only once the peer is verified, with the `Peer`; a
refused or timed-out handshake never makes one.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.tls.session import Peer, TlsSession

HANDSHAKE_TIMEOUT: Final = 10.0  # seconds


class InnerProtocol(Protocol):
    """What runs inside: the asyncio protocol verbs that this transport uses."""

    def connection_made(self, transport: asyncio.Transport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class TlsProtocol(asyncio.Protocol, asyncio.Transport):
    """Runs one `TlsSession` over one socket and hands plaintext to the protocol inside."""

    def __init__(
        self,
        session: TlsSession,
        *,
        on_secured: Callable[[Peer], InnerProtocol],
        on_refused: Callable[[object, Refused], None],
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        super().__init__()
        self._session = session
        self._on_secured = on_secured
        self._on_refused = on_refused
        self._handshake_timeout = handshake_timeout
        self._inner: InnerProtocol | None = None
        self._socket: asyncio.Transport
        self._deadline: asyncio.TimerHandle
        self._failure: Refused | None = None

    # -- towards the network --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._handshake_timeout, self._handshake_timed_out)
        self._session.start()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            plaintext = self._session.receive(data)
        except Refused as refused:
            self._flush()
            self._refuse(refused)
            return
        if self._inner is None:
            self._flush()
            if self._session.peer is None:
                return
            self._secured(self._session.peer)
        if plaintext and self._inner is not None:
            self._inner.data_received(plaintext)
        if self._session.closed_by_peer:
            self.eof_received()

    def eof_received(self) -> bool:
        if self._inner is None:
            self._refuse(Refused(Reason.TLS_HANDSHAKE, "the peer went away during the handshake"))
        else:
            self._inner.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        if self._inner is not None:
            self._inner.connection_lost(self._failure or exc)
        else:
            self._refuse(Refused(Reason.TLS_HANDSHAKE, "the peer went away during the handshake"))

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    # -- towards the protocol inside ------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._socket.is_closing():
            self._socket.write(self._session.send(bytes(data)))

    def close(self) -> None:
        if not self._socket.is_closing():
            self._socket.write(self._session.close())
        self._socket.close()

    def abort(self) -> None:
        self._socket.abort()

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def pause_reading(self) -> None:
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._socket.resume_reading()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._socket.get_extra_info(name, default)

    # -- the handshake --------------------------------------------------------------------------------------

    def _secured(self, peer: Peer) -> None:
        self._deadline.cancel()
        self._inner = self._on_secured(peer)
        self._inner.connection_made(self)

    def _refuse(self, refused: Refused) -> None:
        """End the connection. The first refusal counts: it is reported, or handed to the protocol inside.

        A client learns only here that the server refused its certificate: in TLS 1.3 its own handshake was
        complete before the server looked (RFC 8446 section 4.4.2.4).
        """
        self._deadline.cancel()
        if self._failure is None:
            self._failure = refused
            if self._inner is None:
                self._on_refused(self._socket.get_extra_info("peername"), refused)
        self._socket.close()

    def _handshake_timed_out(self) -> None:
        self._refuse(Refused(Reason.TLS_TIMEOUT, f"no handshake within {self._handshake_timeout:g} s"))

    def _flush(self) -> None:
        if ciphertext := self._session.outgoing():
            self._socket.write(ciphertext)
