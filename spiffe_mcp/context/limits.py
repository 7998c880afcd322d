"""How large, how old and how long a user context may be. Pure data, shared by who mints and who verifies."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

HEADER_NAME: Final = "Mesh-User-Context"
LINK_SEPARATOR: Final = b"~"  # in no base64url and in no JWS, so a header has one way to be split

DEFAULT_TTL: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """`max_bytes` of the header's value; `max_lifetime` from `iat` to `exp`; `clock_skew` of two nodes."""

    max_bytes: int = 16 * 1024
    max_lifetime: timedelta = timedelta(seconds=300)
    clock_skew: timedelta = timedelta(seconds=30)


DEFAULT_LIMITS: Final = ContextLimits()
