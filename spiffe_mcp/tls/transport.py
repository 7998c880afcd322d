"""A TLS session on an asyncio transport: the only place where TLS meets a socket.

Towards the network it is an `asyncio.Protocol`; towards the protocol inside (HTTP, say) it is the transport
that this protocol writes to. The inner protocol is made only once the peer is verified, with the `Peer`; a
refused or timed-out handshake never makes one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, cast

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.tls.session import TlsSession
from spiffe_mcp.tls.verification import Peer

_LOG: Final = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT: Final = 10.0  # seconds
MAX_HANDSHAKES: Final = 256  # in progress at one listener


class HandshakeSlots:
    """How many handshakes may run at once, shared by the protocols of one listener.

    A handshake costs a signature and two chains before anybody is known: strangers must not queue up work.
    Nor may strangers who say nothing keep everybody else out: it is the oldest handshake that gives way, for
    an honest one is over long before it is the oldest of that many.
    """

    def __init__(self, limit: int = MAX_HANDSHAKES) -> None:
        self._limit = limit
        self._running: dict[object, Callable[[], None]] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._running)

    def take(self, holder: object, give_way: Callable[[], None]) -> None:
        """A handshake of `holder` begins; `give_way` ends it, should its place be needed."""
        if len(self._running) >= self._limit:
            oldest = next(iter(self._running))
            self._running.pop(oldest)()
        self._running[holder] = give_way

    def give_back(self, holder: object) -> None:
        """The handshake of `holder` has ended, well or not."""
        self._running.pop(holder, None)


class InnerProtocol(Protocol):
    """What runs inside: the asyncio protocol verbs that this transport uses."""

    def connection_made(self, transport: asyncio.Transport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class TlsProtocol(asyncio.Protocol, asyncio.Transport):
    """Runs one `TlsSession` over one socket and hands plaintext to the protocol inside.

    The protocol inside learns of an end that was not the peer's own goodbye by a `Refused` in
    `connection_lost`: TLS_TRUNCATED if the stream just stopped (RFC 8446 section 6.1), or what broke.
    """

    def __init__(
        self,
        session: TlsSession,
        *,
        on_secured: Callable[[Peer], InnerProtocol],
        on_refused: Callable[[object, Refused], None],
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        slots: HandshakeSlots | None = None,
    ) -> None:
        super().__init__()
        self._session = session
        self._on_secured = on_secured
        self._on_refused = on_refused
        self._handshake_timeout = handshake_timeout
        self._slots = slots
        self._inner: InnerProtocol | None = None
        self._socket: asyncio.Transport
        self._deadline: asyncio.TimerHandle | None = None
        self._failure: Refused | None = None
        self._said_goodbye = False
        self._heard_goodbye = False
        self._heard_anything = False
        self._lost = False

    # -- towards the network --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        if self._slots is not None:
            self._slots.take(self, self._give_way)
        self._set_deadline(self._handshake_timed_out)
        self._advance(self._session.start)

    def data_received(self, data: bytes) -> None:
        if self._failure is None:
            self._advance(self._session.receive, data)

    def eof_received(self) -> bool:
        if self._inner is None:
            self._refuse(Refused(Reason.TLS_HANDSHAKE, "the peer went away during the handshake"))
        elif not self._heard_goodbye:
            self._refuse(Refused(Reason.TLS_TRUNCATED, "the stream ended without a goodbye"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._inner is None:
            self._refuse(Refused(Reason.TLS_HANDSHAKE, "the peer went away during the handshake"))
        self._handshake_over()
        self._lost = True
        if self._inner is not None:
            self._inner.connection_lost(self._failure or exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    # -- towards the protocol inside ------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not (self._said_goodbye or self._socket.is_closing()):
            self._socket.write(self._session.send(bytes(data)))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say goodbye and go on reading: TLS 1.3 closes each direction by itself (RFC 8446 section 6.1)."""
        if not (self._said_goodbye or self._socket.is_closing()):
            self._said_goodbye = True
            self._socket.write(self._session.close())

    def close(self) -> None:
        self.write_eof()
        self._socket.close()

    def abort(self) -> None:
        if not self._lost:  # asyncio's own transport does not stand it afterwards
            self._socket.abort()

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def pause_reading(self) -> None:
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._socket.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._socket.get_extra_info(name, default)

    # -- between the two ------------------------------------------------------------------------------------

    def _advance(self, step: Callable[..., bytes | None], *received: bytes) -> None:
        """Let the session take a step; then send what it says, and hand on what it read."""
        try:
            plaintext = step(*received)
        except Refused as refused:
            self._refuse(refused)
            return
        except Exception:  # noqa: BLE001  fail closed: whatever a fault of ours left undone, nobody is verified
            _LOG.exception("a fault ends a connection")
            self._refuse(Refused(Reason.TLS_HANDSHAKE, "a fault of this side"))
            return
        self._flush()
        if self._inner is None and self._session.peer is not None:
            self._secured(self._session.peer)
        if plaintext and self._inner is not None:
            self._heard_anything = True
            self._inner.data_received(plaintext)
        if self._session.closed_by_peer and not self._heard_goodbye:
            self._peer_said_goodbye()

    def _secured(self, peer: Peer) -> None:
        self._handshake_over()
        self._inner = self._on_secured(peer)
        self._inner.connection_made(self)

    def _peer_said_goodbye(self) -> None:
        self._heard_goodbye = True
        if self._is_turned_away:
            self._refuse(Refused(Reason.TLS_REJECTED, "a goodbye before the first answer"))
        elif self._inner is not None and not self._inner.eof_received():
            self.close()

    def _refuse(self, refused: Refused) -> None:
        """End the connection. The first refusal counts: it is reported, or handed to the protocol inside.

        A client learns only here that the server refused its certificate: in TLS 1.3 its own handshake was
        complete before the server looked (RFC 8446 section 4.4.2.4).
        """
        if self._is_turned_away and "_ALERT_" in refused.detail:  # as OpenSSL names what a peer sent
            refused = Refused(Reason.TLS_REJECTED, refused.detail)
        if self._failure is None:
            self._failure = refused
            if self._inner is None:
                self._on_refused(self._socket.get_extra_info("peername"), refused)
        self._handshake_over()
        self._flush()  # an alert, perhaps: whoever is told has been recorded by then
        self._socket.close()  # and no goodbye: the peer must not take this for a good end
        self._set_deadline(self.abort)  # should the peer not even take the alert

    @property
    def _is_turned_away(self) -> bool:
        """Whether an end now is the server's answer to who we are: there was no other yet."""
        return self._inner is not None and not (self._session.server_side or self._heard_anything)

    def _handshake_timed_out(self) -> None:
        self._refuse(Refused(Reason.TLS_TIMEOUT, f"no handshake within {self._handshake_timeout:g} s"))

    def _give_way(self) -> None:
        self._refuse(Refused(Reason.TLS_BUSY, "the oldest of too many handshakes"))

    def _handshake_over(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._slots is not None:
            self._slots.give_back(self)
            self._slots = None

    def _set_deadline(self, then: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._handshake_timeout, then)

    def _flush(self) -> None:
        if ciphertext := self._session.outgoing():
            self._socket.write(ciphertext)
