"""The Python SDK's everything-server, on a port of the kernel's choice: a program of its own.

    python -m scripts.conformance_suite.everything FOLDER

FOLDER is where its package is. The first line on standard output is its URL. It is served as its own `main`
does it, which cannot say which port it got.
"""

import importlib
import socket
import sys
from typing import Final

import uvicorn

RETRY: Final = 100  # milliseconds, as in its own `main`: the time after which a client asks for its stream


def main(folder: str) -> None:
    """Serve until the end of the process."""
    sys.path.insert(0, folder)
    everything = importlib.import_module("mcp_everything_server.server")
    app = everything.mcp.streamable_http_app(event_store=everything.event_store, retry_interval=RETRY)
    listener = socket.create_server(("127.0.0.1", 0))
    # The suite asks a server on localhost whether it lets itself be rebound.
    sys.stdout.write(f"http://localhost:{listener.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
