"""A throw-away certificate authority for one trust domain, shaped like SPIRE's.

Enters: a trust domain, SPIFFE IDs, lifetimes and `now`. Leaves: X.509-SVIDs, JWT-SVIDs (through `jwt_svid`)
and the bundles that verify them. Keys live in this process's memory and die with it.
Pure apart from the generation of keys and serial numbers: no I/O, no clock. Knows no sockets and no users.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spiffe_mcp.dev.jwt_svid import JwtAuthority
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import Bundle
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.identity.svid import X509Svid

BACKDATED: Final = timedelta(seconds=10)  # what a peer's clock may lag; SPIRE backdates by as much
DEFAULT_AUTHORITY_TTL: Final = timedelta(hours=24)

_LEAF_SUBJECT: Final = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "spiffe-mcp dev")])


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """One signing authority: a self-signed root for X.509-SVIDs and a key for JWT-SVIDs."""

    trust_domain: TrustDomain
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    jwt: JwtAuthority

    @classmethod
    def generate(cls, trust_domain: TrustDomain, *, now: datetime, ttl: timedelta) -> Self:
        """A new root, valid until `now + ttl`."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _root_certificate(trust_domain, key, now=now, ttl=ttl)
        return cls(trust_domain, certificate, key, JwtAuthority.generate(trust_domain))

    def issue(self, spiffe_id: SpiffeId, *, now: datetime, ttl: timedelta, hint: str = "") -> X509Svid:
        """An X.509-SVID on a new P-256 key, valid until `now + ttl` and never longer than this root.

        Raises `Refused(DEV_FOREIGN_TRUST_DOMAIN)`: an authority names its own workloads only.
        """
        if spiffe_id.trust_domain != self.trust_domain:
            raise Refused(Reason.DEV_FOREIGN_TRUST_DOMAIN, str(spiffe_id))
        key = ec.generate_private_key(ec.SECP256R1())
        not_after = min(now + ttl, self.certificate.not_valid_after_utc)
        leaf = self._sign_leaf(spiffe_id, key.public_key(), now=now, not_after=not_after)
        return X509Svid((leaf.public_bytes(Encoding.DER),), key, hint)

    def _sign_leaf(
        self,
        spiffe_id: SpiffeId,
        public_key: ec.EllipticCurvePublicKey,
        *,
        now: datetime,
        not_after: datetime,
    ) -> x509.Certificate:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            _certificate(public_key, str(spiffe_id))
            .subject_name(_LEAF_SUBJECT)
            .issuer_name(self.certificate.subject)
            .not_valid_before(now - BACKDATED)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            # Not keyEncipherment, which SPIRE adds to every key: an EC key cannot do it (RFC 8813 section 3).
            .add_extension(_key_usage(digital_signature=True, key_agreement=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(authority_key, critical=False)
            .sign(self.key, SHA256())
        )


@dataclass(frozen=True, slots=True)
class Authorities:
    """The authorities of one trust domain: which are trusted (oldest first), and the one that signs.

    A new authority is first trusted, then signs: peers have it in their bundle before they meet its SVIDs.
    `sequence` grows with each change of who is trusted (Trust Domain and Bundle section 4.1.1). It begins
    with the time: a provider that comes back without a memory still counts on.
    """

    signing: Authority
    trusted: tuple[Authority, ...]
    ttl: timedelta
    sequence: int

    @classmethod
    def create(
        cls, trust_domain: TrustDomain, *, now: datetime, ttl: timedelta = DEFAULT_AUTHORITY_TTL
    ) -> Self:
        """One new authority, trusted and signing."""
        first = Authority.generate(trust_domain, now=now, ttl=ttl)
        return cls(first, (first,), ttl, int(now.timestamp()))

    def prepared(self, now: datetime) -> Self:
        """With one more trusted authority, which does not sign yet."""
        added = Authority.generate(self.signing.trust_domain, now=now, ttl=self.ttl)
        return replace(self, trusted=(*self.trusted, added), sequence=self.sequence + 1)

    def activated(self) -> Self:
        """Signing with the newest authority; the former ones stay trusted."""
        return replace(self, signing=self.trusted[-1])

    def revoked(self) -> Self:
        """Trusting only the authority that signs: what any other has signed is worth nothing now."""
        return replace(self, trusted=(self.signing,), sequence=self.sequence + 1)

    def renewed(self, now: datetime) -> Self:
        """What routine rotation does: activate what was prepared, drop the expired, prepare at half life."""
        active = self.activated()
        alive = tuple(
            one
            for one in active.trusted
            if one is active.signing or one.certificate.not_valid_after_utc > now
        )
        active = replace(active, trusted=alive, sequence=active.sequence + (alive != active.trusted))
        half_life = active.signing.certificate.not_valid_after_utc - self.ttl / 2
        return active.prepared(now) if now >= half_life else active

    def bundle(self, refresh_hint: timedelta | None = None) -> SpiffeBundle:
        """The trusted roots and JWT keys, as others learn them."""
        x509_der = tuple(one.certificate.public_bytes(Encoding.DER) for one in self.trusted)
        jwt_keys = tuple(one.jwt.public for one in self.trusted)
        x509_bundle = Bundle(self.signing.trust_domain, x509_der)
        return SpiffeBundle(x509_bundle, jwt_keys, self.sequence, refresh_hint)


def _root_certificate(
    trust_domain: TrustDomain, key: ec.EllipticCurvePrivateKey, *, now: datetime, ttl: timedelta
) -> x509.Certificate:
    # The serial number in the name keeps two roots of one trust domain apart for those who go by name.
    serial = x509.NameAttribute(NameOID.SERIAL_NUMBER, str(x509.random_serial_number()))
    subject = x509.Name([*_LEAF_SUBJECT, serial])
    return (
        _certificate(key.public_key(), f"spiffe://{trust_domain}")
        .subject_name(subject)
        .issuer_name(subject)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + ttl)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, SHA256())
    )


def _certificate(public_key: ec.EllipticCurvePublicKey, uri: str) -> x509.CertificateBuilder:
    """What root and leaf share: serial number, key and its identifier, one URI name (X509-SVID section 2)."""
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .public_key(public_key)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
    )


def _key_usage(
    *,
    digital_signature: bool = False,
    key_agreement: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_agreement=key_agreement,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        encipher_only=False,
        decipher_only=False,
    )
