"""Accepting connections a few at a time, so that a flood is met in pieces.

A server of the event loop takes the whole backlog at once: a thousand connections are open before the first
is asked whether it may stay, and descriptors that a call of somebody else needs are gone. Here those that
were taken have reported themselves (`http.load`, `tls.HandshakeSlots`), and others have given way to them,
before more are taken. What waits meanwhile waits in the kernel, in a queue of bounded length, and costs
nothing.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

_LOG: Final = logging.getLogger(__name__)

BURST: Final = 32
PAUSE: Final = 0.1  # seconds, for descriptors to come back
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def accepting(listener: socket.socket, accept: Callable[[], asyncio.Protocol]) -> NoReturn:
    """Serve each connection of `listener` by a protocol of `accept`, until cancelled."""
    while True:
        try:
            connections = await _some(listener)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                _LOG.error("no connection can be accepted: %s", error.strerror)
                await asyncio.sleep(PAUSE)
            continue  # accept(2): any other is about the connection, and not about the listener
        async with asyncio.TaskGroup() as tasks:
            for connection in connections:
                tasks.create_task(_served(connection, accept))


async def _some(listener: socket.socket) -> list[socket.socket]:
    """The next connection, and those that wait behind it, up to `BURST`; raises OSError if there is none."""
    connections = [(await asyncio.get_running_loop().sock_accept(listener))[0]]
    with suppress(OSError):  # nobody else waits; or there is an error, which comes again
        while len(connections) < BURST:
            connections.append(listener.accept()[0])
    return connections


async def _served(connection: socket.socket, accept: Callable[[], asyncio.Protocol]) -> None:
    try:
        connection.setblocking(False)  # noqa: FBT003  its one argument
        await asyncio.get_running_loop().connect_accepted_socket(accept, connection)
    except OSError:
        connection.close()  # gone already
    except Exception:  # noqa: BLE001  logged, and no connection comes of it
        # A fault of ours in one connection must not take the listener from all others.
        _LOG.exception("a connection could not be served")
        connection.close()
