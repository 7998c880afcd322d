"""`spiffe-mcp agent`: run one mesh agent from its configuration file."""

import asyncio
import gc
import json
import logging
import signal
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from spiffe_mcp.agent.agent import Ready, run
from spiffe_mcp.agent.config import AgentConfig, load
from spiffe_mcp.agent.reload import Reload
from spiffe_mcp.cli.clock import now

app: Final = typer.Typer(add_completion=False)


class LogLevel(Enum):
    """As `logging` names them."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.command()
def agent(
    config: Annotated[Path, typer.Option(help="The configuration file.", exists=True, dir_okay=False)],
    *,
    log_level: Annotated[LogLevel, typer.Option(help="From which level on to log.")] = LogLevel.INFO,
) -> None:
    """Run a mesh agent until it is told to stop (SIGTERM, SIGINT).

    Then it takes on nothing new, and what runs has `connections.drain` seconds; told twice, it cuts it.

    At SIGHUP, and when one of its files has changed, it reads its configuration, policies and
    manifests again. All of it takes effect at once, or none of it does.

    Once it has an identity and serves, it prints one line of JSON: who it is and where it listens.
    """
    logging.basicConfig(
        level=log_level.name, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    loaded = load(config)
    uvloop.run(_serve(loaded, Reload(config, loaded)))


async def _serve(config: AgentConfig, reload: Reload) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload.ask)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(run(config, clock=now, on_ready=_announce, reload=reload, stop=stop))
        watching = tasks.create_task(reload.watch())
        serving.add_done_callback(lambda _: watching.cancel())
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, _stop, stop, serving)


def _stop(stop: asyncio.Event, serving: asyncio.Task[None]) -> None:
    """Once: let it come to its end. Twice: at once."""
    if stop.is_set():
        serving.cancel()
    stop.set()


def _announce(ready: Ready) -> None:
    # What is there by now stays: the collector, which stops all calls meanwhile, need not look at it again.
    gc.collect()
    gc.freeze()
    sides = {"egress": ready.egress, "ingress": ready.ingress, "admin": ready.admin}
    listening: dict[str, object] = {side: str(at) for side, at in sides.items() if at is not None}
    if len(ready.ingresses) > 1:
        listening["ingress"] = [str(address) for address in ready.ingresses]
    typer.echo(json.dumps({"event": "ready", "spiffe_id": str(ready.spiffe_id), **listening}))
    sys.stdout.flush()
