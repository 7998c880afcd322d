"""Bundles: one per trust domain, and nothing in them that could not be an authority."""

import json
from typing import Any, Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import Bundle, BundleSet, TrustDomain
from spiffe_mcp.identity.bundle import MAX_AUTHORITIES
from tests.fakes.mini_ca import SPIRE_KEY_USAGE, MiniCa

A, B = MiniCa("a.test"), MiniCa("b.test")
DOMAIN: Final = TrustDomain("a.test")


def test_each_trust_domain_has_its_own_authorities() -> None:
    bundles = BundleSet.from_der({"b.test": B.bundle_der, "a.test": A.bundle_der})
    found = bundles.get(DOMAIN)
    assert found is not None
    assert found.authorities_der == tuple(A.bundle_der)
    assert bundles.get(TrustDomain("c.test")) is None


def test_an_empty_bundle_is_legal_and_not_the_same_as_none() -> None:
    assert BundleSet.from_der({"a.test": []}).get(DOMAIN) == Bundle(DOMAIN, ())


def test_two_bundles_for_one_trust_domain_are_never_merged() -> None:
    with pytest.raises(Refused) as refused:
        BundleSet((Bundle(DOMAIN, tuple(A.bundle_der)), Bundle(DOMAIN, tuple(B.bundle_der))))
    assert refused.value.reason is Reason.BUNDLE_TWICE


def test_sets_are_values() -> None:
    one = BundleSet.from_der({"a.test": A.bundle_der, "b.test": B.bundle_der})
    same = BundleSet.from_der({"b.test": B.bundle_der, "a.test": A.bundle_der})
    assert one == same
    assert hash(one) == hash(same)
    assert one != BundleSet.from_der({"a.test": A.bundle_der})


def test_every_authority_is_named_once_for_tls() -> None:
    shared = BundleSet.from_der({"a.test": A.bundle_der, "b.test": [*A.bundle_der, *B.bundle_der]})
    assert shared.authorities_der == (*A.bundle_der, *B.bundle_der)


@pytest.mark.parametrize(
    ("authority", "reason"),
    [
        (b"", Reason.CERTIFICATE_MALFORMED),
        (b"garbage", Reason.CERTIFICATE_MALFORMED),
        (A.bundle_der[0] + b"\0", Reason.CERTIFICATE_MALFORMED),
        (A.chain()[0], Reason.ISSUER_NOT_CA),
        (MiniCa.rooted("a.test", ca=False).bundle_der[0], Reason.ISSUER_NOT_CA),
        (MiniCa.rooted("a.test", ca=None).bundle_der[0], Reason.ISSUER_NOT_CA),
        (MiniCa.rooted("a.test", key_usage=SPIRE_KEY_USAGE).bundle_der[0], Reason.ISSUER_NO_KEY_CERT_SIGN),
        (MiniCa.rooted("a.test", key_kind="rsa1024").bundle_der[0], Reason.CERTIFICATE_WEAK_KEY),
        (MiniCa.rooted("a.test", key_kind="ed25519").bundle_der[0], Reason.CERTIFICATE_WEAK_KEY),
    ],
)
def test_what_cannot_be_an_authority_is_refused(authority: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        BundleSet.from_der({"a.test": [authority]})
    assert refused.value.reason is reason


@pytest.mark.parametrize("deviations", [{"signature": "sha1", "key_kind": "rsa2048"}, {"key_usage": None}])
def test_what_an_enterprise_root_may_look_like(deviations: dict[str, Any]) -> None:
    authorities = MiniCa.rooted("a.test", **deviations).bundle_der
    assert BundleSet.from_der({"a.test": authorities}).authorities_der == tuple(authorities)


def test_a_bundle_without_bounds_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        BundleSet.from_der({"a.test": A.bundle_der * (MAX_AUTHORITIES + 1)})
    assert refused.value.reason is Reason.BUNDLE_TOO_LARGE


def test_concatenated_authorities_make_a_bundle() -> None:
    rotated = MiniCa("a.test")
    bundle = Bundle.from_concatenated(DOMAIN, A.bundle_der[0] + rotated.bundle_der[0])
    assert bundle.authorities_der == (*A.bundle_der, *rotated.bundle_der)
    assert Bundle.from_concatenated(DOMAIN, b"").authorities_der == ()


def test_a_set_survives_its_json_form() -> None:
    bundles = BundleSet.from_der(
        {
            "a.test": [*A.bundle_der, *MiniCa.rooted("a.test", key_kind="rsa2048").bundle_der],
            "b.test": MiniCa.rooted("b.test", key_kind="p384").bundle_der,
            "revoked.test": [],
        }
    )
    assert BundleSet.from_json(bundles.to_json()) == bundles


def test_a_malformed_name_in_the_document_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        BundleSet.from_json(json.dumps({"trust_domains": {"A.test": {"keys": []}}}).encode())
    assert refused.value.reason is Reason.ID_MALFORMED
