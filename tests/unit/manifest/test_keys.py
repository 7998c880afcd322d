"""Keys: two algorithms, one name for each key."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.keys import FileSigner, PublicKey
from tests.fakes.publisher import ed25519_pem, p256_pem

PKCS8 = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
SPKI = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
RSA = rsa.generate_private_key(65537, 2048)
P384 = ec.generate_private_key(ec.SECP384R1())
SECP256K1 = ec.generate_private_key(ec.SECP256K1())
ED448 = ed448.Ed448PrivateKey.generate()


@pytest.mark.parametrize("pem", [p256_pem(), ed25519_pem()], ids=["P-256", "Ed25519"])
def test_a_signature_verifies_with_its_key_over_its_message_only(pem: bytes) -> None:
    signer, other = FileSigner.from_pem(pem), FileSigner.from_pem(p256_pem())
    signature = signer.sign(b"message")
    public = PublicKey.from_pem(signer.public_key.pem().encode())

    assert public.verifies(signature, b"message")
    assert not public.verifies(signature, b"messagE")
    assert not public.verifies(signature[:-1], b"message")
    assert not public.verifies(b"", b"message")
    assert not other.public_key.verifies(signature, b"message")


def test_a_key_is_named_by_the_hash_of_its_spki() -> None:
    public = FileSigner.from_pem(p256_pem()).public_key
    der = load_pem(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    assert public.key_id == f"key:{hashlib.sha256(der).hexdigest()}"


def test_a_compressed_point_is_the_same_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    assert PublicKey.of(key) == PublicKey.of(
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    )


def test_no_representation_shows_a_private_key() -> None:
    assert "Private" not in repr(FileSigner.from_pem(p256_pem()))


UNUSABLE_PUBLIC = {
    "empty": b"",
    "not PEM": b"key",
    "a private key": p256_pem(),
    "two keys": FileSigner.from_pem(p256_pem()).public_key.pem().encode() * 2,
    "damaged": FileSigner.from_pem(p256_pem()).public_key.pem().replace("MF", "MA").encode(),
    "RSA": RSA.public_key().public_bytes(*SPKI),
    "P-384": P384.public_key().public_bytes(*SPKI),
    "secp256k1": SECP256K1.public_key().public_bytes(*SPKI),
    "Ed448": ED448.public_key().public_bytes(*SPKI),
}


@pytest.mark.parametrize("pem", UNUSABLE_PUBLIC.values(), ids=UNUSABLE_PUBLIC.keys())
def test_no_other_public_key_verifies(pem: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        PublicKey.from_pem(pem)

    assert refusal.value.reason is Reason.MANIFEST_KEY


UNUSABLE_PRIVATE = {
    "empty": b"",
    "a public key": FileSigner.from_pem(p256_pem()).public_key.pem().encode(),
    "encrypted": load_pem_private_key(p256_pem(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    ),
    "RSA": RSA.private_bytes(*PKCS8),
    "P-384": P384.private_bytes(*PKCS8),
    "DSA": dsa.generate_private_key(2048).private_bytes(*PKCS8),
}


@pytest.mark.parametrize("pem", UNUSABLE_PRIVATE.values(), ids=UNUSABLE_PRIVATE.keys())
def test_no_other_private_key_signs(pem: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        FileSigner.from_pem(pem)

    assert refusal.value.reason is Reason.MANIFEST_KEY


def load_pem(public: PublicKey) -> ec.EllipticCurvePublicKey:
    """The key as `cryptography` knows it."""
    assert isinstance(public._key, ec.EllipticCurvePublicKey)
    return public._key
