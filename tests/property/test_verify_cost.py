"""Whatever somebody without an authority sends, it is refused within 20 ms of CPU time.

A chain is at most 32 KiB; each attack here spends them on what costs most: on reading, or on the search for a
path among certificates and authorities that all look like the one that is wanted. CPU time, the best of a few
runs: what others do on this machine does not count.
"""

import os
from collections.abc import Callable
from ipaddress import ip_network
from time import process_time
from typing import Any, Final, TypeAlias

import pytest
from cryptography import x509

from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import BundleSet, verify, verify_chain
from tests.fakes.chains import HOSTILE, World
from tests.fakes.der import Tlv, parse
from tests.fakes.mini_ca import NOW, MiniCa

# 20 ms on a core of its own, of which the costliest attack here takes 15. A busy sibling and a slow machine
# cost more CPU time for the same work; whatever grows faster than its input is beyond this as well.
LIMIT: Final = 3 * 0.020  # seconds
SPACE: Final = verify.MAX_CHAIN_BYTES - 1500  # what is left beside the ordinary parts of a leaf

WORLD: Final = World(NOW)
STRANGER: Final = MiniCa("a.test")
NAMESAKES: Final = [MiniCa("a.test") for _ in range(256)]
Attack: TypeAlias = Callable[[], tuple[bytes, ...]]


def seconds_to_refuse(chain: tuple[bytes, ...], bundles: BundleSet) -> float:
    verify._read.cache_clear()  # an attacker sends nothing twice
    start = process_time()
    with pytest.raises(Refused):
        verify_chain(chain, bundles, NOW)
    return process_time() - start


def assert_cheap(chain: tuple[bytes, ...], bundles: BundleSet = WORLD.bundles) -> None:
    assert min(seconds_to_refuse(chain, bundles) for _ in range(5)) < LIMIT


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_chain_is_refused_in_time(name: str) -> None:
    assert_cheap(HOSTILE[name][1](WORLD).chain)


# -- much to read -------------------------------------------------------------------------------------------


def stuffed(**deviations: Any) -> Attack:
    return lambda: STRANGER.chain(**deviations)


def constrained(*names: x509.GeneralName) -> Attack:
    return stuffed(extensions=[(x509.NameConstraints(list(names), None), True)])


def repeated(oid: str, unit: Tlv) -> Attack:
    """An extension that is one value as often as it fits."""
    encoded = unit.encode()
    value = Tlv(0x30, encoded * (SPACE // len(encoded))).encode()
    return stuffed(extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), False)])


