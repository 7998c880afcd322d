"""How long a connection lives: when it takes nothing new any more, and when it ends.

A connection must not outlive what its two ends proved at its handshake: it ends with the first of the two
SVIDs to expire, or earlier, so that no connection keeps a rotated SVID in use for hours. It is drained first:
for the last part of its life it begins no exchange, so that what runs can end by itself.

Pure: moments in, moments out; the jitter is an argument.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Self


class Drain(Enum):
    """The part of its life at the end of which an end drains. The value is (least, most)."""

    # The client stops first, and without overlap: it is the one that begins exchanges, and a server that
    # closes a connection may cross a request that is on its way to it (RFC 9112 section 9.6).
    CLIENT = (0.2, 0.3)
    SERVER = (0.1, 0.15)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From `drain_at` on nothing new begins; at `end` whatever still runs is ended."""

    drain_at: datetime
    end: datetime

    @classmethod
    def of(
        cls,
        opened: datetime,
        *,
        own_not_after: datetime,
        peer_not_after: datetime,
        longest: timedelta,
        drain: Drain,
        jitter: float,
    ) -> Self:
        """The lifetime of a connection opened at `opened`.

        `jitter`, from 0 to 1, says where within `drain` this one lies, so that those that were opened
        together do not all shake hands again together.
        """
        least, most = drain.value
        end = max(opened, min(own_not_after, peer_not_after, opened + longest))
        return cls(end - (end - opened) * (least + (most - least) * jitter), end)
