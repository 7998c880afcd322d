"""What one certificate says, read without trusting it.

Enters: DER. Leaves: a parsed certificate, its SPIFFE ID, or a `Refused` of the rule that it breaks. Each
function is one rule of the X509-SVID standard or of RFC 5280 on one certificate; how certificates form a
path, and whom to trust, is `verify`'s question. Foreign exceptions end here. Pure: no I/O, no clock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID
from OpenSSL import crypto

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192  # the cost of a verification grows with the square of the modulus
MAX_RSA_EXPONENT: Final = 2**32 - 1  # and with the length of the exponent

_KEY_ALGORITHMS: Final = (PublicKeyAlgorithmOID.EC_PUBLIC_KEY, PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5)
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
_DIGESTS: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_BOTH_ROLES: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})
_DER_SEQUENCE: Final = 0x30
_DER_SHORT_FORM: Final = 0x80

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

# All that `cryptography` raises for hostile bytes. It warns of oddities (a serial number of zero); where
# warnings are errors, those are refusals too.
_PARSER_ERRORS: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    Warning,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@contextmanager
def translated(reason: Reason, detail: str = "") -> Iterator[None]:
    """Turn what `cryptography` raises inside into `Refused(reason)`."""
    try:
        yield
    except _PARSER_ERRORS as error:
        raise Refused(reason, detail or type(error).__name__) from None


def split_der(concatenated: bytes) -> tuple[bytes, ...]:
    """The DER values that stand one after another in `concatenated`, as the Workload API sends chains.

    Only lengths are read; raises `Refused(CERTIFICATE_MALFORMED)` if they do not add up. No bytes, no values.
    """
    values: list[bytes] = []
    start = 0
    while start < len(concatenated):
        end = _end_of_value(concatenated, start)
        values.append(concatenated[start:end])
        start = end
    return tuple(values)


def _end_of_value(data: bytes, start: int) -> int:
    """Where the DER SEQUENCE at `start` ends (X.690 section 8.1.3, definite form only)."""
    header = data[start : start + 2]
    if len(header) != 2 or header[0] != _DER_SEQUENCE:  # noqa: PLR2004  a tag byte and a length byte
        raise Refused(Reason.CERTIFICATE_MALFORMED, f"no DER sequence at byte {start}")
    body, length = start + 2, header[1]
    if length >= _DER_SHORT_FORM:
        digits = length - _DER_SHORT_FORM
        body, length = body + digits, int.from_bytes(data[body : body + digits], "big")
    if body + length > len(data) or length == 0:
        raise Refused(Reason.CERTIFICATE_MALFORMED, f"DER sequence at byte {start} is cut short")
    return body + length


def parse(der: bytes) -> x509.Certificate:
    """The certificate that `der` is, its extensions and dates read now, so that nothing fails later.

    Names are left alone: nothing here reads them. Raises `Refused(CERTIFICATE_MALFORMED)`.
    """
    with translated(Reason.CERTIFICATE_MALFORMED):
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.extensions, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if certificate.version is not x509.Version.v3:  # only version 3 has extensions (RFC 5280 section 4.1.2.1)
        raise Refused(Reason.CERTIFICATE_MALFORMED, "not X.509 version 3")
    return certificate


def for_path(der: bytes) -> crypto.X509:
    """The same certificate as OpenSSL's path validation takes it.

    Only for what `parse` and `check_strong_key` have admitted: OpenSSL reads BER where `parse` insists on
    DER, and decodes whatever key it finds.
    """
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error:
        raise Refused(Reason.CERTIFICATE_MALFORMED, "not readable for OpenSSL") from None


def uri_sans(certificate: x509.Certificate) -> list[str]:
    """Every URI among the subject alternative names, in order."""
    san = extension(certificate, x509.SubjectAlternativeName)
    return [] if san is None else san.value.get_values_for_type(x509.UniformResourceIdentifier)


def spiffe_id(leaf: x509.Certificate) -> SpiffeId:
    """The SPIFFE ID of a leaf: its one URI SAN (X509-SVID section 2), with a path (section 3.1)."""
    uris = uri_sans(leaf)
    if not uris:
        raise Refused(Reason.LEAF_NO_URI_SAN)
    if len(uris) > 1:
        raise Refused(Reason.LEAF_SEVERAL_URI_SANS, f"{len(uris)} URIs")
    return SpiffeId.parse(uris[0])


def check_leaf(leaf: x509.Certificate) -> None:
    """A leaf identifies and does nothing else (X509-SVID sections 4.1, 4.3, 4.4)."""
    if is_ca(leaf):
        raise Refused(Reason.LEAF_IS_CA)
    _check_leaf_key_usage(extension(leaf, x509.KeyUsage))
    usages = extension(leaf, x509.ExtendedKeyUsage)
    if usages is not None and not _BOTH_ROLES.issubset(usages.value):
        raise Refused(Reason.LEAF_EXTENDED_KEY_USAGE, "without both serverAuth and clientAuth")


def _check_leaf_key_usage(usage: x509.Extension[x509.KeyUsage] | None) -> None:
    if usage is None:
        raise Refused(Reason.LEAF_KEY_USAGE_MISSING)
    if not usage.critical:
        raise Refused(Reason.LEAF_KEY_USAGE_NOT_CRITICAL)
    if not usage.value.digital_signature:
        raise Refused(Reason.LEAF_NO_DIGITAL_SIGNATURE)
    if usage.value.key_cert_sign:
        raise Refused(Reason.LEAF_KEY_CERT_SIGN)
    if usage.value.crl_sign:
        raise Refused(Reason.LEAF_CRL_SIGN)


def check_authority(authority: x509.Certificate) -> None:
    """A trust anchor is a CA, and its key usage, if it has one, lets it sign (RFC 5280 section 6.1.4 k, n).

    The extension may be missing: authorities of an enterprise PKI often come without.
    """
    if not is_ca(authority):
        raise Refused(Reason.ISSUER_NOT_CA)
    usage = extension(authority, x509.KeyUsage)
    if usage is not None and not usage.value.key_cert_sign:
        raise Refused(Reason.ISSUER_NO_KEY_CERT_SIGN)


def check_intermediate(intermediate: x509.Certificate, trust_domain: TrustDomain) -> None:
    """An intermediate says that it signs, and for this trust domain (X509-SVID sections 3.2, 4.3)."""
    check_authority(intermediate)
    if extension(intermediate, x509.KeyUsage) is None:
        raise Refused(Reason.ISSUER_NO_KEY_CERT_SIGN, "no key usage")
    _check_issuer_trust_domain(intermediate, trust_domain)


def _check_issuer_trust_domain(issuer: x509.Certificate, trust_domain: TrustDomain) -> None:
    """A signing certificate that names a trust domain names the one it signs for (X509-SVID section 3.2)."""
    uris = uri_sans(issuer)
    if len(uris) > 1:
        raise Refused(Reason.ISSUER_SEVERAL_URI_SANS, f"{len(uris)} URIs")
    # The ID of a signing certificate has no path; a bare slash is how the standard's own example spells it.
    if uris and uris[0].removesuffix("/") != f"spiffe://{trust_domain}":
        raise Refused(Reason.ISSUER_TRUST_DOMAIN, f"signs for {trust_domain} in another name")


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether the basic constraints say so; absent ones do not (RFC 5280 section 4.2.1.9)."""
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.value.ca


