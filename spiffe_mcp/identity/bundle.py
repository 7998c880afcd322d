"""Whom a trust domain trusts: bundles, one per trust domain, never merged.

Enters: the DER of certificate authorities, or a SPIFFE bundle map. Leaves: a frozen `BundleSet` in which
every authority could be one, asked by trust domain. A chain is verified against the bundle of its leaf's own
trust domain and no other (Trust Domain and Bundle section 3): an authority of one trust domain can therefore
never speak for another. Pure: no I/O, no clock; validity is `verify`'s question.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from OpenSSL import crypto

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import bundle_document, certificate
from spiffe_mcp.identity.spiffe_id import TrustDomain

MAX_AUTHORITIES: Final = 256  # far beyond any rotation; bounds what a federated partner can cost us


@dataclass(frozen=True, slots=True)
class Bundle:
    """The authorities of one trust domain. None at all is legal: everything of that domain was revoked.

    Raises `Refused`: BUNDLE_TOO_LARGE, CERTIFICATE_MALFORMED, CERTIFICATE_WEAK_KEY, ISSUER_NOT_CA,
    ISSUER_NO_KEY_CERT_SIGN.
    """

    trust_domain: TrustDomain
    authorities_der: tuple[bytes, ...] = field(repr=False)
    anchors: tuple[crypto.X509, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.authorities_der) > MAX_AUTHORITIES:
            raise Refused(Reason.BUNDLE_TOO_LARGE, f"{len(self.authorities_der)} authorities")
        # The dataclass is frozen for everybody else; this is the parsed form of the field before it.
        object.__setattr__(self, "anchors", tuple(map(_anchor, self.authorities_der)))

    @classmethod
    def from_concatenated(cls, trust_domain: TrustDomain, der: bytes) -> Self:
        """The bundle of a Workload API message: DER certificates one after another, possibly none."""
        return cls(trust_domain, certificate.split_der(der))


@dataclass(frozen=True, slots=True)
class BundleSet:
    """The bundles of all trust domains that are known here. Unknown ones have none and are not trusted."""

    bundles: tuple[Bundle, ...] = ()
    _by_trust_domain: dict[TrustDomain, Bundle] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_trust_domain = {bundle.trust_domain: bundle for bundle in self.bundles}
        if len(by_trust_domain) != len(self.bundles):
            raise Refused(Reason.BUNDLE_TWICE, "two bundles for one trust domain")
        in_order = tuple(sorted(self.bundles, key=lambda bundle: bundle.trust_domain))
        # Frozen for everybody else: equal sets compare equal in whatever order they were given.
        object.__setattr__(self, "bundles", in_order)
        object.__setattr__(self, "_by_trust_domain", by_trust_domain)

    @classmethod
    def from_der(cls, authorities: Mapping[str, Iterable[bytes]]) -> Self:
        """The set in which each trust domain, by name, has these authorities, one DER certificate each.

        Raises `Refused`: ID_MALFORMED for a name, and all that `Bundle` raises.
        """
        return cls(tuple(Bundle(TrustDomain(name), tuple(der)) for name, der in authorities.items()))

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """The set of a SPIFFE Bundle Map, `{"trust_domains": {name: JWK set}}` (section 5.1).

        Keys for other kinds of SVID are passed over. Raises `Refused`: JSON_*, BUNDLE_DOCUMENT,
        ID_MALFORMED for a name, and all that `Bundle` raises.
        """
        return cls.from_der(bundle_document.read(document))

    def to_json(self) -> bytes:
        """The SPIFFE Bundle Map of this set; what `from_json` reads. Only X.509 authorities are in it."""
        by_name = {str(bundle.trust_domain): bundle.authorities_der for bundle in self.bundles}
        return json.dumps(bundle_document.write(by_name), sort_keys=True, separators=(",", ":")).encode()

    def get(self, trust_domain: TrustDomain) -> Bundle | None:
        """The bundle of `trust_domain`; None if there is none, which means that nobody there is trusted."""
        return self._by_trust_domain.get(trust_domain)

    @property
    def authorities_der(self) -> tuple[bytes, ...]:
        """Every authority of every trust domain, each once.

        For a TLS library that must be told of roots before it shows a chain at all. Pooled as they are, they
        decide nothing: who is trusted, only `verify_chain` says.
        """
        return tuple(dict.fromkeys(der for bundle in self.bundles for der in bundle.authorities_der))


def _anchor(der: bytes) -> crypto.X509:
    """One authority, as the path validation takes it. Its own signature proves nothing and is not read."""
    authority = certificate.parse(der)
    certificate.check_strong_key(authority)
    certificate.check_authority(authority)
    return certificate.for_path(der)
