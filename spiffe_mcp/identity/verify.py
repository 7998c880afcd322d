"""Whether a chain proves a SPIFFE ID: the one answer to "who is the peer?", for TLS and for signatures alike.

Enters: the DER chain that somebody presented, the bundles, and the time. Leaves: the SPIFFE ID that the chain
proves, or `Refused` with the reason of the first rule it breaks. Nothing else leaves, for any bytes.

The rules are those of X509-SVID sections 2 to 5, SPIFFE-ID section 2, and the path validation of RFC 5280
section 6.1, in this order:

 (1) the chain is one to five certificates, at most 32 KiB: whoever sends more wants work done, not trust;
 (2) every certificate is DER, with a strong key and a strong signature;
 (3) the leaf has exactly one URI SAN (X509-SVID 2), a SPIFFE ID with a path (X509-SVID 3.1, SPIFFE-ID 2);
 (4) the leaf is no CA, its key signs, but no certificates, and serves both ends of TLS (X509-SVID 4, 5.2);
 (5) every other certificate is a CA that signs certificates, in no other trust domain's name (X509-SVID 3.2);
 (6) the leaf's own trust domain has a bundle, and the bundle is not empty (Workload API 4.6);
 (7) `now` lies within the validity of every certificate (RFC 5280 6.1.3 a 2), without any skew;
 (8) signatures, names, path lengths, name constraints and critical extensions lead to an authority of that
     one bundle (RFC 5280 6.1). Revocation is by short validity and by the bundle.

The caller MUST still ask whether this ID is the one that it wants to talk to. Whoever meets one chain often
may keep its `VerifiedPath` for as long as that holds. Pure: no I/O, no clock.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography import x509
from OpenSSL import crypto

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import certificate
from spiffe_mcp.identity.bundle import Bundle, BundleSet
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.permit import GrantedOnly

MAX_CHAIN_CERTIFICATES: Final = 5
MAX_CHAIN_BYTES: Final = 32 * 1024
MAX_NAMESAKES: Final = 16  # authorities of one name that are tried: the newest, which stand last in a bundle

# X509_V_ERR_* of OpenSSL's x509_vfy.h that deserve a name of their own; all others are CHAIN_UNTRUSTED.
PATH_REASONS: Final = {
    9: Reason.CERTIFICATE_NOT_YET_VALID,
    10: Reason.CERTIFICATE_EXPIRED,
    25: Reason.CHAIN_PATH_LENGTH,
    34: Reason.CHAIN_CRITICAL_EXTENSION,
    **dict.fromkeys(range(47, 54), Reason.CHAIN_NAME_CONSTRAINTS),
    79: Reason.ISSUER_NOT_CA,
}
_UNSPECIFIED: Final = 1
_SIGNATURE_FAILURE: Final = 7


@dataclass(frozen=True, slots=True)
class VerifiedPath(metaclass=GrantedOnly):
    """A SPIFFE ID that a chain proves, and the time for which it does so, both ends included.

    That time is what the validity of all its certificates has in common: those that were presented, and the
    authority that they lead to. Nothing else in the rules depends on time, so until then, and by the same
    bundle, the path is good without being walked again.
    """

    spiffe_id: SpiffeId
    not_before: datetime
    not_after: datetime

    def holds_at(self, now: datetime) -> bool:
        """Whether `now` lies within it."""
        return self.not_before <= now <= self.not_after


class _Read(NamedTuple):
    """One certificate in the two forms that its rules need."""

    rules: x509.Certificate
    path: crypto.X509


def verify_chain(chain_der: Sequence[bytes], bundles: BundleSet, now: datetime) -> SpiffeId:
    """The SPIFFE ID that `chain_der` (leaf first, any root left out) proves at `now` (aware).

    Raises `Refused`: CHAIN_*, CERTIFICATE_*, LEAF_*, ISSUER_*, BUNDLE_UNKNOWN, BUNDLE_EMPTY, ID_MALFORMED. A
    caller's own mistake is none of a peer's, and shows before the chain is looked at: TypeError for what is
    no sequence of bytes, ValueError for a time without a zone.
    """
    return _verified(chain_der, bundles, now)[0]


def verify_path(chain_der: Sequence[bytes], bundles: BundleSet, now: datetime) -> VerifiedPath:
    """As `verify_chain`, and how long that holds; for whoever will meet the same chain again."""
    spiffe_id, presented, path = _verified(chain_der, bundles, now)
    certificates = [*presented, *(each.to_cryptography() for each in path)]
    return VerifiedPath.granted(
        spiffe_id=spiffe_id,
        not_before=max(each.not_valid_before_utc for each in certificates),
        not_after=min(each.not_valid_after_utc for each in certificates),
    )


def _verified(
    chain_der: Sequence[bytes], bundles: BundleSet, now: datetime
) -> tuple[SpiffeId, list[x509.Certificate], list[crypto.X509]]:
    """The ID, the certificates that were presented, and those of the path, whose last is the authority."""
    _check_arguments(chain_der, now)
    _check_size(chain_der)  # (1)
    leaf, *issuers = presented = [_read(bytes(der)) for der in chain_der]  # (2)
    spiffe_id = certificate.spiffe_id(leaf.rules)  # (3)
    certificate.check_leaf(leaf.rules)  # (4)
    for issuer in issuers:
        certificate.check_intermediate(issuer.rules, spiffe_id.trust_domain)  # (5)
    bundle = _bundle_of(spiffe_id.trust_domain, bundles)  # (6)
    for each in presented:
        certificate.check_validity(each.rules, now)  # (7)
    path = _path(leaf.path, [issuer.path for issuer in issuers], bundle, now)  # (8)
    return spiffe_id, [each.rules for each in presented], path


def _check_arguments(chain_der: object, now: datetime) -> None:
    if not isinstance(chain_der, Sequence) or not all(isinstance(der, bytes) for der in chain_der):
        raise TypeError("a chain is a sequence of certificates, each of them bytes")
    if now.utcoffset() is None:
        raise ValueError("`now` has no time zone")  # whichever were assumed could be the wrong one


def _check_size(chain_der: Sequence[bytes]) -> None:
    if not chain_der:
        raise Refused(Reason.CHAIN_EMPTY)
    if len(chain_der) > MAX_CHAIN_CERTIFICATES:
        raise Refused(Reason.CHAIN_TOO_LONG, f"{len(chain_der)} certificates")
    if (size := sum(map(len, chain_der))) > MAX_CHAIN_BYTES:
        raise Refused(Reason.CHAIN_TOO_LARGE, f"{size} bytes")


@lru_cache(maxsize=64)
def _read(der: bytes) -> _Read:
    """Parse and check what depends on these bytes alone; the same few issuers come with every chain."""
    rules = certificate.parse(der)
    certificate.check_strength(rules)
    return _Read(rules, certificate.for_path(der))


def _bundle_of(trust_domain: TrustDomain, bundles: BundleSet) -> Bundle:
    """The bundle of the leaf's own trust domain. No other is looked at, whatever it would say."""
    bundle = bundles.get(trust_domain)
    if bundle is None:
        raise Refused(Reason.BUNDLE_UNKNOWN, str(trust_domain))
    if not bundle.anchors:
        raise Refused(Reason.BUNDLE_EMPTY, str(trust_domain))
    return bundle


