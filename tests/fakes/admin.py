"""An agent's admin endpoint, asked over its socket: also of an agent that is not ready, and may never be.

async with telling_agent(config) as agent:
    status, document = await agent.readiness()
    await agent.until("identity.svid_expired")
    (await agent.metrics())["spiffe_mcp_ready"]
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from spiffe_mcp.agent import agent
from spiffe_mcp.agent.config import load
from tests.fakes.mcp_client import now

_PATIENCE: Final = 20.0  # seconds for one event; only a failure takes so long
_ANNOUNCED: Final = "admin: "


def with_admin(config: Path, listen: str = "127.0.0.1:0", **keys: Any) -> Path:
    """The configuration file, with an admin endpoint."""
    document = yaml.safe_load(config.read_text())
    document["admin"] = {"listen": listen, **keys}
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    return config


@dataclass(frozen=True)
class Admin:
    """The endpoint at `url`."""

    url: str

    async def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and body of an answer; each question has a connection of its own."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, headers=headers) as answer,
        ):
            return answer.status, answer.headers, await answer.text()

    async def readiness(self) -> tuple[int, Any]:
        """Status and document of `/readyz`."""
        status, _, body = await self.ask("/readyz")
        return status, json.loads(body)

    async def reasons(self) -> list[str]:
        """The codes that `/readyz` gives; none if the agent is ready."""
        _, document = await self.readiness()
        return [reason["code"] for reason in document["reasons"]]

    async def until(self, *codes: str) -> Any:
        """Ask until `/readyz` gives these codes; returns its document."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                _, document = await self.readiness()
                if [reason["code"] for reason in document["reasons"]] == [*codes]:
                    return document

    async def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`, its labels as Prometheus writes them."""
        _, _, body = await self.ask("/metrics")
        return {
            _spelled(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }


def _spelled(name: str, labels: Mapping[str, str]) -> str:
    spelled = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{spelled}}}" if spelled else name


@asynccontextmanager
async def telling_agent(config: Path, clock: Callable[[], datetime] = now) -> AsyncIterator[Admin]:
    """An agent from its configuration file, in this loop; here as soon as it tells, ready or not."""
    announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    handler = _Announcement(announced)
    logger = logging.getLogger(agent.__name__)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(agent.run(load(config), clock=clock, on_ready=lambda _: None))
            try:
                yield Admin(await announced)
            finally:
                serving.cancel()
    finally:
        logger.removeHandler(handler)


class _Announcement(logging.Handler):
    """Waits for the line in which an agent says where its admin endpoint is."""

    def __init__(self, announced: "asyncio.Future[str]") -> None:
        super().__init__()
        self._announced = announced

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said.startswith(_ANNOUNCED) and not self._announced.done():
            self._announced.set_result(said.removeprefix(_ANNOUNCED))
