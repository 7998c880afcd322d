"""A link is good once: memory of the `jti` of every link that was accepted and has not expired.

Enters: issuer and `jti` of a verified context, how long it could be accepted, and `now`. Leaves: nothing, or
a refusal. Ask it last, and only about verified contexts: else a stranger could use up somebody's `jti`.

Bounded by its table, which refuses every new link when it is full, until some have expired. It fails closed,
for to forget one would be to accept it again. No issuer may hold more than is still free, so one alone fills
half of it, and what is left to the others is halved by each who does the same, but never gone.
Pure in its answers: no clock, no I/O of its own. Where processes share the table, a link is good once in all
of them.
"""

from datetime import datetime
from hashlib import blake2b
from math import ceil

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.tables import KEY_BYTES, Added, Table


class ReplayGuard:
    """What was accepted. An entry is a digest, for the names are of the sender's choice and length."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def check(self, issuer: SpiffeId, jti: str, expires: datetime, now: datetime) -> None:
        """Remember the link until `expires` of its `VerifiedContext`, from when on `verify` refuses it.

        Raises `Refused`: CONTEXT_REPLAYED for a second sight, CONTEXT_REPLAY_FULL when nothing more can be
        remembered of this issuer.
        """
        # A SPIFFE ID holds no blank, so the two cannot be read apart in another place.
        hashed = blake2b(str(issuer).encode(), digest_size=KEY_BYTES)
        holder = hashed.digest()
        hashed.update(f" {jti}".encode())
        added = self._table.add(hashed.digest(), b"", holder, ceil(expires.timestamp()), int(now.timestamp()))
        if added is not Added.ADDED:
            raise self._refusal(added, holder)

    def _refusal(self, added: Added, holder: bytes) -> Refused:
        match added:
            case Added.FULL:
                held, free = self._table.held_by(holder), self._table.free
                detail = f"{held} links that have not expired, room for {free}"
                return Refused(Reason.CONTEXT_REPLAY_FULL, detail)
            case Added.EXPIRED:
                # A clock set back would accept again what was forgotten while it ran ahead: seen or not.
                detail = "expired before the clock was set back, or expired"
                return Refused(Reason.CONTEXT_REPLAYED, detail)
            case _:
                return Refused(Reason.CONTEXT_REPLAYED)
