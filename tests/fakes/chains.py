"""Certificate chains, good and hostile, each with the SPIFFE ID that it proves or the reason that refuses it.

One table for all who verify chains: `verify_chain` itself, and both sides of a real handshake.

    world = World(NOW)                                  # the authorities, and whom the verifier trusts
    for name, (spiffe_id, make) in GOOD.items():
        make(world)                                     # what is presented: a chain and its leaf's key
    for name, (reason, make) in HOSTILE.items(): ...
    GOOD_AT, HOSTILE_AT                                 # the same, true at the very instant NOW only

Every hostile chain has one defect and is otherwise as good as they come, so that no other rule refuses it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity import BundleSet
from spiffe_mcp.identity.verify import MAX_CHAIN_BYTES
from tests.fakes.der import Tlv, parse
from tests.fakes.mini_ca import HOUR, SPIRE_KEY_USAGE, MiniCa, Presented

ID: Final = "spiffe://a.test/w"
LONGEST: Final = "/" + "x" * (2048 - len("spiffe://a.test/"))
SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class World:
    """The authorities that live at `now`. Equal names are not equal authorities."""

    now: datetime

    @cached_property
    def ca(self) -> MiniCa:
        return self._named("a.test")

    @cached_property
    def stranger(self) -> MiniCa:
        """Another authority that calls itself by our name."""
        return self._named("a.test")

    @cached_property
    def federated(self) -> MiniCa:
        return self._named("b.test")

    @cached_property
    def node(self) -> MiniCa:
        """An intermediate below the authority."""
        return self.ca.subordinate()

    @cached_property
    def rsa(self) -> MiniCa:
        return self._named("rsa.test", key_kind="rsa2048")

    @cached_property
    def short(self) -> MiniCa:
        """An authority that allows no intermediate."""
        return self._named("short.test", path_length=0)

    @cached_property
    def old(self) -> MiniCa:
        return self._named("old.test", not_before=self.now - 2 * HOUR, lifetime=HOUR)

    @cached_property
    def early(self) -> MiniCa:
        return self._named("early.test", not_before=self.now + HOUR)

    @cached_property
    def permitted(self) -> MiniCa:
        return self._named("a.only", permitted_uris=("a.only",))

    @cached_property
    def excluded(self) -> MiniCa:
        return self._named("never.test", excluded_uris=("never.test",))

    @cached_property
    def plain(self) -> MiniCa:
        """The root of an enterprise PKI, no SVID itself."""
        return self._named("plain.test", uris=(), key_usage=None)

    @cached_property
    def bundles(self) -> BundleSet:
        """Whom the verifier trusts. `revoked.test` is known and has nobody left; `c.test` is unknown."""
        return BundleSet.from_der(
            {ca.trust_domain: ca.bundle_der for ca in self.trusted} | {"revoked.test": []}
        )

    @property
    def trusted(self) -> tuple[MiniCa, ...]:
        return (
            self.ca, self.federated, self.rsa, self.short, self.old, self.early, self.permitted,
            self.excluded, self.plain,
        )  # fmt: skip

    def _named(self, trust_domain: str, **deviations: Any) -> MiniCa:
        return MiniCa.rooted(trust_domain, now=self.now, **deviations)


Make: TypeAlias = Callable[[World], Presented]


# -- how a chain is spoilt ----------------------------------------------------------------------------------


def _leaf(**deviations: Any) -> Make:
    """A leaf of our authority that deviates."""
    return lambda world: world.ca.issue_der(**deviations)


def _below(**deviations: Any) -> Make:
    """A good leaf below an intermediate of our authority that deviates."""
    return lambda world: world.ca.subordinate(**deviations).issue_der()


def _uri(uri: str) -> Make:
    return _leaf(uris=(uri,))


def _chain(presented: Presented, *chain: bytes) -> Presented:
    """The same key, another chain."""
    return Presented(chain, presented.key)


def _raw(*chain: bytes) -> Make:
    """Bytes that are no certificates, with some key."""
    return lambda world: _chain(world.ca.issue_der(), *chain)


def _followed_by(presented: Presented, *more: bytes) -> Presented:
    return _chain(presented, *presented.chain, *more)


def _leaf_as(change: Callable[[bytes], bytes]) -> Make:
    """A good leaf, its DER changed afterwards."""
    return lambda world: _with_leaf(world.ca.issue_der(), change)


def _with_leaf(presented: Presented, change: Callable[[bytes], bytes]) -> Presented:
    leaf, *rest = presented.chain
    return _chain(presented, change(leaf), *rest)


def _issued_as(change: Callable[[Tlv], None], **deviations: Any) -> Make:
    """What no library will write, changed before our authority signed it."""
    return lambda world: _with_leaf(
        world.ca.issue_der(**deviations), lambda der: _signed_after(change, der, world.ca)
    )


def _signed_after(change: Callable[[Tlv], None], der: bytes, ca: MiniCa) -> bytes:
    tree = parse(der)
    change(tree)
    key = ca.root.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    tree.at(2).content = b"\0" + key.sign(tree.at(0).encode(), ec.ECDSA(hashes.SHA256()))
    return tree.encode()


def _with_uri_bytes(octets: bytes) -> Make:
    """A URI that is no IA5String."""

    def change(tree: Tlv) -> None:
        (uri,) = (node for node in tree.walk() if node.content.endswith(b"spiffe://a.test/w"))
        uri.content = uri.content.replace(b"\x11spiffe://a.test/w", bytes([len(octets)]) + octets)
        assert octets in uri.content

    assert len(octets) == len("spiffe://a.test/w")
    return _issued_as(change)


def _last_bit_flipped(der: bytes) -> bytes:
    """The last bit of a certificate is the last bit of its signature."""
    return der[:-1] + bytes([der[-1] ^ 1])


def _intermediate_flipped(world: World) -> Presented:
    presented = world.node.issue_der()
    return _chain(presented, presented.chain[0], _last_bit_flipped(presented.chain[1]))


def _deeper(world: World, levels: int) -> Presented:
    """Below so many intermediates."""
    ca = world.ca
    for _ in range(levels):
        ca = ca.subordinate()
    return ca.issue_der()


def _leaf_below_a_leaf(world: World) -> Presented:
    leaf = world.ca.subordinate(ca=False, key_usage=SPIRE_KEY_USAGE, uris=(ID,))
    return leaf.issue_der(uris=("spiffe://a.test/admin",))


def _node_as_leaf(world: World) -> Presented:
    _, node = world.node.issue_der().chain
    return Presented((node,), world.node.intermediates[0].pkcs8)


def _long_chain(world: World) -> Presented:
    """More than 32 KiB of sound certificates, and less than what OpenSSL reads of a peer's."""
    filling = x509.UnrecognizedExtension(UNKNOWN, bytes(MAX_CHAIN_BYTES // 2))
    return world.ca.subordinate(extensions=[(filling, False)]).issue_der(extensions=[(filling, False)])


def _indefinite(der: bytes) -> bytes:
    """The same certificate in BER: a length that says "until the end" (X.690 section 8.1.3.6)."""
    return b"\x30\x80" + b"".join(part.encode() for part in parse(der).inside) + b"\0\0"


def _second_san(tree: Tlv) -> None:
    """The subject alternative name, once more."""
    extensions = tree.at(0, 7, 0).inside
    extensions.append(next(one for one in extensions if one.at(0).content == _SAN))


def _version_1(tree: Tlv) -> None:
    """An X.509 v1 certificate, with extensions all the same."""
    del tree.at(0).inside[0]


def _explicit_curve(tree: Tlv) -> None:
    """A key whose curve is spelled out instead of named, which RFC 5480 section 2.1.1 forbids."""
    tree.at(0, 6, 0, 1).become(parse(_P256_SPELLED_OUT))


def _another_algorithm(tree: Tlv) -> None:
    """The signature algorithm outside the signed part is not the one inside (RFC 5280 section 4.1.1.2)."""
    tree.at(1, 0).content = _ECDSA_WITH_SHA384


def _id_of_another(world: World) -> Presented:
    """Another ID of the same length under the same signature."""
    presented = world.ca.issue_der()
    assert presented.chain[0].count(b"spiffe://a.test/w") == 1
    return _with_leaf(presented, lambda der: der.replace(b"spiffe://a.test/w", b"spiffe://a.test/x"))


def _another_node(world: World) -> Presented:
    presented = world.node.issue_der()
    return _chain(presented, presented.chain[0], world.ca.subordinate().intermediates[0].der)


def _without_node(world: World) -> Presented:
    presented = world.node.issue_der()
    return _chain(presented, presented.chain[0])


def _shuffled(world: World) -> Presented:
    presented = _deeper(world, 3)
    return _chain(presented, presented.chain[0], *reversed(presented.chain[1:]))


_SAN: Final = bytes.fromhex("551d11")
_ECDSA_WITH_SHA384: Final = bytes.fromhex("2a8648ce3d040303")
_P256_SPELLED_OUT: Final = bytes.fromhex(
    "3081f7020101302c06072a8648ce3d0101022100ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"
    "305b0420ffffffff00000001000000000000000000000000fffffffffffffffffffffffc04205ac635d8aa3a93e7b3ebbd557698"
    "86bc651d06b0cc53b0f63bce3c3e27d2604b031500c49d360886e704936a6678e1139d26b7819f7e900441046b17d1f2e12c4247"
    "f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb64068"
    "37bf51f5022100ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551020101"
)
UNKNOWN: Final = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
UNKNOWN_EXTENSION: Final = x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00")
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
CODE_SIGNING: Final = ExtendedKeyUsageOID.CODE_SIGNING

GOOD: Final[dict[str, tuple[str, Make]]] = {
    "a leaf as SPIRE issues it": (ID, _leaf()),
    "an intermediate": (ID, lambda world: world.node.issue_der()),
    "four intermediates": (ID, lambda world: _deeper(world, 4)),
    "intermediates in another order": (ID, _shuffled),
    "DNS names beside the one URI": (ID, _leaf(dns=("w.a.test", "localhost"))),
    "no extended key usage": (ID, _leaf(extended_key_usage=None)),
    "an extended key usage more": (ID, _leaf(extended_key_usage=(SERVER, CLIENT, CODE_SIGNING))),
    "digitalSignature alone": (ID, _leaf(key_usage={"digital_signature"})),
    "no basic constraints": (ID, _leaf(ca=None)),
    "no authority key identifier": (ID, _leaf(authority_key_id=False)),
    "no authority key identifier anywhere": (ID, _below(authority_key_id=False)),
    "an extension that nobody knows": (ID, _leaf(extensions=[(UNKNOWN_EXTENSION, False)])),
    "P-384": (ID, _leaf(key_kind="p384")),
    "RSA 2048": ("spiffe://rsa.test/w", lambda world: world.rsa.issue_der(key_kind="rsa2048")),
    "SHA-384": (ID, _leaf(signature="sha384")),
    "a path length that is kept": ("spiffe://short.test/w", lambda world: world.short.issue_der()),
    "a name constraint that is kept": ("spiffe://a.only/w", lambda world: world.permitted.issue_der()),
    "an authority of an enterprise PKI": ("spiffe://plain.test/w", lambda world: world.plain.issue_der()),
    "an intermediate that is no SVID itself": (ID, _below(uris=())),
    "an intermediate spelled with a slash": (ID, _below(uris=("spiffe://a.test/",))),
    "the authority sent along": (
        ID,
        lambda world: _followed_by(world.ca.issue_der(), world.ca.root.der),
    ),
    "an intermediate too many": (
        ID,
        lambda world: _followed_by(world.ca.issue_der(), world.node.intermediates[0].der),
    ),
    "a federated workload": ("spiffe://b.test/w", lambda world: world.federated.issue_der()),
    "the longest ID there may be": (f"spiffe://a.test{LONGEST}", lambda world: world.ca.issue_der(LONGEST)),
}

GOOD_AT: Final[dict[str, tuple[str, Make]]] = {
    "valid from this second on": (ID, lambda world: world.ca.issue_der(not_before=world.now)),
    "valid until this second": (
        ID,
        lambda world: world.ca.issue_der(not_before=world.now - HOUR, lifetime=HOUR),
    ),
}

HOSTILE: Final[dict[str, tuple[Reason, Make]]] = {
    # (1) size
    "no certificate": (Reason.CHAIN_EMPTY, _raw()),
    "six certificates": (Reason.CHAIN_TOO_LONG, lambda world: _deeper(world, 5)),
    "more than 32 KiB": (Reason.CHAIN_TOO_LARGE, _long_chain),
    # (2) form and strength
    "an empty certificate": (Reason.CERTIFICATE_MALFORMED, _raw(b"")),
    "garbage": (Reason.CERTIFICATE_MALFORMED, _raw(b"\x30\x03garbage")),
    "garbage after the leaf": (
        Reason.CERTIFICATE_MALFORMED,
        lambda world: _followed_by(world.ca.issue_der(), b"garbage"),
    ),
    "half a certificate": (Reason.CERTIFICATE_MALFORMED, _leaf_as(lambda der: der[:200])),
    "a byte after the certificate": (Reason.CERTIFICATE_MALFORMED, _leaf_as(lambda der: der + b"\0")),
    "two certificates in one": (Reason.CERTIFICATE_MALFORMED, _leaf_as(lambda der: der * 2)),
    "PEM": (Reason.CERTIFICATE_MALFORMED, _raw(b"-----BEGIN CERTIFICATE-----\nMII=\n")),
    "an extension twice": (Reason.CERTIFICATE_MALFORMED, _issued_as(_second_san)),
    "extensions in version 1": (Reason.CERTIFICATE_MALFORMED, _issued_as(_version_1)),
    "two signature algorithms": (Reason.CHAIN_UNTRUSTED, _issued_as(_another_algorithm)),
    "a URI that is not ASCII": (Reason.CERTIFICATE_MALFORMED, _with_uri_bytes(b"spiffe://a.tes\xff/w")),
    "RSA 1024": (Reason.CERTIFICATE_WEAK_KEY, _leaf(key_kind="rsa1024")),
    "secp256k1": (Reason.CERTIFICATE_WEAK_KEY, _leaf(key_kind="secp256k1")),
    "P-521": (Reason.CERTIFICATE_WEAK_KEY, _leaf(key_kind="p521")),
    "Ed25519": (Reason.CERTIFICATE_WEAK_KEY, _leaf(key_kind="ed25519")),
    "a curve spelled out": (Reason.CHAIN_UNTRUSTED, _issued_as(_explicit_curve)),
    "a weak intermediate": (Reason.CERTIFICATE_WEAK_KEY, _below(key_kind="rsa1024")),
    "SHA-224": (Reason.CERTIFICATE_WEAK_SIGNATURE, _leaf(signature="sha224")),
    "SHA-1 with RSA": (
        Reason.CERTIFICATE_WEAK_SIGNATURE,
        lambda world: world.rsa.issue_der(signature="sha1"),
    ),
    "MD5 with RSA": (Reason.CERTIFICATE_WEAK_SIGNATURE, lambda world: world.rsa.issue_der(signature="md5")),
    "SHA-1 on the intermediate": (
        Reason.CERTIFICATE_WEAK_SIGNATURE,
        lambda world: world.rsa.subordinate(signature="sha1").issue_der(),
    ),
    "a signature by Ed25519": (
        Reason.CERTIFICATE_WEAK_SIGNATURE,
        lambda world: world.ca.subordinate(key_kind="ed25519").issue_der(),
    ),
    # (3) the SPIFFE ID
    "no subject alternative name": (Reason.LEAF_NO_URI_SAN, _leaf(uris=())),
    "a common name only": (Reason.LEAF_NO_URI_SAN, _leaf(uris=(), common_name=ID)),
    "a DNS name only": (Reason.LEAF_NO_URI_SAN, _leaf(uris=(), dns=("a.test",))),
    "a SPIFFE ID as a DNS name": (Reason.LEAF_NO_URI_SAN, _leaf(uris=(), dns=(ID,))),
    "two SPIFFE IDs": (Reason.LEAF_SEVERAL_URI_SANS, _leaf(uris=(ID, "spiffe://a.test/x"))),
    "the same SPIFFE ID twice": (Reason.LEAF_SEVERAL_URI_SANS, _leaf(uris=(ID, ID))),
    "a SPIFFE ID and another URI": (Reason.LEAF_SEVERAL_URI_SANS, _leaf(uris=("https://a.test/", ID))),
    "another scheme": (Reason.ID_MALFORMED, _uri("https://a.test/w")),
    "an upper-case scheme": (Reason.ID_MALFORMED, _uri("SPIFFE://a.test/w")),
    "an upper-case trust domain": (Reason.ID_MALFORMED, _uri("spiffe://A.test/w")),
    "no trust domain": (Reason.ID_MALFORMED, _uri("spiffe:///w")),
    "no path": (Reason.ID_MALFORMED, _uri("spiffe://a.test")),
    "the root path": (Reason.ID_MALFORMED, _uri("spiffe://a.test/")),
    "a slash at the end": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w/")),
    "an empty segment": (Reason.ID_MALFORMED, _uri("spiffe://a.test//w")),
    "a way up": (Reason.ID_MALFORMED, _uri("spiffe://a.test/x/../w")),
    "a way nowhere": (Reason.ID_MALFORMED, _uri("spiffe://a.test/./w")),
    "a port": (Reason.ID_MALFORMED, _uri("spiffe://a.test:443/w")),
    "a user": (Reason.ID_MALFORMED, _uri("spiffe://me@a.test/w")),
    "a query": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w?x")),
    "a fragment": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w#x")),
    "an escape": (Reason.ID_MALFORMED, _uri("spiffe://a.test/%77")),
    "a wildcard": (Reason.ID_MALFORMED, _uri("spiffe://a.test/*")),
    "a NUL": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w\0.b.test")),
    "a line feed at the end": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w\n")),
    "a header of HTTP": (Reason.ID_MALFORMED, _uri("spiffe://a.test/w\r\nx-user: root")),
    "a space before": (Reason.ID_MALFORMED, _uri(" spiffe://a.test/w")),
    "an ID of 2049 bytes": (Reason.ID_MALFORMED, _uri(f"spiffe://a.test{LONGEST}x")),
    "a trust domain of 256 bytes": (Reason.ID_MALFORMED, _uri(f"spiffe://{'a' * 256}/w")),
    # (4) the leaf
    "an intermediate as the leaf": (Reason.ID_MALFORMED, _node_as_leaf),
    "a leaf that is a CA": (Reason.LEAF_IS_CA, _leaf(ca=True)),
    "no key usage": (Reason.LEAF_KEY_USAGE_MISSING, _leaf(key_usage=None)),
    "a key usage that is not critical": (
        Reason.LEAF_KEY_USAGE_NOT_CRITICAL,
        _leaf(key_usage_critical=False),
    ),
    "no digitalSignature": (Reason.LEAF_NO_DIGITAL_SIGNATURE, _leaf(key_usage={"key_encipherment"})),
    "keyCertSign": (Reason.LEAF_KEY_CERT_SIGN, _leaf(key_usage={"digital_signature", "key_cert_sign"})),
    "cRLSign": (Reason.LEAF_CRL_SIGN, _leaf(key_usage={"digital_signature", "crl_sign"})),
    "serverAuth alone": (Reason.LEAF_EXTENDED_KEY_USAGE, _leaf(extended_key_usage=(SERVER,))),
    "clientAuth alone": (Reason.LEAF_EXTENDED_KEY_USAGE, _leaf(extended_key_usage=(CLIENT,))),
    "codeSigning alone": (Reason.LEAF_EXTENDED_KEY_USAGE, _leaf(extended_key_usage=(CODE_SIGNING,))),
    "any extended key usage": (
        Reason.LEAF_EXTENDED_KEY_USAGE,
        _leaf(extended_key_usage=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
    ),
    # (5) the issuers
    "a leaf below a leaf": (Reason.ISSUER_NOT_CA, _leaf_below_a_leaf),
    "an intermediate without basic constraints": (Reason.ISSUER_NOT_CA, _below(ca=None)),
    "an intermediate that may not sign": (Reason.ISSUER_NO_KEY_CERT_SIGN, _below(key_usage={"crl_sign"})),
    "an intermediate without key usage": (Reason.ISSUER_NO_KEY_CERT_SIGN, _below(key_usage=None)),
    "an intermediate of another trust domain": (
        Reason.ISSUER_TRUST_DOMAIN,
        _below(uris=("spiffe://b.test",)),
    ),
    "an intermediate with a longer name": (
        Reason.ISSUER_TRUST_DOMAIN,
        _below(uris=("spiffe://a.test.evil",)),
    ),
    "an intermediate with a path": (Reason.ISSUER_TRUST_DOMAIN, _below(uris=("spiffe://a.test/node",))),
    "an intermediate with two names": (
        Reason.ISSUER_SEVERAL_URI_SANS,
        _below(uris=("spiffe://a.test", "spiffe://b.test")),
    ),
    "somebody else's leaf behind ours": (
        Reason.ISSUER_NOT_CA,
        lambda world: _followed_by(world.ca.issue_der(), *world.ca.chain("/x")),
    ),
    # (6) the bundle
    "an unknown trust domain": (
        Reason.BUNDLE_UNKNOWN,
        lambda world: MiniCa("c.test", world.now).issue_der(),
    ),
    "our authority, an unknown trust domain": (Reason.BUNDLE_UNKNOWN, _uri("spiffe://c.test/w")),
    "a trust domain with an empty bundle": (
        Reason.BUNDLE_EMPTY,
        lambda world: MiniCa("revoked.test", world.now).issue_der(),
    ),
    "our authority, a trust domain with an empty bundle": (
        Reason.BUNDLE_EMPTY,
        _uri("spiffe://revoked.test/w"),
    ),
    # (7) time
    "an expired leaf": (
        Reason.CERTIFICATE_EXPIRED,
        lambda world: world.ca.issue_der(not_before=world.now - HOUR, lifetime=HOUR - SECOND),
    ),
    "a leaf of the next hour": (
        Reason.CERTIFICATE_NOT_YET_VALID,
        lambda world: world.ca.issue_der(not_before=world.now + HOUR),
    ),
    "an expired intermediate": (
        Reason.CERTIFICATE_EXPIRED,
        lambda world: world.ca.subordinate(not_before=world.now - 2 * HOUR, lifetime=HOUR).issue_der(),
    ),
    "an intermediate that is not valid yet": (
        Reason.CERTIFICATE_NOT_YET_VALID,
        lambda world: world.ca.subordinate(not_before=world.now + HOUR).issue_der(),
    ),
    "an expired authority": (Reason.CERTIFICATE_EXPIRED, lambda world: world.old.issue_der()),
    "an authority that is not valid yet": (
        Reason.CERTIFICATE_NOT_YET_VALID,
        lambda world: world.early.issue_der(),
    ),
    # (8) the path
    "an authority of the same name": (Reason.CHAIN_UNTRUSTED, lambda world: world.stranger.issue_der()),
    "the same, and no key identifiers": (
        Reason.CHAIN_UNTRUSTED,
        lambda world: world.stranger.issue_der(authority_key_id=False),
    ),
    "the same, sent along": (
        Reason.CHAIN_UNTRUSTED,
        lambda world: _followed_by(world.stranger.issue_der(), world.stranger.root.der),
    ),
    "an intermediate of the same, with our name": (
        Reason.CHAIN_UNTRUSTED,
        lambda world: world.stranger.subordinate(uris=("spiffe://a.test",)).issue_der(),
    ),
    "a federated authority that speaks for us": (
        Reason.CHAIN_UNTRUSTED,
        lambda world: world.federated.issue_der(uris=(ID,)),
    ),
    "a federated intermediate that speaks for us": (
        Reason.CHAIN_UNTRUSTED,
        lambda world: world.federated.subordinate(uris=("spiffe://a.test",)).issue_der(uris=(ID,)),
    ),
    "a federated authority that speaks for us, and ours sent along": (
        Reason.CHAIN_UNTRUSTED,
        lambda world: _followed_by(world.federated.issue_der(uris=(ID,)), world.ca.root.der),
    ),
    "our authority that speaks for a federated domain": (
        Reason.CHAIN_UNTRUSTED,
        _uri("spiffe://b.test/w"),
    ),
    "a missing intermediate": (Reason.CHAIN_UNTRUSTED, _without_node),
    "another intermediate than the leaf's": (Reason.CHAIN_UNTRUSTED, _another_node),
    "a flipped bit in the signature": (Reason.CHAIN_UNTRUSTED, _leaf_as(_last_bit_flipped)),
    "another ID under the same signature": (Reason.CHAIN_UNTRUSTED, _id_of_another),
    "a flipped bit in the intermediate's signature": (Reason.CHAIN_UNTRUSTED, _intermediate_flipped),
    "more intermediates than the authority allows": (
        Reason.CHAIN_PATH_LENGTH,
        lambda world: world.short.subordinate().issue_der(),
    ),
    "more intermediates than an intermediate allows": (
        Reason.CHAIN_PATH_LENGTH,
        lambda world: world.ca.subordinate(path_length=0).subordinate().issue_der(),
    ),
    "outside the permitted names": (Reason.CHAIN_NAME_CONSTRAINTS, _below(permitted_uris=("other.test",))),
    "below a permitted name": (Reason.CHAIN_NAME_CONSTRAINTS, _below(permitted_uris=(".a.test",))),
    "inside the excluded names": (
        Reason.CHAIN_NAME_CONSTRAINTS,
        lambda world: world.excluded.issue_der(),
    ),
    "a critical extension that nobody knows": (
        Reason.CHAIN_CRITICAL_EXTENSION,
        _leaf(extensions=[(UNKNOWN_EXTENSION, True)]),
    ),
    "a critical extension of an intermediate that nobody knows": (
        Reason.CHAIN_CRITICAL_EXTENSION,
        _below(extensions=[(UNKNOWN_EXTENSION, True)]),
    ),
}

# Malformed as bytes only: what reads BER (OpenSSL) and writes DER makes the good certificate of it again.
BER: Final[Make] = _leaf_as(_indefinite)

HOSTILE_AT: Final[dict[str, tuple[Reason, Make]]] = {
    "expired since this second": (
        Reason.CERTIFICATE_EXPIRED,
        lambda world: world.ca.issue_der(not_before=world.now - HOUR, lifetime=HOUR - SECOND),
    ),
    "valid from the next second on": (
        Reason.CERTIFICATE_NOT_YET_VALID,
        lambda world: world.ca.issue_der(not_before=world.now + SECOND),
    ),
}
