"""Relationships with foreign trust domains: what the operator configures, and what may become of a bundle.

Enters: the parameters of a relationship (SPIFFE Federation section 5.1), bundles as they come. Leaves: frozen
values in which trust domain, URL and profile stand beside each other and none is inferred from another
(section 7.2); the bundle that is in force next, and when to ask again. Pure: no I/O, no clock.

A relationship is one way (section 6): whoever fetches a bundle trusts the other trust domain, and is not
therefore trusted by it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.mesh.addresses import Address

DEFAULT_REFRESH: Final = timedelta(minutes=5)  # without a hint (section 4.1)
MIN_REFRESH: Final = timedelta(seconds=1)  # a hint must not turn a client into a flood
MAX_REFRESH: Final = timedelta(hours=1)  # nor put off the day when a revoked key is noticed

ENDPOINT_PATH: Final = "/spiffe/bundle-endpoint"

_HTTPS_PORT: Final = 443
_URL: Final = re.compile(r"https://[!\"$-~]+")  # printable ASCII without a space and without a fragment


@dataclass(frozen=True, slots=True)
class EndpointUrl:
    """The URL of a bundle endpoint: `https`, no userinfo (sections 5.2.1.1, 5.2.2.1), no fragment."""

    address: Address
    target: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The URL that `text` spells; raises `Refused(FEDERATION_RELATIONSHIP)`."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
            address = Address(host or "", _HTTPS_PORT if port is None else port)
        except ValueError:
            address = None
        # Compared as written, for `urlsplit` drops line breaks; and not repeated: it may hold a password.
        if address is None or not _URL.fullmatch(text) or "@" in parts.netloc:
            raise Refused(
                Reason.FEDERATION_RELATIONSHIP, "a URL that is not https://host[:port]/path without userinfo"
            )
        return cls(address, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))

    def __str__(self) -> str:
        return f"https://{self.address}{self.target}"


@dataclass(frozen=True, slots=True)
class HttpsWeb:
    """Web PKI (section 5.2.1). `authorities` is a PEM file; without one the system's authorities count."""

    authorities: Path | None = None


@dataclass(frozen=True, slots=True)
class HttpsSpiffe:
    """SPIFFE authentication (section 5.2.2): who the endpoint has to be.

    `bootstrap` is a file in the SPIFFE bundle format, for an endpoint that serves the bundle of its own trust
    domain. It is what trust begins with. Whenever its content changes it is taken again, as the operator's
    own word (section 4.2); it may appear later than the relationship.
    """

    endpoint_id: SpiffeId
    bootstrap: Path | None = None


Profile: TypeAlias = HttpsWeb | HttpsSpiffe


@dataclass(frozen=True, slots=True)
class FederatesWith:
    """One relationship. Raises `Refused(FEDERATION_RELATIONSHIP)` if its parameters contradict each other."""

    trust_domain: TrustDomain
    url: EndpointUrl
    profile: Profile

    def __post_init__(self) -> None:
        if not isinstance(self.profile, HttpsSpiffe):
            return
        # Section 5.2.2.2: a self-serving endpoint is bootstrapped with a bundle; for any other, the bundle of
        # its trust domain comes from elsewhere, and a file here would be one of the wrong trust domain.
        self_serving = self.profile.endpoint_id.trust_domain == self.trust_domain
        if self_serving and self.profile.bootstrap is None:
            raise Refused(Reason.FEDERATION_RELATIONSHIP, f"{self.trust_domain}: no bootstrap bundle")
        if not self_serving and self.profile.bootstrap is not None:
            raise Refused(
                Reason.FEDERATION_RELATIONSHIP,
                f"{self.trust_domain}: a bootstrap bundle for the endpoint of another trust domain",
            )

    @property
    def bootstrap(self) -> Path | None:
        """The file that the relationship begins with, if it has one."""
        return self.profile.bootstrap if isinstance(self.profile, HttpsSpiffe) else None


Relationships: TypeAlias = Mapping[TrustDomain, FederatesWith]


def relationships(own: TrustDomain, configured: Iterable[FederatesWith]) -> Relationships:
    """The relationship with each foreign trust domain.

    Raises `Refused(FEDERATION_RELATIONSHIP)` for one with `own`, whose bundle nobody else may say, and for a
    second one with the same trust domain.
    """
    by_trust_domain: dict[TrustDomain, FederatesWith] = {}
    for each in configured:
        if each.trust_domain == own:
            raise Refused(Reason.FEDERATION_RELATIONSHIP, f"{own} with itself")
        if each.trust_domain in by_trust_domain:
            raise Refused(Reason.FEDERATION_RELATIONSHIP, f"{each.trust_domain}: configured twice")
        by_trust_domain[each.trust_domain] = each
    return MappingProxyType(by_trust_domain)


def superseding(fetched: SpiffeBundle, current: SpiffeBundle | None) -> SpiffeBundle:
    """The bundle in force once `fetched` has come; raises `Refused(FEDERATION_STALE)` if it is older.

    An old bundle may hold a key that was revoked since. One with the same sequence is taken: whether it is
    older cannot be told, and it was authenticated just now (section 4.2).
    """
    if current is not None and fetched.precedes(current):
        raise Refused(
            Reason.FEDERATION_STALE,
            f"{fetched.trust_domain}: sequence {fetched.sequence}, after {current.sequence}",
        )
    return fetched


def refresh_interval(bundle: SpiffeBundle | None) -> timedelta:
    """When to ask again: as `bundle` hints (section 4.1), within bounds."""
    hint = bundle.refresh_hint if bundle is not None else None
    return min(max(hint or DEFAULT_REFRESH, MIN_REFRESH), MAX_REFRESH)


@dataclass(frozen=True, slots=True)
class ShowsSvid:
    """Serve as `https_spiffe`: with an X.509-SVID of this ID, issued by the provider and renewed by it."""

    endpoint_id: SpiffeId

    @classmethod
    def of(cls, trust_domain: TrustDomain) -> Self:
        """The endpoint of `trust_domain` under its usual ID."""
        return cls(SpiffeId(trust_domain, ENDPOINT_PATH))


@dataclass(frozen=True, slots=True)
class ShowsCertificate:
    """Serve as `https_web`: with a certificate and its key from PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class BundleEndpoint:
    """Where the provider serves the bundle of its trust domain, and what it proves itself with."""

    address: Address
    shows: ShowsSvid | ShowsCertificate


@dataclass(frozen=True, slots=True)
class Federation:
    """How a provider federates: whose bundles it fetches, and where it serves its own. Nobody and nowhere."""

    relationships: tuple[FederatesWith, ...] = ()
    endpoint: BundleEndpoint | None = None
