"""The configuration while the agent runs: read again when asked, or when a file has changed.

Whatever is decided by takes effect at once: who may be at the other end, servers, users, policies, manifests
and the keys that vouch for them. All of it is read and verified first; where any part is bad, or needs a
restart, nothing changes, and the log says what and why: what is in force stays so.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from spiffe_mcp.agent import watch
from spiffe_mcp.agent.config import AgentConfig, EgressConfig, IngressConfig, load
from spiffe_mcp.agent.contents import Contents, contents_of, differing
from spiffe_mcp.context import User
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds
from spiffe_mcp.mesh.stdio import Program
from spiffe_mcp.mesh.targets import HttpUpstream, Target

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reload ended: in force unless `refused`; and what has `changed`, by digest (see `contents`)."""

    changed: Contents
    refused: Refused | None = None


class Running(Protocol):
    """The agent, as a reload sees it."""

    def prepared(self, anew: AgentConfig) -> Callable[[], None]:
        """Make ready to go on by `anew`; returns what puts all of it in force, and cannot fail.

        Raises `Refused`, and nothing has changed.
        """

    def reloaded(self, outcome: Outcome) -> None:
        """Told how it ended."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that was read and verified, and waits to be put in force."""

    config: AgentConfig
    contents: Contents
    put_in_force: Callable[[], None]


class Reload:
    """Reads the file at `path`, which the agent was started with, again and again.

    Several processes that have to agree each `prepare`, compare the `contents`, and all `commit` or all
    `refuse`; one alone is called.
    """

    def __init__(self, path: Path, started_with: AgentConfig) -> None:
        self._path = path
        self._in_force = self._newest = started_with
        self._seen = watch.look(self.files())
        self._contents = contents_of(self.files())
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
        """Ask whenever a file looks other than when it was read last; never returns."""
        async for seen in watch.settled(self.files, interval):
            if not seen.items() <= self._seen.items():
                self.ask()

    def files(self) -> Iterator[Path]:
        """The file, and what it names and is read with it: now, and where it was refused, before."""
        yield self._path
        yield from _named(self._in_force)
        yield from _named(self._newest)

    def __call__(self) -> None:
        """Read the files now, and put them in force or not; never raises."""
        if self._running is None:
            _LOG.warning("the agent is still starting: %s was not read again", self._path.name)
            return
        try:
            prepared = self.prepare()
        except Refused as refused:
            self.refuse(refused)
        else:
            self.commit(prepared)

    def prepare(self) -> Prepared:
        """Read and verify all of it, and change nothing; raises `Refused`."""
        self._seen = watch.look(self.files())  # first: what changes from here on has changed
        contents = contents_of([self._path])
        self._newest = anew = load(self._path)
        self._seen |= watch.look(_named(anew))
        contents |= contents_of(_named(anew))
        check_changeable(self._in_force, anew)
        put_in_force = self._agent.prepared(anew)
        # What takes effect is of one moment: not half of it from before a rename, nor half of a file.
        if contents_of(contents) != contents:
            raise Refused(Reason.RELOAD_FILES_CHANGING)
        return Prepared(anew, contents, put_in_force)

    def commit(self, prepared: Prepared) -> None:
        """Put it in force; cannot fail."""
        prepared.put_in_force()
        changed = differing(self._contents, prepared.contents)
        self._in_force, self._contents = prepared.config, prepared.contents
        _LOG.info("%s was read again, and is in force", self._path.name)
        self._agent.reloaded(Outcome(changed))

    def refuse(self, refused: Refused) -> None:
        """Leave all as it is, and say why."""
        _LOG.error("%s was not put in force: %s; what is in force stays so", self._path.name, refused)
        found = contents_of([*self.files()])
        self._agent.reloaded(Outcome(differing(self._contents, found), refused))

    @property
    def _agent(self) -> Running:
        assert self._running is not None  # noqa: S101  `__call__` has looked
        return self._running


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


def _named(config: AgentConfig) -> Iterator[Path]:
    """The files that `config` names and that are read again with it."""
    for ingress in config.ingresses:
        yield ingress.trust_policy
        yield from ingress.policy
        yield from filter(None, (ingress.policy_data,))
        for server in ingress.servers:
            yield server.manifest
            yield from _authorities(server.upstream)


def _authorities(upstream: Target | Program) -> Iterator[Path]:
    if isinstance(upstream, HttpUpstream) and upstream.trust is not None:
        yield from filter(None, (upstream.trust.ca_file,))


_AS_WRITTEN: Final = {"ingresses": "ingress"}
_NOBODY: Final = User(sub="-", sub_iss="-")  # stands for whoever the file says
