"""Signatures of JWS with the key of an SVID (RFC 7518 section 3).

The key decides the algorithm, and nothing else does: P-256 signs ES256, P-384 ES384, RSA PS256. What a header
says under `alg` is compared with that, never acted on; `none` and the HMAC family do not exist here.
Pure: keys and octets in, octets or a refusal out.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.svid import SvidKey

VerifyingKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class _Ecdsa:
    """ECDSA on one curve: R and S as two big-endian integers of fixed length (RFC 7518 section 3.4)."""

    name: str
    scheme: ec.ECDSA
    octets: int  # of one coordinate


_ECDSA: Final = {
    "secp256r1": _Ecdsa("ES256", ec.ECDSA(hashes.SHA256()), 32),
    "secp384r1": _Ecdsa("ES384", ec.ECDSA(hashes.SHA384()), 48),
}

# RFC 7518 section 3.5: MGF1 with the same digest, the salt as long as the digest.
_PS256_DIGEST: Final = hashes.SHA256()
_PS256: Final = padding.PSS(padding.MGF1(_PS256_DIGEST), salt_length=_PS256_DIGEST.digest_size)


def verifying_key(key: object) -> VerifyingKey:
    """`key` if it is of a kind that signs a link; raises `Refused(CONTEXT_ALGORITHM)`."""
    if isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
        return key
    raise Refused(Reason.CONTEXT_ALGORITHM, f"no algorithm for {type(key).__name__}")


def algorithm(key: SvidKey | VerifyingKey) -> str:
    """The one `alg` that `key` signs with; raises `Refused(CONTEXT_ALGORITHM)` for any other curve."""
    if isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        return "PS256"
    return _ecdsa(key).name


def sign(key: SvidKey, data: bytes) -> bytes:
    """The signature of `data`, in the form that JWS carries."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _PS256, _PS256_DIGEST)
    ecdsa = _ecdsa(key)
    r, s = decode_dss_signature(key.sign(data, ecdsa.scheme))
    return r.to_bytes(ecdsa.octets, "big") + s.to_bytes(ecdsa.octets, "big")


def check_signature(key: VerifyingKey, data: bytes, signature: bytes) -> None:
    """Return if `signature` is of `data` by `key`; raises `Refused(CONTEXT_SIGNATURE)`."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, _PS256, _PS256_DIGEST)
        else:
            ecdsa = _ecdsa(key)
            key.verify(_der(signature, ecdsa.octets), data, ecdsa.scheme)
    except InvalidSignature:
        raise Refused(Reason.CONTEXT_SIGNATURE) from None


def _ecdsa(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> _Ecdsa:
    if (ecdsa := _ECDSA.get(key.curve.name)) is None:
        raise Refused(Reason.CONTEXT_ALGORITHM, f"no algorithm for {key.curve.name}")
    return ecdsa


def _der(signature: bytes, octets: int) -> bytes:
    # A longer or shorter pair would be a second spelling of the same two integers.
    if len(signature) != 2 * octets:
        raise Refused(Reason.CONTEXT_SIGNATURE, f"{len(signature)} bytes instead of {2 * octets}")
    r, s = signature[:octets], signature[octets:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
