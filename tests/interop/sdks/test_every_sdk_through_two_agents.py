"""What a client or a server of an official SDK does directly, it does through two agents."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.fetching import UnavailableError
from tests.interop.sdks import kits
from tests.interop.sdks.kits import Kit
from tests.interop.sdks.matrix import PAGE, TOOLS, Seen, page, try_client, try_server
from tests.interop.sdks.server import FORBIDDEN
from tests.interop.sdks.through import reference

pytestmark = pytest.mark.timeout(240)  # whichever test comes first fetches what it needs

CLIENTS = [(name, mode) for name in kits.KITS for mode in kits.MODES.get(name, ("",))]
SERVERS = ["python1", "typescript1", "go"]
SEEN: dict[tuple[str, ...], Seen] = {}
INSPECTED: list[str] = []


def kit(make: Callable[[], Kit]) -> Kit:
    """The SDK, or the reason why there is none."""
    try:
        return make()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "mode"), CLIENTS)
async def test_a_client_sees_what_it_should(name: str, mode: str, folder: Path) -> None:
    SEEN["client", name, mode] = await try_client(kit(kits.KITS[name]), mode, folder)


@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_is_called_as_it_should(name: str, folder: Path) -> None:
    SEEN["server", name] = await try_server(kit(kits.KITS[name]), kits.python2(), folder)


async def test_the_inspector_lists_calls_and_is_refused(folder: Path) -> None:
    try:
        inspector = kits.inspector()
    except UnavailableError as error:
        pytest.skip(str(error))
    async with reference(folder) as (url, _):
        code, listed = await ran(inspector, url, "--method", "tools/list")
        assert code == 0, listed
        assert sorted(tool["name"] for tool in json.loads(listed)["tools"]) == TOOLS
        numbers = ("--tool-arg", "a=2", "--tool-arg", "b=3")
        code, called = await ran(inspector, url, "--method", "tools/call", "--tool-name", "add", *numbers)
        assert json.loads(called)["content"][0]["text"] == "5"
        code, refused = await ran(inspector, url, "--method", "tools/call", "--tool-name", "forbidden")
    assert code != 0
    said = [line.strip() for line in refused.splitlines() if FORBIDDEN in line]
    INSPECTED.append(said[0])


async def ran(inspector: tuple[str, ...], url: str, *arguments: str) -> tuple[int | None, str]:
    """Exit code and output of one request."""
    process = await asyncio.create_subprocess_exec(
        *inspector, url, "--transport", "http", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def test_the_page_says_what_was_seen() -> None:
    """The last one: of what the others saw."""
    if len(SEEN) < len(CLIENTS) + len(SERVERS) or not INSPECTED:
        pytest.skip("not every SDK was tried")
    written = page(list(SEEN.values()), INSPECTED[0])
    if os.environ.get("WRITE_SDKS_PAGE"):
        PAGE.write_text(written)
    assert PAGE.read_text() == written, "run scripts/sdks"
