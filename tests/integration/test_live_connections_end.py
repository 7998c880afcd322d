"""A connection does not outlive what it was opened for: it ends, or is cut; its record says why."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Reply
from tests.fakes.mcp_client import call
from tests.fakes.mcp_server import STREAM, Message, event
from tests.fakes.mesh import PLANNER, recording_ingress, running_mesh
from tests.fakes.streaming import (
    PROGRESS,
    begun_and_never_answered,
    beside,
    error_in,
    rest_of,
    streaming_hop,
    until,
)


async def test_a_revoked_authority_cuts_streams_and_idle_connections_at_the_ingress(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        hop = mesh.hop(PLANNER)
        with mesh.server.answering(begun_and_never_answered):
            async with streaming_hop(hop) as running, hop.connected() as idle:
                await idle.exchange(hop.signed(call("hidden")))
                await rest_of(idle)
                before = len(mesh.log("ingress").records())
                mesh.provider.rotate_authority()
                mesh.provider.revoke_former_authorities()
                async with asyncio.timeout(1):  # within a second of the update
                    with pytest.raises(Refused):
                        await rest_of(running)
                    await until(lambda: not idle.reusable)
        await until(lambda: len(mesh.log("ingress").records()) >= before + 3)
        cut = mesh.log("ingress").records()[before:]
        # The third is the hop of the planner's own egress.
        assert [record["reason"] for record in cut] == [Reason.CHAIN_UNTRUSTED.code] * 3
        by_kind = sorted((record["kind"], record["outcome"]) for record in cut)
        assert by_kind == [("authentication", "refused")] * 2 + [("exchange", "refused")]
        assert {record["peer"] for record in cut} == {str(PLANNER)}
        assert mesh.log("ingress").report().intact


async def test_a_revoked_authority_cuts_running_calls_at_the_egress(
    folder: Path,
) -> None:
    """The ingress here is one that does not look again: the caller's own agent does."""
    async with (
        running_mesh(folder, egresses=(PLANNER,)) as mesh,
        recording_ingress(mesh) as ingress,
        beside(mesh, ingress.port) as client,
    ):
        ingress.answer = begun_and_never_answered
        async with await client.begin(call("echo", text="go on")) as response:
            chunks = aiter(response)
            assert await anext(chunks) == event(PROGRESS)
            mesh.provider.rotate_authority()
            mesh.provider.revoke_former_authorities()
            async with asyncio.timeout(1):  # within a second of the update
                with pytest.raises(Refused) as cut:  # what is cut cannot be taken for whole
                    await anext(chunks)
        assert cut.value.reason is Reason.UPSTREAM_BROKEN
        (record,) = mesh.log("elsewhere").records()
        assert (record["outcome"], record["reason"]) == ("refused", Reason.CHAIN_UNTRUSTED.code)


async def test_a_rotation_cuts_nothing(folder: Path) -> None:
    received = asyncio.Event()

    async def waiting(message: Message, reply: Reply) -> None:
        await reply.start(STREAM)
        await reply.write(event(PROGRESS))
        await received.wait()
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", "content": []}}
        await reply.write(event(json.dumps(answer).encode()))
        reply.finish()

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        with mesh.server.answering(waiting):
            async with await mesh.planner.begin(call("echo", text="go on")) as response:
                chunks = aiter(response)
                assert await anext(chunks) == event(PROGRESS)
                for _ in range(3):
                    before = mesh.svid(PLANNER)
                    mesh.provider.rotate()
                    await until(lambda before=before: mesh.svid(PLANNER) != before)  # type: ignore[misc]  # a default binds it
                assert (await mesh.planner.ask(call("hidden"))).status == 200
                received.set()
                assert b'"resultType": "complete"' in b"".join([chunk async for chunk in chunks])
        assert {record["outcome"] for record in mesh.log("planner").records()[1:]} >= {"completed"}


