"""A user context is true of one request, on one connection, now; every rule has its own reason."""

import base64
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import jwt
import pytest

from spiffe_mcp.context.limits import ContextLimits
from spiffe_mcp.context.signers import TrustedSigners
from spiffe_mcp.context.verification import InboundHop, VerifiedContext
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import BundleSet
from spiffe_mcp.identity.spiffe_id import AllowedIds, IdPattern, SpiffeId
from tests.fakes.links import (
    ABSENT,
    BINDING,
    BUNDLES,
    CA,
    FOREIGN_CA,
    HOP,
    ISSUED_AT,
    NOW,
    PLANNER,
    accept,
    after,
    algorithm,
    base64url,
    good_claims,
    good_header,
    hop_of,
    link,
    signed,
    thumbprint,
    user,
)
from tests.fakes.mini_ca import MiniCa

GOOD = link()
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")
CLAIMS = json.dumps(good_claims())

IMPOSTOR = MiniCa("a.test").issue("/ns/agents/planner")  # the planner's ID, from nobody we know
SIBLING = CA.issue("/ns/agents/other")
ROTATED = CA.issue("/ns/agents/planner")
FOREIGNER = FOREIGN_CA.issue("/ns/agents/planner")
EXPIRED = CA.issue("/ns/agents/planner", not_before=NOW - timedelta(hours=2))


def test_a_good_link_is_verified() -> None:
    context = accept(GOOD)
    assert context.caller == context.issuer == PLANNER.spiffe_id
    assert context.chain == (PLANNER.spiffe_id,)
    assert (context.user.sub, context.user.sub_iss) == ("alice", "https://idp.a.test")
    assert context.user.groups == ("research", "eu")
    assert context.user.risk_score == 12.5
    assert context.scope == ("tools:call", "tools:list")
    assert context.txn == "9f1c2a52-6a5f-4b57-8f6c-0f6f1f5d2f10"
    assert context.jti == "jti-1"
    assert context.expires == datetime.fromtimestamp(ISSUED_AT + 60 + 30, UTC)


def test_octets_and_text_are_read_alike() -> None:
    assert accept(GOOD.encode()) == accept(GOOD)


@pytest.mark.parametrize("key_kind", ["p256", "p384", "rsa2048"])
def test_every_kind_of_svid_key_has_its_algorithm(key_kind: str) -> None:
    svid = CA.issue("/ns/agents/planner", key_kind=key_kind)
    assert accept(link(svid), hop=hop_of(svid)).issuer == svid.spiffe_id


@pytest.mark.parametrize("key_kind", ["p256", "p384", "rsa2048"])
def test_a_link_written_by_another_jose_library_is_verified(key_kind: str) -> None:
    svid = CA.issue("/ns/agents/planner", key_kind=key_kind)
    header = good_header(svid)
    foreign = jwt.encode(good_claims(svid), svid.key, algorithm=algorithm(svid), headers=header)
    assert accept(foreign, hop=hop_of(svid)).user.sub == "alice"


def test_a_chain_with_an_intermediate_is_verified() -> None:
    svid = CA.subordinate().issue("/ns/agents/planner")
    assert accept(link(svid), hop=hop_of(svid)).issuer == svid.spiffe_id


def test_a_peer_of_a_federated_trust_domain_is_verified_by_its_own_bundle() -> None:
    assert accept(link(FOREIGNER), hop=hop_of(FOREIGNER)).issuer == FOREIGNER.spiffe_id


def test_a_request_without_json_rpc_method_can_be_bound() -> None:
    get = replace(BINDING, method="GET", body_sha256=sha256(b"").digest(), mcp_method=None, mcp_name=None)
    bound = {"htm": "GET", "bh": base64url(sha256(b"").digest()), "mcp": {}}
    assert accept(link(claims=bound), binding=get).caller == PLANNER.spiffe_id


def test_an_empty_scope_grants_nothing() -> None:
    assert accept(link(claims={"scope": ""})).scope == ()


