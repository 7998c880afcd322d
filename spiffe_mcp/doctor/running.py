"""The agent that should be running with this configuration, asked at its admin endpoint whether it is ready.

Enters: the configured address. Leaves: one finding. What answers is not believed to be an agent before it
answers like one.
"""

from ipaddress import ip_address
from typing import Final

import aiohttp

from spiffe_mcp.agent.admin_config import AdminConfig
from spiffe_mcp.doctor.finding import Check, Finding, error, ok, warning
from spiffe_mcp.errors import Refused
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.strict_json import JsonObject, loads_object

ANSWER_SECONDS: Final = 5.0
_MAX_BYTES: Final = 64 * 1024


async def asked(config: AdminConfig) -> Finding:
    """What the agent at this endpoint says of itself."""
    if config.listen.port == 0:
        return ok(
            Check.AGENT, "A running agent is not asked: the kernel chooses the port of its admin endpoint."
        )
    url = f"http://{_reachable(config.listen)}/readyz"
    try:
        answer = await _document(url)
    except (aiohttp.ClientError, TimeoutError, Refused) as failed:
        return _unanswered(url, failed)
    reasons = answer.get("reasons")
    if answer.get("ready") is True and reasons == []:
        return _ready(url, answer.get("warnings"))
    if answer.get("ready") is False and isinstance(reasons, list):
        return _not_ready(url, [_spelled(reason) for reason in reasons])
    return _stranger(url)


async def _document(url: str) -> JsonObject:
    """The JSON at `url`; raises what aiohttp raises, or `Refused` for no JSON."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    # No proxy of the environment: this is about this machine.
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        return loads_object(await answer.content.read(_MAX_BYTES))


def _reachable(listen: Address) -> Address:
    """Where an endpoint that is bound to every address is reached from this machine."""
    try:
        bound = ip_address(listen.host)
    except ValueError:
        return listen
    if not bound.is_unspecified:
        return listen
    return Address("127.0.0.1" if bound.version == 4 else "::1", listen.port)  # noqa: PLR2004  IPv4


def _spelled(reason: object) -> str:
    if not isinstance(reason, dict):
        return "an unreadable reason"
    return f"{reason.get('code')}: {reason.get('detail')}"


def _ready(url: str, warnings: object) -> Finding:
    if not isinstance(warnings, list) or not warnings:
        return ok(Check.AGENT, f"The running agent says that it is ready ({url}).")
    return warning(
        Check.AGENT,
        f"The running agent is ready, and warns ({url}): {'; '.join(map(_spelled, warnings))}",
        "It goes on as before; restarted, it would not start. Correct the file that is named.",
    )


def _not_ready(url: str, reasons: list[str]) -> Finding:
    return error(
        Check.AGENT,
        f"The running agent says that it is not ready ({url}): {'; '.join(reasons)}",
        "It refuses every call until this is mended. The other findings may have the cause.",
    )


def _unanswered(url: str, failed: Exception) -> Finding:
    if isinstance(failed, aiohttp.ClientConnectorError):
        return warning(
            Check.AGENT,
            f"No agent answers at {url}: {failed.os_error.strerror or 'not reached'}",
            "Start it: 'spiffe-mcp agent --config ...'. If it runs, it runs with another configuration.",
        )
    if isinstance(failed, TimeoutError):
        return error(
            Check.AGENT, f"{url} does not answer within {ANSWER_SECONDS:g} s.", "The agent hangs: restart it."
        )
    return _stranger(url)


def _stranger(url: str) -> Finding:
    return error(
        Check.AGENT,
        f"Something else than an agent answers at {url}.",
        "Give 'admin.listen' a port of its own.",
    )
