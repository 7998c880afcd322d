"""Back-pressure: a gate that writers pass, closed while the other end does not keep up."""

import asyncio


class WriteGate:
    """Open, closed (writers wait) or broken (writers learn that the connection is gone)."""

    def __init__(self) -> None:
        self.broken = False
        self._open = True
        self._waiters: list[asyncio.Future[None]] = []

    async def passable(self) -> None:
        """Return once the gate is open; raises `ConnectionResetError` if it broke."""
        while not self._open and not self.broken:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.broken:
            raise ConnectionResetError

    def close(self) -> None:
        """The transport's buffer is over its high-water mark."""
        self._open = False

    def open(self) -> None:
        """The transport's buffer has drained."""
        self._open = True
        self._wake()

    def break_(self) -> None:
        """The connection is gone."""
        self.broken = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
