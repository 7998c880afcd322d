"""This machine, as an agent would find it: descriptors, and the place of the audit log.

Enters: limits and paths. Leaves: findings. Nothing is created, opened for writing or locked: a doctor leaves
no trace, and a running agent keeps its log.
"""

import os
import resource
import stat
from pathlib import Path
from typing import Final

from spiffe_mcp.agent.config import AgentConfig
from spiffe_mcp.agent.descriptors import shape_of
from spiffe_mcp.audit.log import MIN_FREE_BYTES
from spiffe_mcp.doctor.finding import Check, Finding, error, ok, warning
from spiffe_mcp.errors import Refused
from spiffe_mcp.mesh.capacity import Capacity, Shape

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def descriptors(config: AgentConfig | None = None) -> Finding:
    """Whether a process that is started from here may open as many as an agent can use."""
    shape = shape_of(config) if config is not None else Shape(listeners=1, pools=0)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # an agent raises the soft limit by itself
    wanted = Capacity().descriptors(shape)
    limit = wanted if most == resource.RLIM_INFINITY else most
    advice = f"Raise the hard limit to {wanted} (LimitNOFILE= of the service, 'ulimit -Hn' of the shell)."
    try:
        room = Capacity.within(limit, shape)
    except Refused as refused:
        return error(Check.DESCRIPTORS, f"An agent started from here would not start: {refused}", advice)
    told = f"{limit} descriptors: room for {room.connections} connections and {room.handshakes} handshakes."
    if room != Capacity():
        return warning(Check.DESCRIPTORS, told, advice)
    return ok(Check.DESCRIPTORS, told)


def audit_log(file: Path) -> Finding:
    """Whether this user could write the log at `file`."""
    folder = file.parent
    if not folder.is_dir():
        return _bad(
            f"The folder of the audit log does not exist: {folder}", "Make it, for the agent's user alone."
        )
    if os.path.lexists(file):
        return _existing(file) or _space(file)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return _bad(
            f"Uid {os.geteuid()} cannot make a file in {folder}.",
            "Let the agent's user write there; without an audit log no call is made.",
        )
    return _space(file)


def _existing(file: Path) -> Finding | None:
    found = file.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_mode & _OTHERS_WRITE:
        return _bad(
            f"{file} is not a file that only its owner can write.",
            "Move it away, or take the others' permission ('chmod go-w').",
        )
    if not os.access(file, os.R_OK | os.W_OK, effective_ids=True):
        return _bad(f"Uid {os.geteuid()} cannot read and write {file}.", "Give it to the agent's user.")
    return None


def _space(file: Path) -> Finding:
    space = os.statvfs(file.parent)
    free = space.f_bavail * space.f_frsize
    if free < MIN_FREE_BYTES:
        return _bad(
            f"{free} bytes are free for {file}; below {MIN_FREE_BYTES} no exchange begins.",
            "Free some, or move the log to a larger disk.",
        )
    return ok(Check.AUDIT, f"{file} can be written; {free // 2**20} MiB are free.")


def _bad(message: str, advice: str) -> Finding:
    return error(Check.AUDIT, message, advice)
