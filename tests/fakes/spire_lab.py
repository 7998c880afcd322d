"""A trust domain of real SPIRE for drills: a server and an agent, to be stopped, killed and started again.

    async with SpireLab.running(folder, "a.test", svid_ttl="20s") as spire:
        await spire.register("/w")                      # the current user is spiffe://a.test/w
        spire.address                                   # of the Workload API
        await spire.server("localauthority", "x509", "prepare")
        spire.kill_agent(); await spire.start_agent()   # kill -9, and the same agent again

Other than `scripts/spire`, which starts one to work with, a lab keeps its keys on disk: what was stopped
comes back as itself. Lifetimes are seconds, and both halves look for news twice a second.
"""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_PATIENCE: Final = 60.0  # seconds until something is healthy; only a failure takes so long

_SERVER: Final = """
server {{
    trust_domain = "{trust_domain}"
    data_dir = "{folder}/server"
    socket_path = "{folder}/server/api.sock"
    bind_address = "127.0.0.1"
    bind_port = "{port}"
    ca_ttl = "{ca_ttl}"
    default_x509_svid_ttl = "{svid_ttl}"
    agent_ttl = "1h"
    federation {{
        bundle_endpoint {{
            address = "127.0.0.1"
            port = {bundle_port}
            refresh_hint = "10s"
            profile "https_spiffe" {{}}
        }}
    }}
    experimental {{ cache_reload_interval = "500ms" }}
}}
plugins {{
    DataStore "sql" {{
        plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/server/datastore.sqlite3" }}
    }}
    NodeAttestor "join_token" {{ plugin_data {{}} }}
    KeyManager "disk" {{ plugin_data {{ keys_path = "{folder}/server/keys.json" }} }}
}}
"""

_AGENT: Final = """
agent {{
    trust_domain = "{trust_domain}"
    data_dir = "{folder}/agent"
    server_address = "127.0.0.1"
    server_port = "{port}"
    trust_bundle_path = "{folder}/agent/bootstrap.crt"
    socket_path = "{folder}/public/agent.sock"
    experimental {{ sync_interval = "500ms" }}
}}
plugins {{
    NodeAttestor "join_token" {{ plugin_data {{}} }}
    KeyManager "disk" {{ plugin_data {{ directory = "{folder}/agent" }} }}
    WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"""


