"""A signer is verified once; what made it trusted ends it at once, and nothing else is taken on trust."""

from datetime import datetime, timedelta

import pytest

from spiffe_mcp.context import jws, signers
from spiffe_mcp.context.signers import TrustedSigner, TrustedSigners
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import BundleSet
from spiffe_mcp.identity.svid import X509Svid
from spiffe_mcp.identity.verify import VerifiedPath, verify_path
from tests.fakes.links import BUNDLES, CA, FOREIGN_CA, NOW, PLANNER, algorithm
from tests.fakes.mini_ca import MiniCa

SIBLING = CA.issue("/ns/agents/other")
HOUR = timedelta(hours=1)


def header_of(svid: X509Svid) -> bytes:
    return jws.encode_header(algorithm(svid), svid.chain_der)


def reason_of(memory: TrustedSigners, header: bytes, after: timedelta = timedelta()) -> Reason:
    with pytest.raises(Refused) as refusal:
        memory.of(header, NOW + after)
    return refusal.value.reason


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every chain that was verified."""
    seen: list[object] = []

    def counting(chain_der: tuple[bytes, ...], bundles: BundleSet, now: datetime) -> VerifiedPath:
        seen.append(chain_der)
        return verify_path(chain_der, bundles, now)

    monkeypatch.setattr(signers, "verify_path", counting)
    return seen


@pytest.mark.parametrize("key_kind", ["p256", "p384", "rsa2048"])
def test_a_signer_is_who_its_certificate_says(key_kind: str) -> None:
    svid = CA.issue("/ns/agents/planner", key_kind=key_kind)
    signer = TrustedSigners(BUNDLES).of(header_of(svid), NOW)
    assert signer.spiffe_id == svid.spiffe_id
    assert signer.leaf_der == svid.chain_der[0]
    assert signer.key == svid.key.public_key()


def test_a_chain_is_verified_once_and_each_chain_by_itself(walks: list[object]) -> None:
    memory = TrustedSigners(BUNDLES)
    first = memory.of(header_of(PLANNER), NOW)
    assert memory.of(header_of(PLANNER), NOW + HOUR / 4) is first
    assert memory.of(header_of(SIBLING), NOW).spiffe_id == SIBLING.spiffe_id
    assert walks == [PLANNER.chain_der, SIBLING.chain_der]


def test_a_signer_ends_with_its_certificate() -> None:
    memory = TrustedSigners(BUNDLES)
    memory.of(header_of(PLANNER), NOW)
    assert reason_of(memory, header_of(PLANNER), after=HOUR) is Reason.CONTEXT_CERTIFICATE


def test_a_signer_ends_with_the_intermediate_that_vouches_for_it() -> None:
    node = CA.subordinate(lifetime=HOUR / 2)
    svid = node.issue("/ns/agents/planner", lifetime=3 * HOUR)
    memory = TrustedSigners(BUNDLES)
    assert memory.of(header_of(svid), NOW).spiffe_id == svid.spiffe_id
    assert reason_of(memory, header_of(svid), after=HOUR / 2) is Reason.CONTEXT_CERTIFICATE


def test_a_signer_ends_with_its_authority() -> None:
    short = MiniCa.rooted("c.test", lifetime=HOUR / 2)
    svid = short.issue("/w", lifetime=3 * HOUR)
    memory = TrustedSigners(BundleSet.from_der({"c.test": short.bundle_der}))
    assert memory.of(header_of(svid), NOW).spiffe_id == svid.spiffe_id
    assert reason_of(memory, header_of(svid), after=HOUR / 2) is Reason.CONTEXT_CERTIFICATE


def test_a_clock_set_back_ends_it_too() -> None:
    memory = TrustedSigners(BUNDLES)
    memory.of(header_of(PLANNER), NOW)
    assert reason_of(memory, header_of(PLANNER), after=-2 * HOUR) is Reason.CONTEXT_CERTIFICATE


def test_other_bundles_are_another_memory() -> None:
    TrustedSigners(BUNDLES).of(header_of(PLANNER), NOW)
    without = BundleSet.from_der({"b.test": FOREIGN_CA.bundle_der})
    assert reason_of(TrustedSigners(without), header_of(PLANNER)) is Reason.CONTEXT_CERTIFICATE


def test_an_algorithm_that_is_not_the_keys_is_refused() -> None:
    header = jws.encode_header("PS256", PLANNER.chain_der)
    assert reason_of(TrustedSigners(BUNDLES), header) is Reason.CONTEXT_ALGORITHM


def test_a_refusal_is_found_anew_and_takes_no_room(walks: list[object]) -> None:
    memory = TrustedSigners(BUNDLES)
    stranger = header_of(MiniCa("a.test").issue("/ns/agents/planner"))
    for _ in range(2):
        assert reason_of(memory, stranger) is Reason.CONTEXT_CERTIFICATE
    assert len(walks) == 2
    assert len(memory) == 0


def test_the_oldest_makes_room(walks: list[object]) -> None:
    memory = TrustedSigners(BUNDLES, capacity=2)
    svids = [CA.issue(f"/w/{name}") for name in "abc"]
    for svid in svids:
        memory.of(header_of(svid), NOW)
    assert len(memory) == 2
    for svid in reversed(svids):
        assert memory.of(header_of(svid), NOW).spiffe_id == svid.spiffe_id
    assert walks == [svid.chain_der for svid in (*svids, svids[0])]


def test_nobody_becomes_a_signer_by_construction() -> None:
    known = TrustedSigners(BUNDLES).of(header_of(PLANNER), NOW)
    with pytest.raises(TypeError, match="granted"):
        TrustedSigner(path=known.path, leaf_der=b"", thumbprint=b"", key=known.key)


def test_its_key_is_not_shown() -> None:
    shown = repr(TrustedSigners(BUNDLES).of(header_of(PLANNER), NOW))
    assert "key" not in shown
    assert "leaf" not in shown
