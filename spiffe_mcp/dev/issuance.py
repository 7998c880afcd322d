"""Who gets which SVID: registration entries in, everything a Workload API has to say at one moment out.

Enters: entries (a SPIFFE ID for a local user), authorities, bundles of foreign trust domains, `now`. Leaves:
`Issued`, immutable, with one X.509-SVID for each entry and the foreign bundles that each may have. Pure apart
from the keys that the authority generates. Knows no gRPC, no sockets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Self

from spiffe_mcp.dev.ca import Authorities
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import BundleSet
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.identity.svid import X509Svid

RENEW_AFTER: Final = 0.4  # of the lifetime: clients see a new SVID before the half life at which they worry
# A prepared authority signs after one renewal at the earliest; whoever polls so often has seen it by then,
# even if some polls were lost (SPIFFE Federation section 4.1).
POLLS_PER_RENEWAL: Final = 4

_MIN_REFRESH_HINT: Final = timedelta(seconds=1)

# (uid_t)-1 is "no user"; the overflow uid is every user that the kernel cannot map into this namespace, so an
# entry for it would hand one identity to all of them (user_namespaces(7)).
_NO_UID: Final = 2**32 - 1
_OVERFLOW_UID: Final = 65534


@dataclass(frozen=True, slots=True)
class Entry:
    """A registration: processes of the user `uid` are `spiffe_id`.

    `hint` helps a workload that has several SVIDs choose; without one it is the last segment of the path.
    `federates_with` are the foreign trust domains whose bundles it gets, as soon as the provider has them; no
    others, so none unless they are named.
    Raises `Refused(DEV_REGISTRATION)` for a uid that does not name one user, and for an entry that federates
    with its own trust domain.
    """

    spiffe_id: SpiffeId
    uid: int
    hint: str = ""
    federates_with: frozenset[TrustDomain] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.uid < _NO_UID or self.uid == _OVERFLOW_UID:
            raise Refused(Reason.DEV_REGISTRATION, f"uid {self.uid} does not name one user")
        if self.spiffe_id.trust_domain in self.federates_with:
            raise Refused(Reason.DEV_REGISTRATION, f"{self.spiffe_id} federates with its own trust domain")
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
    """What the provider stands for at one moment: authorities, the SVID of each entry, foreign bundles."""

    authorities: Authorities
    svids: Mapping[Entry, X509Svid]
    svid_ttl: timedelta
    renew_at: datetime
    foreign: Mapping[TrustDomain, SpiffeBundle] = field(default_factory=lambda: MappingProxyType({}))
    own: SpiffeBundle = field(init=False)

    def __post_init__(self) -> None:
        polled = self.svid_ttl * RENEW_AFTER / POLLS_PER_RENEWAL
        whole = timedelta(seconds=polled // timedelta(seconds=1))
        # The dataclass is frozen for everybody else; this follows from the authorities.
        object.__setattr__(self, "own", self.authorities.bundle(max(whole, _MIN_REFRESH_HINT)))

    @property
    def bundles(self) -> BundleSet:
        """The bundle of the trust domain, as the mesh's own verifier takes it."""
        return BundleSet((self.own.x509,))

    @property
    def every_bundle(self) -> BundleSet:
        """The bundles of all trust domains that are known here, each for itself."""
        return BundleSet((self.own.x509, *(bundle.x509 for bundle in self.foreign.values())))

    def foreign_to(self, entries: Iterable[Entry]) -> list[SpiffeBundle]:
        """The foreign bundles that `entries` federate with and that are here, in the order of their names."""
        wanted = {trust_domain for entry in entries for trust_domain in entry.federates_with}
        return [self.foreign[trust_domain] for trust_domain in sorted(wanted & self.foreign.keys())]

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
        new = self.issue(self.svids, authorities, now=now, svid_ttl=self.svid_ttl)
        return replace(new, foreign=self.foreign)

    def trusting(self, authorities: Authorities) -> Self:
        """The same SVIDs with other bundles."""
        return replace(self, authorities=authorities)

    def federating(self, bundle: SpiffeBundle) -> Self:
        """With `bundle` as what is known of its trust domain, whatever was known before."""
        return replace(self, foreign=MappingProxyType({**self.foreign, bundle.trust_domain: bundle}))

    def without(self, trust_domain: TrustDomain) -> Self:
        """With nothing known of `trust_domain`: nobody there is trusted."""
        others = {name: bundle for name, bundle in self.foreign.items() if name != trust_domain}
        return replace(self, foreign=MappingProxyType(others))
