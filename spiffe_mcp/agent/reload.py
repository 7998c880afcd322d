"""The configuration while the agent runs: read again when asked, or when a file has changed.

Whatever is decided by takes effect at once: who may be at the other end, servers, users, policies, manifests
and the keys that vouch for them. All of it is read and verified first; where any part is bad, or needs a
restart, nothing changes, and the log says what and why: what is in force stays so.
"""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from spiffe_mcp.agent import watch
from spiffe_mcp.agent.config import AgentConfig, EgressConfig, IngressConfig, load
from spiffe_mcp.context import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds
from spiffe_mcp.mesh.targets import HttpUpstream

_LOG: Final = logging.getLogger(__name__)


class Running(Protocol):
    """The agent, as a reload sees it."""

    def replace(self, anew: AgentConfig) -> None:
        """Put `anew` in force, all of it; raises `Refused`, and nothing has changed."""

    def reloaded(self, refused: Refused | None) -> None:
        """Told how it ended."""


class Reload:
    """Reads the file at `path`, which the agent was started with, again and again."""

    def __init__(self, path: Path, started_with: AgentConfig) -> None:
        self._path = path
        self._in_force = started_with
        self._running: Running | None = None
        self._asked = asyncio.Event()

    def applied_by(self, running: Running) -> None:
        """From now on there is something to be changed."""
        self._running = running

    def ask(self) -> None:
        """Have it read again soon. However often this is asked meanwhile, it is read once."""
        self._asked.set()

    async def run(self) -> None:
        """Read whenever asked to; never returns."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self()

    async def watch(self, interval: float = watch.INTERVAL) -> None:
        """Ask whenever one of the files has changed; never returns."""
        async for _ in watch.changes(self.files, interval):
            self.ask()

    def files(self) -> Iterator[Path]:
        """The file, and every file that it names and that is read again with it."""
        yield self._path
        for ingress in self._in_force.ingresses:
            yield from _files(ingress)

    def __call__(self) -> None:
        """Read the file now; never raises."""
        if self._running is None:
            _LOG.warning("the agent is still starting: %s was not read again", self._path.name)
            return
        try:
            anew = load(self._path)
            check_changeable(self._in_force, anew)
            self._running.replace(anew)
        except Refused as refused:
            _LOG.error("%s was not put in force: %s; what is in force stays so", self._path.name, refused)
            self._running.reloaded(refused)
            return
        self._in_force = anew
        _LOG.info("%s was read again, and is in force", self._path.name)
        self._running.reloaded(None)


def check_changeable(running: AgentConfig, anew: AgentConfig) -> None:
    """Return if an agent that runs by `running` can go on by `anew`; raises `Refused(RELOAD_NEEDS_RESTART)`.

    What it is, where it listens and where its records go stays as long as it runs.
    """
    before, after = _lasting(running), _lasting(anew)
    every = [field.name for field in fields(AgentConfig)]
    names = [name for name in every if getattr(before, name) != getattr(after, name)]
    if names:
        sections = ", ".join(f"'{_AS_WRITTEN.get(name, name)}'" for name in names)
        raise Refused(Reason.RELOAD_NEEDS_RESTART, sections)


def _lasting(config: AgentConfig) -> AgentConfig:
    """`config` without what can change."""
    ingresses = tuple(_lasting_ingress(ingress) for ingress in config.ingresses)
    return replace(config, ingresses=ingresses, egress=config.egress and _lasting_egress(config.egress))


def _lasting_ingress(ingress: IngressConfig) -> IngressConfig:
    return IngressConfig(
        identity=ingress.identity,
        workload=ingress.workload,
        listen=ingress.listen,
        peers=AllowedIds(),
        servers=(),
        trust_policy=Path(),
        policy=(),
        policy_data=None,
        policy_version="",
        environment="",
        recheck=timedelta(),
    )


def _lasting_egress(egress: EgressConfig) -> EgressConfig:
    return replace(egress, user=_NOBODY, servers=())


def _files(ingress: IngressConfig) -> Iterator[Path]:
    yield ingress.trust_policy
    yield from ingress.policy
    if ingress.policy_data is not None:
        yield ingress.policy_data
    for server in ingress.servers:
        yield server.manifest
        if isinstance(server.upstream, HttpUpstream) and server.upstream.trust is not None:
            yield from filter(None, (server.upstream.trust.ca_file,))


_AS_WRITTEN: Final = {"ingresses": "ingress"}
_NOBODY: Final = User(sub="-", sub_iss="-")  # stands for whoever the file says
