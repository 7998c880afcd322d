"""No octets in the header bring forth anything but a refusal, but for the very ones that were minted."""

import json
from datetime import timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spiffe_mcp.context.binding import RequestBinding
from spiffe_mcp.context.claims import Claims, loads
from spiffe_mcp.context.link import Link
from spiffe_mcp.context.minting import Delegation, Signer, mint
from spiffe_mcp.context.replay import ReplayGuard
from spiffe_mcp.context.user import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.tables import LocalTable
from tests.fakes.links import NOW, PLANNER, WEATHER, accept, good_claims, good_header, link, signed

GOOD = link().encode()
SIGNER = Signer.of(PLANNER)

texts = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40)
lists = st.lists(texts, max_size=5).map(tuple)
tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
scope_tokens = tokens.map(lambda token: token.translate({0x22: "x", 0x5C: "x"}))
users = st.builds(
    User,
    sub=texts,
    sub_iss=texts,
    groups=lists,
    department=st.none() | texts,
    purpose=st.none() | texts,
    approvals=lists,
    amr=lists,
    auth_time=st.none() | st.integers(0, 2**35),
    risk_score=st.none() | st.integers(0, 100) | st.floats(0, 100),
    compliance_frameworks=lists,
)
bindings = st.builds(
    RequestBinding,
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    uri=st.just("https://weather.a.test/mcp"),
    body_sha256=st.binary(min_size=32, max_size=32),
    mcp_method=texts,
    mcp_name=st.none() | texts,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    user=users,
    binding=bindings,
    scope=st.lists(scope_tokens, max_size=5).map(tuple),
    txn=tokens,
    jti=tokens,
    ttl=st.integers(1, 300),
)
@settings(max_examples=100, deadline=None)
def test_what_was_minted_is_what_is_verified(
    user: User, binding: RequestBinding, scope: tuple[str, ...], txn: str, jti: str, ttl: int
) -> None:
    header = mint(
        Delegation(user, PLANNER.spiffe_id, scope, txn),
        signer=SIGNER,
        audience=WEATHER,
        binding=binding,
        jti=jti,
        now=NOW,
        ttl=timedelta(seconds=ttl),
    )
    context = accept(header, binding=binding)
    assert (context.user, context.scope, context.txn, context.jti) == (user, scope, txn, jti)


@given(place=st.integers(0, len(GOOD) - 1), octet=st.integers(0, 255))
@settings(max_examples=1500, deadline=None)
def test_one_octet_changed_is_refused(place: int, octet: int) -> None:
    assume(GOOD[place] != octet)
    with pytest.raises(Refused):
        accept(GOOD[:place] + bytes([octet]) + GOOD[place + 1 :])


@given(place=st.integers(0, len(GOOD)), cut=st.integers(0, 8), put=st.binary(max_size=8))
@settings(max_examples=500, deadline=None)
def test_octets_cut_or_put_in_are_refused(place: int, cut: int, put: bytes) -> None:
    changed = GOOD[:place] + put + GOOD[place + cut :]
    assume(changed != GOOD)
    with pytest.raises(Refused):
        accept(changed)


@given(header=st.binary(max_size=300) | st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_.~-]{0,300}"))
@settings(max_examples=500, deadline=None)
def test_any_octets_are_refused(header: str | bytes) -> None:
    with pytest.raises(Refused):
        accept(header)


@given(name=st.sampled_from(sorted(good_header())), value=json_values)
@settings(max_examples=300, deadline=None)
def test_any_jose_header_of_our_peer_is_refused(name: str, value: object) -> None:
    assume(value != good_header()[name])
    with pytest.raises(Refused):
        accept(link(header={name: value}))


@given(name=st.sampled_from(sorted(good_claims())), value=json_values)
@settings(max_examples=600, deadline=None)
def test_any_claim_of_our_peer_is_accepted_or_refused_and_nothing_else(name: str, value: object) -> None:
    try:
        accept(link(claims={name: value}))
    except Refused:
        return
    # Only these two can be anything at all.
    assert name in {"sub", "sub_iss", "jti", "txn", "scope", "user"}


