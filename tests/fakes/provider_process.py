"""The embedded provider as a process of its own, so that it can be killed. It has every identity of the mesh.

async with killable(socket) as provider:
    provider.kill(); await provider.start()     # `kill -9`, and another one, with an authority of its own
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class ProviderProcess:
    """One after another, at the same socket."""

    socket: Path
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        """Returns once it serves."""
        command = [sys.executable, "-m", "tests.fakes.provider_process", str(self.socket)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)  # noqa: ASYNC220  vfork, see go_spiffe
        self._running.append(process)
        assert process.stdout is not None
        said = await asyncio.to_thread(process.stdout.readline)
        assert said == b"ready\n"

    def kill(self) -> None:
        """Nobody listens at the socket any more, and nobody has removed it."""
        process = self._running.pop()
        process.kill()
        process.communicate()


@asynccontextmanager
async def killable(socket: Path) -> AsyncIterator[ProviderProcess]:
    """One that runs, until the block ends."""
    provider = ProviderProcess(socket)
    await provider.start()
    try:
        yield provider
    finally:
        while provider._running:
            provider.kill()


async def main(socket: Path) -> None:
    """Serve until killed."""
    from tests.fakes.mesh import provider_at  # noqa: PLC0415  not in the parent, which only starts this

    async with provider_at(socket.parent):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
