"""What a check is: a behaviour demanded of an intermediary, with its number in the checklist and its clause.

    @check(2, "RFC 8259 section 4")
    async def a_key_that_comes_twice_is_refused(bench: Bench) -> None: ...

A check talks to the proxy as a client, and to the server behind it by script. It passes, or raises
AssertionError with what it saw. `CHECKS` holds them all once `checks` is imported.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from tests.intermediary.client import Answer, Client, Outgoing, Wire
from tests.intermediary.mcp import call, fresh_id, modern
from tests.intermediary.upstream import ScriptedUpstream

PATIENCE: Final = 10.0  # seconds: a check that takes longer hangs


class Need(Enum):
    """What a proxy has to be told before a check makes sense of it."""

    POLICY = "a policy that hides `hidden` and refuses `pay`"
    PINNING = "the signed definitions of the tools"
    IDENTITIES = "a second endpoint, for another caller"
    LOGS = "the files that it writes"


@dataclass(frozen=True, slots=True)
class Bench:
    """A proxy between the suite's client and the suite's server."""

    client: Client
    upstream: ScriptedUpstream
    other: Client | None = None
    offers: frozenset[Need] = frozenset()
    drift: float = 5.0  # seconds until a tool that changed has to be closed
    written: Callable[[], bytes] = field(default=bytes)  # all that the proxy has written to its files

    async def ask(self, request: Outgoing | bytes) -> Answer:
        """The whole answer."""
        return await self.client.ask(request)

    def send(self, request: Outgoing | bytes) -> AbstractAsyncContextManager[Wire]:
        """The connection on which the answer comes."""
        return self.client.send(request)

    async def refused(
        self, request: Outgoing, *, status: int | None = None, code: int | None = None
    ) -> Answer:
        """The answer to `request`, which must be a refusal, with nothing of it seen by the server."""
        mark = len(self.upstream.received)
        answer = await self.ask(request)
        assert answer.refuses, f"answered with {answer.status}: {answer.body[:200]!r}"
        assert not self.upstream.since(mark), f"the server saw it: {self.upstream.received[-1].raw[:200]!r}"
        if status is not None:
            assert answer.status == status, f"status {answer.status}, not {status}"
        if code is not None:
            assert answer.error is not None, f"no JSON-RPC error: {answer.body[:200]!r}"
            assert answer.error["code"] == code, f"code {answer.error['code']}, not {code}"
        return answer

    async def passes(self, request: Outgoing) -> bytes:
        """The body as the server received it; `request` must be answered with a result."""
        mark = len(self.upstream.received)
        answer = await self.ask(request)
        assert answer.result is not None
        (received,) = self.upstream.since(mark)
        return received.body

    async def lists(self, *tools: str, client: Client | None = None, request: Outgoing | None = None) -> Any:
        """The result of a `tools/list`; asserts that `tools` are all of its names, if any are given."""
        answer = await (client or self.client).ask(request or modern("tools/list"))
        names = [tool.get("name") for tool in answer.result["tools"]]
        assert not tools or names == [*tools], f"lists {names}"
        return answer.result

    async def serves(self) -> None:
        """An honest call still passes: whatever was refused before was not refused by accident."""
        text = fresh_id()
        answer = await self.ask(call("echo", text=text))
        assert answer.result["content"][0]["text"] == text


Run: TypeAlias = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Check:
    """One demand."""

    number: int  # of the checklist
    clause: str
    needs: frozenset[Need]
    run: Run

    @property
    def name(self) -> str:
        """A sentence."""
        return self.run.__name__.replace("_", " ")

    async def failure(self, bench: Bench) -> str | None:
        """Why `bench` fails it; None if it does not."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.run(bench)
        except TimeoutError:
            return f"no answer within {PATIENCE:g} s"
        except (AssertionError, ConnectionError) as error:
            return str(error) or type(error).__name__
        except (LookupError, TypeError, ValueError) as error:
            return f"an answer of another shape: {type(error).__name__}: {error}"
        return None


CHECKS: Final[list[Check]] = []


def check(number: int, clause: str, *needs: Need) -> Callable[[Run], Run]:
    """Make a function one of `CHECKS`."""

    def register(run: Run) -> Run:
        CHECKS.append(Check(number, clause, frozenset(needs), run))
        return run

    return register
