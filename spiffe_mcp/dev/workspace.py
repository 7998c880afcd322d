"""The files of the demo mesh: everything a real deployment would have, made on the spot in one folder.

A publisher's key, the manifest it signed for the reviewed server, the trust policy that names the key, the
Rego policy, the configuration of both agents, and the trust bundles. All of it is throw-away, and all of it
is what the other commands read: `manifest verify`, `policy eval`, `audit verify`, `agent`.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Final

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import BundleSet, SpiffeId, TrustDomain
from spiffe_mcp.manifest import FileSigner, Manifest, RiskLevel, in_order, reviewed, sign, statement
from spiffe_mcp.strict_json import JsonObject

TRUST_DOMAIN: Final = TrustDomain("demo.mesh")
AI_AGENT: Final = SpiffeId(TRUST_DOMAIN, "/ai-agent")
SERVER: Final = SpiffeId(TRUST_DOMAIN, "/mcp/accounting")
NAME: Final = "accounting"
USER: Final = {
    "sub": "alice@example.com",
    "sub_iss": "https://idp.example.com",
    "groups": ["analysts"],
    "department": "finance",
    "purpose": "quarterly-report",
}
HIGH_RISK: Final = frozenset({"approve_payment"})
_VALIDITY: Final = timedelta(days=30)
_KEY: Final = "publisher.pem"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where each file of the demo is, all below `folder`."""

    folder: Path

    @property
    def socket(self) -> Path:
        """The Workload API's socket."""
        return self.folder / "workload.sock"

    @property
    def manifest(self) -> Path:
        """The signed manifest of the demo's server."""
        return self.folder / "manifest.dsse.json"

    @property
    def trust_policy(self) -> Path:
        """Which keys may sign for it."""
        return self.folder / "trust.json"

    @property
    def policy(self) -> Path:
        """Who may call what."""
        return self.folder / "policy.rego"

    @property
    def bundles(self) -> Path:
        """The trust bundles of the mesh."""
        return self.folder / "bundles.json"

    @property
    def server_log(self) -> Path:
        """What the MCP server wrote."""
        return self.folder / "server.log"

    def audit_log(self, side: str) -> Path:
        """The records of one agent."""
        return self.folder / f"audit-{side}.jsonl"

    def config(self, side: str) -> Path:
        """The configuration of one agent."""
        return self.folder / f"{side}.yaml"

    @property
    def index(self) -> Path:
        """What there is, for programs."""
        return self.folder / "index.json"

    # -- making them ----------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Make the folder, rid of what an earlier run left there.

        Raises `Refused(DEV_FOLDER)` for a folder that a run still uses, or that holds somebody else's files.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = {path.name for path in self.folder.iterdir()}
        if self.socket.name in found:
            raise Refused(
                Reason.DEV_FOLDER, f"{self.folder} is in use, or {self.socket.name} was left by a crash"
            )
        if found and self.index.name not in found:
            raise Refused(Reason.DEV_FOLDER, f"{self.folder} is not empty, and not of an earlier run")
        for path in self._made():
            path.unlink(missing_ok=True)
        self.index.write_text(json.dumps(self._index(), indent=2) + "\n")

    def write_signed(self, tools: list[JsonObject], now: datetime) -> None:
        """The publisher's part: a key, the manifest of `tools`, and the trust policy that names the key."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        signer = FileSigner.from_pem(pem)
        self._write_private(_KEY, pem)
        self.manifest.write_bytes(sign(statement.write(_manifest(tools, now)), [signer]))
        rule = {"server": str(SERVER), "tools": ["*"], "signers": ["publisher"], "maxValidityDays": 30}
        trust = {"version": 1, "keys": {"publisher": signer.public_key.pem()}, "rules": [rule]}
        self.trust_policy.write_text(json.dumps(trust, indent=2) + "\n")

    def write_policy(self) -> None:
        """The security team's part."""
        self.policy.write_text(files("spiffe_mcp.dev").joinpath("demo.rego").read_text())

    def write_bundles(self, bundles: BundleSet) -> None:
        """What a verifier outside the mesh would need."""
        self.bundles.write_bytes(bundles.to_json())

    def write_ingress(self, workload_api: str, upstream: str) -> None:
        """The configuration of the agent before the MCP server."""
        ingress = {
            "listen": "127.0.0.1:0",
            "peers": [str(AI_AGENT)],
            "servers": [{"name": NAME, "upstream": upstream, "manifest": self.manifest.name}],
            "trust_policy": self.trust_policy.name,
            "policy": [self.policy.name],
        }
        self._write_config("ingress", workload_api, SERVER, {"ingress": ingress})

    def write_egress(self, workload_api: str, listen: str, ingress: str) -> None:
        """The configuration of the agent beside the AI agent."""
        server = {"name": NAME, "spiffe_id": str(SERVER), "address": ingress}
        egress = {"listen": listen, "user": USER, "servers": [server]}
        self._write_config("egress", workload_api, AI_AGENT, {"egress": egress})

    def _made(self) -> list[Path]:
        """All that a run leaves behind, but for the index."""
        of_sides = [path(side) for side in ("egress", "ingress") for path in (self.config, self.audit_log)]
        one_each = [self.manifest, self.trust_policy, self.policy, self.bundles, self.server_log]
        return [self.folder / _KEY, *one_each, *of_sides]

    def _index(self) -> dict[str, str]:
        """Names relative to the folder, and the SPIFFE ID of the server."""
        return {
            "manifest": self.manifest.name,
            "trust_policy": self.trust_policy.name,
            "policy": self.policy.name,
            "audit_log": self.audit_log("ingress").name,
            "egress_audit_log": self.audit_log("egress").name,
            "bundles": self.bundles.name,
            "server": str(SERVER),
        }

    def _write_config(
        self, side: str, workload_api: str, identity: SpiffeId, part: dict[str, object]
    ) -> None:
        config = {
            "identity": {"source": "workload-api", "socket": workload_api, "spiffe_id": str(identity)},
            **part,
            "audit": {"file": self.audit_log(side).name, "fsync": "never"},
        }
        self.config(side).write_text(yaml.safe_dump(config, sort_keys=False))

    def _write_private(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)


def _manifest(tools: list[JsonObject], now: datetime) -> Manifest:
    issued = now.replace(microsecond=0)
    return Manifest(
        server=SERVER,
        name=NAME,
        version="1.0.0",
        instructions=None,
        serial=1,
        issued_at=issued,
        expires_at=issued + _VALIDITY,
        previous=None,
        tools=in_order(
            reviewed(tool, RiskLevel.HIGH if tool["name"] in HIGH_RISK else RiskLevel.LOW) for tool in tools
        ),
    )
