"""A publisher of tools with throw-away keys, who signs honest manifests and any bytes at all."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.canonical import canonical, digest
from spiffe_mcp.manifest.keys import FileSigner
from spiffe_mcp.manifest.model import Manifest, RiskLevel
from spiffe_mcp.manifest.signing import in_order, reviewed
from spiffe_mcp.manifest.trust import TrustPolicy
from spiffe_mcp.strict_json import JsonObject, JsonValue

SERVER = SpiffeId.parse("spiffe://mesh.test/ns/tools/sa/weather")
ISSUED = datetime(2026, 11, 22, tzinfo=UTC)
NOW = ISSUED + timedelta(days=1)
EXPIRES = ISSUED + timedelta(days=90)


def p256_pem() -> bytes:
    """A new P-256 key, PKCS#8."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def ed25519_pem() -> bytes:
    """A new Ed25519 key, PKCS#8."""
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def tools() -> list[JsonObject]:
    """What the server lists: two tools, one of them with nearly every field."""
    return [
        {
            "name": "get_forecast",
            "title": "Forecast",
            "description": "The weather of a city: Zürich, 東京, Ōsaka.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "maxLength": 80},
                    "days": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
                    "unit": {"$ref": "#/$defs/unit"},
                },
                "required": ["city"],
                "additionalProperties": False,
                "$defs": {"unit": {"enum": ["C", "F"]}},
            },
            "outputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": True, "title": "Forecast"},
            "execution": {"taskSupport": "optional"},
            "_meta": {"com.acme/build": 7, "com.acme/owner": "weather"},
            "x-unknown": {"limit": 1.5},
        },
        {"name": "set_alert", "inputSchema": {"type": "object"}},
    ]


def manifest(listed: Sequence[JsonObject] | None = None) -> Manifest:
    """An honest manifest, not signed."""
    risks = {"set_alert": RiskLevel.HIGH}
    return Manifest(
        server=SERVER,
        name="com.acme/weather",
        version="1.4.2",
        instructions="Ask for one city at a time.",
        serial=42,
        issued_at=ISSUED,
        expires_at=EXPIRES,
        previous=None,
        tools=in_order(
            reviewed(
                tool,
                risks.get(str(tool["name"]), RiskLevel.LOW),
                requires_approval=tool["name"] == "set_alert",
                volatile_meta=["com.acme/build"] if "_meta" in tool else [],
            )
            for tool in (tools() if listed is None else listed)
        ),
    )


def statement_json() -> JsonObject:
    """The honest manifest's statement, to be bent by a test."""
    value: JsonObject = json.loads(statement.write(manifest()))
    return value


def refreshed(value: JsonObject) -> JsonObject:
    """`value` with its digests made to fit again: a liar's statement, but a consistent one."""
    predicate = value["predicate"]
    assert isinstance(predicate, dict)
    entries, server = predicate["tools"], predicate["server"]
    assert isinstance(entries, list)
    assert isinstance(server, dict)
    shown: list[JsonValue] = []
    for entry in entries:
        assert isinstance(entry, dict)
        definition = entry["definition"]
        entry["digest"] = digest(definition)
        shown.append([definition.get("name") if isinstance(definition, dict) else None, entry["digest"]])
    preimage: JsonObject = {"tools": shown}
    if "instructions" in server:
        preimage["instructions"] = server["instructions"]
    value["subject"] = [
        {"name": server["spiffeId"], "digest": {"sha256": digest(preimage).removeprefix("sha256:")}}
    ]
    return value


def seal(payload: bytes, *signers: FileSigner, payload_type: str = statement.PAYLOAD_TYPE) -> bytes:
    """Sign any bytes at all: none of the checks of `signing.sign`."""
    message = dsse.pae(payload_type, payload)
    return dsse.serialize(
        payload_type, payload, [(signer.public_key.key_id, signer.sign(message)) for signer in signers]
    )


def seal_json(value: JsonValue, *signers: FileSigner) -> bytes:
    """Sign any JSON in its canonical form."""
    return seal(canonical(value), *signers)


def policy_json(*rules: JsonObject, **signers: FileSigner) -> JsonObject:
    """A trust policy with `signers` as its keys; one rule that trusts them all, unless `rules` are given."""
    everything: JsonObject = {"server": str(SERVER), "tools": ["*"], "signers": [*signers]}
    return {
        "version": 1,
        "keys": {name: signer.public_key.pem() for name, signer in signers.items()},
        "rules": [*(rules or (everything,))],
    }


def policy(*rules: JsonObject, **signers: FileSigner) -> TrustPolicy:
    """As `policy_json`, parsed."""
    return TrustPolicy.parse(json.dumps(policy_json(*rules, **signers)).encode())


def b64(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode()