def named(place: int) -> Attack:
    """A leaf whose subject (5) or issuer (3) has thousands of attributes."""

    def attack() -> tuple[bytes, ...]:
        tree = parse(STRANGER.chain()[0])
        attribute = Tlv(0x31, b"", [Tlv(0x30, b"", [Tlv(6, b"\x2a"), Tlv(0x0C, b"a")])])
        tree.at(0, place).inside = [attribute] * (SPACE // 10)
        return (tree.encode(),)

    return attack


def with_modulus(der: bytes, bits: int, exponent: int) -> bytes:
    """The same certificate for an RSA key of this size. Nobody has that key; nobody needs it to send this."""
    modulus = int.from_bytes(os.urandom(bits // 8), "big") | (1 << (bits - 1)) | 1
    numbers = [Tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in (modulus, exponent)]
    algorithm = Tlv(0x30, b"", [Tlv(6, bytes.fromhex("2a864886f70d010101")), Tlv(5)])
    tree = parse(der)
    tree.at(0, 6).become(Tlv(0x30, b"", [algorithm, Tlv(3, b"\0" + Tlv(0x30, b"", numbers).encode())]))
    return tree.encode()


DIRECTORY: Final = x509.DirectoryName(x509.Name([]))
FULL_NAME: Final = Tlv(0x30, b"", [Tlv(0xA0, b"", [Tlv(0xA0, b"", [Tlv(0x82)])])])
MUCH: Final[dict[str, Attack]] = {
    "URIs": stuffed(uris=("a",) * (SPACE // 3)),
    "DNS names": stuffed(dns=("a",) * (SPACE // 3)),
    "directory names": stuffed(other_names=[DIRECTORY] * (SPACE // 4)),
    "one huge URI": stuffed(uris=("spiffe://a.test/" + "x/" * (SPACE // 2),)),
    "a constraint to IPv4 networks": constrained(
        *[x509.IPAddress(ip_network("0.0.0.0/32"))] * (SPACE // 14),
    ),
    "a constraint to IPv6 networks": constrained(*[x509.IPAddress(ip_network("::/128"))] * (SPACE // 38)),
    "a constraint to directory names": constrained(*[DIRECTORY] * (SPACE // 6)),
    "extended key usages": stuffed(
        extended_key_usage=[x509.ObjectIdentifier(f"1.2.{number}") for number in range(SPACE // 6)]
    ),
    "extensions": stuffed(
        extensions=[
            (x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.{number}"), b""), False)
            for number in range(SPACE // 11)
        ]
    ),
    "distribution points": lambda: _as_extension("2.5.29.31", FULL_NAME),
    "issuer names": lambda: _as_extension("2.5.29.18", Tlv(0xA4, b"\x30\0")),
    "a subject of thousands of attributes": named(5),
    "an issuer of thousands of attributes": named(3),
    "RSA 8192": lambda: (with_modulus(STRANGER.chain()[0], 8192, 2**32 - 1),),
    "RSA 200000": lambda: (with_modulus(STRANGER.chain()[0], 200_000, 2**32 - 1),),
    "an exponent as long as the modulus": lambda: (with_modulus(STRANGER.chain()[0], 8192, 2**8191 + 1),),
    "brackets": lambda: _as_extension("2.5.29.99", Tlv(0x30, b"\x30\x80" * 1000)),
}


def _as_extension(oid: str, unit: Tlv) -> tuple[bytes, ...]:
    return repeated(oid, unit)()


@pytest.mark.parametrize("attack", MUCH.values(), ids=MUCH.keys())
def test_a_certificate_that_is_much_to_read_is_refused_in_time(attack: Attack) -> None:
    chain = attack()
    assert 0.8 * SPACE < sum(map(len, chain)) <= verify.MAX_CHAIN_BYTES or len(chain[0]) < 4000
    assert_cheap(chain)


# -- many paths to try --------------------------------------------------------------------------------------


def below(levels: int, **deviations: Any) -> MiniCa:
    """A stranger below intermediates, each of which bears the one name that everybody bears."""
    ca = STRANGER
    for _ in range(levels):
        ca = ca.subordinate(common_name="authority of a.test", authority_key_id=False, **deviations)
    return ca


def leaf() -> bytes:
    return STRANGER.chain(authority_key_id=False)[0]


PATHS: Final[dict[str, Attack]] = {
    "a leaf that any of them may have signed": lambda: (leaf(),),
    "the key identifier of none": STRANGER.chain,
    "four intermediates of the same name": lambda: below(4).chain(authority_key_id=False),
    "the same in another order": lambda: (leaf(), *reversed(below(4).chain()[1:])),
    "four of the authorities themselves": lambda: (leaf(), *(one.root.der for one in NAMESAKES[-4:])),
    "four strangers of the same name": lambda: (leaf(), *(MiniCa("a.test").root.der for _ in range(4))),
    "the same intermediate four times": lambda: (leaf(), *below(1).chain()[1:] * 4),
    "intermediates with RSA 8192": lambda: (
        leaf(),
        *(with_modulus(der, 8192, 2**32 - 1) for der in below(4).chain()[1:]),
    ),
}


def trusted(authorities: list[bytes]) -> BundleSet:
    return BundleSet.from_der({"a.test": authorities})


def without_key_ids(der: bytes) -> bytes:
    tree = parse(der)
    extensions = tree.at(0, 7, 0)
    extensions.inside = [one for one in extensions.inside if one.at(0).content != bytes.fromhex("551d0e")]
    return tree.encode()


BUNDLES: Final[dict[str, BundleSet]] = {
    "256 of one name": trusted([one.root.der for one in NAMESAKES]),
    "256 of one name and no key identifier": trusted([without_key_ids(one.root.der) for one in NAMESAKES]),
    "256 of one name and one key identifier": trusted(
        [with_modulus(NAMESAKES[0].root.der, 2048, 65537) for _ in NAMESAKES]
    ),
    "256 of one name with RSA 8192": trusted(
        [with_modulus(without_key_ids(one.root.der), 8192, 2**32 - 1) for one in NAMESAKES]
    ),
}


@pytest.mark.parametrize("attack", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("bundles", BUNDLES.values(), ids=BUNDLES.keys())
def test_among_256_authorities_that_look_alike_nobody_searches_for_long(
    bundles: BundleSet, attack: Attack
) -> None:
    assert_cheap(attack(), bundles)


def test_the_authorities_of_the_tests_are_what_they_are_meant_to_be() -> None:
    """All of one name: otherwise the search would be over before it began."""
    names = {parse(one.root.der).at(0, 5).encode() for one in NAMESAKES}
    assert len(names) == 1
    assert parse(below(1).intermediates[0].der).at(0, 5).encode() in names
