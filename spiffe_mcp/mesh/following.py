"""Following one source of identity for a while: its states come into force, and afterwards nothing is."""

import asyncio
from collections.abc import AsyncIterator

from spiffe_mcp.errors import Refused
from spiffe_mcp.identity.sources.source import IdentitySource
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.mesh.identity import Snapshots


async def follow(
    source: IdentitySource, states: AsyncIterator[IdentityState | None], snapshots: Snapshots
) -> None:
    """Run `source` and put `states`, which come from it, in force, until cancelled.

    Raises the `Refused` that ended it. However it ends, no identity is left in force.
    """
    ended: Refused | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run())
            tasks.create_task(snapshots.follow(states))
    except* Refused as several:
        ended = _first(several)
    finally:
        await snapshots.follow(_nothing())
    if ended is not None:
        raise ended


def _first(several: BaseExceptionGroup[Refused]) -> Refused:
    """One refusal of those that ended a group."""
    error = several.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _nothing() -> AsyncIterator[IdentityState | None]:
    yield None
