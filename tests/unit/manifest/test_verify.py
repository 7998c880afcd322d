"""From bytes to a manifest that may be acted on: one honest way, and many refused."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from securesystemslib.dsse import Envelope as ForeignEnvelope
from securesystemslib.signer._crypto_signer import CryptoSigner  # the package re-exports it, untyped
from securesystemslib.signer._key import SSlibKey

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.canonical import sha256_hex
from spiffe_mcp.manifest.keys import FileSigner
from spiffe_mcp.manifest.signing import sign
from spiffe_mcp.manifest.trust import TrustPolicy
from spiffe_mcp.manifest.verify import CLOCK_SKEW, VerifiedManifest, verify_manifest
from spiffe_mcp.strict_json import JsonObject, JsonValue
from tests.fakes.publisher import (
    EXPIRES,
    ISSUED,
    NOW,
    SERVER,
    b64,
    ed25519_pem,
    manifest,
    p256_pem,
    policy,
    seal,
    seal_json,
    statement_json,
)

ACME, BETA = FileSigner.from_pem(p256_pem()), FileSigner.from_pem(ed25519_pem())
EVE = FileSigner.from_pem(ed25519_pem())  # in no policy
PAYLOAD = statement.write(manifest())
GOOD = sign(PAYLOAD, [ACME])
TRUST = policy(acme=ACME)


def rule(*signers: str, **members: JsonValue) -> JsonObject:
    """A rule for every tool of the server."""
    return {"server": str(SERVER), "tools": ["*"], "signers": [*signers], **members}


def verified(document: bytes = GOOD, trust: TrustPolicy = TRUST, now: datetime = NOW) -> VerifiedManifest:
    """`document` as an agent would take it."""
    return verify_manifest(document, trust, SERVER, now)


def reason(
    document: bytes = GOOD, trust: TrustPolicy = TRUST, server: SpiffeId = SERVER, now: datetime = NOW
) -> Reason:
    """Why it is refused."""
    with pytest.raises(Refused) as refusal:
        verify_manifest(document, trust, server, now)
    return refusal.value.reason


@pytest.mark.parametrize("signer", [ACME, BETA], ids=["P-256", "Ed25519"])
def test_an_honest_manifest_is_verified(signer: FileSigner) -> None:
    found = verified(sign(PAYLOAD, [signer]), policy(someone=signer))

    assert manifest() == found.manifest
    assert sha256_hex(PAYLOAD) == found.sha256
    assert found.signers == {"get_forecast": ("someone",), "set_alert": ("someone",)}
    assert found.all_signers() == ("someone",)


def test_a_verified_manifest_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        VerifiedManifest(manifest=manifest(), sha256="", signers={})
    with pytest.raises(TypeError):
        replace(verified(), sha256="")


def test_signatures_of_strangers_and_broken_ones_beside_a_good_one_do_no_harm() -> None:
    envelope = json.loads(sign(PAYLOAD, [EVE, ACME]))
    envelope["signatures"].insert(0, {"keyid": "", "sig": b64(b"broken")})

    assert verified(json.dumps(envelope).encode()).all_signers() == ("acme",)


def test_a_key_id_is_never_trusted() -> None:
    """Neither does a wrong one harm, nor does a right one help."""
    envelope = json.loads(GOOD)
    envelope["signatures"][0]["keyid"] = EVE.public_key.key_id
    assert verified(json.dumps(envelope).encode()).all_signers() == ("acme",)

    forged = json.loads(sign(PAYLOAD, [EVE]))
    forged["signatures"][0]["keyid"] = ACME.public_key.key_id
    assert reason(json.dumps(forged).encode()) is Reason.MANIFEST_SIGNATURE


def test_the_twin_of_an_ecdsa_signature_is_no_second_signature() -> None:
    """ECDSA signatures (r, s) and (r, n-s) both verify; the key still counts once."""
    envelope = json.loads(GOOD)
    r, s = decode_dss_signature(dsse.parse(GOOD).signatures[0])
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    envelope["signatures"].append({"keyid": "other", "sig": b64(encode_dss_signature(r, order - s))})
    document = json.dumps(envelope).encode()

    assert verified(document).sha256 == verified().sha256
    assert reason(document, policy(rule("acme", "beta", threshold=2), acme=ACME, beta=BETA)) is (
        Reason.MANIFEST_THRESHOLD
    )


def bent(change: Callable[[Any], object]) -> bytes:
    """A good envelope, bent after it was signed."""
    envelope = json.loads(GOOD)
    change(envelope)
    return json.dumps(envelope).encode()


def restated(change: Callable[[Any], object]) -> bytes:
    """A bent statement, signed by the right key."""
    value = statement_json()
    change(value)
    return seal_json(value, ACME)


RAW_SIGNATURE = {"payload": b64(PAYLOAD), "payloadType": statement.PAYLOAD_TYPE}
ENVELOPES: dict[str, tuple[bytes, Reason]] = {
    "payload changed": (
        bent(lambda root: root.update(payload=b64(PAYLOAD.replace(b"one city", b"two city")))),
        Reason.MANIFEST_SIGNATURE,
    ),
    "payload of another shape, not signed": (
        bent(lambda root: root.update(payload=b64(b"{"))),
        Reason.MANIFEST_SIGNATURE,
    ),
    "payload empty": (bent(lambda root: root.update(payload="")), Reason.MANIFEST_SIGNATURE),
    "signature changed": (
        bent(lambda root: root["signatures"][0].update(sig=b64(ACME.sign(b"other")))),
        Reason.MANIFEST_SIGNATURE,
    ),
    "signature empty": (bent(lambda root: root["signatures"][0].update(sig="")), Reason.MANIFEST_SIGNATURE),
    "signature empty, algorithm none": (
        bent(lambda root: root["signatures"][0].update(sig="", alg="none")),
        Reason.MANIFEST_SIGNATURE,
    ),
    "attacker's key embedded": (
        bent(lambda root: root["signatures"][0].update(jwk=EVE.public_key.pem(), sig=b64(EVE.sign(PAYLOAD)))),
        Reason.MANIFEST_SIGNATURE,
    ),
    "signed by a stranger": (sign(PAYLOAD, [EVE]), Reason.MANIFEST_SIGNATURE),
    "signed without pre-authentication encoding": (
        json.dumps({**RAW_SIGNATURE, "signatures": [{"sig": b64(ACME.sign(PAYLOAD))}]}).encode(),
        Reason.MANIFEST_SIGNATURE,
    ),
    "signed under another payload type, relabelled": (
        bent(
            lambda root: root["signatures"][0].update(
                sig=b64(ACME.sign(dsse.pae("application/vnd.acme+json", PAYLOAD)))
            )
        ),
        Reason.MANIFEST_SIGNATURE,
    ),
    "payload type swapped": (
        bent(lambda root: root.update(payloadType="application/json")),
        Reason.MANIFEST_PAYLOAD_TYPE,
    ),
    "payload type in capitals": (
        bent(lambda root: root.update(payloadType="application/vnd.in-toto+JSON")),
        Reason.MANIFEST_PAYLOAD_TYPE,
    ),
    "right key, another payload type": (
        seal(PAYLOAD, ACME, payload_type="application/vnd.acme+json"),
        Reason.MANIFEST_PAYLOAD_TYPE,
    ),
    "no signatures": (bent(lambda root: root.update(signatures=[])), Reason.MANIFEST_SIGNATURE_COUNT),
    "500 signatures": (
        bent(lambda root: root.update(signatures=root["signatures"] * 500)),
        Reason.MANIFEST_SIGNATURE_COUNT,
    ),
    "duplicate key in the envelope": (
        GOOD.replace(b"{", b'{"payload":"e30=",', 1),
        Reason.JSON_DUPLICATE_KEY,
    ),
    "base64 with a newline": (
        bent(lambda root: root.update(payload=root["payload"] + "\n")),
        Reason.MANIFEST_BASE64,
    ),
    "the statement without an envelope": (PAYLOAD, Reason.MANIFEST_ENVELOPE),
    "signed text that is no JSON": (seal(b"hello", ACME), Reason.JSON_MALFORMED),
    "signed, not canonical": (
        seal(json.dumps(statement_json(), indent=1).encode(), ACME),
        Reason.MANIFEST_NOT_CANONICAL,
    ),
    "another predicate by the same key": (
        restated(lambda root: root.update(predicateType="https://slsa.dev/provenance/v1")),
        Reason.MANIFEST_PREDICATE_TYPE,
    ),
    "signed, with a field nobody knows": (
        restated(lambda root: root["predicate"].update(epoch=2)),
        Reason.MANIFEST_FIELD_UNKNOWN,
    ),
    "signed, with another tool's digest": (
        restated(
            lambda root: root["predicate"]["tools"][0].update(digest=root["predicate"]["tools"][1]["digest"])
        ),
        Reason.MANIFEST_TOOL_DIGEST,
    ),
}


@pytest.mark.parametrize(("document", "expected"), ENVELOPES.values(), ids=ENVELOPES.keys())
def test_a_hostile_envelope_is_refused(document: bytes, expected: Reason) -> None:
    assert reason(document) is expected


@pytest.mark.parametrize(
    "server",
    [
        "spiffe://mesh.test/ns/tools/sa/other",
        "spiffe://other.test/ns/tools/sa/weather",
        "spiffe://mesh.test/ns/tools/sa/Weather",
        "spiffe://mesh.test/ns/tools/sa/weather/x",
    ],
)
def test_the_manifest_of_another_server_is_refused(server: str) -> None:
    trust = policy({**rule("acme"), "server": "spiffe://mesh.test/**"}, acme=ACME)

    assert reason(trust=trust, server=SpiffeId.parse(server)) is Reason.MANIFEST_SERVER_MISMATCH


BOTH: Mapping[str, FileSigner] = {"acme": ACME, "beta": BETA}
ELSEWHERE = "spiffe://mesh.test/ns/tools/sa/other"
POLICIES: dict[str, tuple[list[JsonObject], Reason]] = {
    "no rule for the server": ([rule("acme", server=ELSEWHERE)], Reason.MANIFEST_NO_RULE),
    "no rule for one tool": ([rule("acme", tools=["get_*"])], Reason.MANIFEST_NO_RULE),
    "two rules that tie": (
        [
            rule("acme", server="spiffe://mesh.test/ns/*/sa/*"),
            rule("acme", server="spiffe://mesh.test/*/tools/sa/*"),
        ],
        Reason.MANIFEST_RULE_AMBIGUOUS,
    ),
    "signer of another server": (
        [rule("beta"), rule("acme", server=ELSEWHERE)],
        Reason.MANIFEST_SIGNER_NOT_TRUSTED,
    ),
    "signer of other tools": (
        [rule("acme", tools=["get_*"]), rule("beta", tools=["set_*"])],
        Reason.MANIFEST_SIGNER_NOT_TRUSTED,
    ),
    "the narrower rule trusts another": (
        [rule("acme"), rule("beta", tools=["set_alert"])],
        Reason.MANIFEST_SIGNER_NOT_TRUSTED,
    ),
    "one of two signers": ([rule("acme", "beta", threshold=2)], Reason.MANIFEST_THRESHOLD),
    "two signers for the risky tool": (
        [rule("acme"), rule("acme", "beta", tools=["set_alert"], threshold=2)],
        Reason.MANIFEST_THRESHOLD,
    ),
    "risk above the cap": ([rule("acme", maxRisk="medium")], Reason.MANIFEST_RISK_ABOVE_MAXIMUM),
    "serial below the floor": ([rule("acme", minSerial=43)], Reason.MANIFEST_SERIAL_BELOW_MINIMUM),
    "valid for too long": ([rule("acme", maxValidityDays=89)], Reason.MANIFEST_VALIDITY_TOO_LONG),
}


@pytest.mark.parametrize(("rules", "expected"), POLICIES.values(), ids=POLICIES.keys())
def test_a_policy_that_does_not_allow_it_refuses(rules: list[JsonObject], expected: Reason) -> None:
    assert reason(trust=policy(*rules, **BOTH)) is expected


@pytest.mark.parametrize(
    "rules",
    [
        [rule("acme", "beta")],
        [rule("acme", maxRisk="high", minSerial=42, maxValidityDays=90)],
        [rule("beta"), rule("acme", tools=["get_*", "set_*"])],
        [rule("acme", server="spiffe://mesh.test/**")],
    ],
)
def test_a_policy_that_just_allows_it_verifies(rules: list[JsonObject]) -> None:
    assert verified(trust=policy(*rules, **BOTH)).all_signers() == ("acme",)


def test_two_signers_meet_a_threshold_of_two() -> None:
    trust = policy(rule("acme", "beta", threshold=2), **BOTH)

    assert verified(sign(PAYLOAD, [ACME, BETA]), trust).all_signers() == ("acme", "beta")


def test_one_key_that_signed_twice_is_one_signer() -> None:
    """ECDSA signs differently each time: two signatures, both good, of one key."""
    trust = policy(rule("acme", "beta", threshold=2), **BOTH)

    assert reason(seal(PAYLOAD, ACME, ACME), trust) is Reason.MANIFEST_THRESHOLD


def test_a_signer_is_named_only_for_tools_that_the_policy_lets_it_sign() -> None:
    trust = policy(rule("acme"), rule("acme", "beta", tools=["set_alert"]), **BOTH)

    assert verified(sign(PAYLOAD, [ACME, BETA]), trust).signers == {
        "get_forecast": ("acme",),
        "set_alert": ("acme", "beta"),
    }


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("now", [ISSUED - CLOCK_SKEW, ISSUED, NOW, EXPIRES - SECOND])
def test_it_is_in_force_from_issue_with_skew_until_expiry(now: datetime) -> None:
    assert manifest() == verified(now=now).manifest


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (ISSUED - CLOCK_SKEW - SECOND, Reason.MANIFEST_NOT_YET_VALID),
        (ISSUED - timedelta(days=1), Reason.MANIFEST_NOT_YET_VALID),
        (EXPIRES, Reason.MANIFEST_EXPIRED),
        (EXPIRES + CLOCK_SKEW / 2, Reason.MANIFEST_EXPIRED),
        (EXPIRES + timedelta(days=365), Reason.MANIFEST_EXPIRED),
    ],
)
def test_outside_its_time_it_is_refused(now: datetime, expected: Reason) -> None:
    assert reason(now=now) is expected


def test_a_verified_manifest_still_expires() -> None:
    found = verified()
    found.check_in_force(EXPIRES - SECOND)

    with pytest.raises(Refused) as refusal:
        found.check_in_force(EXPIRES)
    assert refusal.value.reason is Reason.MANIFEST_EXPIRED


def test_ten_years_are_too_long_by_default() -> None:
    long = sign(statement.write(replace(manifest(), expires_at=ISSUED + timedelta(days=3650))), [ACME])

    assert reason(long) is Reason.MANIFEST_VALIDITY_TOO_LONG


def foreign_key(signer: FileSigner, kind: str, scheme: str) -> SSlibKey:
    """The signer's public key, as securesystemslib knows it, under our name for it."""
    pem = signer.public_key.pem()
    if kind == "ed25519":
        pem = signer.public_key._key.public_bytes_raw().hex()  # type: ignore[union-attr]  # Ed25519 by `kind`
    return SSlibKey(signer.public_key.key_id, kind, scheme, {"public": pem})


