"""Whatever the bytes, `verify_chain` and the parsers behind it give a value or `Refused`."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import BundleSet, SpiffeId, X509Svid, verify_chain
from spiffe_mcp.identity.update import SvidPart, Update, apply
from spiffe_mcp.identity.wanted import FirstOffered
from tests.fakes.mini_ca import NOW, MiniCa

CA: Final = MiniCa("a.test")
NODE: Final = CA.subordinate(permitted_uris=("a.test",))
BUNDLES: Final = BundleSet.from_der({"a.test": CA.bundle_der})
LEAF, KEY = NODE.issue_der("/w", dns=("w.a.test",))
ID: Final = SpiffeId.parse("spiffe://a.test/w")
THOROUGH: Final = settings(max_examples=400, deadline=None)


@st.composite
def mutated(draw: st.DrawFn, der: bytes) -> bytes:
    """`der` with bytes changed, removed, inserted, or the end cut off."""
    data = bytearray(der)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(["change", "change", "change", "remove", "insert", "cut"]))
        if kind == "change" and data:
            data[place] = draw(st.integers(0, 255))
        elif kind == "remove":
            del data[place : place + draw(st.integers(1, 8))]
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=8))
        else:
            del data[place:]
    return bytes(data)


@given(mutated(LEAF[0]))
@THOROUGH
def test_a_mutated_leaf_proves_nothing(leaf: bytes) -> None:
    try:
        found = verify_chain((leaf, *LEAF[1:]), BUNDLES, NOW)
    except Refused:
        return
    # The signature covers everything but its own encoding: an ID that is accepted is the one that was signed.
    assert found == ID
    assert leaf == LEAF[0]


@given(mutated(LEAF[1]))
@THOROUGH
def test_a_mutated_intermediate_proves_nothing(intermediate: bytes) -> None:
    try:
        found = verify_chain((LEAF[0], intermediate), BUNDLES, NOW)
    except Refused:
        return
    assert found == ID
    assert intermediate == LEAF[1]


@given(mutated(CA.bundle_der[0]))
@THOROUGH
def test_a_mutated_authority_is_an_authority_or_refused(authority: bytes) -> None:
    try:
        verify_chain(LEAF, BundleSet.from_der({"a.test": [authority]}), NOW)
    except Refused:
        return


@given(st.lists(st.binary(max_size=64), max_size=7))
def test_random_bytes_prove_nothing(chain: list[bytes]) -> None:
    try:
        verify_chain(chain, BUNDLES, NOW)
    except Refused:
        return
    raise AssertionError("random bytes were accepted")


@given(mutated(b"".join(LEAF)), mutated(KEY))
@THOROUGH
def test_mutated_parts_make_an_svid_or_are_refused(chain: bytes, key: bytes) -> None:
    for parts in ((chain, KEY), (b"".join(LEAF), key)):
        try:
            X509Svid.from_der(*parts)
        except Refused:
            continue


@given(
    st.text(),
    mutated(b"".join(LEAF)),
    mutated(KEY),
    mutated(CA.bundle_der[0]),
    st.dictionaries(st.text(), st.binary()),
)
@settings(max_examples=100, deadline=None)
def test_any_update_is_applied_in_part_or_not_at_all(
    name: str, chain: bytes, key: bytes, bundle: bytes, federated: dict[str, bytes]
) -> None:
    good = SvidPart(str(ID), b"".join(LEAF), KEY, CA.bundle_der[0])
    for part in (
        good,
        SvidPart(name, good.chain, good.key, good.bundle),
        SvidPart(good.spiffe_id, chain, good.key, good.bundle),
        SvidPart(good.spiffe_id, good.chain, key, good.bundle),
        SvidPart(good.spiffe_id, good.chain, good.key, bundle),
    ):
        applied = apply(Update((part,), federated), None, FirstOffered(), NOW)
        assert (applied.state is None) <= bool(applied.refused)


@given(st.binary() | mutated(BUNDLES.to_json()))
def test_any_document_is_read_or_refused(document: bytes) -> None:
    try:
        BundleSet.from_json(document)
    except Refused:
        return
