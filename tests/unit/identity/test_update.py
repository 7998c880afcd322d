"""What an update makes of an identity: good parts are taken, bad ones refused, last good ones kept."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId, TrustDomain
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import Applied, SvidPart, Update, apply
from spiffe_mcp.identity.wanted import ByHint, ById, FirstOffered
from tests.fakes.mini_ca import HOUR, NOW, MiniCa

CA: Final = MiniCa("a.test")
ROTATED: Final = MiniCa("a.test")
B: Final = MiniCa("b.test")
C: Final = MiniCa("c.test")
B_DOMAIN: Final = TrustDomain("b.test")


def part(ca: MiniCa = CA, path: str = "/w", **deviations: Any) -> SvidPart:
    chain, key = ca.issue_der(path, **deviations)
    uri = f"spiffe://{ca.trust_domain}{path}"
    return SvidPart(uri, b"".join(chain), key, b"".join(ca.bundle_der))


def taken(update: Update, last: IdentityState | None = None, *, hours: int = 0) -> IdentityState:
    """The state after an update in which everything is good."""
    applied = apply(update, last, FirstOffered(), NOW + hours * HOUR)
    assert applied.refused == ()
    assert applied.state is not None
    return applied.state


FIRST: Final = taken(Update((part(),), {"spiffe://b.test": B.bundle_der[0]}))
B_ONLY: Final = {"spiffe://b.test": B.bundle_der[0]}


def reasons(applied: Applied) -> list[Reason]:
    return [refused.reason for refused in applied.refused]


def test_own_and_federated_bundles_are_taken_each_for_its_own_trust_domain() -> None:
    assert FIRST.bundles.get(TrustDomain("a.test")).authorities_der == tuple(CA.bundle_der)  # type: ignore[union-attr]  # a failure either way
    assert FIRST.bundles.get(B_DOMAIN).authorities_der == tuple(B.bundle_der)  # type: ignore[union-attr]  # a failure either way


def test_a_rotated_authority_and_its_svid_replace_the_old_ones() -> None:
    state = taken(Update((part(ROTATED),)), FIRST)
    assert state.bundles.authorities_der == tuple(ROTATED.bundle_der)
    assert state.svid != FIRST.svid


def test_the_configured_id_is_picked_among_several() -> None:
    wanted = SpiffeId.parse("spiffe://a.test/x")
    applied = apply(Update((part(), part(path="/x"))), None, ById(wanted), NOW)
    assert applied.state is not None
    assert applied.state.svid.spiffe_id == wanted


def test_the_configured_hint_is_picked_among_several_and_the_first_of_two_alike() -> None:
    marked = [replace(part(path=path), hint="internal") for path in ("/x", "/y")]
    applied = apply(Update((part(), *marked)), None, ByHint("internal"), NOW)
    assert applied.state is not None
    assert str(applied.state.svid.spiffe_id) == "spiffe://a.test/x"


def test_the_first_is_picked_where_none_is_configured() -> None:
    assert str(taken(Update((part(path="/x"), part()))).svid.spiffe_id) == "spiffe://a.test/x"


def test_an_id_that_is_not_offered_is_withdrawn() -> None:
    with pytest.raises(Refused) as refused:
        apply(Update((part(),)), FIRST, ById(SpiffeId.parse("spiffe://a.test/x")), NOW)
    assert refused.value.reason is Reason.SVID_NOT_OFFERED


def test_a_hint_that_is_not_offered_is_withdrawn() -> None:
    with pytest.raises(Refused) as refused:
        apply(Update((replace(part(), hint="external"), part())), FIRST, ByHint("internal"), NOW)
    assert refused.value.reason is Reason.SVID_NOT_OFFERED


def test_a_message_without_svids_is_discarded() -> None:
    applied = apply(Update((), {"spiffe://b.test": b""}), FIRST, FirstOffered(), NOW)
    assert applied.state is FIRST
    assert reasons(applied) == [Reason.WORKLOAD_API_INCOMPLETE]


GOOD: Final = part()
BAD_OWN: Final = {
    "a chain that is garbage": (replace(GOOD, chain=b"garbage"), Reason.CERTIFICATE_MALFORMED),
    "no chain": (replace(GOOD, chain=b""), Reason.CHAIN_EMPTY),
    "no key": (replace(GOOD, key=b""), Reason.SVID_KEY_MALFORMED),
    "another certificate's key": (replace(GOOD, key=part().key), Reason.SVID_KEY_MISMATCH),
    "another ID beside the certificate": (
        replace(GOOD, spiffe_id="spiffe://a.test/admin"),
        Reason.SVID_ID_MISMATCH,
    ),
    "no ID beside the certificate": (replace(GOOD, spiffe_id=""), Reason.SVID_ID_MISMATCH),
    "an expired SVID": (
        part(not_before=NOW - 2 * HOUR, lifetime=HOUR),
        Reason.CERTIFICATE_EXPIRED,
    ),
    "an SVID of tomorrow": (part(not_before=NOW + HOUR), Reason.CERTIFICATE_NOT_YET_VALID),
    "an SVID that no peer would take": (part(key_usage=None), Reason.LEAF_KEY_USAGE_MISSING),
    "a bundle that does not verify the SVID": (
        replace(GOOD, bundle=ROTATED.bundle_der[0]),
        Reason.CHAIN_UNTRUSTED,
    ),
}


@pytest.mark.parametrize(("own", "reason"), BAD_OWN.values(), ids=BAD_OWN.keys())
def test_a_bad_own_part_keeps_the_last_pair_and_does_not_hold_up_the_others(
    own: SvidPart, reason: Reason
) -> None:
    applied = apply(Update((own,), {"spiffe://c.test": C.bundle_der[0]}), FIRST, FirstOffered(), NOW)
    assert reasons(applied) == [reason]
    assert applied.state is not None
    assert applied.state.svid == FIRST.svid
    assert [str(bundle.trust_domain) for bundle in applied.state.bundles.bundles] == ["a.test", "c.test"]


@pytest.mark.parametrize(("own", "reason"), BAD_OWN.values(), ids=BAD_OWN.keys())
def test_a_bad_own_part_without_a_last_one_is_no_identity(own: SvidPart, reason: Reason) -> None:
    applied = apply(Update((own,)), None, FirstOffered(), NOW)
    assert applied.state is None
    assert reasons(applied) == [reason]


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [(b"", Reason.BUNDLE_EMPTY), (b"garbage", Reason.CERTIFICATE_MALFORMED)],
)
def test_a_bad_own_bundle_is_refused_and_the_last_one_verifies_the_new_svid(
    bundle: bytes, reason: Reason
) -> None:
    renewed = replace(part(), bundle=bundle)
    applied = apply(Update((renewed,)), FIRST, FirstOffered(), NOW)
    assert reasons(applied) == [reason]
    assert applied.state is not None
    assert b"".join(applied.state.svid.chain_der) == renewed.chain
    assert applied.state.bundles.authorities_der == tuple(CA.bundle_der)


def test_a_bad_svid_does_not_hold_up_a_rotation_that_keeps_the_old_authority() -> None:
    both = replace(part(), chain=b"garbage", bundle=CA.bundle_der[0] + ROTATED.bundle_der[0])
    applied = apply(Update((both,)), FIRST, FirstOffered(), NOW)
    assert reasons(applied) == [Reason.CERTIFICATE_MALFORMED]
    assert applied.state is not None
    assert applied.state.svid == FIRST.svid
    assert applied.state.bundles.authorities_der == (*CA.bundle_der, *ROTATED.bundle_der)


def test_an_empty_federated_bundle_is_taken_and_trusts_nobody() -> None:
    state = taken(Update((part(),), {"spiffe://b.test": b""}), FIRST)
    bundle = state.bundles.get(B_DOMAIN)
    assert bundle is not None
    assert bundle.authorities_der == ()


def test_a_malformed_federated_bundle_is_refused_and_the_last_good_one_kept() -> None:
    applied = apply(Update((part(),), {"spiffe://b.test": b"garbage"}), FIRST, FirstOffered(), NOW)
    assert reasons(applied) == [Reason.CERTIFICATE_MALFORMED]
    assert applied.refused[0].part == "bundle 'spiffe://b.test'"
    assert applied.state is not None
    assert applied.state.bundles.get(B_DOMAIN) == FIRST.bundles.get(B_DOMAIN)


def test_a_malformed_federated_bundle_without_a_last_one_is_left_out() -> None:
    applied = apply(Update((part(),), {"spiffe://c.test": b"garbage", **B_ONLY}), None, FirstOffered(), NOW)
    assert reasons(applied) == [Reason.CERTIFICATE_MALFORMED]
    assert applied.state is not None
    assert [str(bundle.trust_domain) for bundle in applied.state.bundles.bundles] == ["a.test", "b.test"]


def test_a_federated_bundle_that_is_no_longer_sent_is_dropped() -> None:
    assert taken(Update((part(),)), FIRST).bundles.get(B_DOMAIN) is None


def test_a_federated_bundle_may_be_named_without_scheme() -> None:
    assert taken(Update((part(),), {"b.test": B.bundle_der[0]})).bundles.get(B_DOMAIN) is not None


@pytest.mark.parametrize("name", ["spiffe://a.test", "a.test"])
def test_no_federated_bundle_can_stand_in_for_our_own(name: str) -> None:
    applied = apply(Update((part(),), {name: B.bundle_der[0]}), None, FirstOffered(), NOW)
    assert reasons(applied) == [Reason.BUNDLE_TWICE]
    assert applied.state is not None
    assert applied.state.bundles.authorities_der == tuple(CA.bundle_der)


def test_a_trust_domain_that_is_named_twice_is_believed_once() -> None:
    federated = {"spiffe://b.test": B.bundle_der[0], "b.test": C.bundle_der[0]}
    applied = apply(Update((part(),), federated), None, FirstOffered(), NOW)
    assert reasons(applied) == [Reason.BUNDLE_TWICE]
    assert applied.state is not None
    assert applied.state.bundles.authorities_der == (*CA.bundle_der, *B.bundle_der)


@pytest.mark.parametrize(
    "name", ["", "spiffe://", "spiffe://B.test", "spiffe://b.test/x", "b.test\n", "\x00"]
)
def test_a_malformed_trust_domain_name_is_refused(name: str) -> None:
    applied = apply(Update((part(),), {name: B.bundle_der[0]}), None, FirstOffered(), NOW)
    assert reasons(applied) == [Reason.ID_MALFORMED]
    assert applied.refused[0].part.isprintable()


def test_the_bundle_beside_an_svid_of_another_trust_domain_is_taken_for_that_domain() -> None:
    state = taken(Update((part(), part(B))))
    bundle = state.bundles.get(B_DOMAIN)
    assert bundle is not None
    assert bundle.authorities_der == tuple(B.bundle_der)


def test_an_expired_last_svid_is_kept_for_its_holder_to_see() -> None:
    """Whether it may still be used is asked of `valid_at`; to drop it would hide why nothing works."""
    applied = apply(
        Update((replace(GOOD, chain=b"garbage"),)), FIRST, FirstOffered(), NOW + timedelta(days=1)
    )
    assert reasons(applied) == [Reason.CERTIFICATE_MALFORMED, Reason.CERTIFICATE_EXPIRED]
    assert applied.state is not None
    assert not applied.state.valid_at(NOW + timedelta(days=1))
