"""Each program of a configuration has a bridge while the agent runs, and a reload finds it again."""

import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from spiffe_mcp.agent.config import AgentConfig, load
from spiffe_mcp.agent.programs import bridged
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.stdio import Program
from spiffe_mcp.mesh.targets import HttpUpstream, UnixUpstream
from tests.fakes.mesh import Site

COMMAND = (sys.executable, "-c", "")


def config_of(folder: Path, *upstreams: Program | None) -> AgentConfig:
    """An agent with an ingress for each of `upstreams`; None: a server that speaks HTTP."""
    path = Site(folder).ingress_config("unix:///nobody/there", "http://127.0.0.1:9/mcp")
    config = load(path)
    (ingress,) = config.ingresses
    (server,) = ingress.servers
    servers = [server if upstream is None else replace(server, upstream=upstream) for upstream in upstreams]
    return replace(config, ingresses=tuple(replace(ingress, servers=(server,)) for server in servers))


def upstreams(config: AgentConfig) -> list[object]:
    return [server.upstream for ingress in config.ingresses for server in ingress.servers]


async def test_a_program_is_replaced_by_a_socket_that_only_we_can_reach(tmp_path: Path) -> None:
    config = config_of(tmp_path, Program(COMMAND), None)
    async with bridged(config) as bridges:
        bridge, other = upstreams(bridges.before(config))
        assert isinstance(bridge, UnixUpstream)
        assert isinstance(other, HttpUpstream)
        assert bridge.socket.is_socket()
        assert stat.S_IMODE(bridge.socket.parent.stat().st_mode) == 0o700
        assert len(bridge.path) == 33, "a path that cannot be guessed"
    assert not bridge.socket.parent.exists()


async def test_the_same_command_behind_two_ingresses_is_two_programs(tmp_path: Path) -> None:
    config = config_of(tmp_path, Program(COMMAND), Program(COMMAND))
    async with bridged(config) as bridges:
        one, other = upstreams(bridges.before(config))
    assert one != other


async def test_a_reload_finds_the_bridge_again(tmp_path: Path) -> None:
    config = config_of(tmp_path, Program(COMMAND))
    async with bridged(config) as bridges:
        again = config_of(tmp_path, Program(COMMAND))
        assert upstreams(bridges.before(again)) == upstreams(bridges.before(config))


@pytest.mark.parametrize("anew", [Program(("other",)), Program(COMMAND, env=(("A", "1"),))])
async def test_another_program_needs_a_restart(tmp_path: Path, anew: Program) -> None:
    async with bridged(config_of(tmp_path, Program(COMMAND))) as bridges:
        with pytest.raises(Refused) as refused:
            bridges.before(config_of(tmp_path, anew))
    assert refused.value.reason is Reason.RELOAD_NEEDS_RESTART
    assert "the program of 'desk'" in str(refused.value)


async def test_without_programs_nothing_is_made(tmp_path: Path) -> None:
    config = config_of(tmp_path, None)
    async with bridged(config) as bridges:
        assert bridges.before(config) == config
