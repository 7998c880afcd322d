"""Every pair that is tried, and the page that says what came of it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.interop.sdks.kits import Kit
from tests.interop.sdks.server import FORBIDDEN
from tests.interop.sdks.through import program, reference, seen_by

PAGE: Final = Path(__file__).parents[3] / "docs/reference/sdks.md"
HEAD: Final = f"""\
# SDKs

The official SDKs through two agents: mutual TLS, user context, signed manifest, policy. Each client
initialises, lists the tools, calls one, hears of progress, is refused by policy (with the words
"{FORBIDDEN}"), and cancels a call, of which its server is told. Nothing in the programs knows of the mesh.
Made by `scripts/sdks`; CI fails where it would say something else.

"""
TOOLS: Final = ["add", "count", "forbidden", "wait"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the user of one client saw, in front of one server."""

    client: str
    mode: str
    server: str
    revision: str
    refused: str
    cancelled: str


async def try_client(kit: Kit, mode: str, folder: Path) -> Seen:
    """The client of `kit` in front of the reference server."""
    async with reference(folder) as (url, was_cancelled):
        return await _try(kit, mode, "Python `mcp` 2.3.0", url, was_cancelled)


async def try_server(kit: Kit, client: Kit, folder: Path) -> Seen:
    """The server of `kit`, behind `client`."""
    assert kit.server is not None
    async with program(kit.server, folder) as (url, was_cancelled):
        return await _try(client, "auto", kit.name, url, was_cancelled)


async def _try(client: Kit, mode: str, server: str, url: str, was_cancelled: asyncio.Event) -> Seen:
    said: Any = await seen_by(client.client, url, *([mode] if mode else []))
    await was_cancelled.wait()
    assert said["listed"] == TOOLS
    assert said["called"] == ["5"]
    assert said["progress"] == [0, 1, 2]
    assert said["refused"].endswith(FORBIDDEN)
    return Seen(client.name, mode, server, said["revision"], said["refused"], said["cancelled"])


def page(seen: list[Seen], inspected: str) -> str:
    """The page, in Markdown."""
    lines = [
        "| client | asked for | server | revision | a refusal, to its user | a cancelled call |",
        "|---|---|---|---|---|---|",
        *(
            f"| {one.client} | {one.mode or 'its newest'} | {one.server} | {one.revision} "
            f"| `{one.refused}` | `{one.cancelled}` |"
            for one in seen
        ),
    ]
    told = f"The MCP Inspector's command line lists and calls, and says of a refusal: `{inspected}`."
    return "\n".join([HEAD + lines[0], *lines[1:], "", told, ""])
