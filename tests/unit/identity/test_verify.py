"""`verify_chain` against a corpus of chains, each hostile one with the one reason that it has to get."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from time import perf_counter
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import BundleSet, verify_chain
from spiffe_mcp.identity.verify import MAX_CHAIN_BYTES
from tests.fakes.mini_ca import HOUR, NOW, SPIRE_KEY_USAGE, MiniCa

CA: Final = MiniCa("a.test")
STRANGER: Final = MiniCa("a.test")  # another authority that calls itself by our name
FEDERATED: Final = MiniCa("b.test")
NODE: Final = CA.subordinate()  # an intermediate below the authority
RSA: Final = MiniCa.rooted("rsa.test", key_kind="rsa2048")
SHORT: Final = MiniCa.rooted("short.test", path_length=0)
OLD: Final = MiniCa.rooted("old.test", not_before=NOW - 2 * HOUR, lifetime=HOUR)
EARLY: Final = MiniCa.rooted("early.test", not_before=NOW + HOUR)
PERMITTED: Final = MiniCa.rooted("a.only", permitted_uris=("a.only",))
EXCLUDED: Final = MiniCa.rooted("never.test", excluded_uris=("never.test",))
PLAIN: Final = MiniCa.rooted("plain.test", uris=(), key_usage=None)  # an enterprise root, no SVID itself

BUNDLES: Final = BundleSet.from_der(
    {
        ca.trust_domain: ca.bundle_der
        for ca in (CA, FEDERATED, RSA, SHORT, OLD, EARLY, PERMITTED, EXCLUDED, PLAIN)
    }
    | {"revoked.test": []}
)
ID: Final = "spiffe://a.test/w"

Chain = Sequence[bytes]

GOOD: Final[dict[str, tuple[str, Callable[[], Chain]]]] = {
    "a leaf as SPIRE issues it": (ID, CA.chain),
    "an intermediate": (ID, NODE.chain),
    "four intermediates": (ID, NODE.subordinate().subordinate().subordinate().chain),
    "DNS names beside the one URI": (ID, lambda: CA.chain(dns=("w.a.test", "localhost"))),
    "no extended key usage": (ID, lambda: CA.chain(extended_key_usage=None)),
    "digitalSignature alone": (ID, lambda: CA.chain(key_usage={"digital_signature"})),
    "no basic constraints": (ID, lambda: CA.chain(ca=None)),
    "no authority key identifier": (ID, lambda: CA.chain(authority_key_id=False)),
    "no authority key identifier anywhere": (ID, CA.subordinate(authority_key_id=False).chain),
    "P-384": (ID, lambda: CA.chain(key_kind="p384")),
    "RSA 2048": ("spiffe://rsa.test/w", lambda: RSA.chain(key_kind="rsa2048")),
    "SHA-384": (ID, lambda: CA.chain(signature="sha384")),
    "a path length that is kept": ("spiffe://short.test/w", SHORT.chain),
    "a name constraint that is kept": ("spiffe://a.only/w", PERMITTED.chain),
    "an authority of an enterprise PKI": ("spiffe://plain.test/w", PLAIN.chain),
    "an intermediate that is no SVID itself": (ID, CA.subordinate(uris=()).chain),
    "an intermediate spelled with a slash": (ID, CA.subordinate(uris=("spiffe://a.test/",)).chain),
    "the authority sent along": (ID, lambda: (*CA.chain(), *CA.bundle_der)),
    "an intermediate too many": (ID, lambda: (*CA.chain(), NODE.chain()[1])),
    "a federated workload": ("spiffe://b.test/w", FEDERATED.chain),
    "the longest ID there may be": (
        "spiffe://a.test/" + "x" * (2048 - 16),
        lambda: CA.chain("/" + "x" * (2048 - 16)),
    ),
    "valid from this second on": (ID, lambda: CA.chain(not_before=NOW)),
    "valid until this second": (ID, lambda: CA.chain(not_before=NOW - HOUR, lifetime=HOUR)),
}


def _patched(chain: Chain, old: bytes, new: bytes) -> Chain:
    """The leaf with bytes exchanged, for what no library will write. The signature no longer fits."""
    assert len(old) == len(new)
    assert old in chain[0]
    return (chain[0].replace(old, new), *chain[1:])


def _last_bit_flipped(der: bytes) -> bytes:
    """The last bit of a certificate is the last bit of its signature."""
    return der[:-1] + bytes([der[-1] ^ 1])


def _leaf_below_a_leaf() -> Chain:
    leaf = CA.subordinate(ca=False, key_usage=SPIRE_KEY_USAGE, uris=(ID,))
    return leaf.chain(uris=("spiffe://a.test/admin",))


def _uri(uri: str) -> Callable[[], Chain]:
    return lambda: CA.chain(uris=(uri,))


UNKNOWN_EXTENSION: Final = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"
)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH

HOSTILE: Final[dict[str, tuple[Reason, Callable[[], Chain]]]] = {
    # (1) size
    "no certificate": (Reason.CHAIN_EMPTY, tuple),
    "six certificates": (
        Reason.CHAIN_TOO_LONG,
        NODE.subordinate().subordinate().subordinate().subordinate().chain,
    ),
    "more than 32 KiB": (Reason.CHAIN_TOO_LARGE, lambda: (*CA.chain(), bytes(MAX_CHAIN_BYTES))),
    # (2) form and strength
    "an empty certificate": (Reason.CERTIFICATE_MALFORMED, lambda: (b"",)),
    "garbage": (Reason.CERTIFICATE_MALFORMED, lambda: (b"\x30\x03garbage",)),
    "garbage after the leaf": (Reason.CERTIFICATE_MALFORMED, lambda: (*CA.chain(), b"garbage")),
    "half a certificate": (Reason.CERTIFICATE_MALFORMED, lambda: (CA.chain()[0][:200],)),
    "a byte after the certificate": (Reason.CERTIFICATE_MALFORMED, lambda: (CA.chain()[0] + b"\0",)),
    "two certificates in one": (Reason.CERTIFICATE_MALFORMED, lambda: (CA.chain()[0] * 2,)),
    "PEM": (Reason.CERTIFICATE_MALFORMED, lambda: (b"-----BEGIN CERTIFICATE-----\nMII=\n",)),
    "an extension twice": (
        Reason.CERTIFICATE_MALFORMED,
        # 2.5.29.99 becomes a second subject alternative name, 2.5.29.17.
        lambda: _patched(
            CA.chain(
                extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"0\0"), False)]
            ),
            b"\x06\x03\x55\x1d\x63",
            b"\x06\x03\x55\x1d\x11",
        ),
    ),
    "a URI that is not ASCII": (
        Reason.CERTIFICATE_MALFORMED,
        lambda: _patched(CA.chain(), b"spiffe://a.test/w", b"spiffe://a.tes\xff/w"),
    ),
    "RSA 1024": (Reason.CERTIFICATE_WEAK_KEY, lambda: CA.chain(key_kind="rsa1024")),
    "secp256k1": (Reason.CERTIFICATE_WEAK_KEY, lambda: CA.chain(key_kind="secp256k1")),
    "P-521": (Reason.CERTIFICATE_WEAK_KEY, lambda: CA.chain(key_kind="p521")),
    "Ed25519": (Reason.CERTIFICATE_WEAK_KEY, lambda: CA.chain(key_kind="ed25519")),
    "a weak intermediate": (Reason.CERTIFICATE_WEAK_KEY, CA.subordinate(key_kind="rsa1024").chain),
    "SHA-224": (Reason.CERTIFICATE_WEAK_SIGNATURE, lambda: CA.chain(signature="sha224")),
    "SHA-1 with RSA": (Reason.CERTIFICATE_WEAK_SIGNATURE, lambda: RSA.chain(signature="sha1")),
    "MD5 with RSA": (Reason.CERTIFICATE_WEAK_SIGNATURE, lambda: RSA.chain(signature="md5")),
    "SHA-1 on the intermediate": (
        Reason.CERTIFICATE_WEAK_SIGNATURE,
        RSA.subordinate(signature="sha1").chain,
    ),
    "a signature by Ed25519": (
        Reason.CERTIFICATE_WEAK_SIGNATURE,
        CA.subordinate(key_kind="ed25519").chain,
    ),
    # (3) the SPIFFE ID
    "no subject alternative name": (Reason.LEAF_NO_URI_SAN, lambda: CA.chain(uris=())),
    "a common name only": (Reason.LEAF_NO_URI_SAN, lambda: CA.chain(uris=(), common_name=ID)),
    "a DNS name only": (Reason.LEAF_NO_URI_SAN, lambda: CA.chain(uris=(), dns=("a.test",))),
    "two SPIFFE IDs": (Reason.LEAF_SEVERAL_URI_SANS, lambda: CA.chain(uris=(ID, "spiffe://a.test/x"))),
    "the same SPIFFE ID twice": (Reason.LEAF_SEVERAL_URI_SANS, lambda: CA.chain(uris=(ID, ID))),
    "a SPIFFE ID and another URI": (
        Reason.LEAF_SEVERAL_URI_SANS,
        lambda: CA.chain(uris=("https://a.test/", ID)),
    ),
    "another scheme": (Reason.ID_MALFORMED, _uri("https://a.test/w")),
    "an upper-case scheme": (Reason.ID_MALFORMED, _uri("SPIFFE://a.test/w")),
    "an upper-case trust domain": (Reason.ID_MALFORMED, _uri("spiffe://A.test/w")),
    "no path": (Reason.ID_MALFORMED, _uri("spiffe://a.test")),
    "the root path": (Reason.ID_MALFORMED, _uri("spiffe://a.test/")),
    "a slash at the end": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w/")),
    "an empty segment": (Reason.ID_MALFORMED, _uri("spiffe://a.test//w")),
    "a way up": (Reason.ID_MALFORMED, _uri("spiffe://a.test/x/../w")),
    "a port": (Reason.ID_MALFORMED, _uri("spiffe://a.test:443/w")),
    "a user": (Reason.ID_MALFORMED, _uri("spiffe://me@a.test/w")),
    "a query": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w?x")),
    "a fragment": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w#x")),
    "an escape": (Reason.ID_MALFORMED, _uri("spiffe://a.test/%77")),
    "a NUL": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w\0.b.test")),
    "a line feed at the end": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w\n")),
    "a space before": (Reason.ID_MALFORMED, _uri(" spiffe://a.test/w")),
    "an ID of 2049 bytes": (Reason.ID_MALFORMED, _uri("spiffe://a.test/" + "x" * (2049 - 16))),
    # (4) the leaf
    "an intermediate as the leaf": (Reason.ID_MALFORMED, lambda: NODE.chain()[1:]),
    "a leaf that is a CA": (Reason.LEAF_IS_CA, lambda: CA.chain(ca=True)),
    "no key usage": (Reason.LEAF_KEY_USAGE_MISSING, lambda: CA.chain(key_usage=None)),
    "a key usage that is not critical": (
        Reason.LEAF_KEY_USAGE_NOT_CRITICAL,
        lambda: CA.chain(key_usage_critical=False),
    ),
    "no digitalSignature": (
        Reason.LEAF_NO_DIGITAL_SIGNATURE,
        lambda: CA.chain(key_usage={"key_encipherment"}),
    ),
    "keyCertSign": (
        Reason.LEAF_KEY_CERT_SIGN,
        lambda: CA.chain(key_usage={"digital_signature", "key_cert_sign"}),
    ),
    "cRLSign": (Reason.LEAF_CRL_SIGN, lambda: CA.chain(key_usage={"digital_signature", "crl_sign"})),
    "serverAuth alone": (Reason.LEAF_EXTENDED_KEY_USAGE, lambda: CA.chain(extended_key_usage=(SERVER,))),
    "clientAuth alone": (Reason.LEAF_EXTENDED_KEY_USAGE, lambda: CA.chain(extended_key_usage=(CLIENT,))),
    "codeSigning alone": (
        Reason.LEAF_EXTENDED_KEY_USAGE,
        lambda: CA.chain(extended_key_usage=(ExtendedKeyUsageOID.CODE_SIGNING,)),
    ),
    "any extended key usage": (
        Reason.LEAF_EXTENDED_KEY_USAGE,
        lambda: CA.chain(extended_key_usage=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
    ),
    # (5) the issuers
    "a leaf below a leaf": (Reason.ISSUER_NOT_CA, _leaf_below_a_leaf),
    "an intermediate without basic constraints": (Reason.ISSUER_NOT_CA, CA.subordinate(ca=None).chain),
    "an intermediate that may not sign": (
        Reason.ISSUER_NO_KEY_CERT_SIGN,
        CA.subordinate(key_usage={"crl_sign"}).chain,
    ),
    "an intermediate without key usage": (
        Reason.ISSUER_NO_KEY_CERT_SIGN,
        CA.subordinate(key_usage=None).chain,
    ),
    "an intermediate of another trust domain": (
        Reason.ISSUER_TRUST_DOMAIN,
        CA.subordinate(uris=("spiffe://b.test",)).chain,
    ),
    "an intermediate with a longer name": (
        Reason.ISSUER_TRUST_DOMAIN,
        CA.subordinate(uris=("spiffe://a.test.evil",)).chain,
    ),
    "an intermediate with a path": (
        Reason.ISSUER_TRUST_DOMAIN,
        CA.subordinate(uris=("spiffe://a.test/node",)).chain,
    ),
    "an intermediate with two names": (
        Reason.ISSUER_SEVERAL_URI_SANS,
        CA.subordinate(uris=("spiffe://a.test", "spiffe://b.test")).chain,
    ),
    "somebody else's leaf behind ours": (Reason.ISSUER_NOT_CA, lambda: (*CA.chain(), *CA.chain("/x"))),
    # (6) the bundle
    "an unknown trust domain": (Reason.BUNDLE_UNKNOWN, MiniCa("c.test").chain),
    "our authority, an unknown trust domain": (
        Reason.BUNDLE_UNKNOWN,
        lambda: CA.chain(uris=("spiffe://c.test/w",)),
    ),
    "a trust domain with an empty bundle": (Reason.BUNDLE_EMPTY, MiniCa("revoked.test").chain),
    # (7) time
    "an expired leaf": (
        Reason.CERTIFICATE_EXPIRED,
        lambda: CA.chain(not_before=NOW - HOUR, lifetime=HOUR - timedelta(seconds=1)),
    ),
    "a leaf of the next second": (
        Reason.CERTIFICATE_NOT_YET_VALID,
        lambda: CA.chain(not_before=NOW + timedelta(seconds=1)),
    ),
    "an expired intermediate": (
        Reason.CERTIFICATE_EXPIRED,
        CA.subordinate(not_before=NOW - 2 * HOUR, lifetime=HOUR).chain,
    ),
    "an intermediate that is not valid yet": (
        Reason.CERTIFICATE_NOT_YET_VALID,
        CA.subordinate(not_before=NOW + HOUR).chain,
    ),
    "an expired authority": (Reason.CERTIFICATE_EXPIRED, OLD.chain),
    "an authority that is not valid yet": (Reason.CERTIFICATE_NOT_YET_VALID, EARLY.chain),
    # (8) the path
    "an authority of the same name": (Reason.CHAIN_UNTRUSTED, STRANGER.chain),
    "the same, and no key identifiers": (
        Reason.CHAIN_UNTRUSTED,
        lambda: STRANGER.chain(authority_key_id=False),
    ),
    "the same, sent along": (Reason.CHAIN_UNTRUSTED, lambda: (*STRANGER.chain(), *STRANGER.bundle_der)),
    "a federated authority that speaks for us": (
        Reason.CHAIN_UNTRUSTED,
        lambda: FEDERATED.chain(uris=("spiffe://a.test/admin",)),
    ),
    "a federated intermediate that speaks for us": (
        Reason.CHAIN_UNTRUSTED,
        lambda: FEDERATED.subordinate(uris=("spiffe://a.test",)).chain(uris=("spiffe://a.test/admin",)),
    ),
    "our authority that speaks for a federated domain": (
        Reason.CHAIN_UNTRUSTED,
        lambda: CA.chain(uris=("spiffe://b.test/w",)),
    ),
    "a missing intermediate": (Reason.CHAIN_UNTRUSTED, lambda: NODE.chain()[:1]),
    "another intermediate than the leaf's": (
        Reason.CHAIN_UNTRUSTED,
        lambda: (NODE.chain()[0], CA.subordinate().chain()[1]),
    ),
    "a flipped bit in the signature": (Reason.CHAIN_UNTRUSTED, lambda: (_last_bit_flipped(CA.chain()[0]),)),
    "another ID under the same signature": (
        Reason.CHAIN_UNTRUSTED,
        lambda: _patched(CA.chain(), b"spiffe://a.test/w", b"spiffe://a.test/x"),
    ),
    "a flipped bit in the intermediate's signature": (
        Reason.CHAIN_UNTRUSTED,
        lambda: (NODE.chain()[0], _last_bit_flipped(NODE.chain()[1])),
    ),
    "more intermediates than the authority allows": (Reason.CHAIN_PATH_LENGTH, SHORT.subordinate().chain),
    "outside the permitted names": (
        Reason.CHAIN_NAME_CONSTRAINTS,
        CA.subordinate(permitted_uris=("other.test",)).chain,
    ),
    "inside the excluded names": (Reason.CHAIN_NAME_CONSTRAINTS, EXCLUDED.chain),
    "a critical extension that nobody knows": (
        Reason.CHAIN_CRITICAL_EXTENSION,
        lambda: CA.chain(extensions=[(UNKNOWN_EXTENSION, True)]),
    ),
}


@pytest.mark.parametrize(("spiffe_id", "chain"), GOOD.values(), ids=GOOD.keys())
def test_a_good_chain_proves_its_spiffe_id(spiffe_id: str, chain: Callable[[], Chain]) -> None:
    assert str(verify_chain(chain(), BUNDLES, NOW)) == spiffe_id


@pytest.mark.parametrize(("reason", "chain"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_chain_is_refused_for_its_own_reason(reason: Reason, chain: Callable[[], Chain]) -> None:
    with pytest.raises(Refused) as refused:
        verify_chain(chain(), BUNDLES, NOW)
    assert refused.value.reason is reason


def test_every_hostile_chain_is_refused_within_20_ms() -> None:
    for name, (_, build) in HOSTILE.items():
        chain = build()
        fastest = min(_seconds_to_refuse(chain) for _ in range(3))
        assert fastest < 0.02, name


def _seconds_to_refuse(chain: Chain) -> float:
    start = perf_counter()
    with pytest.raises(Refused):
        verify_chain(chain, BUNDLES, NOW)
    return perf_counter() - start


def test_the_last_instant_of_validity_is_exact() -> None:
    chain = CA.chain(not_before=NOW - HOUR, lifetime=HOUR)
    with pytest.raises(Refused) as refused:
        verify_chain(chain, BUNDLES, NOW + timedelta(microseconds=1))
    assert refused.value.reason is Reason.CERTIFICATE_EXPIRED


@pytest.mark.parametrize("hours", [-11, 0, 14])
def test_the_zone_in_which_now_is_told_does_not_matter(hours: int) -> None:
    now: datetime = NOW.astimezone(timezone(timedelta(hours=hours)))
    assert str(verify_chain(CA.chain(), BUNDLES, now)) == ID


def test_a_rotated_authority_is_accepted_beside_the_old_one_and_refused_once_removed() -> None:
    old, new = MiniCa("a.test"), MiniCa("a.test")
    both = BundleSet.from_der({"a.test": [*old.bundle_der, *new.bundle_der]})
    assert str(verify_chain(old.chain(), both, NOW)) == str(verify_chain(new.chain(), both, NOW)) == ID
    with pytest.raises(Refused) as refused:
        verify_chain(old.chain(), BundleSet.from_der({"a.test": new.bundle_der}), NOW)
    assert refused.value.reason is Reason.CHAIN_UNTRUSTED


def test_a_chain_is_judged_anew_for_each_bundle_and_each_time() -> None:
    chain = CA.chain()
    assert str(verify_chain(chain, BUNDLES, NOW)) == ID
    for bundles, now, reason in (
        (BundleSet(), NOW, Reason.BUNDLE_UNKNOWN),
        (BundleSet.from_der({"a.test": STRANGER.bundle_der}), NOW, Reason.CHAIN_UNTRUSTED),
        (BUNDLES, NOW + 2 * HOUR, Reason.CERTIFICATE_EXPIRED),
    ):
        with pytest.raises(Refused) as refused:
            verify_chain(chain, bundles, now)
        assert refused.value.reason is reason


def test_what_the_operator_reads_of_a_refused_id_is_printable() -> None:
    with pytest.raises(Refused) as refused:
        verify_chain(CA.chain(uris=("spiffe://a.test/w\r\nforged log line",)), BUNDLES, NOW)
    assert refused.value.detail.isprintable()
