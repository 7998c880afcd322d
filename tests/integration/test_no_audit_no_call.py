"""A call that could not be recorded is not made, on either side; and it goes on once it can be recorded."""

import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.mcp_client import Answer, Plain, call
from tests.fakes.mcp_server import serving_mcp
from tests.fakes.mesh import LIVE, PLANNER, Log, Site, provider_at, running_agent, running_mesh

Spoil: TypeAlias = Callable[[Path], object]

MEBIBYTE: Final = 1024 * 1024


def check_refused(answer: Answer) -> None:
    assert (answer.status, answer.code) == (503, 503001)
    assert answer.reason == Reason.AUDIT_UNAVAILABLE.code


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"me too\n")


SPOILED: Final[dict[str, Spoil]] = {"removed": Path.unlink, "written to by somebody else": append}


@pytest.mark.parametrize("side", ["planner", "ingress"])
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
async def test_no_call_is_made_when_the_log_is_no_longer_the_agents_own(
    folder: Path, side: str, spoil: Spoil
) -> None:
    async with running_mesh(folder, egresses=(PLANNER,)) as mesh:
        arrived = len(mesh.log("ingress").records())
        spoil(mesh.log(side).path)
        with mesh.server.untouched():
            check_refused(await mesh.planner.ask(call("echo", text="unseen")))
        if side == "planner":
            assert len(mesh.log("ingress").records()) == arrived, "nothing was sent on the hop"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    with tempfile.TemporaryDirectory(prefix="mesh-") as path:
        mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", path]
        if subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
            pytest.skip("this environment does not let root mount")
        try:
            yield Path(path)
        finally:
            subprocess.run(["umount", "-l", path], check=True)


async def test_no_call_is_made_while_the_disk_is_full(small_disk: Path) -> None:
    async with running_mesh(small_disk, egresses=(PLANNER,)) as mesh:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(3 * MEBIBYTE + MEBIBYTE // 2))
        with mesh.server.untouched():
            check_refused(await mesh.planner.ask(call("echo", text="unseen")))
        ballast.unlink()
        assert (await mesh.planner.ask(call("echo", text="seen"))).text == "seen"
        for side in ("planner", "ingress"):
            assert mesh.log(side).report().intact


async def test_an_answer_whose_record_does_not_fit_is_withheld_and_the_gap_is_counted(folder: Path) -> None:
    """The disk fills up during the call: the ingress is a process whose files may not grow (setrlimit(2))."""
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    log = Log(folder / "ingress.jsonl")
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        server = await stack.enter_async_context(serving_mcp(LIVE))
        config = site.ingress_config(provider.address, server.url)
        running = commands.running("agent", "--config", config, log=folder / "ingress.err")
        ingress = await stack.enter_async_context(running)
        address = (await ingress.ready())["ingress"]
        egress = await stack.enter_async_context(running_agent(site.egress_config(provider.address, address)))
        assert isinstance(egress.egress, Address)
        client = Plain(egress.egress)
        stack.callback(client.close)
        assert (await client.ask(call("echo", text="seen"))).text == "seen"

        size = log.path.stat().st_size
        resource.prlimit(ingress.pid, resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
        withheld = await client.ask(call("echo", text="unseen"))
        check_refused(withheld)
        assert b"unseen" not in withheld.body
        assert log.path.stat().st_size == size, "no half line"

        limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(ingress.pid, resource.RLIMIT_FSIZE, limits)
        assert (await client.ask(call("echo", text="seen again"))).text == "seen again"
        assert await ingress.stopped() == 0
    assert log.report().intact
    assert [record.get("lost", 0) for record in log.records()] == [0, 1, 0]
