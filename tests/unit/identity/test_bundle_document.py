"""The SPIFFE Bundle Map as a document."""

import base64
import json
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import bundle_document
from tests.fakes.mini_ca import MiniCa

CA: Final = MiniCa("a.test")
DER: Final = CA.bundle_der[0]
X5C: Final = base64.b64encode(DER).decode()
ENTRY: Final = {"use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "x5c": [X5C]}


def document(*keys: object, **fields: object) -> bytes:
    return json.dumps({"trust_domains": {"a.test": {"keys": keys, **fields}}}).encode()


def test_certificates_are_read_by_trust_domain() -> None:
    assert bundle_document.read(document(ENTRY)) == {"a.test": [DER]}


@pytest.mark.parametrize(
    "ignored",
    [
        {"use": "jwt-svid", "kty": "EC", "kid": "k1", "crv": "P-256", "x": "AA", "y": "AA"},
        {"use": "wit-svid", "kty": "EC", "kid": "k2"},
        {"kty": "EC", "x5c": [X5C]},
        {"use": "X509-SVID", "kty": "EC", "x5c": [X5C]},
        {"use": "x509-svid", "kty": "OKP", "x5c": [X5C]},
        {"use": "x509-svid", "x5c": [X5C]},
        {"use": "x509-svid", "kty": "EC"},
        {"use": "x509-svid", "kty": "EC", "x5c": []},
    ],
)
def test_keys_for_others_are_passed_over(ignored: dict[str, object]) -> None:
    read = bundle_document.read(document(ignored, ENTRY, spiffe_sequence=2**64, spiffe_refresh_hint=60))
    assert read == {"a.test": [DER]}


def test_no_usable_key_is_an_empty_bundle_and_not_a_missing_one() -> None:
    assert bundle_document.read(document()) == {"a.test": []}


def test_only_the_first_certificate_of_an_entry_counts() -> None:
    assert bundle_document.read(document({**ENTRY, "x5c": [X5C, "garbage"]})) == {"a.test": [DER]}


@pytest.mark.parametrize(
    ("malformed", "reason"),
    [
        (b"", Reason.JSON_MALFORMED),
        (b"[]", Reason.JSON_MALFORMED),
        (b"{}", Reason.BUNDLE_DOCUMENT),
        (b'{"trust_domains":[]}', Reason.BUNDLE_DOCUMENT),
        (b'{"trust_domains":{"a.test":[]}}', Reason.BUNDLE_DOCUMENT),
        (b'{"trust_domains":{"a.test":{}}}', Reason.BUNDLE_DOCUMENT),
        (b'{"trust_domains":{"a.test":{"keys":{}}}}', Reason.BUNDLE_DOCUMENT),
        (b'{"trust_domains":{"a.test":{"keys":[]},"a.test":{"keys":[]}}}', Reason.JSON_DUPLICATE_KEY),
        (document("a string"), Reason.BUNDLE_DOCUMENT),
        (document({**ENTRY, "x5c": X5C}), Reason.BUNDLE_DOCUMENT),
        (document({**ENTRY, "x5c": [1]}), Reason.BUNDLE_DOCUMENT),
        (document({**ENTRY, "x5c": ["*"]}), Reason.BUNDLE_DOCUMENT),
        (document({**ENTRY, "x5c": ["A"]}), Reason.BUNDLE_DOCUMENT),
        (document({**ENTRY, "x5c": ["\u00e9"]}), Reason.BUNDLE_DOCUMENT),
    ],
)
def test_a_malformed_document_is_refused(malformed: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        bundle_document.read(malformed)
    assert refused.value.reason is reason


@pytest.mark.parametrize(("kind", "curve", "size"), [("p256", "P-256", 32), ("p384", "P-384", 48)])
def test_an_elliptic_key_is_written_as_a_jwk(kind: str, curve: str, size: int) -> None:
    der = MiniCa.rooted("a.test", key_kind=kind).bundle_der[0]
    jwk = written(der)
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert (jwk["use"], jwk["kty"], jwk["crv"]) == ("x509-svid", "EC", curve)
    assert number(jwk["x"], size) == key.public_numbers().x
    assert number(jwk["y"], size) == key.public_numbers().y
    assert base64.b64decode(jwk["x5c"][0]) == der
    assert "kid" not in jwk  # MUST NOT be set (X509-SVID section 6.1)


def test_an_rsa_key_is_written_as_a_jwk() -> None:
    der = MiniCa.rooted("a.test", key_kind="rsa2048").bundle_der[0]
    jwk = written(der)
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert (jwk["use"], jwk["kty"], jwk["e"]) == ("x509-svid", "RSA", "AQAB")
    assert number(jwk["n"], 256) == key.public_numbers().n


def written(der: bytes) -> Any:
    document: Any = bundle_document.write({"a.test": [der]})
    return document["trust_domains"]["a.test"]["keys"][0]


def number(text: str, size: int) -> int:
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert len(data) == size
    return int.from_bytes(data, "big")