async def test_at_the_end_of_its_life_a_connection_tells_its_stream_and_goes(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        with mesh.server.answering(begun_and_never_answered):
            async with streaming_hop(mesh.hop(PLANNER)) as connection:
                before = len(mesh.log("ingress").records())
                mesh.clock.advance(timedelta(hours=1))  # as long as the SVIDs live
                rest = await rest_of(connection)
                assert error_in(rest)["data"]["reason"] == Reason.TLS_LIFETIME.code
                await until(lambda: not connection.reusable)
        (record,) = [each for each in mesh.log("ingress").records()[before:] if each["kind"] == "exchange"]
        assert (record["outcome"], record["reason"]) == ("refused", Reason.TLS_LIFETIME.code)


async def test_a_caller_whose_stream_is_ended_with_its_hop_is_told(folder: Path) -> None:
    """The ingress ends first, and says so in the stream; the egress passes that on."""
    async with running_mesh(folder, egresses=(PLANNER,), max_lifetime=3) as mesh:
        with mesh.server.answering(begun_and_never_answered):
            async with await mesh.planner.begin(call("echo", text="go on")) as response:
                events = b"".join([chunk async for chunk in response])
        assert events.startswith(event(PROGRESS))
        assert error_in(events)["data"]["reason"] == Reason.TLS_LIFETIME.code
        record = mesh.log("ingress").last()
        assert (record["outcome"], record["reason"]) == ("refused", Reason.TLS_LIFETIME.code)


async def test_a_connection_that_drains_answers_what_it_was_asked_and_says_that_it_was_the_last(
    folder: Path,
) -> None:
    """The client here is one that knows nothing of lifetimes."""
    asked, release = asyncio.Event(), asyncio.Event()

    async def later(message: Message, reply: Reply) -> None:
        asked.set()
        await release.wait()
        await mesh.server.__class__([]).answer(message, reply)

    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        hop = mesh.hop(PLANNER)
        with mesh.server.answering(later):
            async with hop.connected() as running, hop.connected() as idle, asyncio.TaskGroup() as tasks:
                await idle.exchange(hop.signed(call("hidden")))
                await rest_of(idle)
                calling = tasks.create_task(running.exchange(hop.signed(call("echo", text="the last"))))
                await asked.wait()
                mesh.clock.advance(timedelta(minutes=57))
                while idle.reusable:  # each is answered; with this clock, that its context has expired
                    head = await idle.exchange(hop.signed(call("hidden")))
                    await rest_of(idle)
                assert dict(head.headers)[b"connection"] == b"close"
                release.set()
                head = await calling
                assert (head.status, dict(head.headers)[b"connection"]) == (200, b"close")
                assert b"the last" in await rest_of(running)


async def test_a_connection_that_is_idle_at_its_end_is_closed_with_a_goodbye(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        hop = mesh.hop(PLANNER)
        async with hop.connected() as idle:
            await idle.exchange(hop.signed(call("hidden")))
            await rest_of(idle)
            before = len(mesh.log("ingress").records())
            mesh.clock.advance(timedelta(hours=1))
            await until(lambda: not idle.reusable)
            with pytest.raises(Refused) as caught:
                await idle.exchange(hop.signed(call("hidden")))
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE  # and not TLS_TRUNCATED
        assert len(mesh.log("ingress").records()) == before  # nobody was refused


async def test_no_call_fails_though_connections_live_for_seconds(folder: Path) -> None:
    async with running_mesh(folder, egresses=(PLANNER,), max_lifetime=4) as mesh:
        loop = asyncio.get_running_loop()
        until_then = loop.time() + 8

        async def work() -> None:
            while loop.time() < until_then:
                answer = await mesh.planner.ask(call("echo", text="on we go"))
                assert (answer.status, answer.text) == (200, "on we go")

        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(work())
        records = mesh.log("ingress").records()
        assert {record["outcome"] for record in records} == {"completed"}
        assert len({record["peer_address"] for record in records}) >= 2 * 4