FOREIGN = [(ACME, "ecdsa", "ecdsa-sha2-nistp256"), (BETA, "ed25519", "ed25519")]


@pytest.mark.parametrize(("signer", "kind", "scheme"), FOREIGN, ids=["P-256", "Ed25519"])
def test_securesystemslib_verifies_what_is_signed_here(signer: FileSigner, kind: str, scheme: str) -> None:
    envelope = ForeignEnvelope.from_dict(json.loads(sign(PAYLOAD, [signer])))

    assert envelope.payload == PAYLOAD
    assert [*envelope.verify([foreign_key(signer, kind, scheme)], 1)] == [signer.public_key.key_id]


@pytest.mark.parametrize(("signer", "kind", "scheme"), FOREIGN, ids=["P-256", "Ed25519"])
def test_what_securesystemslib_signs_is_verified_here(signer: FileSigner, kind: str, scheme: str) -> None:
    envelope = ForeignEnvelope(PAYLOAD, statement.PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(signer._key, foreign_key(signer, kind, scheme)))

    assert verified(json.dumps(envelope.to_dict()).encode(), policy(them=signer)).all_signers() == ("them",)


def test_a_foreign_signer_with_a_new_key_is_verified_too() -> None:
    """Nothing of the key's naming is ours."""
    private = ec.generate_private_key(ec.SECP256R1())
    foreign = CryptoSigner(private)
    envelope = ForeignEnvelope(PAYLOAD, statement.PAYLOAD_TYPE, {})
    envelope.sign(foreign)
    keys = {"version": 1, "keys": {"them": foreign.public_key.keyval["public"]}, "rules": [rule("them")]}

    trust = TrustPolicy.parse(json.dumps(keys).encode())
    assert verified(json.dumps(envelope.to_dict()).encode(), trust).all_signers() == ("them",)
