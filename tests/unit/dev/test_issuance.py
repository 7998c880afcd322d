"""Registration entries: who may be registered, and what is issued for whom."""

from datetime import UTC, datetime, timedelta

import pytest

from spiffe_mcp.dev.ca import Authorities
from spiffe_mcp.dev.issuance import POLLS_PER_RENEWAL, Entry, Issued, registrations
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import Bundle
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.identity.verify import verify_chain

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TTL = timedelta(minutes=5)
TRUST_DOMAIN = TrustDomain("mesh.test")


def entry(path: str, uid: int = 1000, hint: str = "") -> Entry:
    return Entry(SpiffeId(TRUST_DOMAIN, path), uid, hint)


def test_the_hint_is_the_last_segment_of_the_path_unless_configured() -> None:
    assert entry("/mcp/demo").hint == "demo"
    assert entry("/mcp/demo", hint="tools").hint == "tools"


@pytest.mark.parametrize("uid", [-1, 2**32 - 1, 2**32, 65534])
def test_a_uid_that_does_not_name_one_user_is_not_registered(uid: int) -> None:
    with pytest.raises(Refused) as refusal:
        entry("/ai-agent", uid)
    assert refusal.value.reason is Reason.DEV_REGISTRATION


def test_entries_keep_their_order_and_their_user() -> None:
    found = registrations(TRUST_DOMAIN, [entry("/b"), entry("/x", uid=7), entry("/a")])
    assert {uid: [str(one.spiffe_id) for one in entries] for uid, entries in found.items()} == {
        1000: ["spiffe://mesh.test/b", "spiffe://mesh.test/a"],
        7: ["spiffe://mesh.test/x"],
    }


@pytest.mark.parametrize(
    "second",
    [entry("/a", hint="other"), entry("/ns/a")],
    ids=["the same ID", "the same hint"],
)
def test_two_entries_of_one_user_share_neither_id_nor_hint(second: Entry) -> None:
    with pytest.raises(Refused) as refusal:
        registrations(TRUST_DOMAIN, [entry("/a"), second])
    assert refusal.value.reason is Reason.DEV_REGISTRATION


def test_two_users_may_share_an_id() -> None:
    assert len(registrations(TRUST_DOMAIN, [entry("/a"), entry("/a", uid=7)])) == 2


def test_no_workload_of_another_trust_domain_is_registered() -> None:
    with pytest.raises(Refused) as refusal:
        registrations(TrustDomain("other.test"), [entry("/a")])
    assert refusal.value.reason is Reason.DEV_FOREIGN_TRUST_DOMAIN


def test_svids_are_renewed_before_half_of_their_life_is_over() -> None:
    issued = Issued.issue([entry("/a")], Authorities.create(TRUST_DOMAIN, now=NOW), now=NOW, svid_ttl=TTL)
    svid = issued.svids[entry("/a")]
    assert svid.not_before < NOW < issued.renew_at < svid.not_before + (svid.not_after - svid.not_before) / 2


def test_reissuing_replaces_every_svid_and_trusting_replaces_none() -> None:
    first = Issued.issue([entry("/a")], Authorities.create(TRUST_DOMAIN, now=NOW), now=NOW, svid_ttl=TTL)
    prepared = first.authorities.prepared(NOW)
    assert first.trusting(prepared).svids == first.svids
    assert first.reissued(prepared, now=NOW).svids[entry("/a")] != first.svids[entry("/a")]


def test_what_is_issued_verifies_with_the_bundles_of_the_same_moment() -> None:
    issued = Issued.issue([entry("/a")], Authorities.create(TRUST_DOMAIN, now=NOW), now=NOW, svid_ttl=TTL)
    chain = issued.svids[entry("/a")].chain_der
    assert verify_chain(chain, issued.bundles, NOW) == entry("/a").spiffe_id


# -- foreign bundles ----------------------------------------------------------------------------------------

B, C = TrustDomain("b.test"), TrustDomain("c.test")
OF_B, OF_C = (SpiffeBundle(Bundle(name, ()), sequence=1) for name in (B, C))


def federated(path: str, *trust_domains: TrustDomain) -> Entry:
    return Entry(SpiffeId(TRUST_DOMAIN, path), 1000, federates_with=frozenset(trust_domains))


def issued_for(*entries: Entry) -> Issued:
    return Issued.issue(entries, Authorities.create(TRUST_DOMAIN, now=NOW), now=NOW, svid_ttl=TTL)


def test_no_entry_federates_with_its_own_trust_domain() -> None:
    with pytest.raises(Refused) as refusal:
        federated("/a", TRUST_DOMAIN)
    assert refusal.value.reason is Reason.DEV_REGISTRATION


def test_an_entry_has_the_bundles_that_it_federates_with_and_no_others() -> None:
    none, one, both = federated("/none"), federated("/one", C), federated("/both", C, B)
    issued = issued_for(none, one, both).federating(OF_B).federating(OF_C)
    assert issued.foreign_to([none]) == []
    assert issued.foreign_to([one]) == [OF_C]
    assert issued.foreign_to([one, both, none]) == [OF_B, OF_C]


def test_a_bundle_that_has_not_come_yet_is_nobody() -> None:
    entry = federated("/a", B)
    assert issued_for(entry).foreign_to([entry]) == []


def test_a_newer_bundle_replaces_the_last_and_a_removed_one_is_gone() -> None:
    newer = SpiffeBundle(Bundle(B, ()), sequence=2)
    issued = issued_for(federated("/a", B)).federating(OF_B).federating(OF_C).federating(newer)
    assert dict(issued.foreign) == {B: newer, C: OF_C}
    assert dict(issued.without(B).foreign) == {C: OF_C}
    assert [bundle.trust_domain for bundle in issued.every_bundle.bundles] == [B, C, TRUST_DOMAIN]


def test_what_is_known_of_others_outlives_a_rotation_of_our_own() -> None:
    issued = issued_for(federated("/a", B)).federating(OF_B)
    assert issued.reissued(issued.authorities, now=NOW).foreign == issued.foreign
    assert issued.trusting(issued.authorities.prepared(NOW)).foreign == issued.foreign


def test_the_published_bundle_is_polled_several_times_before_a_prepared_authority_signs() -> None:
    issued = issued_for(federated("/a"))
    assert issued.own.refresh_hint is not None
    assert issued.own.refresh_hint * POLLS_PER_RENEWAL <= issued.renew_at - NOW
    assert issued.own.sequence == issued.authorities.sequence
    assert [key.key_id for key in issued.own.jwt] == [issued.authorities.signing.jwt.key_id]
