"""JWT-SVIDs of the dev mesh: what a good one says, and the reason each bad one is refused with."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.dev.jwt_svid import MAX_TOKEN_BYTES, JwtAuthority, verify
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TTL = timedelta(seconds=60)
TRUST_DOMAIN = TrustDomain("mesh.test")
WORKLOAD = SpiffeId(TRUST_DOMAIN, "/ai-agent")
AUTHORITY = JwtAuthority.generate(TRUST_DOMAIN)
CLAIMS: dict[str, Any] = {"sub": str(WORKLOAD), "aud": ["tool"], "exp": int((NOW + TTL).timestamp())}


def token(
    claims: dict[str, Any],
    *,
    key: Any = AUTHORITY.key,
    algorithm: str = "ES256",
    **headers: Any,
) -> str:
    return jwt.encode(claims, key, algorithm, headers={"kid": AUTHORITY.key_id} | headers)


def without(name: str) -> dict[str, Any]:
    return {claim: value for claim, value in CLAIMS.items() if claim != name}


def reason_for(text: str, *, now: datetime = NOW) -> Reason:
    with pytest.raises(Refused) as refusal:
        verify(text, "tool", [AUTHORITY], now=now)
    assert text[:20] not in refusal.value.detail or not text
    return refusal.value.reason


def test_what_an_authority_signs_it_verifies() -> None:
    signed = AUTHORITY.sign(WORKLOAD, ["tool", "other"], now=NOW, ttl=TTL)
    claims = verify(signed, "tool", [JwtAuthority.generate(TRUST_DOMAIN), AUTHORITY], now=NOW)
    assert claims == {
        "sub": "spiffe://mesh.test/ai-agent",
        "aud": ["tool", "other"],
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + TTL).timestamp()),
    }


def test_the_header_names_the_key_and_the_algorithm_and_nothing_else() -> None:
    header = jwt.get_unverified_header(AUTHORITY.sign(WORKLOAD, ["tool"], now=NOW, ttl=TTL))
    assert header == {"alg": "ES256", "kid": AUTHORITY.key_id, "typ": "JWT"}


def test_a_single_audience_comes_back_as_a_list() -> None:
    assert verify(token(CLAIMS | {"aud": "tool"}), "tool", [AUTHORITY], now=NOW)["aud"] == ["tool"]


def test_a_token_is_good_until_the_second_it_expires() -> None:
    signed = token(CLAIMS)
    assert verify(signed, "tool", [AUTHORITY], now=NOW + TTL - timedelta(milliseconds=1))
    assert reason_for(signed, now=NOW + TTL) is Reason.JWT_SVID_EXPIRED


FOREIGN_KEY = ec.generate_private_key(ec.SECP256R1())

HOSTILE = {
    "empty": ("", Reason.JWT_SVID_MALFORMED),
    "not a JWS": ("nonsense", Reason.JWT_SVID_MALFORMED),
    "header is no JSON": ("bm8.bm8.bm8", Reason.JWT_SVID_MALFORMED),
    "header too deep": ("W1tb" * 3000 + ".bm8.bm8", Reason.JWT_SVID_MALFORMED),
    "too long": ("a" * (MAX_TOKEN_BYTES + 1), Reason.JWT_SVID_MALFORMED),
    "header jku": (token(CLAIMS, jku="https://x.test"), Reason.JWT_SVID_MALFORMED),
    "other type": (token(CLAIMS, typ="at+jwt"), Reason.JWT_SVID_MALFORMED),
    "alg none": (token(CLAIMS, key=None, algorithm="none"), Reason.JWT_SVID_ALGORITHM),
    "alg HS256": (token(CLAIMS, key="k" * 32, algorithm="HS256"), Reason.JWT_SVID_ALGORITHM),
    "unknown key": (token(CLAIMS, kid="other"), Reason.JWT_SVID_KEY_UNKNOWN),
    "no key named": (jwt.encode(CLAIMS, AUTHORITY.key, "ES256"), Reason.JWT_SVID_KEY_UNKNOWN),
    "foreign key": (token(CLAIMS, key=FOREIGN_KEY), Reason.JWT_SVID_SIGNATURE),
    "changed payload": (
        ".".join(
            [token(CLAIMS).split(".")[0], token(CLAIMS | {"x": 1}).split(".")[1], token(CLAIMS).split(".")[2]]
        ),
        Reason.JWT_SVID_SIGNATURE,
    ),
    "no subject": (token(without("sub")), Reason.JWT_SVID_SUBJECT),
    "subject is no SPIFFE ID": (token(CLAIMS | {"sub": "joe"}), Reason.JWT_SVID_SUBJECT),
    "subject of another trust domain": (
        token(CLAIMS | {"sub": "spiffe://b.test/x"}),
        Reason.JWT_SVID_SUBJECT,
    ),
    "no audience": (token(without("aud")), Reason.JWT_SVID_AUDIENCE),
    "other audience": (token(CLAIMS | {"aud": ["tools"]}), Reason.JWT_SVID_AUDIENCE),
    "audience as a prefix": (token(CLAIMS | {"aud": "tool2"}), Reason.JWT_SVID_AUDIENCE),
    "audience is an object": (token(CLAIMS | {"aud": {"tool": 1}}), Reason.JWT_SVID_AUDIENCE),
    "no expiry": (token(without("exp")), Reason.JWT_SVID_EXPIRED),
    "expiry is text": (token(CLAIMS | {"exp": "never"}), Reason.JWT_SVID_EXPIRED),
    "expired": (token(CLAIMS | {"exp": int(NOW.timestamp()) - 1}), Reason.JWT_SVID_EXPIRED),
}


@pytest.mark.parametrize(("text", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_each_bad_token_is_refused_with_its_own_reason(text: str, reason: Reason) -> None:
    assert reason_for(text) is reason


@given(st.text(max_size=300) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}"))
def test_nothing_but_a_refusal_comes_of_any_text(text: str) -> None:
    with pytest.raises(Refused):
        verify(text, "tool", [AUTHORITY], now=NOW)


@pytest.mark.parametrize("audience", [[], [""], ["a", ""]])
def test_no_token_is_signed_without_an_audience(audience: list[str]) -> None:
    with pytest.raises(Refused) as refusal:
        AUTHORITY.sign(WORKLOAD, audience, now=NOW, ttl=TTL)
    assert refusal.value.reason is Reason.JWT_SVID_AUDIENCE


def test_the_entry_of_a_bundle_is_a_public_key_that_verifies() -> None:
    key: Any = AUTHORITY.public.document()
    assert set(key) == {"kty", "crv", "x", "y", "use", "kid"}
    assert key["use"] == "jwt-svid"
    signed = AUTHORITY.sign(WORKLOAD, ["tool"], now=NOW, ttl=TTL)
    assert jwt.PyJWK(key).key_id == jwt.get_unverified_header(signed)["kid"]
    claims = jwt.decode(signed, jwt.PyJWK(key), ["ES256"], audience="tool", options={"verify_exp": False})
    assert claims["sub"] == str(WORKLOAD)
