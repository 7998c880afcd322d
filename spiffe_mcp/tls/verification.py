"""Who the peer is: what a handshake has to prove before there is one.

Enters: the chain that the peer presented, bundles, who is allowed, and the time. Leaves: a `Peer`, or
`Refused` with why there is none. Whose bundles and which list these are is the caller's affair. Pure: no I/O,
no clock.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cryptography import x509

from spiffe_mcp.identity import BundleSet, SpiffeId, verify_chain


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end. Only a completed, verified handshake makes one."""

    spiffe_id: SpiffeId
    chain_der: tuple[bytes, ...] = field(repr=False)
    not_after: datetime  # of the first certificate of the chain to expire

    @property
    def leaf_der(self) -> bytes:
        """The certificate whose key the handshake proved."""
        return self.chain_der[0]


class Authorization(Protocol):
    """Who may be at the other end, now: the list itself, or whoever holds its newest version."""

    def authorize(self, spiffe_id: SpiffeId) -> None:
        """Return if `spiffe_id` is admitted; raises `Refused(ID_NOT_AUTHORIZED)`."""


def verify_peer(
    chain_der: tuple[bytes, ...], bundles: BundleSet, allowed: Authorization, now: datetime
) -> Peer:
    """The peer that `chain_der` proves, if it is `allowed`; raises what those two raise."""
    spiffe_id = verify_chain(chain_der, bundles, now)
    allowed.authorize(spiffe_id)
    ends = [x509.load_der_x509_certificate(der).not_valid_after_utc for der in chain_der]
    return Peer(spiffe_id, chain_der, min(ends))