@given(header=st.text(max_size=80), claims=st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_document_of_our_peer_is_refused(header: str, claims: str) -> None:
    with pytest.raises(Refused):
        accept(signed(PLANNER, header, claims))


def read_whole(payload: bytes) -> Link | Reason:
    """What a payload says, or why it says nothing, read as one document."""
    try:
        return Link.from_claims(Claims(loads(payload)))
    except Refused as refused:
        return refused.reason


def read_by_halves(payload: bytes) -> Link | Reason:
    """The same as an ingress reads it."""
    try:
        return Link.read(payload)
    except Refused as refused:
        return refused.reason


READ = Link.from_claims(Claims(good_claims()))
PAYLOAD = READ.particulars.after(READ.standing.octets()).decode()  # in the order in which it is minted
PIECES = st.sampled_from(
    [
        ',"txn":',
        '"txn":"t"',
        ',"txn":"t"',
        '"sub":"mallory"',
        ',"sub":"mallory"',
        "{",
        "}",
        ",",
        '"',
        "\\",
        " ",
        "",
    ]
)


@given(order=st.permutations(sorted(good_claims())), style=st.sampled_from([(",", ":"), (", ", ": ")]))
def test_the_order_of_claims_changes_nothing(order: list[str], style: tuple[str, str]) -> None:
    claims = good_claims()
    payload = json.dumps({name: claims[name] for name in order}, separators=style).encode()
    assert read_by_halves(payload) == read_whole(payload) == Link.from_claims(Claims(claims))


@given(
    places=st.lists(
        st.tuples(st.integers(0, len(PAYLOAD)), PIECES, st.integers(0, 12)), min_size=1, max_size=4
    )
)
@settings(max_examples=1000, deadline=None)
def test_halves_are_read_as_the_whole_is(places: list[tuple[int, str, int]]) -> None:
    payload = PAYLOAD
    for place, put, cut in places:
        payload = payload[:place] + put + payload[place + cut :]
    assert read_by_halves(payload.encode()) == read_whole(payload.encode())


@given(
    sub=st.sampled_from([',"txn":', '","txn":', 'a","txn":"b']) | st.text(max_size=20),
    twice=st.sampled_from(sorted(good_claims())),
    first=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_text_of_a_users_divides_a_payload_and_no_claim_hides_in_the_other_half(
    sub: str, twice: str, first: bool
) -> None:
    said = json.dumps({**json.loads(PAYLOAD), "sub": sub}, separators=(",", ":"))
    assert read_by_halves(said.encode()) == read_whole(said.encode())
    again = json.dumps({twice: good_claims()[twice]}, separators=(",", ":"))[1:-1]
    doubled = f"{{{again},{PAYLOAD[1:]}" if first else f"{PAYLOAD[:-1]},{again}}}"
    assert read_by_halves(doubled.encode()) is Reason.CONTEXT_MALFORMED


@given(
    sights=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 40), st.integers(-5, 15)), max_size=40),
    capacity=st.integers(1, 4),
)
def test_a_guard_admits_no_link_twice_while_it_holds(
    sights: list[tuple[str, int, int]], capacity: int
) -> None:
    guard = ReplayGuard(LocalTable(capacity))
    admitted: set[tuple[str, int]] = set()
    now = 0
    for jti, expires, step in sights:
        now += step  # clocks also go back
        try:
            guard.check(
                PLANNER.spiffe_id, jti, NOW + timedelta(seconds=expires), NOW + timedelta(seconds=now)
            )
        except Refused:
            continue
        # The same link has the same expiry: it is the pair that must not be admitted twice.
        assert (jti, expires) not in admitted
        admitted.add((jti, expires))
        assert len(guard) <= capacity
