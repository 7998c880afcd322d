"""Public keys as JWKs: what is written is read back, and what is no key is refused."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import jwk
from tests.fakes.mini_ca import private_key

EC: dict[str, Any] = jwk.write(private_key("p256").public_key())
RSA: dict[str, Any] = jwk.write(private_key("rsa2048").public_key())


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa2048"])
def test_a_key_is_read_as_it_was_written(kind: str) -> None:
    key = private_key(kind).public_key()
    assert jwk.read(jwk.write(key)) == key


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa2048"])
def test_another_implementation_reads_the_same_key(kind: str) -> None:
    key = private_key(kind).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    assert jwt.PyJWK(json.loads(json.dumps(jwk.write(key)))).key.public_numbers() == key.public_numbers()


def test_only_required_members_are_written() -> None:
    assert set(EC) == {"kty", "crv", "x", "y"}
    assert set(RSA) == {"kty", "n", "e"}


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1"])
def test_a_key_of_another_kind_is_not_written(kind: str) -> None:
    with pytest.raises(Refused) as refused:
        jwk.write(private_key(kind).public_key())
    assert refused.value.reason is Reason.CERTIFICATE_WEAK_KEY


def test_a_private_part_is_not_read() -> None:
    read = jwk.read({**EC, "d": "AAAA"})
    assert isinstance(read, ec.EllipticCurvePublicKey)
    assert not isinstance(read, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize(
    "unknown", [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, {**EC, "crv": "secp256k1"}, {"kty": "EC"}, {}]
)
def test_a_type_or_curve_that_is_not_known_is_none(unknown: dict[str, Any]) -> None:
    assert jwk.read(unknown) is None


@pytest.mark.parametrize(
    "malformed",
    [
        {**EC, "x": "AAAA"},  # not on the curve
        {**EC, "x": EC["x"] + "!"},
        {**EC, "x": EC["x"] + "\u00e9"},
        {**EC, "x": 5},
        {**EC, "x": ""},
        {"kty": "EC", "crv": "P-256", "x": EC["x"]},
        {**RSA, "e": "AA"},
        {**RSA, "n": None},
        {**RSA, "n": "AAAAA"},
    ],
)
def test_what_is_no_key_is_refused(malformed: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        jwk.read(malformed)
    assert refused.value.reason is Reason.BUNDLE_DOCUMENT
