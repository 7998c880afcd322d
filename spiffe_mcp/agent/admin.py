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

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from spiffe_mcp.agent.admin_config import AdminConfig
from spiffe_mcp.errors import Refused
from spiffe_mcp.mesh.listen import listening
from spiffe_mcp.mesh.origin import check_origin
from spiffe_mcp.mesh.routes import Address

MAX_CONNECTIONS: Final = 64  # a scraper and a probe need one each
IDLE_SECONDS: Final = 15.0  # also for whoever connects and says nothing

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@asynccontextmanager
async def serving(
    config: AdminConfig, reasons: Callable[[], tuple[Refused, ...]], registry: CollectorRegistry
) -> AsyncIterator[Address]:
    """The endpoint, while inside; yields where it is bound. Raises `Refused(LISTEN_FAILED)`."""
    runner = web.AppRunner(
        _application(config, reasons, registry), access_log=None, keepalive_timeout=IDLE_SECONDS
    )
    await runner.setup()
    try:
        async with listening(config.listen, lambda: _accepted(runner)) as bound:
            assert isinstance(bound, Address)  # noqa: S101  as what was asked for
            yield bound
    finally:
        await runner.cleanup()


def _accepted(runner: web.AppRunner) -> web.RequestHandler:
    """The protocol of a new connection. The oldest gives way: silent strangers keep no probe out."""
    server = runner.server
    assert server is not None  # noqa: S101  `setup` has made it
    if len(server.connections) >= MAX_CONNECTIONS:
        server.connections[0].force_close()
    return server()


def _application(
    config: AdminConfig, reasons: Callable[[], tuple[Refused, ...]], registry: CollectorRegistry
) -> web.Application:
    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"alive": True}, headers=_HEADERS)

    async def ready(_: web.Request) -> web.Response:
        found = reasons()
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        return web.json_response(document(found), status=status, headers=_HEADERS)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(registry)
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})

    application = web.Application(middlewares=[_guard(config)])
    application.router.add_get("/healthz", alive)
    application.router.add_get("/readyz", ready)
    application.router.add_get("/metrics", metrics)
    return application


def document(reasons: tuple[Refused, ...]) -> dict[str, object]:
    """What `/readyz` says of these reasons."""
    found = [{"code": refused.reason.code, "detail": refused.detail} for refused in reasons]
    return {"ready": not found, "reasons": found}


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
