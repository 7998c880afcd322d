"""Hostile input by mutation: text that is nearly a SPIFFE ID, certificates changed by structure, chains.

Every function draws from a `random.Random`: one that Hypothesis steers and shrinks, or one with a seed.

    mutate_text(random)                 # nearly a SPIFFE ID
    forge(random, WORLD)                # a chain: real certificates cut up, spliced, signed anew, shuffled
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.chains import GOOD, HOSTILE, World
from tests.fakes.der import Tlv, parse
from tests.fakes.mini_ca import Authority

_PIECES: Final = (
    "spiffe://", "SPIFFE://", "spiffe:/", "a.test", "A.test", "b.test", "/", "//", "w", ".", "..", "%2f",
    "%00", "*", "**", "\0", "\n", "\r\n", " ", "@", ":443", "?x", "#x", "\u212a", "\u0131", "\ud800",
    "x" * 255, "x" * 2048, "[::1]", "\\", "\t", "_", "-", "~", "\u00e9", "\U0001f600",
)  # fmt: skip
_TAGS: Final = (
    0x01,
    0x02,
    0x03,
    0x04,
    0x05,
    0x06,
    0x0C,
    0x13,
    0x16,
    0x17,
    0x18,
    0x30,
    0x31,
    0x80,
    0x82,
    0x86,
    0xA0,
    0xA3,
)
_CONTENTS: Final = (
    b"",
    b"\0",
    b"\x80",
    b"\xff",
    b"\x7f" + b"\xff" * 8,
    b"99991231235959Z",
    b"spiffe://a.test/w",
    b"\0" * 300,
)


@dataclass(frozen=True)
class Forged:
    """A chain, and whether an authority of the world signed its leaf after it was changed."""

    chain: tuple[bytes, ...]
    signed_anew: bool


def mutate_text(random: Random) -> str:
    """Pieces of IDs in some order; every other time, one good ID with a piece in some place."""
    if random.random() < 0.5:
        return "".join(random.choices(_PIECES, k=random.randint(0, 6)))
    good = "spiffe://a.test/ns/agents/w"
    place = random.randint(0, len(good))
    return good[:place] + random.choice(_PIECES) + good[random.randint(place, len(good)) :]


def forge(random: Random, world: World) -> Forged:
    """A chain as somebody would send it who has seen many, and in the worst case has an authority sign it."""
    pool = _pool(world)
    chain = list(random.choice(pool))
    for _ in range(random.randint(0, 2)):  # certificates of other chains, in any place
        chain.insert(random.randint(0, len(chain)), random.choice(random.choice(pool) or (b"",)))
    if random.random() < 0.2:
        random.shuffle(chain)
    signed_anew = False
    for _ in range(random.randint(0, 2)):
        if chain:
            place = random.randrange(len(chain))
            chain[place] = mutate(random, chain[place], pool)
    if chain and random.random() < 0.5:
        resigned = _signed_anew(chain[0], world.ca.root)
        signed_anew, chain[0] = resigned is not None, resigned or chain[0]
    return Forged(tuple(chain), signed_anew)


def mutate(random: Random, der: bytes, pool: list[tuple[bytes, ...]]) -> bytes:
    """`der` changed by its structure, or if it has none, or now and then, by its bytes."""
    tree = _tree(der)
    if tree is None or random.random() < 0.2:
        return _mutated_bytes(random, der)
    for _ in range(random.randint(1, 4)):
        nodes = list(tree.walk())
        random.choice(_CHANGES)(random, random.choice(nodes), pool)
    return tree.encode()


@cache
def _pool(world: World) -> list[tuple[bytes, ...]]:
    """Every chain of the corpus, good and hostile."""
    return [make(world).chain for _, make in (*GOOD.values(), *HOSTILE.values())]


def _tree(der: bytes) -> Tlv | None:
    try:
        return parse(der)
    except (IndexError, ValueError):
        return None


def _mutated_bytes(random: Random, der: bytes) -> bytes:
    data = bytearray(der)
    for _ in range(random.randint(1, 4)):
        place = random.randint(0, len(data))
        match random.randrange(4):
            case 0 if place < len(data):
                data[place] ^= 1 << random.randrange(8)
            case 1:
                del data[place : place + random.randint(1, 16)]
            case 2:
                data[place:place] = random.randbytes(random.randint(1, 8))
            case _:
                data[place:] = b"" if random.random() < 0.2 else data[place:]
    return bytes(data)


# -- changes of one value -----------------------------------------------------------------------------------

_Change = Callable[[Random, Tlv, list[tuple[bytes, ...]]], None]


def _remove(random: Random, node: Tlv, _: list[tuple[bytes, ...]]) -> None:
    if node.inside:
        del node.inside[random.randrange(len(node.inside))]


def _repeat(random: Random, node: Tlv, _: list[tuple[bytes, ...]]) -> None:
    if node.inside:
        one = random.choice(node.inside)
        node.inside.extend([one] * random.choice([1, 1, 1, 40]))


def _reorder(random: Random, node: Tlv, _: list[tuple[bytes, ...]]) -> None:
    random.shuffle(node.inside)


def _retag(random: Random, node: Tlv, _: list[tuple[bytes, ...]]) -> None:
    node.tag = random.choice(_TAGS)


def _refill(random: Random, node: Tlv, _: list[tuple[bytes, ...]]) -> None:
    node.inside, node.content = [], random.choice(_CONTENTS)


def _scratch(random: Random, node: Tlv, _: list[tuple[bytes, ...]]) -> None:
    if node.content:
        node.content = _mutated_bytes(random, node.content)


def _nest(random: Random, node: Tlv, _: list[tuple[bytes, ...]]) -> None:
    inner = node.copy()
    for _depth in range(random.choice([1, 1, 50])):
        inner = Tlv(0x30, b"", [inner])
    node.become(inner)


def _splice(random: Random, node: Tlv, pool: list[tuple[bytes, ...]]) -> None:
    """The value of some other certificate, if possible one of the same tag."""
    donor = _tree(random.choice(random.choice(pool) or (b"",)))
    if donor is not None:
        nodes = list(donor.walk())
        alike = [one for one in nodes if one.tag == node.tag]
        node.become(random.choice(alike or nodes))


_CHANGES: Final[tuple[_Change, ...]] = (
    _remove, _repeat, _reorder, _retag, _refill, _scratch, _scratch, _nest, _splice, _splice,
)  # fmt: skip


def _signed_anew(der: bytes, authority: Authority) -> bytes | None:
    """`der` with a good signature, so that its inside is really looked at; None if it has no shape."""
    tree = _tree(der)
    if tree is None or len(tree.inside) != 3:
        return None
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    signature = authority.key.sign(tree.at(0).encode(), ec.ECDSA(hashes.SHA256()))
    tree.at(2).become(Tlv(0x03, b"\0" + signature))
    return tree.encode()
