"""Every octet string has exactly one spelling."""

import base64

import pytest

from spiffe_mcp.context import base64url
from spiffe_mcp.errors import Reason, Refused


@pytest.mark.parametrize("octets", [b"", b"f", b"fo", b"foo", b"\xfb\xff\xfe", bytes(range(256))])
def test_encoding_is_that_of_the_standard_without_padding(octets: bytes) -> None:
    assert base64url.encode(octets) == base64.urlsafe_b64encode(octets).rstrip(b"=")
    assert base64url.decode(base64url.encode(octets)) == octets
    assert base64url.decode_standard(base64.b64encode(octets)) == octets


SPELLINGS = [
    b"Zg==",
    b"Zh",
    b"Zm9=",
    b"Zm9",
    b"A",
    b"AAAAA",
    b"+/+/",
    b"Zg\n",
    b" Zg",
    b"Zg\x00",
    b"Z\xff",
    b"=",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_any_other_spelling_is_refused(text: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        base64url.decode(text)
    assert refusal.value.reason is Reason.CONTEXT_MALFORMED


@pytest.mark.parametrize("text", [b"Zg", b"Zh==", b"-_-_", b"Zg==\n", b"Zg==Zg==", b"====", b"Zg=="[:3]])
def test_any_other_spelling_in_the_standard_alphabet_is_refused(text: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        base64url.decode_standard(text)
    assert refusal.value.reason is Reason.CONTEXT_MALFORMED
