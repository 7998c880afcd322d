"""An egress is where it is said to be, and may come up a little later than its client."""

import asyncio
from pathlib import Path

import pytest

from spiffe_mcp.connect.egress import Egress
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address


@pytest.mark.parametrize(
    ("text", "address", "host"),
    [
        ("unix:/run/egress.sock", Path("/run/egress.sock"), b"localhost"),
        ("127.0.0.1:7070", Address("127.0.0.1", 7070), b"127.0.0.1:7070"),
        ("[::1]:7070", Address("::1", 7070), b"[::1]:7070"),
    ],
)
def test_an_address_is_spelled_as_in_the_configuration(text: str, address: object, host: bytes) -> None:
    egress = Egress.parse(text)
    assert (egress.address, egress.host) == (address, host)


@pytest.mark.parametrize("text", ["", "unix:relative", "http://127.0.0.1:1", "127.0.0.1", "host:port"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  as every parser of a configuration value raises
        Egress.parse(text)


async def test_an_egress_that_comes_up_later_is_reached(tmp_path: Path) -> None:
    socket = tmp_path / "egress.sock"
    connecting = asyncio.get_running_loop().create_task(Egress(socket).connect())
    await asyncio.sleep(0)  # the first attempt has met nothing

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_unix_server(accept, str(socket)):
        connection = await connecting
        connection.abort()


@pytest.mark.parametrize("address", [Path("/nowhere/egress.sock"), Address("127.0.0.1", 1)])
async def test_one_that_stays_away_is_said_to_be_unreachable(address: Address | Path) -> None:
    with pytest.raises(Refused) as refused:
        await Egress(address).connect(patience=0.01)
    assert refused.value.reason is Reason.UPSTREAM_UNREACHABLE
