"""The JSON forms of bundles: one bundle as a JWK set, and a map of them (Trust Domain and Bundle 4 and 5).

Enters: the bytes of such a document, or the parts of bundles. Leaves: the other one. What the standard says
to ignore is ignored, key by key: another `use`, an unknown key type, no certificate. What is malformed
refuses the whole document: half a bundle says something else than its trust domain did.

Knows the documents and nothing of trust: whether an authority may be one is `bundle`'s question. Pure.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import certificate, jwk
from spiffe_mcp.strict_json import JsonObject, JsonValue, loads_object

X509_SVID: Final = "x509-svid"
JWT_SVID: Final = "jwt-svid"
MAX_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class JwtKey:
    """A key that JWT-SVIDs are verified with, and the name by which their headers ask for it."""

    key_id: str
    key: jwk.PublicKey = field(hash=False)

    def document(self) -> JsonObject:
        """Its entry in a bundle (JWT-SVID section 6.1)."""
        return {"use": JWT_SVID, "kid": self.key_id, **jwk.write(self.key)}


@dataclass(frozen=True, slots=True)
class Parts:
    """What one bundle says (section 4.1). Neither sequence nor hint has to be there."""

    x509_der: tuple[bytes, ...] = ()
    jwt_keys: tuple[JwtKey, ...] = ()
    sequence: int | None = None
    refresh_hint: int | None = None


def read(document: bytes) -> dict[str, list[bytes]]:
    """The DER of the X.509 authorities of each trust domain; raises `Refused`: JSON_*, BUNDLE_DOCUMENT.

    Hints of single bundles do not count in a map (section 5.1.1).
    """
    trust_domains = loads_object(document).get("trust_domains")
    if not isinstance(trust_domains, dict):
        raise Refused(Reason.BUNDLE_DOCUMENT, "no trust_domains")
    return {name: list(_authorities(_keys(jwk_set))) for name, jwk_set in trust_domains.items()}


def write(authorities: Mapping[str, Iterable[bytes]]) -> JsonObject:
    """The bundle map of these authorities, which `Bundle` has admitted."""
    return {
        "trust_domains": {
            name: {"keys": [_x509_entry(der) for der in ders]} for name, ders in authorities.items()
        }
    }


def read_one(document: bytes) -> Parts:
    """The parts of one bundle; raises `Refused`: JSON_*, BUNDLE_DOCUMENT."""
    jwk_set = loads_object(document, max_bytes=MAX_BYTES)
    keys = _keys(jwk_set)
    return Parts(
        tuple(_authorities(keys)),
        tuple(_jwt_keys(keys)),
        _natural(jwk_set, "spiffe_sequence"),
        _natural(jwk_set, "spiffe_refresh_hint"),
    )


def write_one(parts: Parts) -> JsonObject:
    """The bundle with these parts."""
    x509: list[JsonValue] = [_x509_entry(der) for der in parts.x509_der]
    document: JsonObject = {"keys": [*x509, *(key.document() for key in parts.jwt_keys)]}
    if parts.sequence is not None:
        document["spiffe_sequence"] = parts.sequence
    if parts.refresh_hint is not None:
        document["spiffe_refresh_hint"] = parts.refresh_hint
    return document


def _keys(jwk_set: JsonValue) -> list[JsonObject]:
    """Every entry of a known key type. Those of others MUST be ignored (section 4.2.1)."""
    keys = jwk_set.get("keys") if isinstance(jwk_set, dict) else None
    if not isinstance(keys, list):
        raise Refused(Reason.BUNDLE_DOCUMENT, "a bundle without keys")
    entries = []
    for entry in keys:
        if not isinstance(entry, dict):
            raise Refused(Reason.BUNDLE_DOCUMENT, "a key that is not an object")
        if entry.get("kty") in jwk.KEY_TYPES:
            entries.append(entry)
    return entries


def _authorities(keys: Iterable[JsonObject]) -> Iterator[bytes]:
    """One certificate an entry. Another use, or no certificate: MUST be ignored (X509-SVID section 6.2)."""
    for entry in keys:
        if entry.get("use") == X509_SVID and (x5c := entry.get("x5c")):
            yield _first_certificate(x5c)


def _jwt_keys(keys: Iterable[JsonObject]) -> Iterator[JwtKey]:
    """One key an entry, each under a name of its own (JWT-SVID section 6)."""
    names = set()
    for entry in keys:
        if entry.get("use") != JWT_SVID or (key := jwk.read(entry)) is None:
            continue
        name = entry.get("kid")
        if not isinstance(name, str) or not name or name in names:
            raise Refused(Reason.BUNDLE_DOCUMENT, "a jwt-svid key without a kid of its own")
        names.add(name)
        yield JwtKey(name, key)


def _natural(document: JsonObject, name: str) -> int | None:
    """A member that MUST be an integer where it is set (sections 4.1.1, 4.1.2). Neither goes below zero."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refused(Reason.BUNDLE_DOCUMENT, f"{name} is no natural number")
    return value


def _first_certificate(x5c: JsonValue) -> bytes:
    """The DER of the first entry; all others MUST be ignored (X509-SVID section 6.2)."""
    first = x5c[0] if isinstance(x5c, list) else None
    if not isinstance(first, str):
        raise Refused(Reason.BUNDLE_DOCUMENT, "an x5c that is not a list of strings")
    try:
        return base64.b64decode(first, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Reason.BUNDLE_DOCUMENT, "an x5c that is not base64") from None


def _x509_entry(der: bytes) -> JsonValue:
    """One authority: the key, and its certificate beside it. No `kid` (X509-SVID section 6.1)."""
    key = certificate.parse(der).public_key()
    return {"use": X509_SVID, **jwk.write(key), "x5c": [base64.b64encode(der).decode()]}
