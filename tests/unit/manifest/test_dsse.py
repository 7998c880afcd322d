"""Envelopes: the form of DSSE 1.0, and every other form refused."""

import json

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest import dsse
from spiffe_mcp.strict_json import JsonValue
from tests.fakes.publisher import b64


def envelope(**members: JsonValue) -> bytes:
    """A well-formed envelope, with members replaced; `...` cannot be JSON, so None takes one away."""
    good: dict[str, JsonValue] = {
        "payload": b64(b"{}"),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"keyid": "k", "sig": b64(b"sig")}],
    }
    return json.dumps(
        {key: value for key, value in {**good, **members}.items() if value is not None}
    ).encode()


def signature(**members: JsonValue) -> JsonValue:
    """One entry of `signatures`."""
    return [{"sig": b64(b"sig"), **members}]


def test_pae_counts_bytes_as_in_the_example_of_the_specification() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert expected == dsse.pae("http://example.com/HelloWorld", b"hello world")


def test_pae_of_text_that_is_not_ascii_counts_bytes_not_characters() -> None:
    assert dsse.pae("é", "é".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"


def test_what_is_written_is_read_back() -> None:
    written = dsse.serialize("t", b"\xff\x00", [("a", b"1"), ("b", b"2")])

    assert dsse.Envelope("t", b"\xff\x00", (b"1", b"2")) == dsse.parse(written)


def test_the_url_safe_alphabet_is_read_too() -> None:
    assert dsse.parse(envelope(payload="-_-_")).payload == b"\xfb\xff\xbf"


def test_members_that_dsse_does_not_name_are_ignored() -> None:
    """An embedded key or algorithm is a claim of the sender's; nothing reads it."""
    header: JsonValue = {"jwk": {"kty": "OKP"}, "alg": "none"}
    assert dsse.parse(envelope(header=header, signatures=signature(header=header))).signatures == (b"sig",)


HOSTILE: dict[str, tuple[bytes, Reason]] = {
    "empty": (b"", Reason.JSON_MALFORMED),
    "not an object": (b"[]", Reason.JSON_MALFORMED),
    "byte order mark": (b"\xef\xbb\xbf" + envelope(), Reason.JSON_NOT_UTF8),
    "UTF-16": (envelope().decode().encode("utf-16"), Reason.JSON_NOT_UTF8),
    "trailing bytes": (envelope() + b"{}", Reason.JSON_MALFORMED),
    "two payloads": (b'{"payload":"","payload":""}', Reason.JSON_DUPLICATE_KEY),
    "two payloads, one escaped": (b'{"payload":"","p\\u0061yload":""}', Reason.JSON_DUPLICATE_KEY),
    "more than 2 MiB": (envelope(payload="A" * (2 * 1024 * 1024)), Reason.JSON_TOO_LARGE),
    "a hundred thousand brackets": (b"[" * 100_000, Reason.JSON_TOO_DEEP),
    "forty levels in an extension": (
        envelope(signatures=signature(extension=json.loads("[" * 40 + "]" * 40))),
        Reason.JSON_TOO_DEEP,
    ),
    "no payload": (envelope(payload=None), Reason.MANIFEST_ENVELOPE),
    "payload not a string": (envelope(payload={}), Reason.MANIFEST_ENVELOPE),
    "no payload type": (envelope(payloadType=None), Reason.MANIFEST_ENVELOPE),
    "payload type not a string": (envelope(payloadType=["a"]), Reason.MANIFEST_ENVELOPE),
    "no signatures member": (envelope(signatures=None), Reason.MANIFEST_ENVELOPE),
    "signatures an object": (envelope(signatures={}), Reason.MANIFEST_ENVELOPE),
    "signatures a string": (envelope(signatures="AAAA"), Reason.MANIFEST_ENVELOPE),
    "a string as signature": (envelope(signatures=["AAAA"]), Reason.MANIFEST_ENVELOPE),
    "no sig": (envelope(signatures=[{"keyid": "k"}]), Reason.MANIFEST_ENVELOPE),
    "sig a number": (envelope(signatures=signature(sig=5)), Reason.MANIFEST_ENVELOPE),
    "keyid a number": (envelope(signatures=signature(keyid=5)), Reason.MANIFEST_ENVELOPE),
    "no signature": (envelope(signatures=[]), Reason.MANIFEST_SIGNATURE_COUNT),
    "seventeen signatures": (
        envelope(signatures=[{"sig": b64(b"s")}] * 17),
        Reason.MANIFEST_SIGNATURE_COUNT,
    ),
    "newline in base64": (envelope(payload="e30=\n"), Reason.MANIFEST_BASE64),
    "space in base64": (envelope(payload="e3 0="), Reason.MANIFEST_BASE64),
    "no padding": (envelope(payload="e30"), Reason.MANIFEST_BASE64),
    "too much padding": (envelope(payload="e30=="), Reason.MANIFEST_BASE64),
    "bits set in the padding": (envelope(payload="e31="), Reason.MANIFEST_BASE64),
    "both alphabets at once": (envelope(payload="-_+/"), Reason.MANIFEST_BASE64),
    "not base64": (envelope(payload="{}"), Reason.MANIFEST_BASE64),
    "full-width letters": (envelope(payload="\uff45\uff130="), Reason.MANIFEST_BASE64),
    "bad base64 in a signature": (envelope(signatures=signature(sig="AB==")), Reason.MANIFEST_BASE64),
}


@pytest.mark.parametrize(("document", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_envelope_is_refused(document: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        dsse.parse(document)

    assert refusal.value.reason is reason
