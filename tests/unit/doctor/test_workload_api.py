"""Whatever answers at the socket, in plain words; asked over real sockets, of real servers."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.doctor import workload_api
from spiffe_mcp.doctor.finding import Check, Finding, Severity
from spiffe_mcp.doctor.workload_api import offered
from spiffe_mcp.identity.update import Update
from tests.fakes.mini_ca import MiniCa
from tests.fakes.workload_api import FakeWorkloadApi, message, svid_part
from tests.fakes.workloads import AI_AGENT, TRUST_DOMAIN, now, provider_at


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a Unix socket (unix(7): 108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as path:
        yield Path(path)


def bad(found: Update | Finding, *words: str) -> None:
    assert isinstance(found, Finding)
    assert found.check is Check.WORKLOAD_API
    assert found.severity is Severity.ERROR
    assert found.advice
    for word in words:
        assert word in f"{found.message} {found.advice}"


async def test_a_provider_that_knows_us_offers_what_it_has(folder: Path) -> None:
    async with provider_at(folder) as provider:
        update = await offered(provider.address)
    assert isinstance(update, Update)
    assert str(AI_AGENT) in [part.spiffe_id for part in update.svids]


async def test_a_provider_without_an_entry_for_us_says_for_whom_to_make_one(folder: Path) -> None:
    somebody = Entry(AI_AGENT, 54321)
    async with Provider(TRUST_DOMAIN, folder / "api.sock", [somebody], clock=now) as provider:
        found = await offered(provider.address)
    bad(found, "not attested", f"uid {os.geteuid()}", f"unix:uid:{os.geteuid()}", "no identity issued")


async def test_a_grpc_server_of_another_kind(folder: Path) -> None:
    server = grpc.aio.server()
    server.add_insecure_port(f"unix://{folder}/admin.sock")
    await server.start()
    try:
        found = await offered(f"unix://{folder}/admin.sock")
    finally:
        await server.stop(grace=None)
    bad(found, "does not know the Workload API", "not at its admin or broker socket")


async def test_a_server_that_calls_our_request_invalid(folder: Path) -> None:
    async with FakeWorkloadApi(folder / "api.sock") as api:
        api.deny(grpc.StatusCode.INVALID_ARGUMENT)
        bad(await offered(api.address), "called invalid", "workload.spiffe.io")


@asynccontextmanager
async def served_by(path: Path, speak: bytes) -> AsyncIterator[str]:
    """A server that says so much and no more, and keeps the connection open if it says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(speak)
        if not speak:
            await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield f"unix://{path}"
    finally:
        server.close()


async def test_a_server_that_speaks_no_grpc(folder: Path) -> None:
    async with served_by(folder / "http.sock", b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        bad(await offered(address), "No answer: UNAVAILABLE", "speaks no gRPC")


async def test_a_provider_that_accepts_the_question_and_does_not_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload_api, "ANSWER_SECONDS", 0.2)
    async with FakeWorkloadApi(folder / "api.sock") as api:
        bad(await offered(api.address), "No answer within 0.2 s", "read its log")


async def test_a_stream_that_ends_without_a_message(folder: Path) -> None:
    async with FakeWorkloadApi(folder / "api.sock") as api:
        api.deny(grpc.StatusCode.OK)
        bad(await offered(api.address), "no message of the Workload API", "none came")


async def test_bytes_that_are_no_message(folder: Path) -> None:
    async with FakeWorkloadApi(folder / "api.sock") as api:
        api.push(b"\xff\xff\xff")
        bad(await offered(api.address), "not an X509SVIDResponse")


async def test_an_offer_is_handed_on_unread(folder: Path) -> None:
    async with FakeWorkloadApi(folder / "api.sock") as api:
        api.push(message([svid_part(MiniCa("a.test"), "/w", bundle=b"garbage")]))
        update = await offered(api.address)
    assert isinstance(update, Update)
    assert update.svids[0].bundle == b"garbage"