def _path(leaf: crypto.X509, issuers: list[crypto.X509], bundle: Bundle, now: datetime) -> list[crypto.X509]:
    """The path from `leaf` to an authority of `bundle`, by RFC 5280 section 6.1; raises `Refused`.

    OpenSSL walks one path only. Where nothing but a name leads to an authority (key identifiers may be
    missing), and several bear it, as those of one PKI do while one follows the other, it may be led to the
    wrong one: so each is tried alone.
    """
    try:
        return _walked(leaf, issuers, bundle.anchors, now)
    except _NoPath as error:
        if error.code == _SIGNATURE_FAILURE:
            for anchor in bundle.anchors[-MAX_NAMESAKES:]:
                with suppress(_NoPath):
                    return _walked(leaf, issuers, (anchor,), now)
        raise Refused(PATH_REASONS.get(error.code, Reason.CHAIN_UNTRUSTED), error.detail) from None


class _NoPath(Exception):  # noqa: N818  it is an answer of OpenSSL's, not yet a refusal
    """OpenSSL's X509_V_ERR_*, and where."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code: Final = code
        self.detail: Final = detail


def _walked(
    leaf: crypto.X509, issuers: list[crypto.X509], anchors: Iterable[crypto.X509], now: datetime
) -> list[crypto.X509]:
    """The path from `leaf` to one of `anchors`, which is its last certificate; raises `_NoPath`.

    X509_STRICT stays off: it refuses certificates without an authority key identifier, which X509-SVID does
    not ask for. PARTIAL_CHAIN stays off: a path ends at a self-signed authority of the bundle.
    """
    # A store is made anew for each chain: it costs 5 us, and a shared one would share its time as well.
    store = crypto.X509Store()
    for anchor in anchors:
        store.add_cert(anchor)
    store.set_time(now.astimezone(UTC))  # it reads the fields of `now` and ignores the zone
    try:
        return crypto.X509StoreContext(store, leaf, issuers).get_verified_chain()
    except crypto.X509StoreContextError as error:
        code, depth, message = error.errors
        raise _NoPath(code, f"{message} at depth {depth}") from None
    except crypto.Error:
        raise _NoPath(_UNSPECIFIED, "OpenSSL could not decide") from None
