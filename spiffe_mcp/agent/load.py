"""Loading what an ingress decides by: manifests, trust policy and Rego, from files into verified values.

Everything is verified before the first listener binds. What is missing or wrong is refused with the file's
name: no manifest, no policy, no call.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from spiffe_mcp.agent.config import IngressConfig, ServerConfig
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.manifest import TrustPolicy, verify_manifest
from spiffe_mcp.mesh.ingress_listener import Site
from spiffe_mcp.mesh.routes import IngressRoute
from spiffe_mcp.mesh.stdio import Program
from spiffe_mcp.policy import RegoPolicy
from spiffe_mcp.strict_json import JsonObject, loads_object

_MAX_BYTES: Final = 4 * 1024 * 1024


def load_site(ingress: IngressConfig, now: datetime) -> Site:
    """What stands behind the ingress; raises `Refused`."""
    return Site(
        name=site_name(ingress),
        routes=_routes(ingress, now),
        peers=ingress.peers,
        policy=_policy(ingress),
        environment=ingress.environment,
        recheck=ingress.recheck,
    )


def site_name(ingress: IngressConfig) -> str:
    """What tells an ingress of an agent from its others."""
    return f"{ingress.identity} {ingress.listen}"


def _routes(ingress: IngressConfig, now: datetime) -> tuple[IngressRoute, ...]:
    with _named(ingress.trust_policy):
        trust = TrustPolicy.parse(_read(ingress.trust_policy))
    return tuple(_route(config, trust, ingress.identity, now) for config in ingress.servers)


def _route(config: ServerConfig, trust: TrustPolicy, server: SpiffeId, now: datetime) -> IngressRoute:
    with _named(config.manifest):
        manifest = verify_manifest(_read(config.manifest), trust, server, now)
    if isinstance(config.upstream, Program):
        raise RuntimeError("a program that nobody has started")  # noqa: TRY004  a fault of ours, not of a type
    return IngressRoute(config.name, config.upstream, manifest, config.minimum_era)


def _policy(ingress: IngressConfig) -> RegoPolicy:
    modules = {str(path): _source(path) for path in ingress.policy}
    return RegoPolicy.compile(modules, _data(ingress.policy_data), ingress.policy_version)


def _source(path: Path) -> str:
    try:
        return _read(path).decode("utf-8")
    except UnicodeDecodeError:
        # Replacing what is no UTF-8 would compile a policy that nobody wrote.
        raise Refused(Reason.POLICY_INVALID, f"{path}: not UTF-8") from None


def _data(path: Path | None) -> JsonObject:
    if path is None:
        return {}
    with _named(path):
        return loads_object(_read(path))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever is refused inside is refused with the name of the file that it is about."""
    try:
        yield
    except Refused as refused:
        if refused.reason is Reason.CONFIG_INVALID:
            raise  # `_read` has named it
        raise Refused(refused.reason, f"{path}: {refused.detail}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise Refused(Reason.CONFIG_INVALID, f"{path}: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise Refused(Reason.CONFIG_INVALID, f"{path}: larger than {_MAX_BYTES} bytes")
    return content
