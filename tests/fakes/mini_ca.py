"""A certificate authority in memory, for tests: SVIDs as SPIRE issues them, and every way to get them wrong.

    ca = MiniCa("a.test")
    planner = ca.issue("/ns/agents/planner")                       # an X509Svid
    ca.bundle_der                                                  # its authorities, one DER each
    node = ca.subordinate()                                        # same root, one more certificate a chain
    old = ca.issue("/w", not_before=NOW - 2 * HOUR, lifetime=HOUR)
    hostile = ca.chain(uris=("spiffe://a.test/w", "spiffe://a.test/x"), key_usage={"key_cert_sign"})

Time is `NOW`, never the clock: pass `now=` to live at another moment (a test with real TLS needs today).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any, Final, NamedTuple, Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spiffe_mcp.identity.svid import X509Svid

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
BACKDATED: Final = timedelta(seconds=10)  # as SPIRE does, for clocks that run behind

SPIRE_KEY_USAGE: Final = frozenset({"digital_signature", "key_encipherment", "key_agreement"})
CA_KEY_USAGE: Final = frozenset({"key_cert_sign", "crl_sign"})
SERVER_AND_CLIENT: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
KEY_USAGES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip

_Digest: TypeAlias = hashes.SHA224 | hashes.SHA256 | hashes.SHA384
_DIGESTS: Final[Mapping[str, _Digest]] = {
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
}
_SHA256_WITH_RSA: Final = bytes.fromhex("2a864886f70d01010b")
_BROKEN: Final = {
    "sha1": (hashes.SHA1(), bytes.fromhex("2a864886f70d010105")),  # noqa: S303  to show that nobody takes it
    "md5": (hashes.MD5(), bytes.fromhex("2a864886f70d010104")),  # noqa: S303  to show that nobody takes it
}

_serial_numbers: Final = count(1000)


class Presented(NamedTuple):
    """What somebody shows in a handshake: a chain, leaf first, and the PKCS#8 key that it signs with."""

    chain: tuple[bytes, ...]
    key: bytes


@dataclass(frozen=True, kw_only=True)
class Template:
    """What a certificate is to say. The defaults are a leaf as SPIRE issues it."""

    uris: Collection[str] = ()
    dns: Collection[str] = ()
    other_names: Collection[x509.GeneralName] = ()
    ca: bool | None = False  # None: no basic constraints at all
    path_length: int | None = None
    key_usage: Collection[str] | None = SPIRE_KEY_USAGE  # None: no such extension
    key_usage_critical: bool = True
    extended_key_usage: Collection[x509.ObjectIdentifier] | None = SERVER_AND_CLIENT
    permitted_uris: Collection[str] = ()  # name constraints: host names of URIs
    excluded_uris: Collection[str] = ()
    extensions: Collection[tuple[x509.ExtensionType, bool]] = ()  # more, each with its criticality
    authority_key_id: bool = True
    common_name: str = ""
    key_kind: str = "p256"
    signature: str = "sha256"  # or "sha224", "sha384"; by RSA authorities "sha1", "md5"
    not_before: datetime | None = None
    lifetime: timedelta = HOUR


CA_TEMPLATE: Final = Template(ca=True, key_usage=CA_KEY_USAGE, extended_key_usage=None, lifetime=24 * HOUR)


@dataclass(frozen=True)
class Authority:
    """A key that signs certificates, and the certificate that says so."""

    key: CertificateIssuerPrivateKeyTypes
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        """The authority's own certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pkcs8(self) -> bytes:
        """The key, as a peer would need it that shows this certificate."""
        return pkcs8_of(self.key)

    def sign(self, template: Template, key: CertificatePublicKeyTypes, now: datetime) -> bytes:
        """A certificate for `key`, as DER."""
        issuer = self.certificate
        built = _build(template, key, issuer.subject, issuer.public_key(), self.key, now)
        return _as_der(built, self.key, template.signature)


@dataclass(frozen=True)
class MiniCa:
    """The authority of one trust domain. Two of the same name are strangers: each has a key of its own."""

    trust_domain: str
    now: datetime = NOW
    root: Authority = field(default=None, repr=False)  # type: ignore[assignment]  # made below unless given
    intermediates: tuple[Authority, ...] = field(default=(), repr=False)  # the one that signs comes first

    def __post_init__(self) -> None:
        if self.root is None:
            object.__setattr__(self, "root", self_signed(self.trust_domain, self.now))

    @classmethod
    def rooted(cls, trust_domain: str, *, now: datetime = NOW, **deviations: Any) -> Self:
        """An authority whose root certificate deviates, for instance `ca=False` or `key_kind="rsa2048"`."""
        return cls(trust_domain, now, self_signed(trust_domain, now, **deviations))

    def subordinate(self, **deviations: Any) -> "MiniCa":
        """The same trust domain, signing with an intermediate below this one."""
        # A name of its own: an issuer that bears its subject's name would count as one and the same.
        named = {
            "common_name": f"intermediate {next(_serial_numbers)}",
            "uris": (f"spiffe://{self.trust_domain}",),
        }
        template = _with(CA_TEMPLATE, {**named, **deviations})
        key = private_key(template.key_kind)
        der = self._signer.sign(template, key.public_key(), self.now)
        below = Authority(key, x509.load_der_x509_certificate(der))
        return MiniCa(self.trust_domain, self.now, self.root, (below, *self.intermediates))

    def issue(self, path: str = "/w", *, hint: str = "", **deviations: Any) -> X509Svid:
        """The SVID of the workload at `path`; `deviations` are fields of `Template`."""
        chain, pkcs8 = self.issue_der(path, **deviations)
        return X509Svid.from_der(b"".join(chain), pkcs8, hint=hint)

    def chain(self, path: str = "/w", **deviations: Any) -> tuple[bytes, ...]:
        """A chain as a peer would present it, leaf first, and as wrong as `deviations` make it."""
        return self.issue_der(path, **deviations)[0]

    def issue_der(self, path: str = "/w", **deviations: Any) -> "Presented":
        """A chain and the PKCS#8 key of its leaf, as a Workload API carries them."""
        template = _with(Template(), {"uris": (f"spiffe://{self.trust_domain}{path}",), **deviations})
        key = private_key(template.key_kind)
        leaf = self._signer.sign(template, key.public_key(), self.now)
        return Presented((leaf, *(authority.der for authority in self.intermediates)), pkcs8_of(key))

    @property
    def bundle_der(self) -> list[bytes]:
        """The authorities of this trust domain, one DER each."""
        return [self.root.der]

    @property
    def _signer(self) -> Authority:
        return self.intermediates[0] if self.intermediates else self.root


