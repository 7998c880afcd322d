"""One SPIFFE bundle: all keys of one trust domain, and how new they are (Trust Domain and Bundle section 4).

Enters: the document of a bundle, and the name of the trust domain that it was configured for: the document
itself does not say it (SPIFFE Federation section 7.2). Leaves: a frozen value in which every key is usable. A
bundle is never merged with another (Federation section 4.2). Pure: no I/O, no clock.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import bundle_document, certificate
from spiffe_mcp.identity.bundle import MAX_AUTHORITIES, Bundle
from spiffe_mcp.identity.bundle_document import JwtKey, Parts
from spiffe_mcp.identity.spiffe_id import TrustDomain

__all__ = ["JwtKey", "SpiffeBundle"]

_LONGEST_HINT: Final = int(timedelta(days=365).total_seconds())  # beyond it, no hint can be told from another


@dataclass(frozen=True, slots=True)
class SpiffeBundle:
    """The bundle of one trust domain. Without keys it is as good as any, and nobody there is trusted.

    Raises `Refused`: BUNDLE_TOO_LARGE.
    """

    x509: Bundle
    jwt: tuple[JwtKey, ...] = ()
    sequence: int | None = None
    refresh_hint: timedelta | None = None

    def __post_init__(self) -> None:
        if len(self.jwt) > MAX_AUTHORITIES:
            raise Refused(Reason.BUNDLE_TOO_LARGE, f"{len(self.jwt)} JWT keys")

    @classmethod
    def from_json(cls, trust_domain: TrustDomain, document: bytes) -> Self:
        """The bundle of `trust_domain` that `document` is.

        Raises `Refused`: JSON_*, BUNDLE_DOCUMENT, CERTIFICATE_WEAK_KEY for a JWT key, and all that `Bundle`
        raises.
        """
        parts = bundle_document.read_one(document)
        for key in parts.jwt_keys:
            certificate.check_strong_jwt_key(key.key)
        hint = timedelta(seconds=min(parts.refresh_hint, _LONGEST_HINT)) if parts.refresh_hint else None
        return cls(Bundle(trust_domain, parts.x509_der), parts.jwt_keys, parts.sequence, hint)

    @property
    def trust_domain(self) -> TrustDomain:
        """Whose bundle this is."""
        return self.x509.trust_domain

    def to_json(self) -> bytes:
        """The document; what `from_json` reads."""
        hint = None if self.refresh_hint is None else int(self.refresh_hint.total_seconds())
        return _compact(Parts(self.x509.authorities_der, self.jwt, self.sequence, hint))

    def jwt_json(self) -> bytes:
        """The JWT bundle alone, a JWK set as the Workload API gives it (section 6.2.2)."""
        return _compact(Parts(jwt_keys=self.jwt))

    def precedes(self, other: "SpiffeBundle") -> bool:
        """Whether this bundle says that it is older than `other` (section 4.1.1).

        Without a sequence on either side, the one that came last is the newer one (Federation section 4.2).
        """
        return self.sequence is not None and other.sequence is not None and self.sequence < other.sequence


def _compact(parts: Parts) -> bytes:
    document = bundle_document.write_one(parts)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
