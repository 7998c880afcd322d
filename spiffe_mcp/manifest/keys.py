"""Keys that sign manifests: Ed25519 (RFC 8032) and ECDSA on P-256 with SHA-256 (FIPS 186-5).

Enters: PEM. Leaves: a public key that knows its own name, and a signer. A key's name is the hash of its
SubjectPublicKeyInfo, so one key has one name however it is labelled, and cannot be counted twice.

Pure: file contents are arguments; nothing here opens a file or makes a key.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol, Self, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.canonical import sha256_hex

_Public: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
_Private: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey

_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_WANTED: Final = "not an Ed25519 or P-256 key"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key to verify with. Two that are equal are one key."""

    key_id: str  # "key:" and the hex of SHA-256 over the DER SubjectPublicKeyInfo
    _key: _Public = field(repr=False, compare=False)

    @classmethod
    def of(cls, key: object) -> Self:
        """`key` of `cryptography`, if it is of a kind that may sign; raises `Refused(MANIFEST_KEY)`."""
        if not isinstance(key, _Public) or not _is_allowed_curve(key):
            raise Refused(Reason.MANIFEST_KEY, _WANTED)
        # Encoded anew: a compressed point is the same key.
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(f"key:{sha256_hex(spki)}", key)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """The one SubjectPublicKeyInfo in `pem` (RFC 7468 section 13); raises `Refused(MANIFEST_KEY)`."""
        if pem.count(b"-----BEGIN") != 1:
            raise Refused(Reason.MANIFEST_KEY, "not exactly one PEM block")
        try:
            return cls.of(load_pem_public_key(pem))
        except (ValueError, UnsupportedAlgorithm):
            raise Refused(Reason.MANIFEST_KEY, _WANTED) from None

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, _ECDSA)
        except InvalidSignature:
            return False
        return True

    def pem(self) -> str:
        """The PEM that a trust policy names this key by."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Signer(Protocol):
    """Whatever holds a private key: a file, a KMS, an HSM."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what `sign` makes."""

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`: 64 bytes for Ed25519, DER for ECDSA."""


@dataclass(frozen=True, slots=True)
class FileSigner:
    """A private key out of a PKCS#8 file."""

    public_key: PublicKey
    _key: _Private = field(repr=False, compare=False)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """The unencrypted PKCS#8 key in `pem`; raises `Refused(MANIFEST_KEY)`, never quoting it."""
        try:
            key = load_pem_private_key(pem, password=None)
        except TypeError:
            raise Refused(Reason.MANIFEST_KEY, "the private key is encrypted") from None
        except (ValueError, UnsupportedAlgorithm):
            raise Refused(Reason.MANIFEST_KEY, "not a PKCS#8 private key in PEM") from None
        if not isinstance(key, _Private):
            raise Refused(Reason.MANIFEST_KEY, _WANTED)
        return cls(PublicKey.of(key.public_key()), key)

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, _ECDSA)


def _is_allowed_curve(key: _Public) -> bool:
    return isinstance(key, ed25519.Ed25519PublicKey) or isinstance(key.curve, ec.SECP256R1)
