"""A stream ends when what permitted it would refuse it, and not before."""

import asyncio
from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.interruption import Interruption
from spiffe_mcp.mesh.recheck import looked_at_again

AT_ONCE = timedelta()


async def test_what_is_refused_ends_what_runs() -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Refused(Reason.POLICY_DENIED)

    interruption = Interruption()
    with pytest.raises(Refused) as caught, interruption.possible():
        async with looked_at_again(AT_ONCE, look, interruption):
            await asyncio.Event().wait()
    assert (caught.value.reason, looks) == (Reason.POLICY_DENIED, 3)


async def test_nobody_looks_at_what_is_over() -> None:
    looked, interruption = asyncio.Event(), Interruption()
    with interruption.possible():
        async with looked_at_again(AT_ONCE, looked.set, interruption):
            await looked.wait()
    looked.clear()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not looked.is_set()
