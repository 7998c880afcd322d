"""A peer, tried by a real handshake from here: whether it is who it should be, and whether it lets us in.

Enters: our identity, an address, who has to be there. Leaves: one finding. It dials as an egress does, with
the same TLS and the same verification; then it asks for `/`, because in TLS 1.3 our handshake is complete
before the server has judged us (RFC 8446 section 4.4.2.4): only its first byte says that it let us in. An
ingress of ours records the question, as it does every exchange.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from spiffe_mcp.doctor.finding import Check, Finding, error, ok, warning
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, IdPattern
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.tcp import open_tcp
from spiffe_mcp.tls import Peer, TlsIdentity, TlsProtocol

ANSWER_SECONDS: Final = 10.0

# Why the handshake failed on our side, and what helps. Of reasons that are not here, the code has to do.
_ADVICE: Final = {
    Reason.UPSTREAM_UNREACHABLE: "Nobody listens there, or a firewall is between. Is the agent running, and "
    "the address right?",
    Reason.ID_NOT_AUTHORIZED: "Another workload answers at this address. Correct the address, or the SPIFFE "
    "ID that is expected there.",
    Reason.BUNDLE_UNKNOWN: "Its trust domain is not known here: federate with it.",
    Reason.BUNDLE_EMPTY: "Its trust domain has an empty bundle: ask its operators for their authorities.",
    Reason.CHAIN_UNTRUSTED: "Its authority is in no bundle here. Is the trust domain federated, is its "
    "bundle fresh, and is it the same SPIRE server on both sides?",
    Reason.CERTIFICATE_EXPIRED: "Its agent does not renew its SVID, or this machine's clock is ahead.",
    Reason.CERTIFICATE_NOT_YET_VALID: "This machine's clock is behind. Synchronise both clocks.",
    Reason.TLS_HANDSHAKE: "What listens there speaks no TLS 1.3 with X.509-SVIDs. Is it the ingress's port?",
    Reason.TLS_TIMEOUT: "It accepted the connection and said nothing. Is it the ingress's port, and is the "
    "machine overloaded?",
}


async def tried(
    state: IdentityState, address: Address, server: IdPattern, clock: Callable[[], datetime]
) -> Finding:
    """What becomes of a hop to `server` at `address`."""
    question = _Question(address)
    try:
        return await _asked(question, state, address, server, clock)
    finally:
        question.close()


async def _asked(
    question: "_Question",
    state: IdentityState,
    address: Address,
    server: IdPattern,
    clock: Callable[[], datetime],
) -> Finding:
    try:
        peer = await question.handshaken(TlsIdentity(state, clock), AllowedIds((server,)))
    except Refused as refused:
        return _refused_by_us(address, server, refused)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await question.answered
    except TimeoutError:
        return _silent(address, peer)
    except Refused as refused:
        return _refused_us(address, peer, state, refused)
    return ok(Check.PEER, f"{peer.spiffe_id} answers at {address}, and lets {state.svid.spiffe_id} in.")


class _Question(asyncio.Protocol):
    """Inside the TLS connection: asks as soon as the peer is known, and waits for one byte."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._hop: TlsProtocol | None = None
        loop = asyncio.get_running_loop()
        self._peer: asyncio.Future[Peer] = loop.create_future()
        self.answered: asyncio.Future[None] = loop.create_future()

    async def handshaken(self, identity: TlsIdentity, allowed: AllowedIds) -> Peer:
        """The peer, verified; raises `Refused` with why there is none."""

        def protocol() -> TlsProtocol:
            session = identity.connect_to(allowed)
            return TlsProtocol(session, on_secured=self._secured, on_refused=self._refused)

        self._hop = await open_tcp(self._address, protocol)
        return await self._peer

    def close(self) -> None:
        """Leave, answered or not."""
        if self._hop is not None:
            self._hop.abort()
        if self.answered.done() and not self.answered.cancelled():
            self.answered.exception()  # it was asked for, or the deadline came first

    def _secured(self, peer: Peer) -> "_Question":
        self._peer.set_result(peer)
        return self

    def _refused(self, _: object, refused: Refused) -> None:
        self._peer.set_exception(refused)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The peer is verified: ask for something that nobody minds."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  a TlsProtocol is one
        transport.write(f"GET / HTTP/1.1\r\nHost: {self._address}\r\nConnection: close\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:  # noqa: ARG002  that there is one is the answer
        """Whatever it says: who says something to us has let us in."""
        if not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end. Before the first byte, it is the answer to who we are."""
        if not self.answered.done():
            ended = exc if isinstance(exc, Refused) else Refused(Reason.TLS_REJECTED, str(exc or "closed"))
            self.answered.set_exception(ended)


# -- in words -----------------------------------------------------------------------------------------------


def _refused_by_us(address: Address, server: IdPattern, refused: Refused) -> Finding:
    return error(
        Check.PEER,
        f"{server} at {address} is refused from here: {refused}",
        _ADVICE.get(refused.reason, f"Look {refused.reason.code} up in docs/reference/reasons.md."),
    )


def _refused_us(address: Address, peer: Peer, state: IdentityState, refused: Refused) -> Finding:
    own = state.svid.spiffe_id
    return error(
        Check.PEER,
        f"{peer.spiffe_id} at {address} is who it should be, and refused us, {own}: {refused}",
        f"At its side: is {own} in 'ingress.peers', does it have a bundle for {own.trust_domain}, and is its "
        "clock right? Its audit log has a record of this attempt, with the reason.",
    )


def _silent(address: Address, peer: Peer) -> Finding:
    return warning(
        Check.PEER,
        f"{peer.spiffe_id} at {address} completed the handshake and said nothing for {ANSWER_SECONDS:g} s: "
        "whether it lets us in is not known.",
        "It is not an ingress of ours, or it is overloaded: look at its metrics.",
    )
