"""DSSE 1.0 envelopes: bytes in, payload bytes and signatures out, and back.

What is signed is `pae(payload type, payload)`: bytes, never a parsed value, so nothing here canonicalises.
`keyid` is an unauthenticated hint that the protocol forbids to use for security decisions; it is written for
other tools and never read. Members that the specification does not name are ignored, as it demands; they are
outside the signature and nothing reads them.

Pure. It knows neither keys nor what a payload means.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonValue, loads_object

MAX_ENVELOPE_BYTES: Final = 2 * 1024 * 1024
MAX_SIGNATURES: Final = 16
_MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, what kind it says it is, and signatures that nobody has checked yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The Pre-Authentication Encoding, lengths in bytes (DSSE protocol, section "Signature Definition")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def parse(document: bytes) -> Envelope:
    """Read an envelope.

    Raises `Refused`: `JSON_*` of strict JSON, `MANIFEST_ENVELOPE`, `MANIFEST_BASE64`,
    `MANIFEST_SIGNATURE_COUNT`.
    """
    envelope = loads_object(document, max_bytes=MAX_ENVELOPE_BYTES, max_depth=_MAX_DEPTH)
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list):
        raise Refused(Reason.MANIFEST_ENVELOPE, "$.signatures: not an array")
    if not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise Refused(Reason.MANIFEST_SIGNATURE_COUNT, f"{len(signatures)}, not 1 to {MAX_SIGNATURES}")
    return Envelope(
        _text(envelope.get("payloadType"), "$.payloadType"),
        _base64(envelope.get("payload"), "$.payload"),
        tuple(_signature(item, f"$.signatures[{index}]") for index, item in enumerate(signatures)),
    )


def serialize(payload_type: str, payload: bytes, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    """The JSON form of an envelope; `signatures` are (keyid, signature)."""
    return orjson.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [
                {"keyid": keyid, "sig": base64.b64encode(sig).decode()} for keyid, sig in signatures
            ],
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def _signature(item: JsonValue, path: str) -> bytes:
    if not isinstance(item, dict):
        raise Refused(Reason.MANIFEST_ENVELOPE, f"{path}: not an object")
    if not isinstance(item.get("keyid", ""), str):
        raise Refused(Reason.MANIFEST_ENVELOPE, f"{path}.keyid: not a string")
    return _base64(item.get("sig"), f"{path}.sig")


def _text(value: JsonValue, path: str) -> str:
    if not isinstance(value, str):
        raise Refused(Reason.MANIFEST_ENVELOPE, f"{path}: not a string")
    return value


def _base64(value: JsonValue, path: str) -> bytes:
    """Either alphabet of RFC 4648, as DSSE allows, in its one canonical spelling (RFC 4648 section 3.5)."""
    text = _text(value, path)
    for altchars in (b"+/", b"-_"):
        try:
            data = base64.b64decode(text, altchars=altchars, validate=True)
        except (binascii.Error, ValueError):
            continue
        if base64.b64encode(data, altchars=altchars).decode() == text:
            return data
    raise Refused(Reason.MANIFEST_BASE64, path)
