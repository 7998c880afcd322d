"""`spiffe-mcp doctor` as an operator runs it: a process of its own, against what really is there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from spiffe_mcp.agent.agent import Ready
from spiffe_mcp.dev.provider import Provider
from tests.fakes import commands
from tests.fakes.admin import with_admin
from tests.fakes.mcp_server import RecordingServer, serving_mcp
from tests.fakes.mesh import (
    LIVE,
    PLANNER,
    SERVER,
    STRANGER,
    TRUST_DOMAIN,
    Log,
    Site,
    provider_at,
    running_agent,
)


@asynccontextmanager
async def an_ingress(folder: Path) -> AsyncIterator[tuple[Site, Provider, RecordingServer, Ready]]:
    site = Site(folder)
    site.sign_manifest()
    site.write_policy()
    async with provider_at(folder) as provider, serving_mcp(LIVE) as server:
        config = with_admin(site.ingress_config(provider.address, server.url))
        async with running_agent(config) as ingress:
            yield site, provider, server, ingress


async def doctor(*arguments: str | Path) -> tuple[int, Any]:
    """Exit code and document of the command."""
    ended = await asyncio.to_thread(commands.run, "doctor", "--json", *arguments)
    return ended.returncode, json.loads(ended.stdout)


def errors(document: Any) -> dict[str, str]:
    """What is wrong: check to message."""
    return {
        finding["check"]: finding["message"]
        for finding in document["findings"]
        if finding["severity"] == "error"
    }


def is_well(code: int, document: Any) -> bool:
    """Whether nothing is wrong, but perhaps for the limit of descriptors of whoever runs this test."""
    others = {finding["severity"] for finding in document["findings"] if finding["check"] != "descriptors"}
    few = document["findings"][0 if document["findings"][0]["check"] == "descriptors" else 1]["severity"]
    assert others == {"ok"}, document
    assert document["ok"] is (few == "ok")
    return code == {"ok": 0, "warning": 1}[few]


async def test_all_is_well_between_two_agents(folder: Path) -> None:
    async with an_ingress(folder) as (site, provider, _, ingress):
        config = with_admin(site.egress_config(provider.address, str(ingress.ingress)))
        async with running_agent(config) as egress:
            document = yaml.safe_load(config.read_text())
            document["admin"]["listen"] = str(egress.admin)
            config.write_text(yaml.safe_dump(document))
            code, found = await doctor("--config", config)
        assert is_well(code, found)
        assert [finding["check"] for finding in found["findings"]] == [
            *("configuration", "descriptors", "audit", "socket", "workload_api", "clock", "svid", "bundle"),
            *("peer", "agent"),
        ]
        assert f"{SERVER} answers at {ingress.ingress}, and lets {PLANNER} in." in str(found)
        # It was asked a question, as the record says, and no tool was called by it.
        assert Log(folder / "ingress.jsonl").last()["reason"] == "mesh.route_unknown"


async def test_a_peer_that_refuses_us_is_told_and_is_on_record_there(folder: Path) -> None:
    async with an_ingress(folder) as (site, provider, _, ingress):
        config = site.egress_config(provider.address, str(ingress.ingress), STRANGER)
        code, found = await doctor("--config", config)
        assert code == 3
        assert f"refused us, {STRANGER}" in errors(found)["peer"]
        assert Log(folder / "ingress.jsonl").last()["reason"] == "identity.id_not_authorized"


async def test_a_peer_on_the_command_line(folder: Path) -> None:
    async with an_ingress(folder) as (_, provider, _, ingress):
        peer = ("--peer", str(ingress.ingress), "--server")
        code, found = await doctor("--socket", provider.address, *peer, str(SERVER))
        assert is_well(code, found)
        code, found = await doctor("--socket", provider.address, *peer, "spiffe://mesh.test/mcp/other")
    assert code == 3
    assert "identity.id_not_authorized" in errors(found)["peer"]


async def test_a_running_agent_that_is_not_ready_is_quoted(folder: Path) -> None:
    async with an_ingress(folder) as (site, provider, server, ingress):
        config = with_admin(site.ingress_config(provider.address, server.url), str(ingress.admin))
        (folder / "ingress.jsonl").unlink()
        code, found = await doctor("--config", config)
    assert code == 3
    assert "audit.unavailable" in errors(found)["agent"]


async def test_an_agent_that_does_not_run_is_a_warning(folder: Path) -> None:
    async with an_ingress(folder) as (site, provider, _, ingress):
        config = site.egress_config(provider.address, str(ingress.ingress))
        with_admin(config, "127.0.0.1:1")  # privileged, and nobody's
        code, found = await doctor("--config", config)
    assert (code, found["severity"]) == (1, "warning"), found
    assert "No agent answers" in str(found)


async def test_nothing_that_stands_on_a_missing_socket_is_tried(folder: Path) -> None:
    site = Site(folder)
    config = site.egress_config(f"unix://{folder}/api.sock", "127.0.0.1:9")
    code, found = await doctor("--config", config)
    assert code == 3
    assert errors(found).keys() == {"socket"}
    assert "does not exist" in errors(found)["socket"]


async def test_a_configuration_that_is_wrong_is_told_with_its_line_and_a_socket_is_still_looked_at(
    folder: Path,
) -> None:
    config = folder / "agent.yaml"
    config.write_text("identity:\n  sockets: x\n")
    async with provider_at(folder) as provider:
        code, found = await doctor("--config", config, "--socket", provider.address)
    assert code == 3
    assert errors(found).keys() == {"configuration"}
    assert "config.invalid: agent.yaml:" in errors(found)["configuration"]
    assert "svid" in {finding["check"] for finding in found["findings"]}


async def test_a_manifest_that_is_wrong_is_an_error_of_the_configuration(folder: Path) -> None:
    async with an_ingress(folder) as (site, provider, server, _):
        config = site.ingress_config(provider.address, server.url)
        (folder / "manifest.json").write_text("{}")
        code, found = await doctor("--config", config)
    assert code == 3
    assert "manifest.json" in errors(found)["configuration"]


async def test_a_peer_of_a_trust_domain_without_a_bundle(folder: Path) -> None:
    async with provider_at(folder) as provider:
        arguments = ("--peer", "127.0.0.1:1", "--server", "spiffe://partner.test/mcp/desk")
        code, found = await doctor("--socket", provider.address, *arguments)
    assert code == 3
    assert "no bundle for partner.test" in errors(found)["bundle"]
    assert "upstream.unreachable" in errors(found)["peer"]


# -- as people run it ---------------------------------------------------------------------------------------


async def test_people_read_sentences_and_what_to_do(folder: Path) -> None:
    ended = await asyncio.to_thread(commands.run, "doctor", "--socket", f"unix://{folder}/api.sock")
    assert ended.returncode == 3
    words = " ".join(ended.stdout.split())
    assert f"error socket The socket does not exist: {folder}/api.sock" in words
    assert "-> Start the SPIFFE agent" in words
    assert words.endswith("Something is wrong: see above.")


async def test_the_socket_of_the_environment_is_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider_at(folder) as provider:
        monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", provider.address)
        code, found = await doctor()
    assert is_well(code, found)
    assert str(TRUST_DOMAIN) in str(found)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--socket", "unix:///x", "--peer", "127.0.0.1:1"),
        ("--socket", "unix:///x", "--server", "spiffe://a.test/x"),
        ("--socket", "unix:///x", "--peer", "nowhere", "--server", "spiffe://a.test/x"),
        ("--config", "/nonexistent.yaml"),
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_wrong_usage_is_2(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    ended = commands.run("doctor", *arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