def test_a_peer_vouches_for_workloads_it_is_allowed_to() -> None:
    worker = "spiffe://a.test/ns/agents/worker"
    vouching = replace(HOP, vouched_for=AllowedIds((IdPattern.parse("spiffe://a.test/ns/agents/*"),)))
    context = accept(link(claims={"act": {"sub": worker}}), hop=vouching)
    assert context.caller == SpiffeId.parse(worker)
    assert context.chain == (SpiffeId.parse(worker),)
    assert context.issuer == PLANNER.spiffe_id


@pytest.mark.parametrize("seconds", [-30, 0, 60, 89])
def test_a_link_holds_for_its_lifetime_and_the_clock_skew(seconds: int) -> None:
    assert accept(GOOD, **after(seconds)).jti == "jti-1"


def hmac_with_the_public_key() -> str:
    header = json.dumps({**good_header(), "alg": "HS256"}).encode()
    signing_input = f"{base64url(header)}.{PAYLOAD}"
    key = base64.b64decode(good_header()["x5c"][0])
    return f"{signing_input}.{base64url(hmac.digest(key, signing_input.encode(), 'sha256'))}"


def unsigned() -> str:
    return f"{base64url(json.dumps({**good_header(), 'alg': 'none'}).encode())}.{PAYLOAD}."


