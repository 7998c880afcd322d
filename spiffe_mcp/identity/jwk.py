"""Public keys as JWKs (RFC 7517, RFC 7518 section 6), both ways.

Enters: a public key, or the members of a JWK. Leaves: the other one. Whatever else stands in a JWK is not
read, a private part least of all: what is passed on is written anew from the key. Whether a key is strong
enough, and what it may sign, others say. Pure.
"""

import base64
import binascii
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import certificate
from spiffe_mcp.strict_json import JsonObject, JsonValue

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

KEY_TYPES: Final = ("EC", "RSA")  # others MUST be ignored (Trust Domain and Bundle section 4.2.1)

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_CURVE_NAMES: Final = {curve.name: name for name, curve in _CURVES.items()}


def write(key: object) -> JsonObject:
    """The JWK of `key`, its required members only; raises `Refused(CERTIFICATE_WEAK_KEY)` for other kinds."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _uint(numbers.n), "e": _uint(numbers.e)}
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVE_NAMES:
        raise Refused(Reason.CERTIFICATE_WEAK_KEY, type(key).__name__)
    size, point = (key.key_size + 7) // 8, key.public_numbers()
    x, y = _uint(point.x, size), _uint(point.y, size)
    return {"kty": "EC", "crv": _CURVE_NAMES[key.curve.name], "x": x, "y": y}


def read(jwk: JsonObject) -> PublicKey | None:
    """The key that `jwk` spells; None for a type or curve that is not known here.

    Raises `Refused(BUNDLE_DOCUMENT)` for a key of a known type that is none.
    """
    if jwk.get("kty") == "RSA":
        numbers = rsa.RSAPublicNumbers(_number(jwk.get("e")), _number(jwk.get("n")))
        with certificate.translated(Reason.BUNDLE_DOCUMENT, "no RSA key"):
            return numbers.public_key()
    curve = _CURVES.get(str(jwk.get("crv")))
    if jwk.get("kty") != "EC" or curve is None:
        return None
    x, y = _number(jwk.get("x")), _number(jwk.get("y"))
    with certificate.translated(Reason.BUNDLE_DOCUMENT, "no point of its curve"):
        return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()


def _uint(number: int, size: int | None = None) -> str:
    """Base64urlUInt (RFC 7518 section 2), of a fixed width for coordinates of a point (section 6.2.1.2)."""
    data = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(text: JsonValue) -> int:
    """The number that a Base64urlUInt spells."""
    if not isinstance(text, str) or not text:
        raise Refused(Reason.BUNDLE_DOCUMENT, "a number of a key that is no string")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Reason.BUNDLE_DOCUMENT, "a number of a key that is not base64url") from None
    return int.from_bytes(data, "big")
