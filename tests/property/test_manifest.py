"""Whatever the bytes: a manifest verifies as it was signed, or is refused; nothing else ever happens."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Refused
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.canonical import canonical
from spiffe_mcp.manifest.keys import FileSigner, PublicKey
from spiffe_mcp.manifest.live import compare
from spiffe_mcp.manifest.schema import InputSchema
from spiffe_mcp.manifest.signing import sign
from spiffe_mcp.manifest.trust import TrustPolicy
from spiffe_mcp.manifest.verify import verify_manifest
from spiffe_mcp.strict_json import JsonValue, loads
from tests.fakes.publisher import (
    NOW,
    SERVER,
    b64,
    ed25519_pem,
    manifest,
    policy,
    policy_json,
    seal,
    seal_json,
    statement_json,
    tools,
)

ACME = FileSigner.from_pem(ed25519_pem())
TRUST = policy(acme=ACME)
MANIFEST = manifest()
PAYLOAD = statement.write(MANIFEST)
GOOD = sign(PAYLOAD, [ACME])
POLICY = json.dumps(policy_json(acme=ACME)).encode()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def mutated(document: bytes, place: int, old: int, new: bytes) -> bytes:
    """`document` with up to `old` bytes at `place` replaced."""
    place %= len(document)
    return document[:place] + new + document[place + old :]


def verify_or_refuse(document: bytes) -> None:
    """What is verified is what was signed; all else is `Refused`."""
    with suppress(Refused):
        assert verify_manifest(document, TRUST, SERVER, NOW).manifest == MANIFEST


@given(st.binary())
def test_any_bytes(document: bytes) -> None:
    verify_or_refuse(document)


@given(JSON)
def test_any_json(value: JsonValue) -> None:
    verify_or_refuse(json.dumps(value).encode())


@given(st.integers(min_value=0), st.integers(0, 8), st.binary(max_size=8))
def test_any_change_of_a_good_envelope(place: int, old: int, new: bytes) -> None:
    verify_or_refuse(mutated(GOOD, place, old, new))


@given(st.integers(min_value=0), st.integers(1, 255))
def test_no_changed_payload_verifies(place: int, flip: int) -> None:
    place %= len(PAYLOAD)
    payload = mutated(PAYLOAD, place, 1, bytes([PAYLOAD[place] ^ flip]))

    with pytest.raises(Refused):
        verify_manifest(GOOD.replace(b64(PAYLOAD).encode(), b64(payload).encode()), TRUST, SERVER, NOW)


@given(st.integers(min_value=0), st.integers(1, 255))
def test_no_changed_signature_verifies(place: int, flip: int) -> None:
    signature = dsse.parse(GOOD).signatures[0]
    place %= len(signature)
    changed = mutated(signature, place, 1, bytes([signature[place] ^ flip]))

    with pytest.raises(Refused):
        verify_manifest(GOOD.replace(b64(signature).encode(), b64(changed).encode()), TRUST, SERVER, NOW)


@given(st.integers(min_value=0), st.integers(0, 8), st.binary(max_size=8))
def test_any_signed_payload_is_read_in_its_one_spelling_or_refused(place: int, old: int, new: bytes) -> None:
    """The right key signs anything: what is accepted is written back to the same bytes."""
    payload = mutated(PAYLOAD, place, old, new)
    with suppress(Refused):
        found = verify_manifest(seal(payload, ACME), TRUST, SERVER, NOW)
        assert payload == statement.write(found.manifest)


@given(st.data())
def test_any_member_replaced_by_anything(data: st.DataObject) -> None:
    value = statement_json()
    node: JsonValue = value
    while True:
        keys = [*node] if isinstance(node, dict) else [*range(len(node))] if isinstance(node, list) else []
        key = data.draw(st.sampled_from(keys))
        assert isinstance(node, (dict, list))
        child = node[key]
        if not child or not isinstance(child, (dict, list)) or data.draw(st.booleans()):
            node[key] = data.draw(JSON)
            break
        node = child
    with suppress(Refused):
        verify_manifest(seal_json(value, ACME), TRUST, SERVER, NOW)


@given(st.integers(min_value=0), st.integers(0, 8), st.binary(max_size=8))
def test_any_change_of_a_trust_policy(place: int, old: int, new: bytes) -> None:
    with suppress(Refused):
        TrustPolicy.parse(mutated(POLICY, place, old, new))


@given(
    st.binary()
    | st.binary().map(lambda body: b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----")
)
def test_any_key(pem: bytes) -> None:
    with suppress(Refused):
        PublicKey.from_pem(pem)
    with suppress(Refused):
        FileSigner.from_pem(pem)


@given(JSON)
def test_a_canonical_form_is_stable(value: JsonValue) -> None:
    with suppress(Refused):
        form = canonical(value)
        assert form == canonical(loads(form))


@given(JSON, st.sampled_from(["inputSchema", "description", "annotations", "x-unknown", "new"]))
def test_a_live_tool_is_exposed_only_if_it_says_what_was_signed(value: JsonValue, key: str) -> None:
    live = {**tools()[0], key: value}
    view = compare(MANIFEST, [live], protocol_version="2025-11-25")

    assert len(view.exposed) + len(view.hidden) == 1
    if view.exposed:
        assert canonical(live) == canonical(tools()[0])


@given(JSON)
def test_any_schema_compiles_or_is_refused(value: JsonValue) -> None:
    with suppress(Refused):
        InputSchema.compile({"type": "object", "properties": {"a": value}, "not": value}, "tool")