def check_strength(certificate: x509.Certificate) -> None:
    """Key and signature are of a kind that nobody forges: what SPIRE issues, and nothing else."""
    check_strong_key(certificate)
    with translated(Reason.CERTIFICATE_WEAK_SIGNATURE):
        digest = certificate.signature_hash_algorithm
    if not isinstance(digest, _DIGESTS):
        raise Refused(Reason.CERTIFICATE_WEAK_SIGNATURE, digest.name if digest else "no digest")


def check_strong_key(certificate: x509.Certificate) -> None:
    """P-256, P-384, or RSA of 2048 bits and more; raises `Refused(CERTIFICATE_WEAK_KEY)`."""
    # By its name first: a key that is of no kind we take is not decoded, whatever its decoding would cost.
    if (algorithm := certificate.public_key_algorithm_oid) not in _KEY_ALGORITHMS:
        raise Refused(Reason.CERTIFICATE_WEAK_KEY, algorithm.dotted_string)
    with translated(Reason.CERTIFICATE_WEAK_KEY):
        key = certificate.public_key()
    if not _is_strong(key):
        raise Refused(Reason.CERTIFICATE_WEAK_KEY, type(key).__name__)


def _is_strong(key: object) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        fits = MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
        return fits and key.public_numbers().e <= MAX_RSA_EXPONENT
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)


def check_strong_jwt_key(key: object) -> None:
    """As `check_strong_key`, and P-521, which JWT-SVIDs may be signed with (JWT-SVID section 2.1)."""
    if not _is_strong(key) and not (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP521R1)
    ):
        raise Refused(Reason.CERTIFICATE_WEAK_KEY, type(key).__name__)


def check_validity(certificate: x509.Certificate, now: datetime) -> None:
    """`now` lies within the validity, both ends included (RFC 5280 section 4.1.2.5). No skew."""
    if now < certificate.not_valid_before_utc:
        raise Refused(Reason.CERTIFICATE_NOT_YET_VALID, f"until {certificate.not_valid_before_utc}")
    if now > certificate.not_valid_after_utc:
        raise Refused(Reason.CERTIFICATE_EXPIRED, f"at {certificate.not_valid_after_utc}")


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> x509.Extension[_Extension] | None:
    """The extension of this kind, if the certificate has one."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
