"""Who connected to a Unix socket: the kernel's answers in, an `Attested` process out, or a refusal.

Nothing that the caller sends is looked at; it has sent nothing yet. In this order (Linux):

 1. SO_PEERCRED: the numbers of the process that connected, at the time it connected (unix(7)).
 2. A PID of 0 is that of a process outside our PID namespace. What cannot be named cannot be attested:
    refused.
 3. SO_PEERPIDFD: the same process as a descriptor. `pidfd_open` of the number would be another question: it
    is asked later, when the number may have passed on to another process. A kernel without the option (before
    6.5) is refused, and by `check_kernel` at the start: docs/adr/0013-who-calls-on-this-node.md.
 4. Where a pod is wanted: `/proc/<pid>/cgroup`, by number.
 5. The process is alive still, so the number was its own all the time.

Whoever uses the number later checks again (`Attested.process`). A process that hands its connection to
another hands over its own identity; to stop that is the sandbox's affair.
"""

import errno
import os
import socket
import struct
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.peer_credentials import AcceptedSocket, PeerCredentials
from spiffe_mcp.workload.cgroup import MAX_BYTES, PodUid, pod_uid
from spiffe_mcp.workload.process import GONE, Owner, Process

SO_PEERPIDFD: Final = 77  # asm-generic/socket.h; the `socket` module has no name for it yet
_FD: Final = struct.Struct("i")


@dataclass(frozen=True, slots=True)
class Attested:
    """A process that connected. Whoever has this closes `process`, once."""

    process: Process
    uid: int
    gid: int
    pod: PodUid | None

    @property
    def key(self) -> Hashable:
        """What connections of one workload have in common: the pod; or process, user and group.

        Good while the process lives. A process that has changed its user has to be attested anew.
        """
        return self.pod or (self.process.pid, self.uid, self.gid)

    @property
    def holder(self) -> Hashable:
        """Who is bounded in what it may hold: a pod, or a user with all its processes."""
        return self.pod or self.uid

    def __str__(self) -> str:
        return f"pid {self.process.pid} uid {self.uid} gid {self.gid}"


@dataclass(frozen=True, slots=True)
class Pods:
    """Which pod a process is in, by what `proc` says of it."""

    proc: Path = Path("/proc")

    def of(self, pid: int) -> PodUid:
        """The pod of the process that has this number now; raises `Refused`."""
        try:
            with (self.proc / str(pid) / "cgroup").open("rb") as file:
                return pod_uid(file.read(MAX_BYTES + 1))
        except (FileNotFoundError, ProcessLookupError):
            raise Refused(Reason.WORKLOAD_EXITED, f"pid {pid} has ended") from None
        except OSError as error:
            raise Refused(Reason.WORKLOAD_UNATTESTED, f"pid {pid}: {error.strerror}") from None


def attest(connection: AcceptedSocket, pods: Pods | None) -> Attested:
    """The process at the other end; raises `Refused`. With `pods`, one that is in no pod is refused."""
    pid, uid, gid = PeerCredentials.of(connection)  # (1)
    if pid <= 0:  # (2)
        raise Refused(Reason.WORKLOAD_PID_UNKNOWN, f"uid {uid}: outside the agent's PID namespace")
    process = Process(pid, _peer_pidfd(connection, pid), Owner(uid, gid))  # (3)
    try:
        pod = None if pods is None else pods.of(pid)  # (4)
        process.check_alive()  # (5)
    except BaseException:
        process.close()
        raise
    return Attested(process, uid, gid, pod)


def check_kernel() -> None:
    """Return if this kernel can name the process at the other end; raises `Refused(WORKLOAD_KERNEL)`."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        os.close(_peer_pidfd(one, os.getpid()))


def _peer_pidfd(connection: AcceptedSocket, pid: int) -> int:
    try:
        return int(_FD.unpack(connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, _FD.size))[0])
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            raise Refused(Reason.WORKLOAD_KERNEL, "no SO_PEERPIDFD: Linux 6.5 or newer is needed") from None
        reason = Reason.WORKLOAD_EXITED if error.errno in GONE else Reason.WORKLOAD_UNATTESTED
        raise Refused(reason, f"pid {pid}: SO_PEERPIDFD: {error.strerror}") from None
