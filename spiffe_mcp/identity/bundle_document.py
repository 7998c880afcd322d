"""The JSON form of bundles: a SPIFFE Bundle Map of JWK sets (Trust Domain and Bundle sections 4 and 5).

Enters: the bytes of such a map, or the DER of authorities by trust domain name. Leaves: the other one.
Knows the document and nothing of trust: whether an authority may be one is `bundle`'s question. Pure.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import certificate
from spiffe_mcp.strict_json import JsonObject, JsonValue, loads_object

X509_SVID: Final = "x509-svid"

_KEY_TYPES: Final = ("EC", "RSA")
_CURVE_NAMES: Final = {"secp256r1": "P-256", "secp384r1": "P-384"}


def read(document: bytes) -> dict[str, list[bytes]]:
    """The DER of the X.509 authorities of each trust domain; raises `Refused`: JSON_*, BUNDLE_DOCUMENT."""
    trust_domains = loads_object(document).get("trust_domains")
    if not isinstance(trust_domains, dict):
        raise Refused(Reason.BUNDLE_DOCUMENT, "no trust_domains")
    return {name: list(_authorities(jwk_set)) for name, jwk_set in trust_domains.items()}


def write(authorities: Mapping[str, Iterable[bytes]]) -> JsonObject:
    """The bundle map of these authorities, which `Bundle` has admitted."""
    return {
        "trust_domains": {name: {"keys": [_jwk(der) for der in ders]} for name, ders in authorities.items()}
    }


def _authorities(jwk_set: JsonValue) -> Iterable[bytes]:
    keys = jwk_set.get("keys") if isinstance(jwk_set, dict) else None
    if not isinstance(keys, list):
        raise Refused(Reason.BUNDLE_DOCUMENT, "a bundle without keys")
    for jwk in keys:
        if not isinstance(jwk, dict):
            raise Refused(Reason.BUNDLE_DOCUMENT, "a key that is not an object")
        # Another use, an unknown key type, no certificate: MUST be ignored (4.2, X509-SVID section 6.2).
        if jwk.get("use") == X509_SVID and jwk.get("kty") in _KEY_TYPES and (x5c := jwk.get("x5c")):
            yield _first_certificate(x5c)


def _first_certificate(x5c: JsonValue) -> bytes:
    """The DER of the first entry; all others MUST be ignored (X509-SVID section 6.2)."""
    first = x5c[0] if isinstance(x5c, list) else None
    if not isinstance(first, str):
        raise Refused(Reason.BUNDLE_DOCUMENT, "an x5c that is not a list of strings")
    try:
        return base64.b64decode(first, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Reason.BUNDLE_DOCUMENT, "an x5c that is not base64") from None


def _jwk(der: bytes) -> JsonValue:
    """One entry: the key as RFC 7518 section 6 spells it, and the certificate beside it."""
    key = certificate.parse(der).public_key()
    x5c: JsonValue = [base64.b64encode(der).decode()]
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"use": X509_SVID, "kty": "RSA", "n": _uint(numbers.n), "e": _uint(numbers.e), "x5c": x5c}
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Refused(Reason.CERTIFICATE_WEAK_KEY, type(key).__name__)
    size, point = (key.key_size + 7) // 8, key.public_numbers()
    x, y = _uint(point.x, size), _uint(point.y, size)
    return {"use": X509_SVID, "kty": "EC", "crv": _CURVE_NAMES[key.curve.name], "x": x, "y": y, "x5c": x5c}


def _uint(number: int, size: int | None = None) -> str:
    """Base64urlUInt (RFC 7518 section 2), of a fixed width for coordinates of a point (section 6.2.1.2)."""
    data = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
