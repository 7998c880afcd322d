"""The socket of the Workload API, as this process sees it: there, a socket, alive, and open to us.

Enters: an address. Leaves: one finding. It connects and says nothing; what answers is asked in
`workload_api`. The kernel's answer is the finding: a mode that looks right proves nothing.
"""

import errno
import os
import socket
from pathlib import Path
from typing import Final

from spiffe_mcp.doctor.finding import Check, Finding, error, ok
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.channel import checked_address

_CONNECT_SECONDS: Final = 5.0
_START: Final = "Start the SPIFFE agent (SPIRE agent, or 'spiffe-mcp dev'), or correct the path"


def look_at(address: str) -> Finding:
    """What is at `address`, which should be `unix:///path`."""
    try:
        path = Path(checked_address(address, Reason.WORKLOAD_API_ADDRESS).removeprefix("unix://"))
    except Refused as refused:
        return _bad(
            refused.detail, "Write the absolute path after unix://, as in unix:///run/spire/agent.sock."
        )
    try:
        path.stat()
    except OSError as failed:
        return _unseen(path, failed)
    if not path.is_socket():
        return _bad(f"{path} is there, and is no socket.", f"{_START}.")
    return _connected(path)


def _unseen(path: Path, failed: OSError) -> Finding:
    if failed.errno == errno.EACCES:
        return _forbidden(path)
    if isinstance(failed, FileNotFoundError):
        there = next(folder for folder in path.parents if folder.exists())
        missing = "The socket" if there == path.parent else f"Of its folders only {there}"
        verb = "does not exist" if there == path.parent else "exists"
        return _bad(f"{missing} {verb}: {path}", f"{_START}. In a container, check that it is mounted.")
    return _bad(f"{path}: {failed.strerror}", f"{_START}.")


def _connected(path: Path) -> Finding:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            advice = (
                "Its server ended without removing it. Start the SPIFFE agent again: it replaces the file."
            )
            return _bad(f"{path} is stale: a socket that nobody serves.", advice)
        except PermissionError:
            return _forbidden(path)
        except OSError as failed:
            return _bad(f"{path} cannot be connected to: {failed.strerror or failed}", f"{_START}.")
    return ok(Check.SOCKET, f"Somebody serves {path}.")


def _forbidden(path: Path) -> Finding:
    return _bad(
        f"Uid {os.geteuid()} may not connect to {path}.",
        "Let it enter each folder of the path and write to the socket, or run as a user that may.",
    )


def _bad(message: str, advice: str) -> Finding:
    return error(Check.SOCKET, message, advice)
