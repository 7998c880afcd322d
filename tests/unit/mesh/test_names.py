"""A name is the addresses that it stands for now; without a newer answer, those that it stood for last."""

import asyncio
from dataclasses import dataclass, field

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.names import FRESH, MOST_FOUND, Names, is_literal, look_up

NAME, OTHER = Address("desk.mesh.test", 8443), Address("spare.mesh.test", 8443)


def at(*hosts: str) -> tuple[Address, ...]:
    return tuple(Address(host, 8443) for host in hosts)


@dataclass
class Zone:
    """A name service and a clock. A name that it does not have is an error, as of a resolver."""

    has: dict[Address, tuple[Address, ...]] = field(default_factory=dict)
    asked: list[Address] = field(default_factory=list)
    now: float = 0.0

    async def __call__(self, name: Address) -> tuple[Address, ...]:
        self.asked.append(name)
        await asyncio.sleep(0)
        if name not in self.has:
            raise OSError
        return self.has[name]

    def names(self) -> Names:
        return Names(self, lambda: self.now)


async def test_an_ip_address_stands_for_itself_and_nobody_is_asked() -> None:
    zone, literals = Zone(), at("127.0.0.1", "::1")
    assert dict(await zone.names().located(literals)) == dict(zip(literals, literals, strict=True))
    assert zone.asked == []


async def test_a_name_stands_for_all_its_addresses_in_an_order_of_their_own() -> None:
    zone = Zone({NAME: at("10.0.0.10", "fd00::1", "10.0.0.9")})
    places = await zone.names().located((NAME,))
    assert tuple(places) == at("10.0.0.9", "10.0.0.10", "fd00::1")
    assert set(places.values()) == {NAME}


async def test_names_keep_their_order_and_a_place_the_name_that_came_first() -> None:
    zone = Zone({NAME: at("10.0.0.9"), OTHER: at("10.0.0.1", "10.0.0.9")})
    places = await zone.names().located((NAME, OTHER))
    assert list(places.items()) == [(*at("10.0.0.9"), NAME), (*at("10.0.0.1"), OTHER)]


async def test_an_answer_is_asked_for_again_when_it_is_old() -> None:
    zone = Zone({NAME: at("10.0.0.1")})
    names = zone.names()
    await names.located((NAME,))
    zone.has[NAME] = at("10.0.0.2")
    zone.now = FRESH - 0.01
    assert tuple(await names.located((NAME,))) == at("10.0.0.1")
    zone.now = FRESH
    assert tuple(await names.located((NAME,))) == at("10.0.0.2")
    assert zone.asked == [NAME] * 2


@pytest.mark.parametrize("broken", ["an error", "nothing"])
async def test_without_an_answer_the_last_one_is_gone_on_with(broken: str) -> None:
    zone = Zone({NAME: at("10.0.0.1")})
    names = zone.names()
    await names.located((NAME,))
    if broken == "nothing":
        zone.has[NAME] = ()
    else:
        del zone.has[NAME]
    zone.now = 1000.0
    assert tuple(await names.located((NAME,))) == at("10.0.0.1")


async def test_a_name_that_leads_nowhere_does_not_harm_another() -> None:
    zone = Zone({OTHER: at("10.0.0.1")})
    assert tuple(await zone.names().located((NAME, OTHER))) == at("10.0.0.1")


async def test_where_no_name_leads_anywhere_the_server_is_unreachable_and_nobody_is_asked_at_each_call() -> (
    None
):
    zone = Zone()
    names = zone.names()
    for _ in range(3):
        with pytest.raises(Refused) as caught:
            await names.located((NAME,))
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
    assert zone.asked == [NAME]


async def test_calls_that_wait_for_the_same_name_ask_once() -> None:
    zone = Zone({NAME: at("10.0.0.1")})
    names = zone.names()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(names.located((NAME,)))
    assert zone.asked == [NAME]


async def test_while_one_call_waits_for_news_the_others_go_on_with_what_is_known() -> None:
    zone = Zone({NAME: at("10.0.0.1")})
    names = zone.names()
    await names.located((NAME,))
    zone.has[NAME], zone.now = at("10.0.0.2"), FRESH
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(names.located((NAME,)))
        other = tasks.create_task(names.located((NAME,)))
    assert (tuple(asking.result()), tuple(other.result())) == (at("10.0.0.2"), at("10.0.0.1"))


async def test_a_name_stands_for_no_more_than_so_many() -> None:
    zone = Zone({NAME: at(*(f"10.0.1.{number}" for number in range(200)))})
    assert len(await zone.names().located((NAME,))) == MOST_FOUND


async def test_the_system_is_asked_for_both_families() -> None:
    found = await look_up(Address("localhost", 8443))
    assert Address("127.0.0.1", 8443) in found
    assert all(is_literal(address) for address in found)