def _free_port() -> int:
    """SPIRE takes no port 0. Another process might be faster, and the test would say so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(kw_only=True)
class SpireLab:
    """One trust domain. Paths are short: its sockets are in them."""

    folder: Path
    trust_domain: str
    svid_ttl: str = "1h"
    ca_ttl: str = "24h"
    port: int = field(default_factory=_free_port)
    bundle_port: int = field(default_factory=_free_port)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path, trust_domain: str, **options: Any) -> AsyncIterator["SpireLab"]:
        """Server and agent, until the block ends."""
        lab = cls(folder=folder, trust_domain=trust_domain, **options)
        for name in ("server", "agent", "public"):
            (folder / name).mkdir(parents=True)
        try:
            await lab.start_server()
            await lab._join()
            yield lab
        finally:
            lab.kill_agent()
            lab.kill_server()

    @property
    def address(self) -> str:
        """The value for SPIFFE_ENDPOINT_SOCKET."""
        return f"unix://{self.socket}"

    @property
    def socket(self) -> Path:
        return self.folder / "public" / "agent.sock"

    # -- processes ------------------------------------------------------------------------------------------

    async def start_server(self) -> None:
        """Start it, for the first time or again; returns when it is healthy."""
        self._configure("server", _SERVER)
        await self._start("server")

    async def start_agent(self, *arguments: str) -> None:
        """Start it again, as the node it was before; returns when it is healthy."""
        self._configure("agent", _AGENT)
        await self._start("agent", *arguments)

    def kill_server(self) -> None:
        self._kill("server")

    def kill_agent(self) -> None:
        """`kill -9`: its socket stays behind, and nobody listens."""
        self._kill("agent")

    async def _join(self) -> None:
        (self.folder / "agent" / "bootstrap.crt").write_text(await self.server("bundle", "show"))
        token = await self.server("token", "generate", "-spiffeID", self._node)
        await self.start_agent("-joinToken", token.split()[1])

    def _configure(self, kind: str, template: str) -> None:
        values = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        (self.folder / f"{kind}.conf").write_text(template.format(**values))

    async def _start(self, kind: str, *arguments: str) -> None:
        config, log = self.folder / f"{kind}.conf", (self.folder / f"{kind}.log").open("ab")
        with log:
            self._running[kind] = subprocess.Popen(  # noqa: ASYNC220  a millisecond; vfork, see go_spiffe
                [f"spire-{kind}", "run", "-config", config, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(_PATIENCE):
            while not await self._healthy(kind):
                died = self._running[kind].poll()
                assert died is None, (self.folder / f"{kind}.log").read_text()[-2000:]

    async def _healthy(self, kind: str) -> bool:
        path = self.socket if kind == "agent" else self._server_socket
        return (await _ran(f"spire-{kind}", "healthcheck", "-socketPath", str(path))).returncode == 0

    def _kill(self, kind: str) -> None:
        process = self._running.pop(kind, None)
        if process is not None:
            process.kill()
            process.wait()

    # -- the server's interface -----------------------------------------------------------------------------

    async def server(self, *arguments: str) -> str:
        """What `spire-server` says to this command."""
        command, subcommands, options = arguments[0], [], list(arguments[1:])
        while options and not options[0].startswith("-"):
            subcommands.append(options.pop(0))
        ran = await _ran(
            "spire-server", command, *subcommands, "-socketPath", str(self._server_socket), *options
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    async def register(self, path: str, *options: str) -> None:
        """Processes of this user are `path`; `options` go to `entry create`."""
        await self.server("entry", "create", *self._entry(path), *options)

    async def federate(self, path: str, other: "SpireLab") -> None:
        """The workload at `path` gets the bundle of the other trust domain as well."""
        await self.server("entry", "update", *self._entry(path), "-federatesWith", other.domain_id)

    def _entry(self, path: str) -> tuple[str, ...]:
        return (
            "-entryID", path.replace("/", "_"),
            "-parentID", self._node,
            "-spiffeID", f"{self.domain_id}{path}",
            "-selector", f"unix:uid:{os.getuid()}",
        )  # fmt: skip

    @property
    def domain_id(self) -> str:
        return f"spiffe://{self.trust_domain}"

    async def authorities(self) -> Any:
        """The X.509 authorities by state: `active`, `prepared`, `old`."""
        return json.loads(await self.server("localauthority", "x509", "show", "-output", "json"))

    async def authority(self, command: str, authority_id: str) -> None:
        """`activate`, `taint` or `revoke` one X.509 authority."""
        await self.server("localauthority", "x509", command, "-authorityID", authority_id)

    async def prepare_authority(self) -> str:
        """A further authority, in the bundle and not signing yet; its ID."""
        said = json.loads(await self.server("localauthority", "x509", "prepare", "-output", "json"))
        return str(said["prepared_authority"]["authority_id"])

    async def trust(self, other: "SpireLab") -> None:
        """Follow the bundle endpoint of another lab, whose bundle is handed over once by hand."""
        bundle = self.folder / f"{other.trust_domain}.bundle"
        bundle.write_text(await other.server("bundle", "show", "-format", "spiffe"))
        await self.server(
            "federation", "create",
            "-trustDomain", other.trust_domain,
            "-bundleEndpointURL", f"https://127.0.0.1:{other.bundle_port}",
            "-bundleEndpointProfile", "https_spiffe",
            "-endpointSpiffeID", f"{other.domain_id}/spire/server",
            "-trustDomainBundlePath", str(bundle), "-trustDomainBundleFormat", "spiffe",
        )  # fmt: skip

    async def refresh(self, other: "SpireLab") -> None:
        """Ask the other's bundle endpoint now."""
        await self.server("federation", "refresh", "-id", other.domain_id)

    async def distrust(self, other: "SpireLab") -> None:
        """End the federation, and forget the other's bundle."""
        await self.server("federation", "delete", "-id", other.domain_id)
        await self.server("bundle", "delete", "-id", other.domain_id, "-mode", "dissociate")

    @property
    def _node(self) -> str:
        return f"{self.domain_id}/node"

    @property
    def _server_socket(self) -> Path:
        return self.folder / "server" / "api.sock"


async def _ran(*command: str) -> subprocess.CompletedProcess[str]:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )

    return await asyncio.to_thread(run)
