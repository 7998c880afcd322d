"""What is fuzzed: each target makes one hostile input, and takes nothing for it but a value or a `Refused`.

    TARGETS["chain"](Random(1))

A value has to be right as well: an ID spells what it was parsed from, and a chain whose leaf nobody signed
anew proves only what its authority signed.
"""

from collections.abc import Callable, Mapping
from random import Random
from time import process_time
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import Bundle, BundleSet, IdPattern, SpiffeId, TrustDomain, X509Svid, verify_chain
from spiffe_mcp.identity.certificate import split_der
from spiffe_mcp.identity.update import SvidPart, Update, apply
from spiffe_mcp.identity.wanted import FirstOffered
from tests.fakes import mutations
from tests.fakes.chains import GOOD, World
from tests.fakes.mini_ca import NOW
from tests.fakes.wire_targets import WIRE_TARGETS

Target: TypeAlias = Callable[[Random], None]

WORLD: Final = World(NOW)
SLOWEST: Final = 0.2  # seconds of CPU time; see tests/property/test_verify_cost.py for how little is enough
_PROVABLE: Final = {spiffe_id for spiffe_id, _ in GOOD.values()}


def _may_be_logged(refused: Refused) -> None:
    """Its detail cannot break a line or a terminal."""
    assert refused.detail.isascii()
    assert refused.detail.isprintable()


def _is(refused: Refused, reason: Reason) -> None:
    assert refused.reason is reason


def spiffe_id(random: Random) -> None:
    """A text is an ID, or a pattern, that spells it again; or refused with a printable detail."""
    text = mutations.mutate_text(random)
    for parse in (SpiffeId.parse, IdPattern.parse):
        try:
            assert str(parse(text)) == text
            assert text.isascii()
            assert text.isprintable()
        except Refused as refused:
            _may_be_logged(refused)
            _is(refused, Reason.ID_MALFORMED)


def chain(random: Random) -> None:
    """A chain proves an ID that an authority signed, or nothing; and soon."""
    forged = mutations.forge(random, WORLD)
    before = process_time()
    try:
        proved = verify_chain(forged.chain, WORLD.bundles, NOW)
    except Refused as refused:
        _may_be_logged(refused)
    else:
        assert str(proved).encode() in forged.chain[0]
        assert forged.signed_anew or str(proved) in _PROVABLE
    assert process_time() - before < SLOWEST


def bundle(random: Random) -> None:
    """Certificates are a bundle, or refused; and whatever it is, a good chain meets an ID or a refusal."""
    forged = mutations.forge(random, WORLD)
    try:
        parsed = Bundle.from_concatenated(TrustDomain("a.test"), b"".join(forged.chain))
        assert parsed.authorities_der == split_der(b"".join(forged.chain))
        assert str(verify_chain(WORLD.node.chain(), BundleSet((parsed,)), NOW)) in _PROVABLE
    except Refused as refused:
        _may_be_logged(refused)


def svid(random: Random) -> None:
    """A chain and a key are an SVID, or refused."""
    presented = WORLD.node.issue_der()
    forged = b"".join(mutations.forge(random, WORLD).chain)
    key = mutations.mutate(random, presented.key, [presented.chain])
    for parts in ((forged, presented.key), (b"".join(presented.chain), key), (forged, key)):
        try:
            made = X509Svid.from_der(*parts)
        except Refused as refused:
            _may_be_logged(refused)
        else:
            assert made.chain_der == split_der(parts[0])


def update(random: Random) -> None:
    """A message of a Workload API is applied as far as it is good, and never raises."""
    presented = WORLD.ca.issue_der()
    chain_der, root = b"".join(presented.chain), WORLD.ca.root.der
    good = SvidPart("spiffe://a.test/w", chain_der, presented.key, root)
    forged = b"".join(mutations.forge(random, WORLD).chain)
    name = mutations.mutate_text(random)
    bad = random.choice(
        [
            SvidPart(name, chain_der, presented.key, root),
            SvidPart(good.spiffe_id, forged, presented.key, root),
            SvidPart(good.spiffe_id, chain_der, presented.key, forged),
        ]
    )
    before = apply(Update((good,)), None, FirstOffered(), NOW)
    assert before.state is not None
    after = apply(Update((bad,), {name: forged}), before.state, FirstOffered(), NOW)
    assert after.state is not None, "what was good is kept"


TARGETS: Final[Mapping[str, Target]] = {
    "id": spiffe_id,
    "chain": chain,
    "bundle": bundle,
    "svid": svid,
    "update": update,
    **WIRE_TARGETS,
}
