"""The dev mesh's certificate authority: what its certificates say, and how one authority follows another."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from spiffe_mcp.dev.ca import BACKDATED, Authorities, Authority
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import BundleSet
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.identity.svid import X509Svid
from spiffe_mcp.identity.verify import verify_chain

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
TTL = timedelta(minutes=5)
TRUST_DOMAIN = TrustDomain("mesh.test")
WORKLOAD = SpiffeId(TRUST_DOMAIN, "/ai-agent")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.generate(TRUST_DOMAIN, now=NOW, ttl=DAY)


def certificate_of(svid: X509Svid) -> x509.Certificate:
    return x509.load_der_x509_certificate(svid.chain_der[0])


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> x509.Certificate:
    return certificate_of(authority.issue(WORKLOAD, now=NOW, ttl=TTL))


def uris(certificate: x509.Certificate) -> list[str]:
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert len(list(san)) == 1
    return san.get_values_for_type(x509.UniformResourceIdentifier)


def test_a_leaf_has_one_name_which_is_its_spiffe_id(leaf: x509.Certificate) -> None:
    assert uris(leaf) == [str(WORKLOAD)]


def test_a_leaf_signs_and_agrees_on_keys_and_does_nothing_else(leaf: x509.Certificate) -> None:
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_agreement
    others = ("key_encipherment", "data_encipherment", "content_commitment", "key_cert_sign", "crl_sign")
    assert [name for name in others if getattr(usage.value, name)] == []


def test_a_leaf_serves_both_ends_of_a_connection(leaf: x509.Certificate) -> None:
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_a_leaf_is_no_authority(leaf: x509.Certificate) -> None:
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca


def test_a_leaf_points_at_the_root_that_signed_it(leaf: x509.Certificate, authority: Authority) -> None:
    root = authority.certificate
    subject_key = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority_key = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority_key.key_identifier == subject_key.digest
    leaf.verify_directly_issued_by(root)


def test_a_leaf_is_valid_from_a_little_before_now_until_its_lifetime_ends(leaf: x509.Certificate) -> None:
    assert leaf.not_valid_before_utc == NOW - BACKDATED
    assert leaf.not_valid_after_utc == NOW + TTL


def test_a_leaf_never_outlives_its_root(authority: Authority) -> None:
    late = NOW + DAY - timedelta(minutes=1)
    assert authority.issue(WORKLOAD, now=late, ttl=TTL).not_after == NOW + DAY


def test_an_svid_carries_its_key_and_hint_and_a_chain_without_the_root(authority: Authority) -> None:
    svid = authority.issue(WORKLOAD, now=NOW, ttl=TTL, hint="internal")
    assert len(svid.chain_der) == 1
    assert svid.hint == "internal"
    assert isinstance(svid.key, ec.EllipticCurvePrivateKey)
    assert svid.key.public_key() == certificate_of(svid).public_key()


def test_two_svids_never_share_a_key_or_a_serial_number(authority: Authority) -> None:
    first, second = (certificate_of(authority.issue(WORKLOAD, now=NOW, ttl=TTL)) for _ in range(2))
    assert first.public_key() != second.public_key()
    assert first.serial_number != second.serial_number


def test_a_root_is_an_authority_for_leaves_only_and_names_its_trust_domain(authority: Authority) -> None:
    root = authority.certificate
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert uris(root) == ["spiffe://mesh.test"]
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature


def test_two_roots_of_one_trust_domain_have_different_names(authority: Authority) -> None:
    other = Authority.generate(TRUST_DOMAIN, now=NOW, ttl=DAY)
    assert other.certificate.subject != authority.certificate.subject


def test_an_authority_names_no_workload_of_another_trust_domain(authority: Authority) -> None:
    foreign = SpiffeId(TrustDomain("other.test"), "/ai-agent")
    with pytest.raises(Refused) as x509_refusal:
        authority.issue(foreign, now=NOW, ttl=TTL)
    assert x509_refusal.value.reason is Reason.DEV_FOREIGN_TRUST_DOMAIN
    with pytest.raises(Refused) as jwt_refusal:
        authority.jwt.sign(foreign, ["a"], now=NOW, ttl=TTL)
    assert jwt_refusal.value.reason is Reason.DEV_FOREIGN_TRUST_DOMAIN


def test_no_key_shows_when_an_authority_is_printed(authority: Authority) -> None:
    assert "PrivateKey" not in repr(authority)


def test_a_prepared_authority_is_trusted_before_it_signs() -> None:
    first = Authorities.create(TRUST_DOMAIN, now=NOW, ttl=DAY)
    prepared = first.prepared(NOW)
    assert prepared.signing is first.signing
    assert len(prepared.trusted) == 2
    activated = prepared.activated()
    assert activated.signing is prepared.trusted[1]
    assert activated.trusted == prepared.trusted


def test_a_revoked_authority_leaves_both_bundles() -> None:
    prepared = Authorities.create(TRUST_DOMAIN, now=NOW, ttl=DAY).prepared(NOW)
    after = prepared.activated().revoked()
    assert len(prepared.bundle().x509.authorities_der) == 2
    assert after.bundle().x509.authorities_der == (after.signing.certificate.public_bytes(Encoding.DER),)
    assert [key.key_id for key in after.bundle().jwt] == [after.signing.jwt.key_id]
    assert prepared.signing.jwt.key_id not in [key.key_id for key in after.bundle().jwt]


def test_routine_renewal_prepares_a_successor_at_half_life_then_activates_it_then_drops_the_expired() -> None:
    first = Authorities.create(TRUST_DOMAIN, now=NOW, ttl=DAY)
    assert first.renewed(NOW + DAY / 2 - timedelta(seconds=1)) == first
    at_half = first.renewed(NOW + DAY / 2)
    assert at_half.signing is first.signing
    assert len(at_half.trusted) == 2
    soon_after = at_half.renewed(NOW + DAY / 2 + TTL)
    assert soon_after.signing is at_half.trusted[1]
    assert len(soon_after.trusted) == 2
    once_expired = soon_after.renewed(NOW + DAY)
    assert first.signing not in once_expired.trusted
    assert soon_after.signing in once_expired.trusted


def trusting(authorities: Authorities) -> BundleSet:
    return BundleSet((authorities.bundle().x509,))


def test_the_sequence_grows_with_each_change_of_who_is_trusted_and_with_nothing_else() -> None:
    first = Authorities.create(TRUST_DOMAIN, now=NOW, ttl=DAY)
    prepared = first.prepared(NOW)
    assert first.sequence == int(NOW.timestamp())
    assert prepared.sequence == first.sequence + 1
    assert prepared.activated().sequence == prepared.sequence
    assert prepared.activated().revoked().sequence == prepared.sequence + 1
    assert first.renewed(NOW).sequence == first.sequence
    assert first.renewed(NOW + DAY / 2).sequence == first.sequence + 1


def test_a_provider_that_starts_anew_counts_on() -> None:
    before = Authorities.create(TRUST_DOMAIN, now=NOW, ttl=DAY).prepared(NOW)
    assert Authorities.create(TRUST_DOMAIN, now=NOW + TTL, ttl=DAY).sequence > before.sequence


def test_the_mesh_verifies_a_leaf_with_the_bundle_until_its_authority_is_revoked() -> None:
    authorities = Authorities.create(TRUST_DOMAIN, now=NOW, ttl=DAY).prepared(NOW)
    former = authorities.signing.issue(WORKLOAD, now=NOW, ttl=TTL).chain_der
    newer = authorities.activated().signing.issue(WORKLOAD, now=NOW, ttl=TTL).chain_der
    for chain in (former, newer):
        assert verify_chain(chain, trusting(authorities), NOW) == WORKLOAD
    revoked = trusting(authorities.activated().revoked())
    assert verify_chain(newer, revoked, NOW) == WORKLOAD
    with pytest.raises(Refused) as refusal:
        verify_chain(former, revoked, NOW)
    assert refusal.value.reason is Reason.CHAIN_UNTRUSTED