def non_canonical(part: str) -> str:
    """`part` with a spare bit set: the same octets for a lenient decoder."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4, "no spare bits"
    return part[:-1] + alphabet[alphabet.index(part[-1]) | 1]


def wrapped_x5c() -> str:
    wrapped = base64.encodebytes(PLANNER.chain_der[0]).decode()  # line breaks, as in PEM
    return link(header={"x5c": [wrapped]})


def signed_by_another(owner: Any = PLANNER) -> str:
    """The planner's header and claims, signed with the sibling's key."""
    return signed(SIBLING, json.dumps(good_header(owner)), json.dumps(good_claims(owner)))


FORM: list[tuple[str, str | bytes, Reason]] = [
    ("empty", "", Reason.CONTEXT_MALFORMED),
    ("blank before", " " + GOOD, Reason.CONTEXT_MALFORMED),
    ("line feed after", GOOD + "\n", Reason.CONTEXT_MALFORMED),
    ("not ASCII", GOOD[:-1] + "é", Reason.CONTEXT_MALFORMED),
    ("octets that are no text", GOOD.encode()[:-1] + b"\xff", Reason.CONTEXT_MALFORMED),
    ("a NUL", GOOD.encode()[:-1] + b"\x00", Reason.CONTEXT_MALFORMED),
    ("a lone surrogate", GOOD[:-1] + "\ud800", Reason.CONTEXT_MALFORMED),
    ("two parts", f"{HEADER}.{PAYLOAD}", Reason.CONTEXT_MALFORMED),
    ("four parts", f"{GOOD}.{SIGNATURE}", Reason.CONTEXT_MALFORMED),
    ("five parts, as JWE", f"{GOOD}.{SIGNATURE}.{SIGNATURE}", Reason.CONTEXT_MALFORMED),
    ("two values joined by a comma", f"{GOOD}, {GOOD}", Reason.CONTEXT_MALFORMED),
    ("padded signature", GOOD + "==", Reason.CONTEXT_MALFORMED),
    ("standard alphabet", f"{HEADER}.{PAYLOAD}.{'+/' * 43}", Reason.CONTEXT_MALFORMED),
    ("one character too many for base64", f"{HEADER}.{PAYLOAD}.AAAAA", Reason.CONTEXT_MALFORMED),
    ("spare bits set", f"{HEADER}.{PAYLOAD}.{non_canonical(SIGNATURE)}", Reason.CONTEXT_MALFORMED),
    ("no header", f".{PAYLOAD}.{SIGNATURE}", Reason.CONTEXT_MALFORMED),
    ("no payload", f"{HEADER}..{SIGNATURE}", Reason.CONTEXT_SIGNATURE),
    ("no signature", f"{HEADER}.{PAYLOAD}.", Reason.CONTEXT_SIGNATURE),
    ("two links", f"{GOOD}~{GOOD}", Reason.CONTEXT_CHAIN_UNSUPPORTED),
    ("an empty second link", f"{GOOD}~", Reason.CONTEXT_CHAIN_UNSUPPORTED),
    ("larger than the limit", "A" * (16 * 1024 + 1), Reason.CONTEXT_TOO_LARGE),
    ("header not JSON", signed(PLANNER, "{", CLAIMS), Reason.CONTEXT_MALFORMED),
    ("header not an object", signed(PLANNER, "[]", CLAIMS), Reason.CONTEXT_MALFORMED),
    (
        "header with alg twice",
        signed(PLANNER, json.dumps(good_header())[:-1] + ',"alg":"ES256"}', CLAIMS),
        Reason.CONTEXT_MALFORMED,
    ),
]

JOSE: list[tuple[str, str, Reason]] = [
    ("jku", link(header={"jku": "https://evil.test/jwks"}), Reason.CONTEXT_HEADER_FORBIDDEN),
    ("x5u", link(header={"x5u": "https://evil.test/chain"}), Reason.CONTEXT_HEADER_FORBIDDEN),
    ("jwk", link(header={"jwk": {"kty": "EC"}}), Reason.CONTEXT_HEADER_FORBIDDEN),
    ("kid", link(header={"kid": "../../dev/null"}), Reason.CONTEXT_HEADER_FORBIDDEN),
    ("crit", link(header={"crit": ["exp"]}), Reason.CONTEXT_HEADER_FORBIDDEN),
    ("b64", link(header={"b64": False}), Reason.CONTEXT_HEADER_FORBIDDEN),
    ("zip", link(header={"zip": "DEF"}), Reason.CONTEXT_HEADER_FORBIDDEN),
    ("alg in capitals too", link(header={"ALG": "ES256"}), Reason.CONTEXT_HEADER_FORBIDDEN),
    ("typ JWT", link(header={"typ": "JWT"}), Reason.CONTEXT_TYPE),
    ("typ in capitals", link(header={"typ": "MESH-UCTX+JWT"}), Reason.CONTEXT_TYPE),
    ("typ as media type", link(header={"typ": "application/mesh-uctx+jwt"}), Reason.CONTEXT_TYPE),
    ("no typ", link(header={"typ": ABSENT}), Reason.CONTEXT_TYPE),
    ("alg none", unsigned(), Reason.CONTEXT_ALGORITHM),
    ("alg HS256 with the public key", hmac_with_the_public_key(), Reason.CONTEXT_ALGORITHM),
    ("alg of another curve", link(header={"alg": "ES384"}), Reason.CONTEXT_ALGORITHM),
    ("alg of another key", link(header={"alg": "PS256"}), Reason.CONTEXT_ALGORITHM),
    ("alg in small letters", link(header={"alg": "es256"}), Reason.CONTEXT_ALGORITHM),
    ("no alg", link(header={"alg": ABSENT}), Reason.CONTEXT_ALGORITHM),
    ("alg a list", link(header={"alg": ["ES256"]}), Reason.CONTEXT_ALGORITHM),
]

CERTIFICATE: list[tuple[str, str, Reason]] = [
    ("no x5c", link(header={"x5c": ABSENT}), Reason.CONTEXT_CERTIFICATE),
    ("x5c empty", link(header={"x5c": []}), Reason.CONTEXT_CERTIFICATE),
    ("x5c a string", link(header={"x5c": good_header()["x5c"][0]}), Reason.CONTEXT_CERTIFICATE),
    ("x5c of numbers", link(header={"x5c": [1]}), Reason.CONTEXT_CERTIFICATE),
    ("x5c no certificate", link(header={"x5c": ["AAAA"]}), Reason.CONTEXT_CERTIFICATE),
    ("x5c an empty certificate", link(header={"x5c": [""]}), Reason.CONTEXT_CERTIFICATE),
    ("x5c of six certificates", link(header={"x5c": good_header()["x5c"] * 6}), Reason.CONTEXT_CERTIFICATE),
    ("x5c with line breaks", wrapped_x5c(), Reason.CONTEXT_MALFORMED),
    (
        "x5c in base64url",
        link(header={"x5c": [base64url(PLANNER.chain_der[0]) + "-_"]}),
        Reason.CONTEXT_MALFORMED,
    ),
    ("x5c not ASCII", link(header={"x5c": ["é"]}), Reason.CONTEXT_MALFORMED),
    ("a stranger's certificate", link(IMPOSTOR), Reason.CONTEXT_CERTIFICATE),
    (
        "our ID signed by a federated authority",
        link(FOREIGN_CA.issue(uris=("spiffe://a.test/ns/agents/planner",))),
        Reason.CONTEXT_CERTIFICATE,
    ),
    ("an expired certificate", link(EXPIRED), Reason.CONTEXT_CERTIFICATE),
    ("signed by another key", signed_by_another(), Reason.CONTEXT_SIGNATURE),
    ("another payload", f"{HEADER}.{base64url(b'{}')}.{SIGNATURE}", Reason.CONTEXT_SIGNATURE),
    ("signature a byte longer", f"{HEADER}.{PAYLOAD}.{base64url(bytes(65))}", Reason.CONTEXT_SIGNATURE),
    ("signature of zeros", f"{HEADER}.{PAYLOAD}.{base64url(bytes(64))}", Reason.CONTEXT_SIGNATURE),
    ("signature of ones", f"{HEADER}.{PAYLOAD}.{'_' * 85}w", Reason.CONTEXT_SIGNATURE),
]

BEYOND = "spiffe://a.test/ns/agents/other"
PLANNER_ID = str(PLANNER.spiffe_id)

MEANING: list[tuple[str, dict[str, Any], Reason]] = [
    (
        "iss another than the certificate",
        {"iss": BEYOND, "act": {"sub": BEYOND}},
        Reason.CONTEXT_ISSUER_MISMATCH,
    ),
    ("aud somebody else", {"aud": BEYOND}, Reason.CONTEXT_AUDIENCE),
    (
        "aud the trust domain's other server",
        {"aud": "spiffe://b.test/ns/tools/weather"},
        Reason.CONTEXT_AUDIENCE,
    ),
    ("cnf another certificate", {"cnf": {"x5t#S256": thumbprint(SIBLING)}}, Reason.CONTEXT_CHANNEL),
    ("act somebody else", {"act": {"sub": BEYOND}}, Reason.CONTEXT_ACTOR),
    ("too long", {"exp": ISSUED_AT + 301}, Reason.CONTEXT_LIFETIME),
    ("backwards", {"exp": ISSUED_AT - 1}, Reason.CONTEXT_LIFETIME),
    ("no time at all", {"exp": ISSUED_AT}, Reason.CONTEXT_LIFETIME),
    ("issued in the future", {"iat": ISSUED_AT + 31, "exp": ISSUED_AT + 90}, Reason.CONTEXT_NOT_YET_VALID),
    ("expired", {"iat": ISSUED_AT - 90, "exp": ISSUED_AT - 30}, Reason.CONTEXT_EXPIRED),
    ("htm", {"htm": "GET"}, Reason.CONTEXT_BINDING_METHOD),
    ("htm in small letters", {"htm": "post"}, Reason.CONTEXT_BINDING_METHOD),
    ("htu", {"htu": "https://weather.a.test/admin"}, Reason.CONTEXT_BINDING_URI),
    ("htu with a slash more", {"htu": "https://weather.a.test/mcp/"}, Reason.CONTEXT_BINDING_URI),
    ("bh", {"bh": base64url(sha256(b"{}").digest())}, Reason.CONTEXT_BINDING_BODY),
    ("mcp tool", {"mcp": {"method": "tools/call", "name": "purge"}}, Reason.CONTEXT_BINDING_MCP),
    ("mcp method", {"mcp": {"method": "tools/list", "name": "forecast"}}, Reason.CONTEXT_BINDING_MCP),
    ("mcp without the tool", {"mcp": {"method": "tools/call"}}, Reason.CONTEXT_BINDING_MCP),
    ("mcp without both", {"mcp": {}}, Reason.CONTEXT_BINDING_MCP),
]

DIGEST = base64url(sha256(b"").digest())

CLAIM_RULES: list[tuple[str, dict[str, Any], Reason]] = [
    *((f"no {name}", {name: ABSENT}, Reason.CONTEXT_CLAIM_MISSING) for name in good_claims()),
    ("act without sub", {"act": {}}, Reason.CONTEXT_CLAIM_MISSING),
    ("cnf without thumbprint", {"cnf": {}}, Reason.CONTEXT_CLAIM_MISSING),
    ("an unknown claim", {"prv": "x"}, Reason.CONTEXT_CLAIM_UNKNOWN),
    ("nbf", {"nbf": ISSUED_AT}, Reason.CONTEXT_CLAIM_UNKNOWN),
    ("a nested actor", {"act": {"sub": PLANNER_ID, "act": {"sub": BEYOND}}}, Reason.CONTEXT_CLAIM_UNKNOWN),
    ("another confirmation", {"cnf": {"x5t#S256": DIGEST, "jkt": DIGEST}}, Reason.CONTEXT_CLAIM_UNKNOWN),
    ("another mcp member", {"mcp": {"method": "tools/call", "Name": "x"}}, Reason.CONTEXT_CLAIM_UNKNOWN),
    ("iss no SPIFFE ID", {"iss": "https://a.test"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("iss with line feed", {"iss": PLANNER_ID + "\n"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("aud a list", {"aud": ["spiffe://a.test/ns/tools/weather"]}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("aud the trust domain", {"aud": "spiffe://a.test"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("act a string", {"act": PLANNER_ID}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("act no SPIFFE ID", {"act": {"sub": "planner"}}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("sub empty", {"sub": ""}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("sub with line feed", {"sub": "alice\nadmin"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("sub with NUL", {"sub": "alice\x00"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("sub with a direction mark", {"sub": "alice\u202e"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("sub a number", {"sub": 7}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("sub null", {"sub": None}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("sub too long", {"sub": "a" * 257}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("sub too long in octets", {"sub": "é" * 129}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("user a list", {"user": []}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("exp a fraction", {"exp": ISSUED_AT + 60.5}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("exp with a point", {"exp": float(ISSUED_AT + 60)}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("exp a string", {"exp": str(ISSUED_AT + 60)}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("exp true", {"exp": True}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("exp null", {"exp": None}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("exp 2^63", {"exp": 2**63}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("exp negative", {"exp": -1}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("iat 2^63 and exp a minute later", {"iat": 2**63, "exp": 2**63 + 60}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("iat false", {"iat": False}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("jti empty", {"jti": ""}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("jti with blank", {"jti": "a b"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("jti too long", {"jti": "a" * 129}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("txn with line feed", {"txn": "a\n"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("scope a list", {"scope": ["tools:call"]}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("scope with two blanks", {"scope": "a  b"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("scope with a quote", {"scope": 'a "b'}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("scope of 65", {"scope": " ".join("a" * 65)}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("htu with query", {"htu": "https://weather.a.test/mcp?x=1"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("bh too short", {"bh": "AAAA"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("bh padded", {"bh": DIGEST + "="}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("bh with spare bits", {"bh": non_canonical(DIGEST)}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("bh hexadecimal", {"bh": sha256(b"").hexdigest()}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("cnf a string", {"cnf": DIGEST}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("mcp name without method", {"mcp": {"name": "forecast"}}, Reason.CONTEXT_CLAIM_MALFORMED),
]

USER_RULES: list[tuple[str, dict[str, Any], Reason]] = [
    ("an unknown attribute", {"admin": True}, Reason.CONTEXT_CLAIM_UNKNOWN),
    ("sub a second time", {"sub": "mallory"}, Reason.CONTEXT_CLAIM_UNKNOWN),
    ("groups a string", {"groups": "admins"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("groups of numbers", {"groups": [0]}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("groups with line feed", {"groups": ["a\nb"]}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("65 groups", {"groups": ["g"] * 65}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("groups null", {"groups": None}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("role null", {"role": None}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("auth_time a fraction", {"auth_time": 1.5}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("auth_time in the year 10000", {"auth_time": 253_402_300_800}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("risk_score a string", {"risk_score": "0"}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("risk_score true", {"risk_score": True}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("risk_score negative", {"risk_score": -0.1}, Reason.CONTEXT_CLAIM_MALFORMED),
    ("more than the limit", {"groups": ["g" * 200] * 21}, Reason.CONTEXT_TOO_LARGE),
]

DOCUMENT: list[tuple[str, str]] = [
    ("a claim twice", CLAIMS[:-1] + ',"sub":"mallory"}'),
    ("a claim twice, once escaped", CLAIMS[:-1] + ',"\\u0073ub":"mallory"}'),
    ("an attribute twice", CLAIMS.replace('"role":', '"role": "admin", "role":')),
    ("exp NaN", CLAIMS.replace(f'"exp": {ISSUED_AT + 60}', '"exp": NaN')),
    ("exp infinite", CLAIMS.replace(f'"exp": {ISSUED_AT + 60}', '"exp": 1e999')),
    ("a lone surrogate", CLAIMS.replace("alice", "\\ud800")),
    ("trailing data", CLAIMS + "{}"),
    ("a byte order mark", "\ufeff" + CLAIMS),
    ("deep", CLAIMS.replace('"research"', "[" * 4 + "]" * 4)),
    ("a list", "[]"),
    ("nothing", ""),
]

HOSTILE: list[tuple[str, str | bytes, Reason]] = [
    *FORM,
    *JOSE,
    *CERTIFICATE,
    *((name, link(claims=claims), reason) for name, claims, reason in [*MEANING, *CLAIM_RULES]),
    *((name, user(**attributes), reason) for name, attributes, reason in USER_RULES),
    *(
        (name, signed(PLANNER, json.dumps(good_header()), text), Reason.CONTEXT_MALFORMED)
        for name, text in DOCUMENT
    ),
]


@pytest.mark.parametrize(
    ("header", "reason"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_a_hostile_header_is_refused_with_the_reason_of_its_rule(header: str | bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        accept(header)
    assert refusal.value.reason is reason


ELSEWHERE: list[tuple[str, dict[str, Any], Reason]] = [
    ("presented by another workload", {"hop": hop_of(SIBLING)}, Reason.CONTEXT_PEER_MISMATCH),
    ("presented on an SVID of before the rotation", {"hop": hop_of(ROTATED)}, Reason.CONTEXT_SIGNER_MISMATCH),
    (
        "presented to another server",
        {"hop": replace(HOP, audience=SIBLING.spiffe_id)},
        Reason.CONTEXT_AUDIENCE,
    ),
    ("with another method", {"binding": replace(BINDING, method="PUT")}, Reason.CONTEXT_BINDING_METHOD),
    (
        "at another path",
        {"binding": replace(BINDING, uri="https://weather.a.test/")},
        Reason.CONTEXT_BINDING_URI,
    ),
    ("with another body", {"binding": replace(BINDING, body_sha256=bytes(32))}, Reason.CONTEXT_BINDING_BODY),
    ("for another tool", {"binding": replace(BINDING, mcp_name="purge")}, Reason.CONTEXT_BINDING_MCP),
    ("for another mcp method", {"binding": replace(BINDING, mcp_method="x/y")}, Reason.CONTEXT_BINDING_MCP),
    ("90 seconds later", after(90), Reason.CONTEXT_EXPIRED),
    ("31 seconds before", after(-31), Reason.CONTEXT_NOT_YET_VALID),
    ("an hour before its certificate", after(-3600), Reason.CONTEXT_CERTIFICATE),
    ("after its certificate", after(3600), Reason.CONTEXT_CERTIFICATE),
    ("without any bundle", {"bundles": BundleSet.from_der({})}, Reason.CONTEXT_CERTIFICATE),
    (
        "after its authority was revoked",
        {"bundles": BundleSet.from_der({"a.test": [], "b.test": FOREIGN_CA.bundle_der})},
        Reason.CONTEXT_CERTIFICATE,
    ),
    (
        "over a smaller size limit",
        {"limits": ContextLimits(max_bytes=len(GOOD) - 1)},
        Reason.CONTEXT_TOO_LARGE,
    ),
    (
        "over a shorter lifetime limit",
        {"limits": ContextLimits(max_lifetime=timedelta(seconds=59))},
        Reason.CONTEXT_LIFETIME,
    ),
]


def acquainted() -> TrustedSigners:
    """A memory in which the planner is known already."""
    signers = TrustedSigners(BUNDLES)
    accept(GOOD, signers=signers)
    assert len(signers) == 1
    return signers


@pytest.mark.parametrize(
    ("header", "reason"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_acquaintance_with_a_signer_spares_its_links_no_rule(header: str | bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        accept(header, signers=acquainted())
    assert refusal.value.reason is reason


OF_THE_SAME_BUNDLES = [case for case in ELSEWHERE if "bundles" not in case[1]]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [case[1:] for case in OF_THE_SAME_BUNDLES],
    ids=[case[0] for case in OF_THE_SAME_BUNDLES],
)
def test_acquaintance_with_a_signer_admits_nothing_elsewhere(
    arguments: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(Refused) as refusal:
        accept(GOOD, signers=acquainted(), **arguments)
    assert refusal.value.reason is reason


@pytest.mark.parametrize(
    ("arguments", "reason"), [case[1:] for case in ELSEWHERE], ids=[case[0] for case in ELSEWHERE]
)
def test_a_good_header_is_refused_elsewhere(arguments: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        accept(GOOD, **arguments)
    assert refusal.value.reason is reason


def test_an_allowance_to_vouch_is_for_the_workloads_it_names() -> None:
    vouching = replace(HOP, vouched_for=AllowedIds.only(SIBLING.spiffe_id))
    with pytest.raises(Refused) as refusal:
        accept(link(claims={"act": {"sub": "spiffe://a.test/ns/agents/third"}}), hop=vouching)
    assert refusal.value.reason is Reason.CONTEXT_ACTOR


def test_a_refused_chain_names_the_rule_of_identity() -> None:
    with pytest.raises(Refused) as refusal:
        accept(link(EXPIRED))
    assert Reason.CERTIFICATE_EXPIRED.code in refusal.value.detail


def test_no_refusal_quotes_the_link_or_the_user() -> None:
    secret = "s3cret-of-alice"  # noqa: S105  looked for in what is logged
    documents: list[dict[str, Any]] = [
        {"sub": secret + "\n"},
        {"user": {"role": secret * 20}},
        {"user": {secret: 1}},
        {secret: 1},
        {"user": {"groups": [secret, 1]}},
        {"jti": secret + " "},
        {"scope": secret + '"'},
        {"mcp": {"method": secret + "\x00"}},
        {"bh": secret},
    ]
    headers = [link(claims=claims) for claims in documents]
    twice = signed(PLANNER, json.dumps(good_header()), f'{{"{secret}":1,"{secret}":2}}')
    for header in [*headers, twice, link(header={secret: 1})]:
        with pytest.raises(Refused) as refusal:
            accept(header)
        assert secret not in str(refusal.value)
        assert header not in str(refusal.value)


def test_nobody_else_makes_a_verified_context() -> None:
    context = accept(GOOD)
    arguments = {name: getattr(context, name) for name in VerifiedContext.__slots__}
    with pytest.raises(TypeError):
        VerifiedContext(**arguments)
    with pytest.raises((TypeError, ValueError)):
        replace(context, jti="another")


def test_a_hop_vouches_for_nobody_unless_told() -> None:
    assert InboundHop(PLANNER.spiffe_id, b"", SIBLING.spiffe_id).vouched_for == AllowedIds()
