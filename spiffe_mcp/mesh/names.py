"""Host names as the addresses that they stand for now: looked up again and again, the last good answer kept.

A name with several addresses, as that of a headless service of Kubernetes, is several places: each is proved,
left alone when it fails, and remembered by itself. A name service is not trusted with more than where to
knock: who answers there proves its SPIFFE ID. So an old answer is safe to go on with, and is gone on with
while there is no newer one.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from math import inf
from typing import Final, TypeAlias

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address

FRESH: Final = 5.0  # seconds for which an answer, or that there was none, is not asked for again
LOOKUP_TIMEOUT: Final = 5.0  # seconds
MOST_FOUND: Final = 64  # addresses of one name; those that sort first

Lookup: TypeAlias = Callable[[Address], Awaitable[tuple[Address, ...]]]


async def look_up(name: Address) -> tuple[Address, ...]:
    """The addresses of `name`, A and AAAA as the system resolves them; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    hosts = {str(at[0]) for _, _, _, _, at in found}
    return tuple(Address(host, name.port) for host in hosts if "%" not in host)  # no zone is of all nodes


@dataclass(slots=True)
class _Answer:
    """What a name stands for, and until when that is not asked for again."""

    found: tuple[Address, ...] = ()
    fresh_until: float = -inf
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)  # once for all who wait


class Names:
    """The names of the servers of one egress."""

    def __init__(self, lookup: Lookup = look_up, clock: Callable[[], float] | None = None) -> None:
        self._lookup = lookup
        self._clock = clock or asyncio.get_running_loop().time
        self._answers: dict[Address, _Answer] = {}

    async def located(self, names: tuple[Address, ...]) -> Mapping[Address, Address]:
        """Where `names` are now, in their order, each with the name that led there.

        Of one name in the order of the addresses themselves, for resolvers turn theirs round. Raises
        `Refused(UPSTREAM_UNREACHABLE)` if none of the names leads anywhere.
        """
        places: dict[Address, Address] = {}
        for name in names:
            for place in await self._found(name):
                places.setdefault(place, name)
        if not places:
            raise Refused(Reason.UPSTREAM_UNREACHABLE, f"{', '.join(map(str, names))}: no address")
        return places

    async def _found(self, name: Address) -> tuple[Address, ...]:
        answer = self._answers.get(name)
        if answer is None:
            answer = self._answers[name] = _first(name)
        # One call waits for news; the rest go on with what is known, however slow the name service is.
        if self._clock() >= answer.fresh_until and not (answer.found and answer.asking.locked()):
            async with answer.asking:
                if self._clock() >= answer.fresh_until:  # nobody else has asked meanwhile
                    await self._ask(name, answer)
        return answer.found

    async def _ask(self, name: Address, answer: _Answer) -> None:
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                found = await self._lookup(name)
        except (OSError, TimeoutError):
            found = ()  # no answer, or that there is nothing: an old one is gone on with
        answer.found = tuple(sorted(found, key=_order)[:MOST_FOUND]) or answer.found
        answer.fresh_until = self._clock() + FRESH


def _first(name: Address) -> _Answer:
    """What is known of `name` before anybody is asked: all of it, if it is an IP address."""
    return _Answer((name,), inf) if is_literal(name) else _Answer()


def is_literal(name: Address) -> bool:
    """Whether its host is an IP address, which stands for itself."""
    try:
        ip_address(name.host)
    except ValueError:
        return False
    return True


def _order(address: Address) -> tuple[int, int]:
    parsed = ip_address(address.host)
    return parsed.version, int(parsed)
