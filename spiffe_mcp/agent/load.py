"""Loading what an ingress decides by: manifests, trust policy and Rego, from files into verified values.

Everything is verified before the first listener binds. What is missing or wrong is refused with the file's
name: no manifest, no policy, no call.
"""

from datetime import datetime
from pathlib import Path
from typing import Final

from spiffe_mcp.agent.config import IngressConfig, ServerConfig
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.manifest import TrustPolicy, verify_manifest
from spiffe_mcp.mesh.ingress_listener import Site
from spiffe_mcp.mesh.routes import IngressRoute
from spiffe_mcp.policy import RegoPolicy
from spiffe_mcp.strict_json import loads_object

_MAX_BYTES: Final = 4 * 1024 * 1024


def load_site(ingress: IngressConfig, now: datetime) -> Site:
    """What stands behind the ingress; raises `Refused`."""
    trust = TrustPolicy.parse(_read(ingress.trust_policy))
    return Site(
        routes=tuple(_route(config, trust, ingress.identity, now) for config in ingress.servers),
        peers=ingress.peers,
        policy=_policy(ingress),
        environment=ingress.environment,
        recheck=ingress.recheck,
    )


def _route(config: ServerConfig, trust: TrustPolicy, server: SpiffeId, now: datetime) -> IngressRoute:
    envelope = _read(config.manifest)
    try:
        manifest = verify_manifest(envelope, trust, server, now)
    except Refused as refused:
        raise Refused(refused.reason, f"{config.manifest}: {refused.detail}") from None
    return IngressRoute(config.name, config.upstream, manifest)


def _policy(ingress: IngressConfig) -> RegoPolicy:
    modules = {str(path): _read(path).decode("utf-8", "replace") for path in ingress.policy}
    data = loads_object(_read(ingress.policy_data)) if ingress.policy_data is not None else {}
    return RegoPolicy.compile(modules, data)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise Refused(Reason.CONFIG_INVALID, f"{path}: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise Refused(Reason.CONFIG_INVALID, f"{path}: larger than {_MAX_BYTES} bytes")
    return content
