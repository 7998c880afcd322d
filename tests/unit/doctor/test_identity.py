"""What a provider offers is judged by the agent's own rules, and told with what to do."""

from collections.abc import Collection
from datetime import datetime, timedelta

import pytest

from spiffe_mcp.doctor.finding import Check, Finding, Severity
from spiffe_mcp.doctor.identity import Judged, judge
from spiffe_mcp.identity import SpiffeId, TrustDomain
from spiffe_mcp.identity.update import SvidPart, Update
from spiffe_mcp.identity.wanted import ById, FirstOffered, Wanted
from tests.fakes.mini_ca import HOUR, NOW, MiniCa

A, B = TrustDomain("a.test"), TrustDomain("b.test")
MINUTE = timedelta(minutes=1)


def part(ca: MiniCa, path: str = "/w", **changes: object) -> SvidPart:
    chain, key = ca.issue_der(path, **{k: v for k, v in changes.items() if k not in {"key", "bundle"}})
    given_key, bundle = changes.get("key", key), changes.get("bundle", b"".join(ca.bundle_der))
    assert isinstance(given_key, bytes)
    assert isinstance(bundle, bytes)
    return SvidPart(f"spiffe://{ca.trust_domain}{path}", b"".join(chain), given_key, bundle)


def judged(
    *parts: SvidPart,
    federated: dict[str, bytes] | None = None,
    wanted: Wanted | None = None,
    needed: Collection[TrustDomain] = (),
    now: datetime = NOW,
) -> Judged:
    return judge(Update(parts, federated or {}), wanted or FirstOffered(), needed, now)


def only(found: Judged, check: Check) -> Finding:
    (finding,) = [finding for finding in found.findings if finding.check is check]
    return finding


@pytest.fixture
def ca() -> MiniCa:
    return MiniCa("a.test")


def test_a_sound_offer_is_well_in_every_respect(ca: MiniCa) -> None:
    found = judged(part(ca))
    assert found.state is not None
    assert {finding.severity for finding in found.findings} == {Severity.OK}
    assert {finding.check for finding in found.findings} == {Check.CLOCK, Check.SVID, Check.BUNDLE}
    assert "spiffe://a.test/w, valid for another 59 min 50 s" in only(found, Check.SVID).message


@pytest.mark.parametrize(("minutes", "severity"), [(39, Severity.OK), (41, Severity.WARNING)])
def test_an_svid_that_should_have_been_renewed_is_a_warning(
    ca: MiniCa, minutes: int, severity: Severity
) -> None:
    found = judged(part(ca), now=NOW + minutes * MINUTE)
    assert only(found, Check.SVID).severity is severity
    assert found.state is not None
    if severity is Severity.WARNING:
        assert "18 min 50 s of 1 h" in only(found, Check.SVID).message
        assert "reach its server" in only(found, Check.SVID).advice


def test_an_expired_svid_is_an_error_and_gives_no_identity(ca: MiniCa) -> None:
    found = judged(part(ca), now=NOW + 2 * HOUR)
    assert found.state is None
    finding = only(found, Check.SVID)
    assert finding.severity is Severity.ERROR
    assert "identity.certificate_expired" in finding.message
    assert "clock is ahead" in finding.advice


def test_a_clock_behind_the_provider_is_said_with_how_far(ca: MiniCa) -> None:
    found = judged(part(ca), now=NOW - 5 * MINUTE)
    clock = only(found, Check.CLOCK)
    assert clock.severity is Severity.ERROR
    assert "4 min 50 s or more behind" in clock.message
    assert "Synchronise" in clock.advice
    assert "identity.certificate_not_yet_valid" in only(found, Check.SVID).message


def test_the_clock_is_held_against_the_latest_of_all_that_was_issued(ca: MiniCa) -> None:
    later = part(ca, "/x", not_before=NOW + MINUTE)
    found = judged(part(ca), later, wanted=ById(SpiffeId(A, "/w")))
    assert found.state is not None
    assert only(found, Check.CLOCK).severity is Severity.ERROR


def test_an_svid_that_is_not_offered_is_told_with_those_that_are(ca: MiniCa) -> None:
    wanted = ById(SpiffeId(A, "/mine"))
    found = judged(part(ca, "/x"), part(ca, "/y"), wanted=wanted)
    finding = only(found, Check.SVID)
    assert found.state is None
    assert finding.severity is Severity.ERROR
    assert finding.message == (
        "spiffe://a.test/mine is not offered. Offered: spiffe://a.test/x, spiffe://a.test/y."
    )


def test_of_a_long_offer_only_the_beginning_is_told(ca: MiniCa) -> None:
    parts = [part(ca, f"/{number}") for number in range(12)]
    found = judged(*parts, wanted=ById(SpiffeId(A, "/mine")))
    assert "spiffe://a.test/9, and 2 more." in only(found, Check.SVID).message


def test_an_empty_offer_is_an_error() -> None:
    assert "offers no SVID" in only(judged(), Check.SVID).message


def test_an_svid_with_another_key_breaks_a_rule_that_is_named(ca: MiniCa) -> None:
    _, other = ca.issue_der("/w")
    finding = only(judged(part(ca, key=other)), Check.SVID)
    assert finding.severity is Severity.ERROR
    assert "identity.svid_key_mismatch" in finding.message


def test_garbage_instead_of_a_chain_is_told_and_nothing_else_is_raised(ca: MiniCa) -> None:
    garbage = SvidPart("spiffe://a.test/w", b"\x30\x03garbage", b"", b"")
    assert only(judged(garbage), Check.SVID).severity is Severity.ERROR


def test_a_missing_bundle_of_our_own_is_an_error(ca: MiniCa) -> None:
    found = judged(part(ca, bundle=b""))
    assert found.state is None
    assert "identity.bundle_empty" in only(found, Check.BUNDLE).message


def test_a_bundle_that_is_needed_and_missing_says_how_to_federate(ca: MiniCa) -> None:
    found = judged(part(ca), needed={B})
    missing = found.findings[-1]
    assert missing.severity is Severity.ERROR
    assert "no bundle for b.test" in missing.message
    assert "-federatesWith spiffe://b.test" in missing.advice
    assert found.state is not None


def test_a_bundle_that_is_needed_and_empty_trusts_nobody(ca: MiniCa) -> None:
    found = judged(part(ca), federated={"spiffe://b.test": b""}, needed={B})
    assert found.findings[-1].severity is Severity.ERROR
    assert "b.test is empty: nobody there is trusted" in found.findings[-1].message


def test_a_bundle_that_is_needed_and_there_is_well(ca: MiniCa) -> None:
    foreign = b"".join(MiniCa("b.test").bundle_der)
    found = judged(part(ca), federated={"spiffe://b.test": foreign}, needed={B})
    assert [finding.message for finding in found.findings[-2:]] == [
        "a.test: 1 authority.",
        "b.test: 1 authority.",
    ]


def test_a_foreign_bundle_that_breaks_a_rule_is_told_and_our_identity_stands(ca: MiniCa) -> None:
    found = judged(part(ca), federated={"spiffe://b.test": b"garbage"})
    assert found.state is not None
    refused = [finding for finding in found.findings if finding.severity is Severity.ERROR]
    assert [finding.check for finding in refused] == [Check.BUNDLE]
    assert "identity.certificate_malformed" in refused[0].message
