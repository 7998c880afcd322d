"""What the kernel recorded of a process when it connected to a Unix socket (SO_PEERCRED, unix(7))."""

import socket
import struct
from typing import Final, NamedTuple, Protocol

_UCRED: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid


class AcceptedSocket(Protocol):
    """What a `socket.socket` and the sockets that asyncio and uvloop lend have in common."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...  # noqa: D102  as in `socket`


class PeerCredentials(NamedTuple):
    """Numbers, as this process's namespaces show them. A PID of 0 is that of a process outside of them."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, connection: AcceptedSocket) -> "PeerCredentials":
        """Those of the process that connected; user and group are its effective ones."""
        option = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return cls(*_UCRED.unpack(option))
