"""One client scenario through two agents: a program that the suite starts as if it were the client.

    python -m scripts.conformance_suite.client CLIENT URL

URL is the suite's server. The SDK's client, CLIENT, is given the URL of an egress instead, which leads there.
The exit code is that of the client.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # before gRPC is loaded

from scripts.conformance_suite.meshed import meshed


async def main(client: str, url: str) -> int:
    """Run it until its end."""
    with tempfile.TemporaryDirectory(prefix="mesh-") as folder:
        async with meshed(url, Path(folder)) as through:
            process = await asyncio.create_subprocess_exec(sys.executable, client, through)
            return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
