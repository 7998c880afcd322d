"""The Workload API, asked once: what it offers this process, or in plain words why it offers nothing.

Enters: an address. Leaves: an `Update`, still unread, or a finding. The question is the one that the agent
asks, with the same code; a provider answers by who asks, so the doctor has to run as the agent's user.
"""

import asyncio
import os
from typing import Final

import grpc

from spiffe_mcp.doctor.finding import Check, Finding, error
from spiffe_mcp.identity.sources.watcher import printable
from spiffe_mcp.identity.sources.workload_api import ask_once
from spiffe_mcp.identity.update import PartRefused, Update

ANSWER_SECONDS: Final = 10.0


async def offered(socket: str) -> Update | Finding:
    """What the API at `socket` offers us."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            message = await ask_once(socket)
    except TimeoutError:
        return _silent()
    except grpc.aio.AioRpcError as failed:
        return _failed(failed.code(), printable(failed.details()))
    if isinstance(message, Update):
        return message
    return _unreadable(message)


def _silent() -> Finding:
    return _bad(
        f"No answer within {ANSWER_SECONDS:g} s.",
        "Either no SPIFFE agent is behind this socket, or it is stuck: read its log.",
    )


def _unreadable(message: object) -> Finding:
    detail = message.detail if isinstance(message, PartRefused) else "no message"
    return _bad(
        f"The answer is no message of the Workload API: {detail}.", "Point 'socket' at a SPIFFE agent's."
    )


def _failed(code: grpc.StatusCode, detail: str) -> Finding:
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return _not_attested(detail)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return _bad(
            f"A gRPC server answers that does not know the Workload API: {detail}",
            "Point 'socket' at the SPIFFE agent's Workload API, not at its admin or broker socket.",
        )
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return _bad(
            f"The request is called invalid: {detail}",
            "Does the socket lead through a proxy that drops the metadata 'workload.spiffe.io'?",
        )
    return _bad(
        f"No answer: {code.name}: {detail}",
        "Whatever listens there speaks no gRPC, or its agent is starting or stopping: read its log.",
    )


def _not_attested(detail: str) -> Finding:
    uid, gid = os.geteuid(), os.getegid()
    return _bad(
        f"This process is not attested: the provider has no entry for uid {uid}, gid {gid}. It said {detail}",
        f"Run the doctor as the agent's own user. If this is it, register an entry whose selectors it meets "
        f"(unix:uid:{uid}, say; 'spire-server entry show' lists them), and check that the entry's parent is "
        f"this node's SPIFFE agent. A new entry takes some seconds to arrive.",
    )


def _bad(message: str, advice: str) -> Finding:
    return error(Check.WORKLOAD_API, message, advice)
