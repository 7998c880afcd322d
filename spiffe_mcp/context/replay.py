"""A link is good once: memory of the `jti` of every link that was accepted and has not expired.

Enters: issuer and `jti` of a verified context, how long it could be accepted, and `now`. Leaves: nothing, or
a refusal. Ask it last, and only about verified contexts: else a stranger could use up somebody's `jti`.

Bounded: at `capacity` it refuses every new link until some have expired. It fails closed, for to forget one
would be to accept it again. No issuer may hold more than is still free, so one alone fills half of it, and
what is left to the others is halved by each who does the same, but never gone.
Pure in its answers: no clock, no lock (one event loop owns a guard), no I/O.
"""

from datetime import datetime
from hashlib import blake2b
from math import ceil
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.fair_share import FairShare
from spiffe_mcp.identity.spiffe_id import SpiffeId

_DIGEST_BYTES: Final = 16


class ReplayGuard:
    """What was accepted, in one bucket for each second in which something expires.

    An entry is a digest, for the names are of the sender's choice and length: about 130 bytes, all told.
    Entries are dropped a bucket at a time, at most once a second, so a check is O(1) amortised.
    """

    def __init__(self, capacity: int) -> None:
        self._seen: set[bytes] = set()
        self._room = FairShare(capacity)
        self._buckets: dict[int, dict[SpiffeId, list[bytes]]] = {}
        self._horizon = 0  # the latest second for which buckets were dropped

    def __len__(self) -> int:
        return len(self._seen)

    def check(self, issuer: SpiffeId, jti: str, expires: datetime, now: datetime) -> None:
        """Remember the link until `expires` of its `VerifiedContext`, from when on `verify` refuses it.

        Raises `Refused`: CONTEXT_REPLAYED for a second sight, CONTEXT_REPLAY_FULL when nothing more can be
        remembered of this issuer.
        """
        self._forget_until(int(now.timestamp()))
        last_second = ceil(expires.timestamp())
        # A clock set back would accept again what was forgotten while it ran ahead: refused, seen or not.
        if last_second <= self._horizon:
            raise Refused(Reason.CONTEXT_REPLAYED, "expired before the clock was set back, or expired")
        entry = _digest(issuer, jti)
        if entry in self._seen:
            raise Refused(Reason.CONTEXT_REPLAYED)
        if not self._room.take(issuer):
            held, free = self._room.held_by(issuer), self._room.free
            raise Refused(Reason.CONTEXT_REPLAY_FULL, f"{held} links that have not expired, room for {free}")
        self._seen.add(entry)
        self._buckets.setdefault(last_second, {}).setdefault(issuer, []).append(entry)

    def _forget_until(self, second: int) -> None:
        if second <= self._horizon:
            return
        self._horizon = second
        for expired in [bucket for bucket in self._buckets if bucket <= second]:
            for issuer, entries in self._buckets.pop(expired).items():
                self._seen.difference_update(entries)
                self._room.give_back(issuer, len(entries))


def _digest(issuer: SpiffeId, jti: str) -> bytes:
    # A SPIFFE ID holds no blank, so the two cannot be read apart in another place.
    return blake2b(f"{issuer} {jti}".encode(), digest_size=_DIGEST_BYTES).digest()
