"""One SPIFFE bundle: everything it says, and which of two is the newer one."""

import base64
import json
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import jwk
from spiffe_mcp.identity.bundle import MAX_AUTHORITIES
from spiffe_mcp.identity.spiffe_bundle import JwtKey, SpiffeBundle
from spiffe_mcp.identity.spiffe_id import TrustDomain
from tests.fakes.mini_ca import MiniCa, private_key

A: Final = TrustDomain("a.test")
CA: Final = MiniCa("a.test")
DER: Final = CA.bundle_der[0]
JWT_KEY: Final = private_key("p256").public_key()
X509: Final[dict[str, Any]] = {
    "use": "x509-svid",
    **jwk.write(CA.root.certificate.public_key()),
    "x5c": [base64.b64encode(DER).decode()],
}
JWT: Final[dict[str, Any]] = {"use": "jwt-svid", "kid": "one", **jwk.write(JWT_KEY)}


def read(*keys: object, **members: object) -> SpiffeBundle:
    return SpiffeBundle.from_json(A, json.dumps({"keys": keys, **members}).encode())


def reason_of(*keys: object, **members: object) -> Reason:
    with pytest.raises(Refused) as refused:
        read(*keys, **members)
    return refused.value.reason


def test_keys_of_both_kinds_are_read_for_the_trust_domain_that_was_asked_for() -> None:
    bundle = read(X509, JWT, spiffe_sequence=7, spiffe_refresh_hint=60)
    assert bundle.trust_domain == A
    assert bundle.x509.authorities_der == (DER,)
    assert bundle.jwt == (JwtKey("one", JWT_KEY),)  # type: ignore[arg-type]  # it is a P-256 key
    assert (bundle.sequence, bundle.refresh_hint) == (7, timedelta(minutes=1))


def test_what_is_written_is_read_back() -> None:
    bundle = read(X509, JWT, spiffe_sequence=7, spiffe_refresh_hint=60)
    assert SpiffeBundle.from_json(A, bundle.to_json()) == bundle
    bare = read()
    assert SpiffeBundle.from_json(A, bare.to_json()) == bare
    assert json.loads(bare.to_json()) == {"keys": []}


def test_the_jwt_bundle_is_a_jwk_set_of_the_jwt_keys_alone() -> None:
    assert json.loads(read(X509, JWT, spiffe_sequence=7).jwt_json()) == {"keys": [JWT]}


