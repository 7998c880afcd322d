"""The key decides the algorithm."""

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from spiffe_mcp.context import jwa
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.svid import SvidKey
from tests.fakes.mini_ca import private_key

SIZES = {"p256": ("ES256", 64), "p384": ("ES384", 96), "rsa2048": ("PS256", 256)}


def svid_key(kind: str) -> SvidKey:
    key = private_key(kind)
    assert isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))
    return key


@pytest.mark.parametrize("kind", SIZES)
def test_a_key_signs_with_its_algorithm_in_a_fixed_length(kind: str) -> None:
    key = svid_key(kind)
    signature = jwa.sign(key, b"data")
    assert (jwa.algorithm(key), len(signature)) == SIZES[kind]
    assert jwa.algorithm(key.public_key()) == jwa.algorithm(key)
    jwa.check_signature(key.public_key(), b"data", signature)


def test_a_coordinate_with_leading_zeros_keeps_its_length() -> None:
    key = svid_key("p256")
    signatures = (jwa.sign(key, str(attempt).encode()) for attempt in range(4000))
    with_zeros = next(signature for signature in signatures if signature[0] == 0)
    assert len(with_zeros) == 64


@pytest.mark.parametrize("kind", SIZES)
def test_a_signature_of_another_length_or_of_zeros_is_refused(kind: str) -> None:
    key = svid_key(kind)
    signature = jwa.sign(key, b"data")
    half = len(signature) // 2
    padded = signature[:half] + b"\x00" + signature[half:]  # the same two integers
    for hostile in (b"", signature[:-1], signature + b"\x00", padded, bytes(len(signature))):
        with pytest.raises(Refused) as refusal:
            jwa.check_signature(key.public_key(), b"data", hostile)
        assert refusal.value.reason is Reason.CONTEXT_SIGNATURE


def test_the_form_of_x509_is_not_the_form_of_jws() -> None:
    key = private_key("p256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    with pytest.raises(Refused) as refusal:
        jwa.check_signature(key.public_key(), b"data", key.sign(b"data", ec.ECDSA(hashes.SHA256())))
    assert refusal.value.reason is Reason.CONTEXT_SIGNATURE


@pytest.mark.parametrize("kind", SIZES)
def test_a_signature_of_other_data_is_refused(kind: str) -> None:
    key = svid_key(kind)
    with pytest.raises(Refused) as refusal:
        jwa.check_signature(key.public_key(), b"other", jwa.sign(key, b"data"))
    assert refusal.value.reason is Reason.CONTEXT_SIGNATURE


def test_the_salt_of_ps256_is_as_long_as_its_digest() -> None:
    key = svid_key("rsa2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    jwt.algorithms.RSAPSSAlgorithm(jwt.algorithms.RSAPSSAlgorithm.SHA256).verify(
        b"data", key.public_key(), jwa.sign(key, b"data")
    )
    for salt in (0, 20, 222):
        hostile = key.sign(b"data", padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())
        with pytest.raises(Refused) as refusal:
            jwa.check_signature(key.public_key(), b"data", hostile)
        assert refusal.value.reason is Reason.CONTEXT_SIGNATURE


@pytest.mark.parametrize("kind", ["p521", "secp256k1"])
def test_another_curve_has_no_algorithm(kind: str) -> None:
    with pytest.raises(Refused) as refusal:
        jwa.algorithm(svid_key(kind))
    assert refusal.value.reason is Reason.CONTEXT_ALGORITHM


def test_another_kind_of_key_verifies_nothing() -> None:
    with pytest.raises(Refused) as refusal:
        jwa.verifying_key(ed25519.Ed25519PrivateKey.generate().public_key())
    assert refusal.value.reason is Reason.CONTEXT_ALGORITHM
