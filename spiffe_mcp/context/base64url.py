"""Base64 as signatures need it: every octet string has exactly one spelling.

The standard library ignores foreign characters and the spare bits of the last character, so a header could be
changed and still mean the same. Here both are refused. Pure.
"""

import binascii
from typing import Final

from spiffe_mcp.errors import Reason, Refused

_FROM_STANDARD: Final = bytes.maketrans(b"+/", b"-_")
# What base64url does not use becomes "!", which no base64 uses.
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")


def encode(octets: bytes) -> bytes:
    """`octets` in base64url without padding (RFC 7515 section 2)."""
    return encode_standard(octets).rstrip(b"=").translate(_FROM_STANDARD)


def decode(text: bytes) -> bytes:
    """The octets that `text` spells in unpadded base64url; raises `Refused(CONTEXT_MALFORMED)`."""
    return decode_standard(text.translate(_TO_STANDARD) + b"=" * (-len(text) % 4))


def encode_standard(octets: bytes) -> bytes:
    """`octets` in padded base64 (RFC 4648 section 4), which only `x5c` uses (RFC 7515 section 4.1.6)."""
    return binascii.b2a_base64(octets, newline=False)


def decode_standard(text: bytes) -> bytes:
    """The octets that `text` spells in padded base64; raises `Refused(CONTEXT_MALFORMED)`."""
    try:
        octets = binascii.a2b_base64(text)
    except binascii.Error:
        raise Refused(Reason.CONTEXT_MALFORMED, "not base64") from None
    # The decoder passes over foreign characters and spare bits (RFC 4648 sections 3.3, 3.5): encoding tells.
    if encode_standard(octets) != text:
        raise Refused(Reason.CONTEXT_MALFORMED, "not canonical base64")
    return octets
