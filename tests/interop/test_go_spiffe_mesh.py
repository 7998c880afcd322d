"""The whole mesh with go-spiffe at one end of a hop: a client of our ingress, a server to our egress."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Request
from spiffe_mcp.http.messages import encode_request
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mesh.addresses import Address
from tests.fakes.go_spiffe import Event, GoSpiffe, Program
from tests.fakes.mcp_client import Answer, Plain, call, with_header
from tests.fakes.mesh import (
    PLANNER,
    REVIEWER,
    SERVER,
    STRANGER,
    Log,
    Mesh,
    Site,
    provider_at,
    running_agent,
    running_mesh,
)

# -- go-spiffe calls our ingress ----------------------------------------------------------------------------


@pytest.fixture
async def mesh(folder: Path, go_spiffe: GoSpiffe) -> AsyncIterator[Mesh]:
    async with running_mesh(folder, egresses=(PLANNER,)) as running:
        yield running


BARE = call("echo", text="from Go")  # a call without a user context


async def calling(
    go_spiffe: GoSpiffe, mesh: Mesh, caller: SpiffeId, request: Request = BARE, expected: SpiffeId = SERVER
) -> list[Event]:
    """What a go-spiffe client says that sends `request` to our ingress."""
    file = mesh.site.folder / "request"
    file.write_bytes(encode_request(request))
    return await go_spiffe.said(
        "dial",
        socket=mesh.provider.address,
        id=str(caller),
        address=str(mesh.ingress),
        peer=str(expected),
        request=str(file),
    )


async def test_an_admitted_go_client_with_a_user_context_of_its_svid_is_served(
    go_spiffe: GoSpiffe, mesh: Mesh
) -> None:
    signed = mesh.hop(PLANNER).signed(BARE)  # bound to the SVID that the Go client shows
    _, response = await calling(go_spiffe, mesh, PLANNER, signed)
    assert response["status"] == 200
    assert json.loads(response["body"])["result"]["content"][0]["text"] == "from Go"


async def test_an_admitted_go_client_without_a_user_context_is_told_no_and_recorded(
    go_spiffe: GoSpiffe, mesh: Mesh
) -> None:
    with mesh.server.untouched():
        handshake, response = await calling(go_spiffe, mesh, PLANNER)
    assert handshake == {"event": "handshake", "peer": str(SERVER)}
    assert response["status"] == 403
    body = json.loads(response["body"])
    assert (body["jsonrpc"], body["id"]) == ("2.0", 1)
    assert "error" in body
    record = mesh.log("ingress").last()
    assert (record["decision"], record["reason"]) == ("refuse", Reason.CONTEXT_MISSING.code)
    assert record["peer"] == str(PLANNER)


async def test_a_go_client_that_is_registered_but_not_admitted_is_refused_in_the_handshake(
    go_spiffe: GoSpiffe, mesh: Mesh
) -> None:
    with mesh.server.untouched():
        said = await calling(go_spiffe, mesh, STRANGER)
    # Its own handshake is complete before we have looked (RFC 8446 section 4.4.2.4); no answer follows.
    assert [event["event"] for event in said] == ["handshake", "failed"]
    record = mesh.log("ingress").last()
    assert (record["kind"], record["reason"]) == ("authentication", Reason.ID_NOT_AUTHORIZED.code)


async def test_a_go_client_that_expects_another_server_refuses_our_ingress(
    go_spiffe: GoSpiffe, mesh: Mesh
) -> None:
    with mesh.server.untouched():
        (failed,) = await calling(go_spiffe, mesh, PLANNER, expected=REVIEWER)
    assert "unexpected ID" in failed["error"]
    record = mesh.log("ingress").last()
    assert (record["kind"], record["reason"]) == ("authentication", Reason.TLS_HANDSHAKE.code)


# -- our egress calls go-spiffe -----------------------------------------------------------------------------


@asynccontextmanager
async def go_server(
    go_spiffe: GoSpiffe, folder: Path, identity: SpiffeId, admits: SpiffeId = PLANNER
) -> AsyncIterator[tuple[Plain, Program]]:
    """A local client of `PLANNER`'s egress, whose one route leads to a go-spiffe server as `SERVER`."""
    async with provider_at(folder) as provider:
        address = provider.address
        async with go_spiffe.role("serve", socket=address, id=str(identity), peer=str(admits)) as server:
            listening = (await server.event("listening"))["address"]
            config = Site(folder).egress_config(address, listening, PLANNER, SERVER)
            async with running_agent(config) as egress:
                assert isinstance(egress.egress, Address)
                client = Plain(egress.egress)
                yield client, server
                client.close()


async def ask(client: Plain) -> Answer:
    """The answer to a call that comes with an identity of its own making."""
    request = with_header(call("echo", text="to Go"), "authorization", "Bearer of-the-workload")
    return await client.ask(with_header(request, "mesh-user-context", "forged"))


def only_record(folder: Path) -> Any:
    (record,) = Log(folder / "planner.jsonl").records()
    return record


async def test_a_call_reaches_a_go_server_with_one_user_context_and_no_token(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    async with go_server(go_spiffe, folder, SERVER) as (client, server):
        answer = await ask(client)
        assert (await server.event("handshake"))["peer"] == str(PLANNER)
        arrived = await server.event("request")
    assert answer.status == 200
    assert answer.document == {name: arrived[name] for name in arrived.keys() - {"event"}}
    assert arrived["body"].encode() == call("echo", text="to Go").body
    assert (arrived["method"], arrived["target"]) == ("POST", "/desk/mcp")
    (context,) = arrived["headers"]["Mesh-User-Context"]
    assert (context.count("."), context.count("~")) == (2, 0)  # one link: ours, not the workload's
    assert "Authorization" not in arrived["headers"]
    assert only_record(folder)["decision"] == "allow"


async def test_a_go_server_of_another_id_gets_no_request_and_the_local_client_is_told_no(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    async with go_server(go_spiffe, folder, STRANGER) as (client, server):
        answer = await ask(client)
        await server.event("handshake_failed")
        assert await server.rest() == []
    assert answer.status == 403
    assert (answer.document["jsonrpc"], answer.document["id"]) == ("2.0", 1)
    assert answer.reason == Reason.ID_NOT_AUTHORIZED.code
    assert only_record(folder)["reason"] == Reason.ID_NOT_AUTHORIZED.code


async def test_a_go_server_that_does_not_admit_the_ai_agent_gets_no_request(
    go_spiffe: GoSpiffe, folder: Path
) -> None:
    async with go_server(go_spiffe, folder, SERVER, admits=REVIEWER) as (client, server):
        answer = await ask(client)
        assert "unexpected ID" in (await server.event("handshake_failed"))["error"]
        assert await server.rest() == []
    assert answer.status == 403
    assert answer.reason == Reason.TLS_REJECTED.code
    assert only_record(folder)["reason"] == Reason.TLS_REJECTED.code
