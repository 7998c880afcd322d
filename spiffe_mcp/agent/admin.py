"""The admin endpoint: health, readiness and metrics over plain HTTP, for the machine's own operators.

    GET /healthz   200 while the process answers
    GET /readyz    200, or 503 with every reason; JSON
    GET /metrics   Prometheus's text format, or OpenMetrics where it is asked for

Room: the one place of the agent that speaks aiohttp. Enters: what to tell, as functions. Leaves: answers to
GET and HEAD and to nothing else: nothing can be changed here, and no secret is known here.

Nobody is authenticated, so it binds to loopback; and because a browser on this machine may be made to ask
for a foreign page (DNS rebinding), `Host` and `Origin` have to name this machine, as at the egress. Where the
configuration lets the network in, an address takes the place of that name: a page always has a name.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from spiffe_mcp.agent.admin_config import AdminConfig
from spiffe_mcp.errors import Refused
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.origin import check_origin

MAX_CONNECTIONS: Final = 64  # a scraper and a probe need one each
IDLE_SECONDS: Final = 15.0  # also for whoever connects and says nothing

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Readiness(Protocol):
    """Whether the agent can serve, as `readiness.Readiness` has it."""

    def reasons(self) -> tuple[Refused, ...]:
        """What keeps it from serving."""

    def warnings(self) -> tuple[Refused, ...]:
        """What somebody has to look after all the same."""


@asynccontextmanager
async def serving(
    config: AdminConfig, readiness: Readiness, registry: CollectorRegistry
) -> AsyncIterator[Address]:
    """The endpoint, while inside; yields where it is bound. Raises `Refused(LISTEN_FAILED)`."""
    runner = web.AppRunner(
        _application(config, readiness, registry), access_log=None, keepalive_timeout=IDLE_SECONDS
    )
    await runner.setup()
    try:
        async with listening(config.listen, _Connections(runner).accept) as bound:
            assert isinstance(bound, Address)  # noqa: S101  as what was asked for
            yield bound
    finally:
        await runner.cleanup()


class _Connections:
    """Those that are open. The oldest gives way: silent strangers keep no probe out.

    Counted here, from their first moment: aiohttp knows of one a turn of the loop later, and many come in a
    turn.
    """

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self._open: dict[_Connection, None] = {}  # oldest first

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        assert self._runner.server is not None  # noqa: S101  `setup` has made it
        while len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            self.gone(oldest)
            oldest.abort()
        connection = _Connection(self._runner.server(), self.gone)
        self._open[connection] = None
        return connection

    def gone(self, connection: "_Connection") -> None:
        """It counts no more."""
        self._open.pop(connection, None)


class _Connection(asyncio.Protocol):
    """One connection, answered by aiohttp; it can be ended at once, whatever its client still has to read."""

    def __init__(self, inner: web.RequestHandler, on_lost: Callable[["_Connection"], None]) -> None:
        self._inner = inner
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._is_over = False

    def abort(self) -> None:
        """End it now, or as soon as it has begun."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)
        if self._is_over:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        self._inner.eof_received()
        return False

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost(self)
        self._inner.connection_lost(exc)


def _application(config: AdminConfig, readiness: Readiness, registry: CollectorRegistry) -> web.Application:
    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"alive": True}, headers=_HEADERS)

    async def ready(_: web.Request) -> web.Response:
        found = readiness.reasons()
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        return web.json_response(document(found, readiness.warnings()), status=status, headers=_HEADERS)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(registry)
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})

    application = web.Application(middlewares=[_guard(config)])
    application.router.add_get("/healthz", alive)
    application.router.add_get("/readyz", ready)
    application.router.add_get("/metrics", metrics)
    return application


def document(reasons: tuple[Refused, ...], warnings: tuple[Refused, ...]) -> dict[str, object]:
    """What `/readyz` says of these reasons and warnings."""
    return {"ready": not reasons, "reasons": _listed(reasons), "warnings": _listed(warnings)}


def _listed(refusals: tuple[Refused, ...]) -> list[dict[str, str]]:
    return [{"code": refused.reason.code, "detail": refused.detail} for refused in refusals]


def _guard(config: AdminConfig) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check_names(request, on_network=config.on_network)
        except Refused as refused:
            return web.json_response(
                {"error": refused.reason.code}, status=refused.reason.status, headers=_HEADERS
            )
        return await handler(request)

    return guard


def _check_names(request: web.Request, *, on_network: bool) -> None:
    """Return if `Host` and `Origin` may be; raises `Refused(ORIGIN_FORBIDDEN)`."""
    headers = tuple(
        (name.encode().lower(), value.encode("utf-8", "surrogateescape"))
        for name, value in request.headers.items()
        if not (on_network and name.lower() == "host" and _is_address(value))
    )
    check_origin(headers)


def _is_address(host: str) -> bool:
    try:
        ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    return True
