"""One byte form for one JSON value: RFC 8785 (JCS), narrowed so that no value has two readings.

Enters: JSON values as `strict_json` gives them, tools with fields nobody knows included. Leaves: bytes, and
the digest of those bytes. Security never rests on this form (DSSE signs bytes as they are); it gives a
manifest exactly one spelling, and lets two definitions be compared.

RFC 8785 takes every number for a double. Integers beyond 2^53-1 would silently become their neighbours, and
floats of that size stand for more than one integer: both are refused (RFC 7493 section 2.2).

Pure. It knows nothing of tools, envelopes or signatures.
"""

import hashlib
from typing import Final

import rfc8785

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonValue

MAX_INTEGER: Final = 2**53 - 1  # RFC 7493 section 2.2


def canonical(value: JsonValue) -> bytes:
    """The RFC 8785 form of `value`; raises `Refused(MANIFEST_NUMBER)` where it has none of its own."""
    try:
        _refuse_wide_floats(value)
        return rfc8785.dumps(value)
    except ValueError:
        # What strict JSON lets through and JCS does not hold: integers that a double cannot tell apart.
        raise Refused(Reason.MANIFEST_NUMBER, "a number outside +-(2^53-1)") from None
    except RecursionError:
        raise Refused(Reason.JSON_TOO_DEEP, "no canonical form") from None


def digest(value: JsonValue) -> str:
    """`sha256:` and the lower-case hex of the canonical form's hash.

    A digest that stands alone names its algorithm. Only where the key beside it does (in-toto's DigestSet,
    `previous.sha256`) is it bare hex: see `sha256_hex`.
    """
    return f"sha256:{sha256_hex(canonical(value))}"


def sha256_hex(data: bytes) -> str:
    """Bare lower-case hex of SHA-256 (FIPS 180-4) over `data`."""
    return hashlib.sha256(data).hexdigest()


def _refuse_wide_floats(value: JsonValue) -> None:
    if isinstance(value, float):
        if abs(value) > MAX_INTEGER:  # each float of that size is an integer
            raise Refused(Reason.MANIFEST_NUMBER, "a number outside +-(2^53-1)")
    elif isinstance(value, dict):
        for member in value.values():
            _refuse_wide_floats(member)
    elif isinstance(value, list):
        for item in value:
            _refuse_wide_floats(item)
