"""SPIFFE IDs and trust domains: a string in, a value that cannot be invalid out.

Stricter than the standard on one point, on purpose: scheme and trust domain must already be lower case
(SPIFFE-ID section 2.1 asks issuers for that; section 2.3 lets readers fold). A name with two spellings is a
name that policy can be fooled with.

Pure: no I/O, no clock.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused

MAX_ID_BYTES: Final = 2048  # SPIFFE-ID section 2.3
MAX_TRUST_DOMAIN_BYTES: Final = 255  # SPIFFE-ID section 2.3

_SCHEME: Final = "spiffe://"
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]+")
_SEGMENT: Final = re.compile(r"[a-zA-Z0-9._-]+")


@dataclass(frozen=True, slots=True, order=True)
class TrustDomain:
    """The name of a trust domain, without scheme (SPIFFE-ID section 2.1)."""

    name: str

    def __post_init__(self) -> None:
        if len(self.name) > MAX_TRUST_DOMAIN_BYTES or not _TRUST_DOMAIN.fullmatch(self.name):
            raise Refused(Reason.ID_MALFORMED, f"trust domain {_quoted(self.name)}")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """The identity of a workload: a trust domain and a path that is never the root."""

    trust_domain: TrustDomain
    path: str

    def __post_init__(self) -> None:
        head, *segments = self.path.split("/")
        if head or not segments or not all(map(_is_segment, segments)):
            raise Refused(Reason.ID_MALFORMED, f"path {_quoted(self.path)}")
        if len(str(self)) > MAX_ID_BYTES:
            raise Refused(Reason.ID_MALFORMED, f"longer than {MAX_ID_BYTES} bytes")

    @classmethod
    def parse(cls, uri: str) -> Self:
        """The ID that `uri` spells; raises `Refused(ID_MALFORMED)`."""
        if not uri.startswith(_SCHEME):
            raise Refused(Reason.ID_MALFORMED, f"{_quoted(uri)} does not begin with {_SCHEME}")
        name, slash, rest = uri.removeprefix(_SCHEME).partition("/")
        return cls(TrustDomain(name), slash + rest)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"


@dataclass(frozen=True, slots=True)
class IdPattern:
    """A SPIFFE ID in which `*` stands for one whole path segment and a last `**` for one or more.

    The trust domain is always spelled out: no pattern reaches across trust domains.
    """

    trust_domain: TrustDomain
    segments: tuple[str, ...]

    def __post_init__(self) -> None:
        *heads, last = self.segments or ("",)
        if not (_is_wanted(last) or last == "**") or not all(map(_is_wanted, heads)):
            raise Refused(Reason.ID_MALFORMED, f"pattern {_quoted(str(self))}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The pattern that `text` spells; raises `Refused(ID_MALFORMED)`."""
        if not text.startswith(_SCHEME):
            raise Refused(Reason.ID_MALFORMED, f"{_quoted(text)} does not begin with {_SCHEME}")
        name, _, path = text.removeprefix(_SCHEME).partition("/")
        return cls(TrustDomain(name), tuple(path.split("/")))

    @classmethod
    def exactly(cls, spiffe_id: SpiffeId) -> Self:
        """The pattern that only `spiffe_id` matches."""
        return cls(spiffe_id.trust_domain, tuple(spiffe_id.path[1:].split("/")))

    def matches(self, spiffe_id: SpiffeId) -> bool:
        """Whether `spiffe_id` is one of the IDs this pattern names, by whole segments."""
        if spiffe_id.trust_domain != self.trust_domain:
            return False
        found = spiffe_id.path[1:].split("/")
        if self.segments[-1] == "**":
            wanted = self.segments[:-1]
            return len(found) > len(wanted) and _segments_match(wanted, found[: len(wanted)])
        return len(found) == len(self.segments) and _segments_match(self.segments, found)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}/{'/'.join(self.segments)}"


@dataclass(frozen=True, slots=True)
class AllowedIds:
    """Who is admitted. No pattern admits nobody: an empty list fails closed."""

    patterns: tuple[IdPattern, ...] = ()

    @classmethod
    def only(cls, spiffe_id: SpiffeId) -> Self:
        """Exactly one peer."""
        return cls((IdPattern.exactly(spiffe_id),))

    def authorize(self, spiffe_id: SpiffeId) -> None:
        """Return if `spiffe_id` is admitted; raises `Refused(ID_NOT_AUTHORIZED)`."""
        for pattern in self.patterns:
            if pattern.matches(spiffe_id):
                return
        raise Refused(Reason.ID_NOT_AUTHORIZED, str(spiffe_id))


def _is_segment(segment: str) -> bool:
    return segment not in {".", ".."} and _SEGMENT.fullmatch(segment) is not None


def _is_wanted(segment: str) -> bool:
    return segment == "*" or _is_segment(segment)


def _segments_match(wanted: Iterable[str], found: Iterable[str]) -> bool:
    # A loop, here and above, because every request asks: a generator takes as long again to begin and to end.
    for want, have in zip(wanted, found, strict=True):  # noqa: SIM110
        if want not in ("*", have):
            return False
    return True


def _quoted(text: str) -> str:
    """`text` as it may stand in a log line: bounded, control characters escaped."""
    return ascii(text[:80])
