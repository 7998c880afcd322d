"""A private key is in the memory of its agent, and in no file, environment, argument or log."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from spiffe_mcp.identity import X509Svid
from spiffe_mcp.mesh.addresses import Address
from tests.fakes import commands
from tests.fakes.mcp_client import Hop, call
from tests.fakes.mcp_server import serving_mcp
from tests.fakes.mesh import LIVE, PLANNER, SERVER, Site, provider_at


def forms(svid: X509Svid) -> list[bytes]:
    """The key as it could stand in a file: DER, and the lines of its PEM."""
    no_encryption = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    der = svid.key.private_bytes(serialization.Encoding.DER, pkcs8, no_encryption)
    pem = svid.key.private_bytes(serialization.Encoding.PEM, pkcs8, no_encryption)
    return [der, *pem.splitlines()]


def visible(pid: int, folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that others can see of a process: its arguments, environment, open files, and its folder."""
    process = Path(f"/proc/{pid}")
    for name in ("cmdline", "environ"):
        yield name, (process / name).read_bytes()
    for descriptor in (process / "fd").iterdir():
        target = str(descriptor.readlink())
        assert "memfd" not in target, "the memory that a key went through is closed"
        if target.startswith("/") and Path(target).is_file():
            yield target, Path(target).read_bytes()
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()


async def test_nothing_that_others_can_see_holds_a_key(folder: Path) -> None:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(provider_at(folder))
        upstream = await stack.enter_async_context(serving_mcp(LIVE))
        config = site.ingress_config(provider.address, upstream.url)
        running = commands.running(
            "agent", "--config", config, "--log-level", "debug", log=folder / "ingress.err"
        )
        agent = await stack.enter_async_context(running)
        ingress = Address.parse((await agent.ready())["ingress"])
        svids = {entry.spiffe_id: svid for entry, svid in provider.issued.svids.items()}
        hop = Hop(ingress, svids[PLANNER], provider.issued.bundles, SERVER)
        assert (await hop.ask(hop.signed(call("echo", text="hello")))).text == "hello"
        seen = dict(visible(agent.pid, folder))
        assert {
            "cmdline",
            "environ",
            str(folder / "ingress.err"),
            str(folder / "ingress.jsonl"),
        } <= seen.keys()
        for name, content in seen.items():
            for form in forms(svids[SERVER]):
                assert form not in content or form.startswith(b"-----"), name
            assert b"PRIVATE KEY" not in content, name
