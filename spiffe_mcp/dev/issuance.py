"""Who gets which SVID: registration entries in, everything a Workload API has to say at one moment out.

Enters: entries (a SPIFFE ID for a local user), authorities, `now`. Leaves: `Issued`, immutable, with one
X.509-SVID for each entry. Pure apart from the keys that the authority generates. Knows no gRPC, no sockets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Self

from spiffe_mcp.dev.ca import Authorities
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import Bundle, BundleSet
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.identity.svid import X509Svid

RENEW_AFTER: Final = 0.4  # of the lifetime: clients see a new SVID before the half life at which they worry

# (uid_t)-1 is "no user"; the overflow uid is every user that the kernel cannot map into this namespace, so an
# entry for it would hand one identity to all of them (user_namespaces(7)).
_NO_UID: Final = 2**32 - 1
_OVERFLOW_UID: Final = 65534


@dataclass(frozen=True, slots=True)
class Entry:
    """A registration: processes of the user `uid` are `spiffe_id`.

    `hint` helps a workload that has several SVIDs choose; without one it is the last segment of the path.
    Raises `Refused(DEV_REGISTRATION)` for a uid that does not name one user.
    """

    spiffe_id: SpiffeId
    uid: int
    hint: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.uid < _NO_UID or self.uid == _OVERFLOW_UID:
            raise Refused(Reason.DEV_REGISTRATION, f"uid {self.uid} does not name one user")
        if not self.hint:
            object.__setattr__(self, "hint", self.spiffe_id.path.rsplit("/", 1)[1])


Registrations = Mapping[int, tuple[Entry, ...]]


def registrations(trust_domain: TrustDomain, entries: Iterable[Entry]) -> Registrations:
    """The entries of each uid, in the order of registration: the first is the default identity.

    Raises `Refused(DEV_FOREIGN_TRUST_DOMAIN)` for an ID of another trust domain, and
    `Refused(DEV_REGISTRATION)` if two entries of one uid share an ID or a hint, which has to be unique in a
    response (Workload API section 5.2.1).
    """
    by_uid: dict[int, tuple[Entry, ...]] = {}
    for entry in entries:
        if entry.spiffe_id.trust_domain != trust_domain:
            raise Refused(Reason.DEV_FOREIGN_TRUST_DOMAIN, str(entry.spiffe_id))
        others = by_uid.get(entry.uid, ())
        if any(entry.spiffe_id == other.spiffe_id or entry.hint == other.hint for other in others):
            raise Refused(Reason.DEV_REGISTRATION, f"{entry.spiffe_id}: ID or hint taken for uid {entry.uid}")
        by_uid[entry.uid] = (*others, entry)
    return MappingProxyType(by_uid)


@dataclass(frozen=True, slots=True)
class Issued:
    """What the provider stands for at one moment: its authorities and the SVID of each entry."""

    authorities: Authorities
    svids: Mapping[Entry, X509Svid]
    svid_ttl: timedelta
    renew_at: datetime

    @property
    def bundles(self) -> BundleSet:
        """The bundle of the trust domain, as the mesh's own verifier takes it."""
        trust_domain = self.authorities.signing.trust_domain
        return BundleSet((Bundle.from_concatenated(trust_domain, self.authorities.x509_bundle()),))

    @classmethod
    def issue(
        cls, entries: Iterable[Entry], authorities: Authorities, *, now: datetime, svid_ttl: timedelta
    ) -> Self:
        """A new SVID for each of `entries`, signed by the authority that signs now."""
        svids = {
            entry: authorities.signing.issue(entry.spiffe_id, now=now, ttl=svid_ttl, hint=entry.hint)
            for entry in entries
        }
        return cls(authorities, MappingProxyType(svids), svid_ttl, now + svid_ttl * RENEW_AFTER)

    def reissued(self, authorities: Authorities, *, now: datetime) -> Self:
        """All SVIDs new, under `authorities`."""
        return self.issue(self.svids, authorities, now=now, svid_ttl=self.svid_ttl)

    def trusting(self, authorities: Authorities) -> Self:
        """The same SVIDs with other bundles."""
        return replace(self, authorities=authorities)