@pytest.mark.parametrize(
    "ignored",
    [
        {**JWT, "use": "wit-svid", "kid": "two"},
        {**JWT, "use": "JWT-SVID"},
        {"kid": "two", **jwk.write(JWT_KEY)},
        {**JWT, "kty": "OKP"},
        {**JWT, "kty": None},
        {"use": "jwt-svid", "kid": "two", "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"use": "x509-svid", "kty": "EC", "crv": "P-256"},  # no x5c: MUST be ignored (X509-SVID 6.2)
        {"use": "x509-svid", "kty": "EC", "x5c": []},
        {"use": "x509-svid", "kty": "OKP", "x5c": ["garbage"]},
    ],
)
def test_what_the_standard_says_to_ignore_is_ignored(ignored: dict[str, object]) -> None:
    assert read(ignored, X509, JWT) == read(X509, JWT)


def test_a_bundle_of_nothing_but_what_is_ignored_is_empty_and_not_missing() -> None:
    assert read({**JWT, "use": "wit-svid"}).x509.authorities_der == ()


@pytest.mark.parametrize(
    ("keys", "members", "reason"),
    [
        ((5,), {}, Reason.BUNDLE_DOCUMENT),
        (({**X509, "x5c": ["*"]},), {}, Reason.BUNDLE_DOCUMENT),
        (({**X509, "x5c": ["AAAA"]},), {}, Reason.CERTIFICATE_MALFORMED),
        (({**JWT, "kid": ""},), {}, Reason.BUNDLE_DOCUMENT),
        (({**JWT, "kid": 1},), {}, Reason.BUNDLE_DOCUMENT),
        ((jwk.write(JWT_KEY) | {"use": "jwt-svid"},), {}, Reason.BUNDLE_DOCUMENT),
        ((JWT, JWT), {}, Reason.BUNDLE_DOCUMENT),
        (({**JWT, "x": "AAAA"},), {}, Reason.BUNDLE_DOCUMENT),
        ((), {"spiffe_sequence": "7"}, Reason.BUNDLE_DOCUMENT),
        ((), {"spiffe_sequence": True}, Reason.BUNDLE_DOCUMENT),
        ((), {"spiffe_sequence": 1.5}, Reason.BUNDLE_DOCUMENT),
        ((), {"spiffe_sequence": -1}, Reason.BUNDLE_DOCUMENT),
        ((), {"spiffe_refresh_hint": -1}, Reason.BUNDLE_DOCUMENT),
        ((), {"spiffe_refresh_hint": []}, Reason.BUNDLE_DOCUMENT),
    ],
)
def test_a_malformed_bundle_is_refused_whole(
    keys: tuple[object, ...], members: dict[str, object], reason: Reason
) -> None:
    assert reason_of(X509, *keys, **members) is reason


def test_a_leaf_is_no_authority() -> None:
    leaf = base64.b64encode(CA.chain()[0]).decode()
    assert reason_of({**X509, "x5c": [leaf]}) is Reason.ISSUER_NOT_CA


def test_a_weak_jwt_key_is_refused() -> None:
    weak = {"use": "jwt-svid", "kid": "w", **jwk.write(private_key("rsa1024").public_key())}
    assert reason_of(weak) is Reason.CERTIFICATE_WEAK_KEY


def test_p521_may_sign_jwt_svids() -> None:
    assert read({"use": "jwt-svid", "kid": "5", **jwk.write(private_key("p521").public_key())}).jwt


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[],"keys":[]}', b"\xff"])
def test_what_is_no_jwk_set_is_refused(document: bytes) -> None:
    with pytest.raises(Refused):
        SpiffeBundle.from_json(A, document)


@given(st.binary(max_size=200))
def test_no_bytes_bring_anything_but_a_refusal(document: bytes) -> None:
    with pytest.raises(Refused):
        SpiffeBundle.from_json(A, document)


@given(
    st.fixed_dictionaries(
        {"use": st.sampled_from(["x509-svid", "jwt-svid"]), "kty": st.sampled_from(["EC", "RSA"])},
        optional={
            name: st.none() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=8), max_size=2)
            for name in ("kid", "crv", "x", "y", "n", "e", "x5c")
        },
    )
)
def test_no_key_brings_anything_but_a_bundle_or_a_refusal(key: dict[str, object]) -> None:
    try:
        bundle = read(key)
    except Refused:
        return
    assert bundle.x509.authorities_der == ()


def test_a_bundle_has_at_most_so_many_jwt_keys() -> None:
    keys = [{**JWT, "kid": str(number)} for number in range(MAX_AUTHORITIES + 1)]
    assert reason_of(*keys) is Reason.BUNDLE_TOO_LARGE


@pytest.mark.parametrize(
    ("hint", "read_as"), [(0, None), (1, timedelta(seconds=1)), (10**300, timedelta(365))]
)
def test_a_hint_of_nothing_is_none_and_one_beyond_reason_is_bounded(
    hint: int, read_as: timedelta | None
) -> None:
    assert read(spiffe_refresh_hint=hint).refresh_hint == read_as


@pytest.mark.parametrize(
    ("ours", "theirs", "older"),
    [(1, 2, True), (2, 2, False), (3, 2, False), (None, 2, False), (1, None, False)],
)
def test_the_sequence_says_which_bundle_is_older(ours: int | None, theirs: int | None, older: bool) -> None:
    def numbered(sequence: int | None) -> SpiffeBundle:
        return read(X509, **({} if sequence is None else {"spiffe_sequence": sequence}))

    assert numbered(ours).precedes(numbered(theirs)) is older


def test_a_sequence_of_more_than_64_bits_is_kept_whole() -> None:
    assert read(spiffe_sequence=2**64 + 1).sequence == 2**64 + 1
