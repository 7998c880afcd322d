"""The configuration file while the agent runs: read again when asked, and put in force as far as that goes.

What takes effect at once is who may be at the other end: `ingress.peers`, and the `spiffe_id` of each of
`egress.servers`. Everything else needs a restart, and is named in the log if it has changed. A file that
cannot be read changes nothing: what is in force stays so.
"""

import logging
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

from spiffe_mcp.agent.config import AgentConfig, EgressConfig, load
from spiffe_mcp.errors import Refused
from spiffe_mcp.identity import AllowedIds, IdPattern

_LOG: Final = logging.getLogger(__name__)


class Reload:
    """Reads the file at `path`, which the agent was started with, again and again."""

    def __init__(self, path: Path, started_with: AgentConfig) -> None:
        self._path = path
        self._started_with = started_with
        self._authorize: Callable[[AgentConfig], None] | None = None

    def applied_by(self, authorize: Callable[[AgentConfig], None]) -> None:
        """From now on there is something to be changed, by `authorize`."""
        self._authorize = authorize

    def __call__(self) -> None:
        """Read the file now; never raises."""
        try:
            config = load(self._path)
        except Refused as refused:
            _LOG.error("%s; what is in force stays so", refused)
            return
        if self._authorize is None:
            _LOG.warning("the agent is still starting: %s was not read again", self._path.name)
            return
        self._authorize(config)
        _LOG.info("%s was read again: who may be at the other end is what it says now", self._path.name)
        for section in needs_restart(self._started_with, config):
            _LOG.warning("%s: '%s' has changed, which needs a restart", self._path.name, section)


def needs_restart(started_with: AgentConfig, config: AgentConfig) -> tuple[str, ...]:
    """The sections of `config` in which more than who is authorised differs from what the agent runs with."""
    before, after = _without_authorization(started_with), _without_authorization(config)
    names = [field.name for field in fields(AgentConfig)]
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    return tuple(_AS_WRITTEN.get(name, name) for name in changed)


def _without_authorization(config: AgentConfig) -> AgentConfig:
    ingresses = tuple(replace(ingress, peers=AllowedIds()) for ingress in config.ingresses)
    return replace(config, ingresses=ingresses, egress=config.egress and _without_ids(config.egress))


def _without_ids(egress: EgressConfig) -> EgressConfig:
    return replace(egress, servers=tuple(replace(route, server=_ANY) for route in egress.servers))


_AS_WRITTEN: Final = {"ingresses": "ingress"}
_ANY: Final = IdPattern.parse("spiffe://any/**")  # stands for whatever the file says
