"""`verify_chain` against a corpus of chains, each hostile one with the one reason that it has to get."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import BundleSet, verify_chain
from spiffe_mcp.identity.verify import MAX_NAMESAKES, VerifiedPath, verify_path
from tests.fakes.chains import BER, GOOD, GOOD_AT, HOSTILE, HOSTILE_AT, ID, Make, World
from tests.fakes.mini_ca import HOUR, NOW, MiniCa

WORLD: Final = World(NOW)
CA, STRANGER, BUNDLES = WORLD.ca, WORLD.stranger, WORLD.bundles
ALL_GOOD: Final = GOOD | GOOD_AT
ALL_HOSTILE: Final = HOSTILE | HOSTILE_AT | {"BER": (Reason.CERTIFICATE_MALFORMED, BER)}


@pytest.mark.parametrize(("spiffe_id", "make"), ALL_GOOD.values(), ids=ALL_GOOD.keys())
def test_a_good_chain_proves_its_spiffe_id(spiffe_id: str, make: Make) -> None:
    assert str(verify_chain(make(WORLD).chain, BUNDLES, NOW)) == spiffe_id


@pytest.mark.parametrize(("reason", "make"), ALL_HOSTILE.values(), ids=ALL_HOSTILE.keys())
def test_a_hostile_chain_is_refused_for_its_own_reason(reason: Reason, make: Make) -> None:
    with pytest.raises(Refused) as refused:
        verify_chain(make(WORLD).chain, BUNDLES, NOW)
    assert refused.value.reason is reason


def test_the_last_instant_of_validity_is_exact() -> None:
    chain = CA.chain(not_before=NOW - HOUR, lifetime=HOUR)
    with pytest.raises(Refused) as refused:
        verify_chain(chain, BUNDLES, NOW + timedelta(microseconds=1))
    assert refused.value.reason is Reason.CERTIFICATE_EXPIRED


@pytest.mark.parametrize("hours", [-11, 0, 14])
def test_the_zone_in_which_now_is_told_does_not_matter(hours: int) -> None:
    now: datetime = NOW.astimezone(timezone(timedelta(hours=hours)))
    assert str(verify_chain(CA.chain(), BUNDLES, now)) == ID


def test_a_rotated_authority_is_accepted_beside_the_old_one_and_refused_once_removed() -> None:
    old, new = MiniCa("a.test"), MiniCa("a.test")
    both = BundleSet.from_der({"a.test": [*old.bundle_der, *new.bundle_der]})
    assert str(verify_chain(old.chain(), both, NOW)) == str(verify_chain(new.chain(), both, NOW)) == ID
    with pytest.raises(Refused) as refused:
        verify_chain(old.chain(), BundleSet.from_der({"a.test": new.bundle_der}), NOW)
    assert refused.value.reason is Reason.CHAIN_UNTRUSTED


def test_an_authority_is_found_among_namesakes_that_nothing_but_the_signature_tells_apart() -> None:
    authorities = [MiniCa("a.test") for _ in range(MAX_NAMESAKES)]
    bundles = BundleSet.from_der({"a.test": [one.root.der for one in authorities]})
    for one in authorities:
        assert str(verify_chain(one.chain(authority_key_id=False), bundles, NOW)) == ID
    with pytest.raises(Refused) as refused:
        verify_chain(STRANGER.chain(authority_key_id=False), bundles, NOW)
    assert refused.value.reason is Reason.CHAIN_UNTRUSTED


def test_a_chain_is_judged_anew_for_each_bundle_and_each_time() -> None:
    chain = CA.chain()
    assert str(verify_chain(chain, BUNDLES, NOW)) == ID
    for bundles, now, reason in (
        (BundleSet(), NOW, Reason.BUNDLE_UNKNOWN),
        (BundleSet.from_der({"a.test": STRANGER.bundle_der}), NOW, Reason.CHAIN_UNTRUSTED),
        (BUNDLES, NOW + 2 * HOUR, Reason.CERTIFICATE_EXPIRED),
    ):
        with pytest.raises(Refused) as refused:
            verify_chain(chain, bundles, now)
        assert refused.value.reason is reason


def test_a_path_holds_for_as_long_as_every_certificate_of_it() -> None:
    root = MiniCa.rooted("a.test", not_before=NOW - 2 * HOUR)
    node = root.subordinate(not_before=NOW - HOUR, lifetime=3 * HOUR)
    chain = node.chain(not_before=NOW - HOUR / 2, lifetime=9 * HOUR)
    path = verify_path(chain, BundleSet.from_der({"a.test": root.bundle_der}), NOW)
    assert str(path.spiffe_id) == ID
    assert (path.not_before, path.not_after) == (NOW - HOUR / 2, NOW + 2 * HOUR)
    assert [path.holds_at(NOW + HOUR * hours) for hours in (-0.5, 0, 2)] == [True, True, True]
    assert [path.holds_at(NOW + HOUR * hours) for hours in (-0.51, 2.01)] == [False, False]


def test_a_path_ends_with_its_authority() -> None:
    short = MiniCa.rooted("a.test", not_before=NOW - HOUR, lifetime=2 * HOUR)
    path = verify_path(short.chain(lifetime=9 * HOUR), BundleSet.from_der({"a.test": short.bundle_der}), NOW)
    assert path.not_after == NOW + HOUR


def test_nobody_can_say_of_himself_that_he_was_verified() -> None:
    with pytest.raises(TypeError, match="granted"):
        VerifiedPath(spiffe_id=CA.issue().spiffe_id, not_before=NOW, not_after=NOW)


def test_what_the_operator_reads_of_a_refused_id_is_printable() -> None:
    with pytest.raises(Refused) as refused:
        verify_chain(CA.chain(uris=("spiffe://a.test/w\r\nforged log line",)), BUNDLES, NOW)
    assert refused.value.detail.isprintable()


# -- the arguments that are the caller's own ----------------------------------------------------------------


@pytest.mark.parametrize("chain", [CA.chain(), ()])
def test_a_time_without_a_zone_is_the_caller_s_mistake_whatever_the_chain(chain: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        verify_chain(chain, BUNDLES, NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    "chain", [CA.chain()[0], ["-----BEGIN CERTIFICATE-----"], [None], [65], iter(CA.chain()), {}]
)
def test_what_is_no_sequence_of_bytes_is_the_caller_s_mistake(chain: Any) -> None:
    with pytest.raises(TypeError, match="sequence of certificates"):
        verify_chain(chain, BUNDLES, NOW)


@pytest.mark.parametrize("now", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_the_ends_of_time_are_times_like_any_other(now: datetime, hours: int) -> None:
    with pytest.raises(Refused):
        verify_chain(CA.chain(), BUNDLES, now.replace(tzinfo=timezone(timedelta(hours=hours))))