def self_signed(trust_domain: str, now: datetime = NOW, **deviations: Any) -> Authority:
    """A root of `trust_domain`, with its own new key."""
    named = {"common_name": f"authority of {trust_domain}", "uris": (f"spiffe://{trust_domain}",)}
    template = _with(CA_TEMPLATE, {**named, **deviations})
    key = private_key(template.key_kind)
    built = _build(template, key.public_key(), _name(template.common_name), key.public_key(), key, now)
    return Authority(key, x509.load_der_x509_certificate(_as_der(built, key, template.signature)))


def private_key(kind: str) -> CertificateIssuerPrivateKeyTypes:
    """A key of one of the kinds `p256`, `p384`, `p521`, `secp256k1`, `ed25519`, `rsa1024`, `rsa2048` ..."""
    if kind.startswith("rsa"):
        return _rsa_key(int(kind.removeprefix("rsa")))
    return _NEW_KEY[kind]()


def pkcs8_of(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """The key as DER, not encrypted."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@cache
def _rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """One key a size and test run: making one takes longer than most tests."""
    return rsa.generate_private_key(65537, bits)


_NEW_KEY: Final[Mapping[str, Callable[[], CertificateIssuerPrivateKeyTypes]]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def _with(template: Template, deviations: Mapping[str, Any]) -> Template:
    return Template(**{**vars(template), **deviations})


def _name(common_name: str) -> x509.Name:
    organisation = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SPIRE"),
    ]
    return x509.Name(
        organisation + ([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    )


def _build(
    template: Template,
    key: CertificatePublicKeyTypes,
    issuer_name: x509.Name,
    issuer_key: CertificatePublicKeyTypes,
    signer: CertificateIssuerPrivateKeyTypes,
    now: datetime,
) -> x509.Certificate:
    not_before = template.not_before or now - BACKDATED
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(template.common_name))
        .issuer_name(issuer_name)
        .public_key(key)
        .serial_number(next(_serial_numbers))
        .not_valid_before(not_before)
        .not_valid_after(not_before + template.lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if template.authority_key_id:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)  # type: ignore[arg-type]  # x25519 never signs
        builder = builder.add_extension(authority, critical=False)
    for extension, critical in _extensions(template):
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, _digest(template.signature, signer))


def _extensions(template: Template) -> list[tuple[x509.ExtensionType, bool]]:
    """What the template asks for, each extension with its criticality."""
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if template.ca is not None:
        extensions.append((x509.BasicConstraints(template.ca, template.path_length), True))
    if template.key_usage is not None:
        bits = {bit: bit in template.key_usage for bit in KEY_USAGES}
        extensions.append((x509.KeyUsage(**bits), template.key_usage_critical))
    if template.extended_key_usage is not None:
        extensions.append((x509.ExtendedKeyUsage(template.extended_key_usage), False))
    if names := _names(template):
        extensions.append((x509.SubjectAlternativeName(names), False))
    if template.permitted_uris or template.excluded_uris:
        extensions.append((_constraints(template), True))
    return [*extensions, *template.extensions]


def _names(template: Template) -> list[x509.GeneralName]:
    uris = [x509.UniformResourceIdentifier(uri) for uri in template.uris]
    return [*uris, *map(x509.DNSName, template.dns), *template.other_names]


def _constraints(template: Template) -> x509.NameConstraints:
    permitted = [x509.UniformResourceIdentifier(host) for host in template.permitted_uris]
    excluded = [x509.UniformResourceIdentifier(host) for host in template.excluded_uris]
    return x509.NameConstraints(permitted or None, excluded or None)


def _as_der(built: x509.Certificate, signer: CertificateIssuerPrivateKeyTypes, digest: str) -> bytes:
    """`built` as DER, signed once more if `digest` is one that `cryptography` rightly declines."""
    der = built.public_bytes(Encoding.DER)
    if digest not in _BROKEN:
        return der
    algorithm, oid = _BROKEN[digest]
    if not isinstance(signer, rsa.RSAPrivateKey):
        raise TypeError(f"{digest} signatures are made by RSA authorities only")
    # Same length, so that no DER length changes. The signature follows the to-be-signed part that it covers.
    weak_tbs = built.tbs_certificate_bytes.replace(_SHA256_WITH_RSA, oid)
    signature = signer.sign(weak_tbs, padding.PKCS1v15(), algorithm)
    return der.replace(_SHA256_WITH_RSA, oid).replace(built.signature, signature)


def _digest(name: str, signer: CertificateIssuerPrivateKeyTypes) -> _Digest | None:
    return None if isinstance(signer, ed25519.Ed25519PrivateKey) else _DIGESTS.get(name, hashes.SHA256())
