"""This mesh: a SPIFFE provider and two agents as processes, as they are deployed, with everything on.

On are: mutual TLS 1.3 by SVIDs of the provider; the user context, signed and verified; a manifest with a real
signature, and the live list held against it; the arguments' signed schema; policy in Rego; the answer's
filter; one audit record on each side. `without` names the stages that `scripts.benchmarks.stages` takes out
of the agents, for the benchmark only: no option of the product does that.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import WorkloadApiClient

from scripts.benchmarks.peers.target import Running, Site
from scripts.benchmarks.programs import Address, started
from scripts.benchmarks.server import Server
from spiffe_mcp.identity import SpiffeId, TrustDomain
from spiffe_mcp.manifest import FileSigner, Manifest, RiskLevel, in_order, reviewed, sign, statement
from spiffe_mcp.strict_json import JsonObject

TRUST_DOMAIN: Final = TrustDomain("bench.mesh")
AI_AGENT: Final = SpiffeId(TRUST_DOMAIN, "/ai-agent")
SERVER: Final = SpiffeId(TRUST_DOMAIN, "/mcp/server")
USER: Final = {
    "sub": "alice@example.com",
    "sub_iss": "https://idp.example.com",
    "groups": ["analysts"],
    "department": "finance",
    "purpose": "quarterly-report",
}
_POLICY: Final = Path(__file__).with_name("policy.rego")
_LOG_LEVEL: Final = ("--log-level", "warning")


@dataclass(frozen=True, slots=True)
class Mesh:
    """Two agents. `servers` are names that all lead to the one MCP server; calls go to the last of them."""

    name: str = "mesh"
    title: str = "this mesh, everything on"
    without: tuple[str, ...] = ()
    fsync: str = "never"
    servers: int = 1

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """Provider, ingress and egress."""
        files = _Files(site.folder, self)
        files.sign_manifest(_listed(site.server))
        with self._provider(files) as workload_api:
            files.write_ingress(workload_api, site)
            with self._agent(files, "ingress") as (second, at_ingress):
                files.write_egress(workload_api, at_ingress, site)
                with self._agent(files, "egress") as (first, at_egress):
                    yield Running(
                        url=f"http://{at_egress}/{_name(self.servers - 1)}/mcp",
                        processes={"egress": first, "ingress": second},
                        ingress=Address(int(at_ingress.rpartition(":")[2])),
                        client=files.write_svid(workload_api),
                    )

    @contextmanager
    def _provider(self, files: "_Files") -> Iterator[str]:
        log, user = files.folder / "provider.log", os.getuid()
        command: list[str | Path] = [sys.executable, "-m", "spiffe_mcp", "dev", "provider"]
        command += ["--trust-domain", str(TRUST_DOMAIN), "--socket", files.folder / "workload.sock"]
        for identity in (AI_AGENT, SERVER):
            command += ["--entry", f"{identity}={user}"]
        with started(command, log) as process:
            yield json.loads(process.first_line())["workload_api"]

    @contextmanager
    def _agent(self, files: "_Files", side: str) -> Iterator[tuple[int, str]]:
        """One agent; its process, and where it listens."""
        log = files.folder / f"{side}.log"
        command: list[str | Path] = [sys.executable, "-m", *self._program()]
        command += ["agent", "--config", files.folder / f"{side}.yaml", *_LOG_LEVEL]
        with started(command, log) as process:
            yield process.pid, json.loads(process.first_line())[side]

    def _program(self) -> list[str]:
        """The product's own command, unless something is taken out of it."""
        return ["scripts.benchmarks.stages", *self.without, "--"] if self.without else ["spiffe_mcp"]


@dataclass(frozen=True, slots=True)
class _Files:
    """What the agents are configured with, all below `folder`."""

    folder: Path
    mesh: Mesh

    def sign_manifest(self, tools: list[JsonObject]) -> None:
        """The publisher's part."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        signer = FileSigner.from_pem(pem)
        issued = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251  a command is a composition root
        signed = in_order(reviewed(tool, RiskLevel.LOW) for tool in tools)
        expires = issued + timedelta(days=1)
        manifest = Manifest(SERVER, "benchmark", "1", None, 1, issued, expires, None, signed)
        (self.folder / "manifest.json").write_bytes(sign(statement.write(manifest), [signer]))
        rule = {"server": str(SERVER), "tools": ["*"], "signers": ["publisher"]}
        trust = {"version": 1, "keys": {"publisher": signer.public_key.pem()}, "rules": [rule]}
        (self.folder / "trust.json").write_text(json.dumps(trust))

    def write_ingress(self, workload_api: str, site: Site) -> None:
        """Before the MCP server."""
        url = site.server.url
        servers = [
            {"name": _name(number), "upstream": url, "manifest": "manifest.json"}
            for number in range(self.mesh.servers)
        ]
        ingress = {
            "listen": "127.0.0.1:0",
            "peers": [str(AI_AGENT)],
            "servers": servers,
            "trust_policy": "trust.json",
            "policy": [str(_POLICY)],
        }
        self._write("ingress", workload_api, SERVER, {"ingress": ingress}, site.workers)

    def write_egress(self, workload_api: str, ingress: str, site: Site) -> None:
        """Beside the AI agent."""
        servers = [
            {"name": _name(number), "spiffe_id": str(SERVER), "address": ingress}
            for number in range(self.mesh.servers)
        ]
        egress = {"listen": "127.0.0.1:0", "user": USER, "servers": servers}
        self._write("egress", workload_api, AI_AGENT, {"egress": egress}, site.workers)

    def write_svid(self, workload_api: str) -> Path:
        """The AI agent's SVID, for a client that is no agent."""
        file = self.folder / "svid.pem"
        with WorkloadApiClient(workload_api, default_timeout=10) as client:
            [svid] = [one for one in client.fetch_x509_svids() if str(one.spiffe_id) == str(AI_AGENT)]
        file.touch(mode=0o600)
        svid.save(str(file), str(self.folder / "svid.key"), Encoding.PEM)
        file.write_bytes(file.read_bytes() + (self.folder / "svid.key").read_bytes())
        return file

    def _write(
        self, side: str, workload_api: str, identity: SpiffeId, part: dict[str, Any], workers: int
    ) -> None:
        document = {
            "identity": {"source": "workload-api", "socket": workload_api, "spiffe_id": str(identity)},
            **part,
            "audit": {"file": f"{side}.jsonl", "fsync": self.mesh.fsync},
        }
        if workers > 1:
            document["workers"] = workers
        (self.folder / f"{side}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def _name(number: int) -> str:
    return f"server-{number}"


def _listed(server: Server) -> list[JsonObject]:
    """The tools that the MCP server lists: what its publisher reviews and signs."""
    question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(server.url, question, headers)  # noqa: S310  our own server's URL
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        tools: list[JsonObject] = json.load(answer)["result"]["tools"]
    return tools
